"""What every front end hands on: a NIR graph, its semantics, and the thing it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
from torch import nn

from snnhw.network import Array
from snnhw.semantics import Deployment, Semantics


@dataclass(frozen=True)
class Source:
    """One imported model.

    Args:
        graph: NIR graph in floats, BatchNorm folded; carries semantics and deployment as metadata.
        origin: file name, hash, recipe: whatever names the source.
        module: the torch module it came from, in eval mode, if there is one.
        calibration: training samples that came with the source, uint8 or float, if any.
    """

    graph: nir.NIRGraph
    semantics: Semantics
    deployment: Deployment
    origin: Mapping[str, Any] = field(default_factory=dict)
    module: nn.Module | None = None
    calibration: Array | None = None
