"""Every finding that is not right names the command that repairs it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from snnhw import doctor
from snnhw.extras import EXTRAS
from snnhw.version import __version__


def found(name: str) -> doctor.Finding:
    return next(f for f in doctor.diagnose() if f.name == name)


def test_this_machine_is_healthy() -> None:
    assert not [f for f in doctor.diagnose() if f.failed]


def test_what_is_wrong_has_a_command_and_what_is_right_has_none() -> None:
    for finding in doctor.diagnose():
        assert bool(finding.fix) != finding.ok, finding


def test_requirements_are_those_of_the_project(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert {*doctor.REQUIREMENTS.values(), doctor.TORCH} == set(project["dependencies"])
    extras = project["optional-dependencies"]
    assert all(set(packages.values()) == set(extras[name]) for name, packages in EXTRAS.items())
    assert set(EXTRAS) < set(extras["all"][0].partition("[")[2].rstrip("]").split(","))
    assert __version__ == project["version"]


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    finding = found("nir")
    assert finding.failed
    assert finding.detail.startswith("cannot be imported:")
    assert finding.fix == f"{sys.executable} -m pip install 'nir>=1.0.8,<2'"


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    finding = found("onnx")
    assert not finding.ok
    assert not finding.failed
    assert finding.detail.endswith("(extra 'onnx')")
    assert finding.fix == f"{sys.executable} -m pip install 'onnx>=1.16,<2'"


def test_missing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert found("torch").fix == f"{sys.executable} -m pip install 'torch>=2.5,<2.14'"


def test_broken_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnhw.engines import kernels

    def broken(*_: object, **more: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(kernels, "update", broken)
    finding = found("compiled kernels")
    assert (finding.failed, finding.detail) == (True, "do not compile: no compiler")
    assert finding.fix == f"{sys.executable} -m pip install --force-reinstall 'numba>=0.61,<1'"


def test_lava_and_data_are_optional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from snnhw.engines.lava import compat
    from snnhw.zoo import data

    monkeypatch.setattr(compat, "installed_version", lambda: None)
    monkeypatch.delenv(data.ENVIRONMENT, raising=False)
    monkeypatch.setattr(data, "PACKAGE_FOLDER", tmp_path / "none")
    lava, images = found("lava"), found("fashion-mnist")
    assert (lava.ok, lava.failed, images.ok, images.failed) == (False, False, False, False)
    assert "--no-deps --ignore-requires-python lava-nc==0.10.0" in lava.fix
    assert images.fix == "apt-get update && apt-get install -y dataset-fashion-mnist"
