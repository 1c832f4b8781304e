"""Engines by name. No engine ever falls back to another."""

from __future__ import annotations

from snnhw.engines.base import Engine
from snnhw.errors import EngineError

INTEGER_ENGINES = ("fast", "reference", "lava", "onnx")
"""Engines that run artifacts; `float` runs sources (`api.run_float`)."""


def integer_engine(name: str, timeout: float | None = None) -> Engine:
    """An integer engine; raises EngineError for one that does not exist (yet)."""
    match name:
        case "fast":
            from snnhw.engines.fast import FastEngine

            return FastEngine()
        case "reference":
            from snnhw.engines.reference import ReferenceEngine

            return ReferenceEngine()
        case "lava":
            from snnhw.engines.lava.engine import LavaEngine

            return LavaEngine(timeout=timeout)
        case "onnx":
            from snnhw.engines.onnx.engine import OnnxEngine

            return OnnxEngine()
        case _:
            is_float = name == "float"
            raise EngineError(
                "unknown-engine",
                "the engine 'float' runs sources, not artifacts" if is_float else f"no engine named {name!r}",
                limit=", ".join(INTEGER_ENGINES),
                hint="snnhw.run_float(source, x) runs the source" if is_float else None,
            )
