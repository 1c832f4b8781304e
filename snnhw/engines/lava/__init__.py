"""The network as Lava processes, in a worker subprocess (docs/design.md, "Engines"). Importing this imports no Lava."""

from __future__ import annotations

from snnhw.engines.lava.compat import lava_status
from snnhw.engines.lava.engine import LavaEngine

__all__ = ["LavaEngine", "lava_status"]
