"""snnhw deploys trained spiking networks to neuromorphic chips: compile, run bit-exactly, count, compare."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnhw.api import compare, compile, neurobench, run, run_float, why
    from snnhw.artifact import Artifact, load, save
    from snnhw.errors import SnnhwError
    from snnhw.frontends.ann import convert_source as convert
    from snnhw.frontends.live_module import load_module
    from snnhw.frontends.options import SourceOptions
    from snnhw.machine import Machine, load_target
    from snnhw.report.objects import ComparisonReport
    from snnhw.shipped import example
    from snnhw.streaming import BeyondProof, Stream, open
    from snnhw.variants import what_if
    from snnhw.version import __version__

__all__ = [
    "Artifact",
    "BeyondProof",
    "ComparisonReport",
    "Machine",
    "SnnhwError",
    "SourceOptions",
    "Stream",
    "__version__",
    "compare",
    "compile",
    "convert",
    "example",
    "load",
    "load_module",
    "load_target",
    "neurobench",
    "open",
    "run",
    "run_float",
    "save",
    "what_if",
    "why",
]

_HOME = {
    "compare": "snnhw.api",
    "compile": "snnhw.api",
    "convert": "snnhw.frontends.ann",
    "example": "snnhw.shipped",
    "neurobench": "snnhw.api",
    "run": "snnhw.api",
    "run_float": "snnhw.api",
    "load": "snnhw.artifact",
    "load_module": "snnhw.frontends.live_module",
    "load_target": "snnhw.machine",
    "Machine": "snnhw.machine",
    "Artifact": "snnhw.artifact",
    "BeyondProof": "snnhw.streaming",
    "ComparisonReport": "snnhw.report.objects",
    "Stream": "snnhw.streaming",
    "open": "snnhw.streaming",
    "save": "snnhw.artifact",
    "why": "snnhw.api",
    "SnnhwError": "snnhw.errors",
    "SourceOptions": "snnhw.frontends.options",
    "what_if": "snnhw.variants",
    "__version__": "snnhw.version",
}


def __getattr__(name: str) -> Any:
    """Public names on first use: the Lava worker and `--help` must not pay for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'snnhw' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), "convert_source" if name == "convert" else name)


def __dir__() -> list[str]:
    """What Tab offers: the public names, imported or not."""
    return sorted({*globals(), *__all__})
