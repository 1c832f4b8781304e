"""Samples that are read slice by slice: every kind of file gives the same samples, and only what is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from snnhw import api, limits, rows
from snnhw.data import load_samples
from snnhw.errors import OutOfMemoryError, SnnhwError
from snnhw.rows import Rows

X = np.random.default_rng(0).integers(0, 256, (11, 2, 3)).astype(np.uint8)
Y = np.arange(11) % 4


def npz(folder: Path) -> Path:
    np.savez(folder / "d.npz", x=X, y=Y)
    return folder / "d.npz"


def npy(folder: Path) -> Path:
    np.save(folder / "d.npy", X)
    return folder / "d.npy"


def shards(folder: Path, ending: str = "npz", pack: Callable[..., None] = np.savez) -> Path:
    for i, (a, b) in enumerate([(0, 4), (4, 5), (5, 11)]):
        if ending == "npz":
            pack(folder / f"part{i}.npz", x=X[a:b], y=Y[a:b])
        else:
            np.save(folder / f"x{i}.npy", X[a:b])
            np.save(folder / f"y{i}.npy", Y[a:b])
    return folder


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "d.h5", "w") as file:
        file["x"], file["y"], file["more"] = X, Y, [1]
    return folder / "d.h5"


def zarred(folder: Path) -> Path:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(folder / "d.zarr", mode="w")
    group.create_array("x", data=X, chunks=(4, 2, 3))
    group.create_array("y", data=Y)
    return folder / "d.zarr"


def pictures(folder: Path) -> Path:
    for i, (x, y) in enumerate(zip(X, Y, strict=True)):
        (folder / f"class{y}").mkdir(exist_ok=True)
        Image.fromarray(x).save(folder / f"class{y}" / f"{i:02d}.png")
    return folder


KINDS = {
    "npz": npz,
    "npy": npy,
    "npz shards": shards,
    "packed shards": lambda folder: shards(folder, pack=np.savez_compressed),
    "npy shards": lambda folder: shards(folder, "npy"),
    "hdf5": hdf5,
    "zarr": zarred,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_samples_in_slices(kind: str, tmp_path: Path) -> None:
    samples = load_samples(KINDS[kind](tmp_path), held=None if kind == "packed shards" else 0)
    assert isinstance(samples.x, Rows)
    assert (samples.x.shape, samples.x.dtype, samples.x.ndim) == (X.shape, X.dtype, X.ndim)
    for part in (slice(0, 3), slice(3, 7), slice(4, 5), slice(5, 5), slice(9, 20), slice(None)):
        assert np.array_equal(samples.x[part], X[part])
    assert np.array_equal(samples.held, X)
    middle = samples.part(3, 9)
    assert np.array_equal(middle.x[1:4], X[4:7])
    assert len(middle.x) == 6
    if kind != "npy":
        assert samples.y is not None
        assert middle.y is not None
        assert (samples.y.tolist(), middle.y.tolist()) == (Y.tolist(), Y[3:9].tolist())
    assert samples.digest == (load_samples(npz(tmp_path)).digest if kind != "npy" else samples.digest)
    assert samples.digest != middle.digest


def test_only_the_slice_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = np.fromfile

    def counting(file: object, dtype: np.dtype, count: int) -> np.ndarray:
        read.append(count)
        return whole(file, dtype, count)

    monkeypatch.setattr(np, "fromfile", counting)
    x = load_samples(npz(tmp_path), held=0).x
    assert read == []
    assert np.array_equal(x[2:4], X[2:4])
    assert read == [12]


def test_images_by_class(tmp_path: Path) -> None:
    samples = load_samples(pictures(tmp_path), preprocess="gray")
    order = np.argsort(Y, kind="stable")
    assert samples.y is not None
    assert np.array_equal(samples.x[:], X[order][:, None])
    assert samples.y.tolist() == Y[order].tolist()


def test_preprocessing_is_done_in_order(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 20, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    x = load_samples(tmp_path, preprocess="crop=8x10").x[:]
    assert np.array_equal(x[0], np.moveaxis(pixels[16:24, 5:15], -1, 0))
    assert load_samples(tmp_path, preprocess="resize=10,crop=6").x.shape == (1, 3, 6, 6)
    assert load_samples(tmp_path, preprocess="resize=5x7,gray").x.shape == (1, 1, 5, 7)
    normal = load_samples(tmp_path, preprocess="crop=8x10,normalize=imagenet").x[:]
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal[0, 1], (x[0, 1] / 255 - 0.456) / 0.224, rtol=1e-5)


def refusal(path: Path, preprocess: str | None = None) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_samples(path, preprocess=preprocess, held=0).x[:]
    return str(caught.value)


def test_refused_images(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert "bad-preprocess: no step of preprocessing: 'resize=0'" in refusal(tmp_path, "resize=0")
    assert "bad-shape: an image is smaller than the crop" in refusal(tmp_path, "crop=9")
    Image.new("RGB", (9, 8)).save(tmp_path / "b.png")
    assert "bad-shape: an image has another size than the first" in refusal(tmp_path)
    (tmp_path / "b.png").write_bytes(b"\x89PNG nothing")
    assert "bad-data: not a readable image: " in refusal(tmp_path)
    assert "bad-preprocess: only images of a folder are preprocessed" in refusal(npz(tmp_path), "gray")


def test_refused_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.asfortranarray(X))
    assert "bad-data: an array of columns (Fortran order) is not read in slices" in refusal(tmp_path / "f.npy")
    np.save(tmp_path / "o.npy", np.array([[None]]))
    assert "bad-data: an array of objects is not read in slices" in refusal(tmp_path / "o.npy")
    np.save(tmp_path / "n.npy", np.full((2, 2), np.nan))
    assert "bad-data: samples hold values that are not finite" in refusal(tmp_path / "n.npy")
    whole = npy(tmp_path).read_bytes()
    (tmp_path / "d.npy").write_bytes(whole[:-1])
    assert "bad-data: the file ends before its array does" in refusal(tmp_path / "d.npy")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["x"] = h5py.ExternalLink("/etc/hostname", "x")
    assert "the file links to data outside it, which are not followed" in refusal(tmp_path / "link.h5")
    (tmp_path / "d.h5").write_bytes(b"no")
    assert "bad-data: not readable samples: OSError" in refusal(tmp_path / "d.h5")
    np.savez_compressed(tmp_path / "c.npz", x=X)
    assert "too-big: the file unpacks to too much" in refusal(tmp_path / "c.npz")
    np.savez(tmp_path / "no.npz", y=Y)
    assert "bad-data: the file holds no array named x" in refusal(tmp_path / "no.npz")


def test_shards_that_do_not_fit_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X)
    np.savez(tmp_path / "b.npz", x=X.astype(np.int32))
    assert "bad-shape: the parts of the data do not fit together" in refusal(tmp_path)


def test_too_many_to_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_BYTES", 10)
    with pytest.raises(SnnhwError, match="too-big: the samples are too many to be held at once"):
        _ = load_samples(npz(tmp_path), held=0).held


def test_readers_are_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.zarr").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    for name in ("zarr", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "needs-extra: reading .zarr folders needs packages of the extra 'zarr'" in refusal(tmp_path / "d.zarr")
    assert "needs-extra: reading images needs packages of the extra 'images'" in refusal(tmp_path / "images")


def test_memory_bounds_batches() -> None:
    values = 1 << 16
    assert limits.samples_at_once(values, 32) == 32
    held = limits.held()
    assert 4 <= limits.samples_at_once(values, 32, held + 5 * values * limits.BYTES_PER_VALUE) <= 5
    with pytest.raises(OutOfMemoryError, match="out-of-memory: one sample does not fit into the memory"):
        limits.samples_at_once(values, 32, held)


def test_run_reads_slices(tmp_path: Path) -> None:
    from tests.unit.chip.nets import residual, residual_input

    artifact, x = residual(), residual_input(5)
    np.save(tmp_path / "x.npy", x)
    read = load_samples(tmp_path / "x.npy").x
    assert np.array_equal(*(api.run(artifact, data, "reference")["output"] for data in (read, x)))
