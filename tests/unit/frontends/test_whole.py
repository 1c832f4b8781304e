"""Before torch reads a file: a zip's checksums, which it does not look at, and what would take memory by a number."""

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


BOMBS = [b"cbuiltins\nbytearray\n", b"c__builtin__\nbytearray\n", b"ctorch\nFloatTensor\n", b"ctorch\nByteTensor\n"]


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_is_not_asked_for_by_a_number(bomb: bytes, older: bool, tmp_path: Path) -> None:
    pickled = b"\x80\x02}X\x01\x00\x00\x00a" + bomb + b"J\xff\xff\xff\x7f\x85Rs."
    path = tmp_path / "net.pt"
    if older:
        path.write_bytes(pickled)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", pickled)
    with pytest.raises(SourceError, match=r"bad-checkpoint: the checkpoint cannot be read \(ValueError\)"):
        read_restricted(path)
    with pytest.raises(SnnhwError, match="bad-checkpoint"):
        read_plain(path)


@pytest.mark.parametrize("older", [False, True])
def test_one_value_that_is_seen_as_many(older: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"x": [torch.zeros(1).expand(1 << 15, 1 << 15)]}, path, _use_new_zipfile_serialization=not older)
    for read in (read_restricted, read_plain):
        with pytest.raises(SnnhwError, match="too-big: the file unpacks to too much") as caught:
            read(path)
        assert caught.value.needed == f"{4 << 30} bytes"


def test_a_dictionary_in_itself(tmp_path: Path) -> None:
    content: dict[str, object] = {"w": torch.ones(2)}
    content["self"] = content
    torch.save(content, tmp_path / "net.pt")
    found = read_restricted(tmp_path / "net.pt")
    assert found["self"] is found
