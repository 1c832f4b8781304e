"""What is too much, and files that cannot be looked at."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from snnhw import artifact, limits
from snnhw.comparison import partial
from snnhw.data import load_recording, load_samples
from snnhw.errors import DataError, SnnhwError
from snnhw.frontends.netx.layers import read_net
from snnhw.frontends.nir.read import read_graph
from snnhw.frontends.restricted import read_restricted
from snnhw.limits import is_number
from snnhw.machine import load_target
from snnhw.zoo import checkpoint
from tests.unit.commands.line import snnhw


def refusal(error: pytest.ExceptionInfo[SnnhwError]) -> str:
    return str(error.value)


def test_files_that_the_system_forbids_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    assert limits.is_file(tmp_path / "a")
    assert not limits.is_file(tmp_path)
    assert not limits.is_file(tmp_path / "b")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("open", "is_file"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, name, forbidden)
            with pytest.raises(SnnhwError) as caught:
                limits.is_file(tmp_path / "a")
        assert refusal(caught) == (
            f"cannot-read: the file cannot be read: Permission denied\n  where: {tmp_path / 'a'}"
        )
    with pytest.raises(SnnhwError, match="cannot-read: the file cannot be read: File name too long"):
        limits.is_file(tmp_path / ("a" * 5000))


def test_a_zip_that_unpacks_to_far_more_than_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nulls shrink a thousandfold; what is not large may."""
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((1000, 1000)))
    stored = (tmp_path / "d.npz").stat().st_size
    limits.require_small(tmp_path / "d.npz")
    monkeypatch.setattr(limits, "BOMB_BYTES", 1 << 20)
    with pytest.raises(SnnhwError) as caught:
        limits.require_small(tmp_path / "d.npz")
    assert refusal(caught) == (
        "too-big: the file unpacks to too much\n  where: d.npz\n  needed: 8000128 bytes\n"
        f"  limit: 300 times the file's {stored} bytes\n"
        "  hint: if it is what it says, write it without compression"
    )
    np.savez(tmp_path / "plain.npz", x=np.zeros((1000, 1000)))
    limits.require_small(tmp_path / "plain.npz")


def test_samples_that_no_memory_holds() -> None:
    limits.require_sample(1000, (2, 128, 128), "net.pt")
    with pytest.raises(SnnhwError) as caught:
        limits.require_sample(10**12, (1, 8, 8), "net.pt")
    assert refusal(caught) == (
        "too-big: one sample has too many values\n  where: net.pt\n  needed: 1000000000000 steps of 1 x 8 x 8 values\n"
        "  limit: 268435456 values"
    )


def test_long_names_and_control_characters_are_not_printed() -> None:
    error = SnnhwError("bad-keys", "odd \x1b[2Jname", where="a" * 5000, needed="two\nlines", limit="é …")
    cut = "a" * 1000 + " … (4000 more characters)"
    assert str(error) == f"bad-keys: odd \\x1b[2Jname\n  where: {cut}\n  needed: two\n    lines\n  limit: é …"
    assert error.to_dict()["message"] == "odd \\x1b[2Jname"


def test_a_recording_without_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "run.npz")
    with pytest.raises(SnnhwError) as caught:
        load_recording(tmp_path / "run.npz")
    assert refusal(caught) == "bad-data: the file holds no arrays\n  where: run.npz"


def test_a_target_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "chip.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SnnhwError) as caught:
        load_target(str(tmp_path / "chip.toml"))
    assert refusal(caught).startswith("bad-target: not text: 'utf-8' codec can't decode byte 0xff in position 0")
    assert "where: chip.toml" in refusal(caught)


def test_windows_that_no_memory_holds() -> None:
    limits.require_windows((3, 224, 224), (7, 7), (3, 3), (112, 112), "fc")
    for kernel, padding, made in (((3, 3), (10**6, 10**6), (5, 5)), ((9, 9), (0, 0), (10**4, 10**4))):
        with pytest.raises(SnnhwError, match="too-big: the windows of a convolution or pool hold too many values"):
            limits.require_windows((1, 8, 8), kernel, padding, made, "fc")


@pytest.mark.parametrize("value", [0, -1, 2.5, 10**308, -(1 << 1000), 1.7e308])
def test_numbers(value: object) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, None, "1", [1], math.nan, math.inf, -math.inf, 10**400, -(10**4000)])
def test_what_no_float_can_be(value: object) -> None:
    """Whole numbers of JSON and TOML have any length."""
    assert not is_number(value)


def test_a_recording_of_other_things(tmp_path: Path) -> None:
    for name, content in (("text", np.array(["a"])), ("records", np.zeros(2, [("a", "i4")]))):
        np.savez(tmp_path / f"{name}.npz", **{"u/n": content})
        with pytest.raises(DataError, match="bad-data: a part of the file is no array of numbers") as caught:
            load_recording(tmp_path / f"{name}.npz")
        assert caught.value.where == f"{name}.npz: u/n"


def test_texts_are_regular_files_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to would be waited for, and one that never ends fill the memory."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(b"1234")
    for name in ("pipe", "none", ".", ""):
        with pytest.raises(DataError, match="no-such-file: there is no such file"):
            limits.bytes_of(tmp_path / name)
    assert limits.bytes_of(tmp_path / "text") == b"1234"
    for command in (("calibrate", "loihi2", "--measurements"), ("card", "example:stbp_scnn", "--comparison")):
        done = snnhw(*command, tmp_path / "pipe")
        assert (done.code, done.err.splitlines()[0]) == (1, "error: no-such-file: there is no such file")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(SnnhwError, match="cannot-read: the file cannot be read: Input/output error"):
            limits.bytes_of(tmp_path / "text")
    monkeypatch.setattr(limits, "MAX_TEXT", 3)
    with pytest.raises(SnnhwError, match="too-big: the file unpacks to too much\n  where: text\n  needed: 4 bytes"):
        limits.bytes_of(tmp_path / "text")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ModuleNotFoundError("No module named 'zarr'", name="zarr.storage"),
            "needs-extra: reading this file needs packages of the extra 'zarr'\n"
            "  where: net.snnhw\n  needed: zarr>=3,<4\n  hint: pip install 'zarr>=3,<4'",
        ),
        (
            ImportError("libhdf5.so: cannot open shared object file", name="h5py"),
            "needs-extra: a package that reading this file needs cannot be imported\n"
            "  where: net.snnhw\n  needed: h5py: libhdf5.so: cannot open shared object file\n"
            "  hint: install snnhw again, with its dependencies",
        ),
        (
            ImportError("broken"),
            "needs-extra: a package that reading this file needs cannot be imported\n"
            "  where: net.snnhw\n  needed: broken\n  hint: install snnhw again, with its dependencies",
        ),
    ],
)
def test_a_package_that_is_missing_is_no_damage(error: ImportError, said: str) -> None:
    assert str(limits.fault(error, "net.snnhw")) == said


READERS = {
    "artifact": ("zipfile.ZipFile", artifact.load),
    "samples": ("numpy.load", load_samples),
    "slices": ("snnhw.data._rows", load_samples),
    "recording": ("numpy.load", load_recording),
    "part of a run": ("numpy.load", partial.load),
    "checkpoint": ("snnhw.frontends.restricted.read_torch", read_restricted),
    "training": ("snnhw.zoo.checkpoint.read_torch", checkpoint.read),
    "graph": ("h5py.File", read_graph),
    "net": ("h5py.File", read_net),
}
"""Reader -> (what fails below it, itself)."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModuleNotFoundError("No module named 'onnx'", name="onnx"), "needs-extra"),
        (MemoryError("Unable to allocate"), "out-of-memory"),
        (OSError(5, "Input/output error"), "cannot-read"),
    ],
)
def test_no_reader_calls_the_machines_faults_damage(
    reader: str, error: Exception, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("x.npy" if reader == "slices" else "x.npz")
    np.save(path, np.zeros(3)) if reader == "slices" else np.savez(path, x=np.zeros(3))

    def failing(*_: object, **__: object) -> None:
        raise error

    below, read = READERS[reader]
    monkeypatch.setattr(below, failing)
    with pytest.raises(SnnhwError) as caught:
        read(path)
    assert caught.value.code == code
