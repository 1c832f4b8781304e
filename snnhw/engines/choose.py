"""Engines by name: the one list of them. No engine ever falls back to another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from snnhw.errors import EngineError, nearest
from snnhw.extras import EXTRAS, require

if TYPE_CHECKING:
    from snnhw.engines.base import Engine

ENGINES = {
    "fast": "snnhw.engines.fast:FastEngine",
    "reference": "snnhw.engines.reference:ReferenceEngine",
    "lava": "snnhw.engines.lava.engine:LavaEngine",
    "onnx": "snnhw.engines.onnx.engine:OnnxEngine",
}
"""Engines that run artifacts, and where each is defined; `float` runs sources (`api.run_float`)."""


def integer_engine(name: str, **options: Any) -> Engine:
    """An integer engine with its own options; raises EngineError for one that does not exist."""
    if name not in ENGINES:
        is_float = name == "float"
        raise EngineError(
            "unknown-engine",
            "the engine 'float' runs sources, not artifacts" if is_float else f"no engine named {name!r}",
            limit=", ".join(ENGINES),
            hint="snnhw.run_float(source, x) runs the source" if is_float else nearest(name, ENGINES) or None,
        )
    module, _, attribute = ENGINES[name].partition(":")
    if name in EXTRAS:
        require(name, f"the engine {name!r}")
    return cast("Engine", getattr(import_module(module), attribute)(**options))
