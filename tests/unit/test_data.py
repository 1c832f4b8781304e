"""DATA.npz and recordings: what is read, what is refused, and that files appear whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnhw import limits
from snnhw.data import load_recording, load_samples, save_arrays
from snnhw.errors import DataError, SnnhwError
from snnhw.zoo import checkpoint


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "d.npz", **arrays)
    return path / "d.npz"


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_samples(path)
    return str(caught.value)


def test_samples_and_labels(tmp_path: Path) -> None:
    samples = load_samples(saved(tmp_path, x=np.arange(6).reshape(3, 2), y=np.array([1, 2, 3])))
    assert samples.y is not None
    assert (samples.x.shape, samples.y.tolist()) == ((3, 2), [1, 2, 3])
    part = samples.first(2)
    assert part.y is not None
    assert (part.x.shape, part.y.tolist()) == ((2, 2), [1, 2])
    assert samples.first(None) is samples


def test_labels_are_optional(tmp_path: Path) -> None:
    samples = load_samples(saved(tmp_path, x=np.zeros((3, 2))))
    assert samples.y is None
    assert samples.first(1).y is None


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"images": np.zeros((2, 2))},
        "bad-data: the file holds no array named x\n  where: d.npz\n  needed: x\n  limit: has images",
    ),
    ({"x": np.array(["a", "b"])}, "bad-data: samples of type <U1 are not numbers\n  where: d.npz: x"),
    ({"x": np.zeros((2, 2), complex)}, "bad-data: samples of type complex128 are not numbers\n  where: d.npz: x"),
    (
        {"x": np.zeros(3)},
        "bad-shape: there are no samples\n  where: d.npz: x\n  needed: (samples, ...)\n  limit: got (3,)",
    ),
    ({"x": np.zeros((0, 3))}, "bad-shape: there are no samples\n"),
    (
        {"x": np.zeros((3, 2)), "y": np.zeros(2, int)},
        "bad-labels: labels do not fit the samples\n"
        "  where: d.npz: y\n  needed: (3,) integers\n  limit: got (2,) int64",
    ),
    ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "bad-labels: labels do not fit the samples\n"),
    ({"x": np.zeros((3, 2)), "y": np.zeros((3, 10), int)}, "bad-labels: labels do not fit the samples\n"),
    ({"x": np.array([[None, 1]])}, "bad-data: not a readable .npz file: ValueError: Object arrays cannot be loaded"),
]


@pytest.mark.parametrize(("arrays", "text"), REFUSED)
def test_refused(arrays: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert refusal(saved(tmp_path, **arrays)).startswith(text)


def test_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "d.npz") == f"no-such-file: there is no such file\n  where: {tmp_path / 'd.npz'}"
    assert refusal(tmp_path).startswith(f"no-samples: the folder holds no samples\n  where: {tmp_path}\n")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken"])
def test_not_an_npz(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    text = refusal(tmp_path / "d.npz")
    assert text.startswith("bad-data: not a readable .npz file: ")
    assert text.endswith("  where: d.npz\n  hint: write it with numpy.savez(path, x=samples, y=labels)")


def test_an_npy_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((2, 2)))
    (tmp_path / "d.npy").rename(tmp_path / "d.npz")
    assert refusal(tmp_path / "d.npz").startswith("bad-data: not a readable .npz file: BadZipFile: ")


def test_truncated(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.zeros((30, 20)))
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path).startswith("bad-data: not a readable .npz file: ")


def test_bombs_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip by what it unpacks to, any other file by its size."""
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((100, 100)))
    (tmp_path / "plain").write_bytes(bytes(1001))
    readers: list[Callable[[Path], Any]] = [load_samples, load_recording, checkpoint.read]
    for reader in readers:
        for name, size in (("d.npz", 80128), ("plain", 1001)):
            with pytest.raises(SnnhwError) as caught:
                reader(tmp_path / name)
            assert str(caught.value) == (
                f"too-big: the file unpacks to too much\n  where: {name}\n  needed: {size} bytes\n  limit: 1000 bytes"
            )


def test_the_limit() -> None:
    assert limits.MAX_BYTES == 4 << 30


def test_recordings_come_back(tmp_path: Path) -> None:
    arrays = {"output": np.arange(6).reshape(1, 2, 3), "spikes/a.b": np.ones((1, 2), np.uint8)}
    save_arrays(tmp_path / "run.npz", arrays)
    back = load_recording(tmp_path / "run.npz")
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    assert os.listdir(tmp_path) == ["run.npz"]


def test_a_recording_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file") as caught:
        load_recording(tmp_path / "run.npz")
    assert caught.value.code == "no-such-file"
    (tmp_path / "run.npz").write_text("hello")
    with pytest.raises(DataError, match=r"not a readable .npz file: ") as caught:
        load_recording(tmp_path / "run.npz")
    assert caught.value.code == "bad-data"


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_arrays(tmp_path / "run.npz", {"x": np.zeros(1)})
    before = (tmp_path / "run.npz").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(DataError, match="No space left on device"):
        save_arrays(tmp_path / "run.npz", {"x": np.ones(1)})
    assert (tmp_path / "run.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


def test_several_inputs_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    path = tmp_path / "several.npz"
    a, b = np.arange(2 * 3 * 4).reshape(2, 3, 2, 2), -np.arange(2 * 3).reshape(2, 3, 1)
    np.savez(path, **{"x/b": b, "x/a": a, "y": np.array([0, 1])})
    found = load_samples(path)
    assert found.x.shape == (2, 3, 5)
    np.testing.assert_array_equal(found.x[1, 2], [*a[1, 2].ravel(), b[1, 2, 0]])


def test_several_inputs_of_different_lengths(tmp_path: Path) -> None:
    path = tmp_path / "several.npz"
    np.savez(path, **{"x/a": np.zeros((2, 3, 2)), "x/b": np.zeros((2, 4, 2))})
    with pytest.raises(DataError) as caught:
        load_samples(path)
    assert str(caught.value) == (
        "bad-shape: the arrays of several inputs are not sequences of the same length\n"
        "  where: several.npz: x/a, x/b\n"
        "  needed: (samples, T, ...) each, with the same samples and T\n"
        "  limit: (2, 3, 2); (2, 4, 2)\n"
        "  hint: give static samples flat, as one x"
    )


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), labels=np.zeros(2, int), meta=np.array("me"))
    given = load_samples(tmp_path / "d.npz")
    assert given.y is None
    assert given.unread == ("labels", "meta")
    assert given.first(1).unread == ("labels", "meta")


def test_a_name_that_changed_in_one_of_its_places(tmp_path: Path) -> None:
    """A zip says names twice and has no checksum of them: one flipped bit would lose the labels."""
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), y=np.zeros(2, int))
    whole = (tmp_path / "d.npz").read_bytes()
    places = [i for i in range(len(whole)) if whole.startswith(b"y.npy", i)]
    assert len(places) == 2
    for place in places:
        (tmp_path / "d.npz").write_bytes(whole[:place] + b"Y" + whole[place + 1 :])
        with pytest.raises(DataError, match=r"bad-data: not a readable \.npz file: BadZipFile"):
            load_samples(tmp_path / "d.npz")


def test_parts_that_are_no_arrays(tmp_path: Path) -> None:
    for name in ("x", "y", "x/a"):
        np.savez(tmp_path / "d.npz", **{n: np.zeros((2, 3), int) for n in ("x", "y") if n != name})
        with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
            archive.writestr(name, b"hello")
        with pytest.raises(DataError, match="bad-data: a part of the file is no array") as caught:
            load_samples(tmp_path / "d.npz")
        assert caught.value.where == f"d.npz: {name}"


def test_inputs_without_values(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{"x/a": np.zeros((0, 6, 4)), "x/b": np.zeros((0, 6, 4))})
    with pytest.raises(DataError, match="bad-shape: the arrays of several inputs are not sequences"):
        load_samples(tmp_path / "d.npz")
