"""What a command loads before it works, and what it says while kernels are compiled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from numba import njit

from snnhw.commands.common import kernels_told
from tests.unit.commands.line import Room

ROOT = Path(__file__).resolve().parents[3]
LOADED = """
import json, sys
from snnhw.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code
print(json.dumps(sorted({name for name in sys.modules if name.count(".") < 3})))
"""


def loaded(*words: object) -> set[str]:
    """Modules in memory after a command in a process of its own."""
    line = [sys.executable, "-c", LOADED, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=240, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_loads_neither_arrays_nor_frameworks() -> None:
    assert not loaded("--help") & {"numpy", "torch", "numba", "pydantic", "scipy"}


def test_run_of_an_artifact_loads_no_front_end_no_compiler_and_no_reports(sew: Room) -> None:
    seen = loaded("run", sew / "net.snnhw", "--input", sew / "data.npz", "--samples", 1)
    assert {"torch", "snnhw.engines.fast"} <= seen
    assert not seen & {"scipy.stats", "scipy.sparse", "matplotlib", "jinja2", "onnx", "onnxruntime", "nir", "h5py"}
    assert not {name for name in seen if name.startswith(("snnhw.pipeline", "snnhw.lowering", "snnhw.report"))}


def test_compiling_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = njit(lambda x: x + 1), njit(lambda x: x + 2)
    with kernels_told():
        assert one(1) + other(1) == 5
        assert one(1) == 2
    assert capsys.readouterr().err == "compiling kernels (once) …\n"
    with kernels_told():
        assert one(2) == 3
    assert capsys.readouterr().err == ""
