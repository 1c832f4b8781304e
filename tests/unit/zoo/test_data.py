"""The idx reader and the search for Fashion-MNIST, on tiny files."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from snnhw.errors import SnnhwError
from snnhw.zoo import data


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of six 2x3 images in ``tmp_path/set``: training files zipped, test files plain."""
    root = tmp_path / "set"
    root.mkdir()
    images = np.arange(36, dtype=np.uint8).reshape(6, 2, 3)
    labels = np.array([0, 1, 0, 1, 1, 0], np.uint8)
    for stem, array in zip(data.STEMS["train"], (images, labels), strict=True):
        (root / f"{stem}.gz").write_bytes(gzip.compress(idx(array)))
    for stem, array in zip(data.STEMS["test"], (images[:2], labels[:2]), strict=True):
        (root / stem).write_bytes(idx(array))
    return root


def test_both_splits_are_read(folder: Path) -> None:
    x, y = data.load_fashion_mnist("train", folder, verify=False)
    assert x.shape == (6, 1, 2, 3)
    assert x.dtype == np.uint8
    assert x[1, 0, 0].tolist() == [6, 7, 8]
    assert y.dtype == np.int64
    assert y.tolist() == [0, 1, 0, 1, 1, 0]
    assert data.load_fashion_mnist("test", folder, verify=False)[1].tolist() == [0, 1]


def test_search_order(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(data.ENVIRONMENT, raising=False)
    monkeypatch.setattr(data, "PACKAGE_FOLDER", folder)
    assert data.folder_of() == folder
    (tmp_path / "env").mkdir()
    monkeypatch.setenv(data.ENVIRONMENT, str(tmp_path / "env"))
    assert data.folder_of() == tmp_path / "env"
    assert data.folder_of(folder) == folder


def test_missing_data_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(data.ENVIRONMENT, raising=False)
    monkeypatch.setattr(data, "PACKAGE_FOLDER", tmp_path / "none")
    with pytest.raises(SnnhwError) as caught:
        data.load_fashion_mnist("test")
    assert str(caught.value) == (
        "dataset-missing: Fashion-MNIST cannot be read: the folder does not exist\n"
        f"  where: {tmp_path}/none\n"
        "  needed: the four idx files of Fashion-MNIST, plain or .gz\n"
        f"  limit: searched in order: folder given, $SNNHW_FASHION_MNIST, {tmp_path}/none\n"
        "  hint: apt-get install dataset-fashion-mnist, "
        "or set SNNHW_FASHION_MNIST to a folder that has them"
    )


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(SnnhwError, match=r"the file is not there\n  where: .*t10k-labels-idx1-ubyte.gz"):
        data.load_fashion_mnist("test", folder, verify=False)


def test_other_bytes_are_refused_by_md5(folder: Path) -> None:
    found = hashlib.md5((folder / "t10k-images-idx3-ubyte").read_bytes()).hexdigest()
    with pytest.raises(SnnhwError, match=f"needed: md5 {found}\n  limit: md5 8181f5470baa50b63fa0f6fddb340f0a"):
        data.load_fashion_mnist("test", folder)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "needed: starts with nothing\n  limit: idx header 000008"),
        (b"\x00\x00\x0d\x01" + b"\x00" * 8, "needed: starts with 00000d01"),
        (idx(np.zeros(4, np.uint8))[:-1], r"needed: 11 bytes for shape \(4,\)\n  limit: 12 bytes"),
        (b"\x00\x00\x08\x03\x00", r"needed: 5 bytes for shape \(\)"),
        (gzip.compress(b"abcd", mtime=0), "needed: starts with 61626364"),
        (b"\x00\x00\x08\xff" + b"\x00" * 1020, "needed: 1024 bytes for shape .*\n  limit: 1024 bytes, 1 to 4 axes"),
        (b"\x00\x00\x08\x04" + b"\x80\x00\x00\x00" * 4, f"limit: {20 + (1 << 124)} bytes"),
        (gzip.compress(idx(np.zeros(400, np.uint8)), mtime=0)[:-12], "needed: damaged gzip"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, raw: bytes, text: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(SnnhwError, match=text) as caught:
        data.read_idx(path)
    assert str(caught.value).startswith("dataset-damaged: a data file is not what it should be\n")


def test_a_file_that_unpacks_to_more_than_any_of_the_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_IDX", 100)
    (tmp_path / "file").write_bytes(gzip.compress(idx(np.zeros(400, np.uint8)), mtime=0))
    with pytest.raises(SnnhwError, match="needed: more than 100 bytes\n  limit: 100 bytes"):
        data.read_idx(tmp_path / "file")


def test_unknown_split() -> None:
    with pytest.raises(SnnhwError, match="unknown-split: no split of that name\n  where: split\n  needed: 'val'"):
        data.load_fashion_mnist("val")


def test_balanced_subset_takes_the_first_of_each_class() -> None:
    x, y = np.arange(8, dtype=np.uint8), np.array([1, 1, 0, 1, 0, 0, 1, 0])
    picked, labels = data.first_per_class(x, y, 5)
    assert picked.tolist() == [0, 1, 2, 4, 5]
    assert labels.tolist() == [1, 1, 0, 0, 0]
    with pytest.raises(
        SnnhwError,
        match=r"too-many-samples: a class-balanced subset of that size cannot be taken\n  where: samples\n  needed: 9",
    ):
        data.first_per_class(x, y, 9)


@pytest.mark.skipif(not data.PACKAGE_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_installed_package_has_the_pinned_bytes() -> None:
    x, y = data.load_fashion_mnist("test", data.PACKAGE_FOLDER)
    assert x.shape == (10_000, 1, 28, 28)
    assert np.bincount(y).tolist() == [1000] * 10
