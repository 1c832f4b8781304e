"""A small random network as a NIR source, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np

from snnhw.artifact import Artifact
from snnhw.frontends.nir.shapes import with_shapes
from snnhw.frontends.source import Source
from snnhw.semantics import PLAIN, Deployment, Semantics, to_metadata

DT, STEPS, SIZES = 1e-3, 8, (12, 24, 16, 6)
Parameters = dict[str, np.ndarray]


def parameters(seed: int = 0) -> Parameters:
    """Weights and biases by layer."""
    rng, found = np.random.default_rng(seed), Parameters()
    for i, (pre, post) in enumerate(pairwise(SIZES)):
        found[f"fc{i + 1}"] = rng.normal(size=(post, pre)) * 1.6 / np.sqrt(pre) + 0.02
        found[f"fc{i + 1}.bias"] = rng.normal(size=post) * 0.1
    return found


def source(p: Parameters, *, current: bool = False, mean: bool = False, keep: float = 0.9) -> Source:
    """Three layers of LIF, with synaptic currents, or with the last layer read itself."""
    nodes: dict[str, nir.NIRNode] = {"in": nir.Input({"input": np.array(SIZES[:1])})}
    edges, last, lam = list[tuple[str, str]](), "in", 1.0 - keep
    for i, n in enumerate(SIZES[1:], 1):
        nodes[f"fc{i}"] = nir.Affine(p[f"fc{i}"], p[f"fc{i}.bias"])
        edges.append((last, f"fc{i}"))
        last = f"fc{i}"
        if mean and i == len(SIZES) - 1:
            break
        one = np.ones(n)
        levels: dict[str, Any] = {"v_threshold": one, "v_leak": 0 * one, "v_reset": 0 * one}
        if current:
            levels |= {"tau_syn": DT / 0.4 * one, "tau_mem": DT / lam * one, "w_in": one / 0.4}
            nodes[f"l{i}"] = nir.CubaLIF(r=one / lam, **levels)
        else:
            nodes[f"l{i}"] = nir.LIF(tau=DT / lam * one, r=one / lam, **levels)
        edges.append((last, f"l{i}"))
        last = f"l{i}"
    nodes["out"] = nir.Output({"output": np.array(SIZES[-1:])})
    edges.append((last, "out"))
    semantics = Semantics(**{**PLAIN, "reset": "subtract"}, dt=DT)
    deployment = Deployment(STEPS, "direct", SIZES[:1], "mean" if mean else "rate")
    graph = nir.NIRGraph(nodes, edges, metadata=to_metadata(semantics, deployment), type_check=False)
    return Source(with_shapes(graph), semantics, deployment, {"file": "net.nir"})


def samples(n: int = 96, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, *SIZES[:1])).astype(np.float32)


def edited(artifact: Artifact, name: str, field: str, change: Callable[[Any], Any]) -> Artifact:
    """The artifact with another integer parameter in one population."""
    network = artifact.network
    changed = {field: change(getattr(network[name].model, field))}
    populations = tuple(
        replace(p, neuron=replace(p.model, **changed)) if p.name == name else p for p in network.populations
    )
    return replace(artifact, network=replace(network, populations=populations))
