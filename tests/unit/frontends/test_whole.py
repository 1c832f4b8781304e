"""A zip's checksums are looked at before torch reads it, which does not."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
import torch

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends.restricted import read_restricted
from snnhw.zoo.checkpoint import read_plain

CONTENT = {"model": {"w": torch.arange(64.0)}}


def flipped(path: Path) -> None:
    """One bit of a stored tensor."""
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        (entry,) = [entry for entry in archive.infolist() if "/data/" in entry.filename]
    name, extra = struct.unpack("<HH", whole[entry.header_offset + 26 : entry.header_offset + 30])
    whole[entry.header_offset + 30 + name + extra + 2] ^= 0x10
    path.write_bytes(whole)


def test_a_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(CONTENT, path)
    assert torch.equal(read_restricted(path)["model"]["w"], CONTENT["model"]["w"])
    flipped(path)
    assert not torch.equal(torch.load(path)["model"]["w"], CONTENT["model"]["w"]), "torch reads it"
    with pytest.raises(SourceError, match=r"bad-checkpoint: the checkpoint cannot be read \(BadZipFile\)") as caught:
        read_restricted(path)
    assert "Bad CRC-32 for file" in caught.value.needed
    with pytest.raises(SnnhwError, match="bad-checkpoint: the checkpoint cannot be read\n"):
        read_plain(path)


def test_files_without_checksums_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    config = torch.utils.serialization.config.save
    before = config.compute_crc32
    try:
        config.compute_crc32 = False
        torch.save(CONTENT, path)
    finally:
        config.compute_crc32 = before
    assert torch.equal(read_restricted(path)["model"]["w"], CONTENT["model"]["w"])
    assert torch.equal(read_plain(path)["model"]["w"], CONTENT["model"]["w"])


def test_the_older_format_has_none(tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "net.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read_restricted(tmp_path / "net.pt")["model"]["w"], CONTENT["model"]["w"])
