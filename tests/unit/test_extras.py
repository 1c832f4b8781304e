"""An installation without extras compiles, runs and compares; what needs one says which, before any work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snnhw.errors import SnnhwError
from snnhw.extras import EXTRAS, require
from tests.unit.commands.line import snnhw

SMALL = "example:spikeprop_xor"

BARE = """
import sys
for name in {packages!r}:
    sys.modules[name] = None
from snnhw.cli import main
main(sys.argv[1:])
"""


def bare(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line where no package of an extra can be imported."""
    code = BARE.format(packages=[name for packages in EXTRAS.values() for name in packages if name != "jinja2"])
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_the_core_needs_no_extra(tmp_path: Path) -> None:
    data, out = tmp_path / "x.npz", tmp_path / "a.snnhw"
    done = bare("compile", SMALL, "--target", "loihi2", "-o", out)
    assert (done.returncode, done.stderr) == (0, "")
    import numpy as np

    from snnhw import load

    np.savez(data, x=np.zeros((2, load(out).steps, *load(out).inputs[0].shape), np.float32))
    done = bare("run", out, "--input", data)
    assert (done.returncode, done.stderr) == (0, "")
    done = bare("compare", SMALL, out, "--data", data, "--markdown", tmp_path / "r.md")
    assert done.returncode == 0, done.stderr
    done = bare("compare", SMALL, out, "--data", data, "--html", tmp_path / "r.html")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: needs-extra: compare --html and --figures needs packages of the extra 'report'\n"
        "  needed: matplotlib>=3.9,<4\n  hint: pip install 'matplotlib>=3.9,<4'\n"
    )


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("compile", "example:ann_cnn.onnx", "--target", "loihi2"), "reading .onnx files"),
        (("export", "a.snnhw", "--to", "onnx", "-o", "a.onnx"), "export --to onnx"),
        (("run", "a.snnhw", "--input", "x.npz", "--engine", "onnx"), "the engine 'onnx'"),
    ],
)
def test_onnx_is_an_extra(words: tuple[str, ...], what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "a.snnhw"
    assert snnhw("compile", SMALL, "--target", "loihi2", "-o", out).code == 0
    import numpy as np

    from snnhw import load

    np.savez(tmp_path / "x.npz", x=np.zeros((2, load(out).steps, *load(out).inputs[0].shape), np.float32))
    monkeypatch.chdir(tmp_path)
    for name in EXTRAS["onnx"]:
        monkeypatch.setitem(sys.modules, name, None)
    done = snnhw(*words)
    assert done.code == 1
    assert f"needs-extra: {what} needs packages of the extra 'onnx'\n  needed: onnx>=1.16,<2, onnxruntime" in done.err


@pytest.mark.parametrize(
    ("words", "what"),
    [(("demo",), "demo"), (("train", "stbp_scnn_smoke", "--health", "h.html"), "train --health FILE.html")],
)
def test_pages_are_an_extra(words: tuple[str, ...], what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert f"needs-extra: {what} needs packages of the extra 'report'" in snnhw(*words).err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_there_is_not_refused(extra: str) -> None:
    require(extra, "a test")


def test_all_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in EXTRAS["report"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SnnhwError, match="a test needs packages of the extra 'report'") as caught:
        require("report", "a test")
    assert caught.value.hint == "pip install 'matplotlib>=3.9,<4' 'jinja2>=3.1,<4'"
