"""Samples that are read slice by slice: every kind of file gives the same samples, and only what is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from snnhw import api, limits, rows
from snnhw.data import load_samples
from snnhw.errors import OutOfMemoryError, SnnhwError
from snnhw.rows import Rows
from tests.attack.forms import npy_header

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
    assert read == [len(Y)]  # the labels
    assert np.array_equal(x[2:4], X[2:4])
    assert read[1:] == [12]


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


def test_an_image_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns above its limit and refuses above twice as many; both are one refusal here."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for limit in (60, 20):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        said = refusal(tmp_path)
        assert "too-big: an image has more pixels than are read; its file may unpack to fill the memory" in said
        assert f"{limit} pixels" in said
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    assert load_samples(tmp_path).x.shape == (1, 3, 8, 8)


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


def test_every_shard_has_its_own_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X[:4], y=Y[:5])
    np.savez(tmp_path / "b.npz", x=X[4:], y=Y[5:])
    assert "bad-labels: labels do not fit the samples\n  where: a.npz: y" in refusal(tmp_path)
    np.savez(tmp_path / "a.npz", x=X[:4])
    np.savez(tmp_path / "b.npz", x=X[4:], y=Y[4:])
    assert "bad-labels: some shards have labels and some have none" in refusal(tmp_path)


def test_labels_are_counted_before_they_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x"] = X
        file.create_dataset("y", shape=(1 << 40,), dtype="i8", chunks=(1024,))
    assert "bad-labels: labels do not fit the samples" in refusal(tmp_path / "d.h5")
    np.savez(tmp_path / "nan.npz", x=X, y=np.full(len(X), np.nan))
    with pytest.raises(SnnhwError, match=r"samples hold values that are not finite\n  where: nan.npz: y"):
        load_samples(tmp_path / "nan.npz")


@pytest.mark.parametrize("shape", [(-1, 2), (4, -1, -2), (1,) * 40, (1 << 70, 1), (1 << 40, 1 << 40, 0)])
def test_shapes_that_no_array_has(shape: tuple[int, ...], tmp_path: Path) -> None:
    (tmp_path / "d.npy").write_bytes(npy_header(str(shape), "|u1") + bytes(64))
    assert refusal(tmp_path / "d.npy").startswith(("bad-shape: no array has this shape", "bad-data: the file ends"))


def test_a_header_that_claims_gigabytes_is_damage(tmp_path: Path) -> None:
    """numpy would make room for it before it reads."""
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY\x02\x00" + ((1 << 32) - 1).to_bytes(4, "little") + b"{'descr'")
    said = refusal(tmp_path / "d.npy")
    assert said.startswith("bad-data"), said
    assert f"a header of {(1 << 32) - 1} bytes" in said


def test_a_sample_too_large_for_any_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", shape=(4, 1 << 40), dtype="u1", chunks=(1, 1024))
    assert "too-big: one sample has too many values" in refusal(tmp_path / "d.h5")


def test_damage_is_seen_when_it_is_read(tmp_path: Path) -> None:
    """Where a shard has a checksum it is looked at; a chunk that does not unpack is no defect of ours."""
    zarr = pytest.importorskip("zarr")
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    whole = bytearray((tmp_path / "d.npz").read_bytes())
    whole[whole.index(X.tobytes()) + 5] ^= 1
    (tmp_path / "d.npz").write_bytes(whole)
    assert "bad-data: the samples cannot be read: BadZipFile: bad CRC-32 of d.npz" in refusal(tmp_path / "d.npz")
    zarr.open_group(tmp_path / "d.zarr", mode="w").create_array("x", data=X, chunks=(4, 2, 3))
    chunk = next(path for path in (tmp_path / "d.zarr").rglob("c/*/*/*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:3])
    assert "bad-data: the samples cannot be read: " in refusal(tmp_path / "d.zarr")


def test_zarr_folders_of_strangers(tmp_path: Path) -> None:
    """C code would read past the end of a Blosc chunk; codecs that nobody named are not loaded."""
    zarr, numcodecs = pytest.importorskip("zarr"), pytest.importorskip("numcodecs")
    place = tmp_path / "d.zarr"

    def written(**more: Any) -> Path:
        group = zarr.open_group(place, mode="w", zarr_format=more.pop("zarr_format", 2))
        group.create_array("x", data=X, chunks=(11, 2, 3), **more)
        return place / "x" / ("0.0.0" if group.metadata.zarr_format == 2 else "c/0/0/0")

    chunk = written()
    assert np.array_equal(load_samples(place).x[:], X)
    whole = chunk.read_bytes()
    for at in (4, 7, 12, 15):
        chunk.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        assert "bad-data: the samples cannot be read: ValueError: a chunk of 66 bytes in " in refusal(place)
    written(compressors=None, filters=[numcodecs.Delta(dtype="|u1")])
    assert "bad-data: an array is packed by what is not read: delta" in refusal(place)
    written(zarr_format=3, compressors=zarr.codecs.BloscCodec(), shards=(22, 2, 3))
    assert "bad-data: an array is packed by what is not read: blosc in shards" in refusal(place)
    written(zarr_format=3, shards=(22, 2, 3))
    assert np.array_equal(load_samples(place).x[:], X)
    (place / "x" / "more").symlink_to(tmp_path)
    assert "bad-data: a part of the data is no regular file" in refusal(place)


def test_a_shard_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    for x in (X, X[::-1]):
        np.savez_compressed(tmp_path / "a.npz", x=x)
        assert np.array_equal(load_samples(tmp_path).x[:], x)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.npz", "x.npy", "d.h5", "images/a.png"):
        path = tmp_path / name.partition(".")[0] / name
        path.parent.mkdir(parents=True)
        os.mkfifo(path)
        read = path if path.suffix == ".h5" else path.parent
        assert "bad-data: a part of the data is no regular file" in refusal(read)


def test_damaged_pictures(tmp_path: Path) -> None:
    """A CRC of the PNG is looked at; what a machine lacks is not called damage."""
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    whole = bytearray((tmp_path / "a.png").read_bytes())
    whole[whole.index(b"IDAT") + 20] ^= 1
    (tmp_path / "a.png").write_bytes(whole)
    assert "bad-data: not a readable image: " in refusal(tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").symlink_to("nowhere")
    assert "cannot-read: the file cannot be read: No such file" in refusal(tmp_path)
    (tmp_path / "a.png").unlink()
    Image.new("L", (10, 10)).save(tmp_path / "a.png")
    assert "too-big: one sample has too many values\n  where: resize" in refusal(tmp_path, "resize=1000000")


def test_too_many_to_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_BYTES", 10)
    with pytest.raises(SnnhwError, match="too-big: the samples are too many to be held at once"):
        _ = load_samples(npz(tmp_path), held=0).held


@pytest.mark.parametrize("order", ["deflate last", "chunk too short"])
def test_chunks_shorter_than_their_checksum(order: str, tmp_path: Path) -> None:
    """HDF5 takes the last 4 bytes for the sum without asking whether they are there, and reads past the end."""
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((2, 3))
    made.set_fletcher32()
    with h5py.File(tmp_path / "d.h5", "w") as file:
        if order == "deflate last":
            made.set_deflate(4)
        space, kind = h5py.h5s.create_simple((2, 3)), h5py.h5t.py_create(np.dtype("u1"))
        x = h5py.h5d.create(file.id, b"x", kind, space, made)
        x.write_direct_chunk((0, 0), b"\0" * (20 if order == "deflate last" else 3))
    assert refusal(tmp_path / "d.h5") == (
        "bad-hdf5: a chunk of the file is shorter than its checksum\n"
        "  where: d.h5: /x\n  hint: copy the arrays into one file"
    )


def test_a_checksum_of_whole_chunks_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(4, 2, 3), compression="gzip", shuffle=True, fletcher32=True)
    assert np.array_equal(load_samples(tmp_path / "d.h5").x[:], X)


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
