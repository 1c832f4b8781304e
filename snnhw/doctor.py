"""What this machine has and lacks, and the exact command for each thing that is missing (`snnhw doctor`)."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from snnhw.extras import EXTRAS

PYTHON = (3, 11)

REQUIREMENTS = {
    "numpy": "numpy>=2.0,<3",
    "nir": "nir>=1.0.8,<2",
    "click": "click>=8.2,<9",
    "rich": "rich>=13,<16",
    "numba": "numba>=0.61,<1",
    "pydantic": "pydantic>=2.10,<3",
    "scipy": "scipy>=1.13,<2",
    "h5py": "h5py>=3.11,<4",
}
"""Import name (here also the package's name) -> what pyproject.toml asks for; torch has its own check."""

TORCH = "torch>=2.5,<2.14"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Args:
        name: what was looked at.
        ok: whether it is as it should be.
        detail: what was found.
        fix: the command that repairs it, '' when nothing needs repair.
        optional: whether snnhw does its main work without it.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    optional: bool = False

    @property
    def failed(self) -> bool:
        """Something is missing that snnhw cannot do without."""
        return not self.ok and not self.optional


def diagnose() -> list[Finding]:
    """Every check, in the order in which one would repair."""
    checks: list[Callable[[], Finding]] = [_python]
    checks += [partial(_package, name, asked) for name, asked in REQUIREMENTS.items()]
    extras = ((name, asked, extra) for extra, packages in EXTRAS.items() for name, asked in packages.items())
    checks += [partial(_package, *row) for row in extras]
    checks += [_torch, _kernels, _targets, _lava, _fashion_mnist]
    return [check() for check in checks]


def _python() -> Finding:
    found = sys.version.split()[0]
    ok = sys.version_info >= PYTHON
    fix = "" if ok else "python3.11 -m venv .venv && .venv/bin/pip install ."
    return Finding("python", ok, f"{found} at {sys.executable}", fix)


def _pip(*requirements: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *requirements])


def _package(name: str, asked: str, extra: str = "") -> Finding:
    """Whether it can be imported: an installed package can still lack its binary parts."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        of = f" (extra {extra!r})" if extra else ""
        return Finding(name, False, f"cannot be imported: {error}{of}", _pip(asked), optional=bool(extra))
    return Finding(name, True, metadata.version(re.split("[<>=]", asked)[0]))


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("torch", False, f"cannot be imported: {error}", _pip(TORCH))
    total = float(torch.ones(3).sum())
    return Finding("torch", total == 3, f"{torch.__version__}, {torch.get_num_threads()} threads on the CPU", "")


def _kernels() -> Finding:
    """Compiles (or loads from the cache) the fast engine's kernel and runs one neuron for two steps."""
    name = "compiled kernels"
    try:
        import numpy as np

        from snnhw.engines import kernels
        from snnhw.network import IntNeuron

        neuron = IntNeuron(dv=0, vth=np.array(64), bias=np.array(0), du=4096, act_shift=6)
        spikes, *_ = kernels.update(neuron, True, np.array([[[1], [1]]], np.int32))
        found = [int(s) for s in spikes.ravel()]
    except Exception as error:  # noqa: BLE001 - numba's errors share no class, and a doctor reports all of them
        return Finding(name, False, f"do not compile: {error}", _pip("--force-reinstall", REQUIREMENTS["numba"]))
    ok = found == [0, 1]
    return Finding(name, ok, "compiled and right" if ok else f"wrong: {found}", "" if ok else _clean_cache())


def _clean_cache() -> str:
    """Numba keeps compiled kernels beside their source."""
    return "rm -rf " + shlex.quote(str(Path(__file__).parent / "engines" / "__pycache__"))


def _targets() -> Finding:
    from snnhw import machine

    names = machine.available()
    return Finding(
        "targets", bool(names), ", ".join(names) or "none found", "" if names else _pip("--force-reinstall", "snnhw")
    )


def _lava() -> Finding:
    from snnhw.engines.lava.compat import lava_status

    ok, detail, fix = lava_status()
    here = fix.replace("pip install", f"{shlex.quote(sys.executable)} -m pip install")
    return Finding("lava", ok, detail, here, optional=True)


def _fashion_mnist() -> Finding:
    from snnhw.errors import SnnhwError
    from snnhw.zoo.data import ENVIRONMENT, folder_of

    name = "fashion-mnist"
    try:
        return Finding(name, True, str(folder_of()), optional=True)
    except SnnhwError as error:
        fix = "apt-get update && apt-get install -y dataset-fashion-mnist"
        return Finding(name, False, f"{error.message}: {error.where} (or set {ENVIRONMENT})", fix, optional=True)
