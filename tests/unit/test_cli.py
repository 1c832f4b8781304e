"""How a command ends: exit codes, one line and a report for defects, standard output that is lost."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import torch

from snnhw import cli
from snnhw.errors import OutOfMemoryError, SnnhwError
from tests.unit.commands.line import snnhw

DOING = "snnhw.machine.available"
"""What `snnhw targets` calls."""


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", [KeyError("x\x1b"), EOFError(), RecursionError("deep"), BrokenPipeError(32, "pipe")])
def test_a_defect_is_one_line_and_a_report(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(DOING, failing(error))
    done = snnhw("targets", "--json")
    assert done.code == 3
    (report,) = (tmp_path / "state" / "snnhw").iterdir()
    name = type(error).__name__
    assert done.err.startswith(f"error: defect: {name}: ")
    assert done.err.endswith(f"; this is a fault of snnhw, not of your files: send the report {report}\n")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert done.json["error"]["code"] == "defect"
    text = report.read_text(encoding="utf-8")
    assert text.startswith("snnhw targets --json\nPython 3.")
    for part in ("\nnumpy 2.", "\ntorch 2.", "Traceback (most recent call last):", name, "targets_command.py"):
        assert part in text
    assert "\x1b" not in text


def test_a_defect_whose_report_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(DOING, failing(ValueError("odd")))
    done = snnhw("targets")
    assert done.code == 3
    assert "no report could be written: the output cannot be written: Not a directory" in done.err


def test_python_passes_unknown_exceptions_unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = KeyError("x")
    monkeypatch.setattr("snnhw.pipeline.load_model", failing(error))
    import snnhw as package

    with pytest.raises(KeyError) as caught:
        package.compile(tmp_path / "net.pt", target="loihi2")
    assert caught.value is error


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DOING, failing(KeyboardInterrupt()))
    assert snnhw("targets") == snnhw("targets").__class__(130, "", "interrupted\n")


def test_diff_tells_refusals_from_differences(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    np.savez(tmp_path / "b.npz", x=np.ones(3))
    assert snnhw("diff", tmp_path / "no.npz", tmp_path / "a.npz").code == 2
    assert snnhw("diff", tmp_path / "a.npz").code == 2
    assert snnhw("compile", tmp_path / "no.pt", "--target", "loihi2").code == 1


RUN = "import sys; sys.argv[0] = 'snnhw'; from snnhw.cli import main; main()"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A line for bash in which S is the command."""
    script = f'S() {{ "{sys.executable}" -c "{RUN}" "$@"; }}; {line}'
    folder = Path(cli.__file__).parent.parent
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, check=False)


def test_a_reader_that_has_gone_is_no_failure() -> None:
    done = shell("(sleep 0.2; S targets loihi2 --json; echo $? >&2) | true")
    assert (done.stdout, done.stderr) == ("", "0\n")


def test_a_full_standard_output_is_said() -> None:
    done = shell("S targets loihi2 > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: cannot-write: standard output cannot be written: No space left on device\n"


def test_closed_streams() -> None:
    done = shell("S targets >&- 2>&- <&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_reach_no_terminal_raw(tmp_path: Path) -> None:
    """Whatever a command prints passes through one stream."""
    np.savez(tmp_path / "a.npz", **{"u/\x1b]0;t\x07\u202e": np.zeros((1, 1, 1))})
    np.savez(tmp_path / "b.npz", **{"u/\x1b]0;t\x07\u202e": np.ones((1, 1, 1))})
    done = snnhw("diff", tmp_path / "a.npz", tmp_path / "b.npz")
    assert done.code == 1
    assert "\\x1b]0;t\\x07\\u202e" in done.out
    assert "\x1b" not in done.out


def test_no_line_of_a_name_looks_like_a_part() -> None:
    text = str(SnnhwError("code", "message", where="a\n  hint: run this", hint="real"))
    assert [line for line in text.splitlines() if line.startswith("  hint")] == ["  hint: real"]


READERS: dict[str, tuple[Any, str, str]] = {
    "artifact": (zipfile.ZipFile, "read", "inspect {}.snnhw"),
    "npz": (np, "load", "diff {0}.npz {0}.npz"),
    "checkpoint": (torch, "load", "check {}.pt --target loihi2"),
    "nir": (h5py, "File", "check {}.nir --target loihi2"),
    "net": (h5py, "File", "check {}.net --target loihi2"),
    "onnx": (onnx, "load", "check {}.onnx --target loihi2"),
}
FAULTS = {
    "memory": (MemoryError("Unable to allocate"), "out-of-memory"),
    "torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out-of-memory"),
    "disk": (OSError(5, "Input/output error"), "cannot-read"),
    "files": (OSError(24, "Too many open files"), "cannot-read"),
    "map": (OSError(12, "Cannot allocate memory"), "out-of-memory"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("kind", list(READERS))
def test_a_fault_of_the_machine_is_no_damage(
    kind: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, line = READERS[kind]
    error, code = FAULTS[fault]
    if kind == "onnx" and isinstance(error, RuntimeError):
        pytest.skip("onnx does not allocate through torch")
    suffix = line.split("{")[1].split("}")[1].split()[0]
    path = tmp_path / f"file{suffix}"
    if suffix == ".onnx":
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", "{}")
    monkeypatch.setattr(place, name, failing(error))
    done = snnhw(*line.format(tmp_path / "file").split(), "--json")
    assert done.code == (2 if kind == "npz" else 1), done.err
    assert json.loads(done.out)["error"]["code"] == code, done.err
    assert "damaged" not in done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "cannot-read"),
        (OSError(errno.EIO, "Input/output error"), "cannot-read"),
        (RuntimeError("could not create a primitive"), "out-of-memory"),
        (ImportError("x.so: failed to map segment from shared object"), "out-of-memory"),
        (OSError("Can't write data (memory allocation failed for chunk)"), "out-of-memory"),
    ],
)
def test_a_fault_of_the_machine_anywhere_is_no_defect(
    error: Exception, code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even where nobody foresaw it."""
    monkeypatch.setattr("snnhw.artifact.load", failing(error))
    done = snnhw("inspect", tmp_path / "x.snnhw")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {code}: ")


def test_out_of_memory_is_a_memory_error_too() -> None:
    assert issubclass(OutOfMemoryError, MemoryError)


def test_arrays_that_are_not_read_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), **{"Y\x1b": np.zeros(2, int)})
    done = snnhw("run", tmp_path / "no.snnhw", "--input", tmp_path / "d.npz")
    assert done.err.startswith("note: arrays of d.npz that are not read: Y\\x1b (x: samples, y: labels)\n")
