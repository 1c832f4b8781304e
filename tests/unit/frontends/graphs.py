"""Small NIR graphs with our metadata, and damaged ones."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnhw.semantics import Deployment, Semantics, to_metadata

OPTIONS: dict[str, Any] = {
    "dt": 1e-4,
    "reset": "zero",
    "reset_timing": "same_step",
    "threshold": "gt",
    "multispike": 1,
    "v_min": None,
    "integrator": "euler",
    "current_order": "same_step",
    "v_init": "v_reset",
    "time_layout": "TNC",
}


def semantics(**changes: Any) -> Semantics:
    return Semantics(**{**OPTIONS, **changes})


def deployment(shape: tuple[int, ...] = (3,), readout: str = "rate") -> Deployment:
    return Deployment(4, "direct", shape, readout)


def lif(size: int = 2, **changes: Any) -> nir.LIF:
    """v = 0.5 v + x, threshold 1."""
    parts = {"tau": 2e-4, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{name: np.full(size, value) for name, value in {**parts, **changes}.items()})


def nodes() -> dict[str, nir.NIRNode]:
    """input (3) -> fc -> neuron (2) -> output."""
    return {
        "input": nir.Input({"input": np.array([3])}),
        "fc": nir.Affine(weight=np.array([[1.0, 2, 3], [-1, 1, 0.5]]), bias=np.array([0.5, 0])),
        "neuron": lif(),
        "output": nir.Output({"output": np.array([2])}),
    }


EDGES = [("input", "fc"), ("fc", "neuron"), ("neuron", "output")]


def graph(
    changes: dict[str, nir.NIRNode] | None = None,
    edges: list[tuple[str, str]] | None = None,
    metadata: dict[str, Any] | None = None,
) -> nir.NIRGraph:
    """The graph above with other nodes or edges."""
    found = {**nodes(), **(changes or {})}
    own = to_metadata(semantics(), deployment()) if metadata is None else metadata
    return nir.NIRGraph(found, edges if edges is not None else EDGES, metadata=own, type_check=False)
