"""Networks of spike times as NIR nodes: delayed connections, and neurons that spike once a sample.

NIR has no neuron that spikes once. It is built from three: `.any` spikes whenever the membrane is at the threshold,
`.since` has counted whether it did before, and the gate lets the first through: [any[t] - since[t - 1] > 1/2].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from snnhw.frontends.gates import Add, Shape
from snnhw.network import Array
from snnhw.semantics import CurrentOrder, Semantics
from snnhw.zoo.timed import Delayed, FirstSpike


def first_spike(name: str, layer: FirstSpike, sources: list[str], shape: Shape, dt: float, add: Add) -> list[str]:
    """The nodes of a `FirstSpike` layer; the last carries its name."""

    def full(value: float) -> Array:
        return np.full(shape, value)

    current = add(f"{name}.current", _integrator(layer.u_keep, full, dt), sources, shape)
    crossing = {"v_threshold": full(layer.threshold), "v_reset": full(0.0)}
    membrane: nir.NIRNode
    if layer.v_keep == 1.0:
        membrane = nir.IF(r=full(1.0 / dt), **crossing)
    else:
        leak = 1.0 - layer.v_keep
        membrane = nir.LIF(tau=full(dt / leak), r=full(1.0 / leak), v_leak=full(0.0), **crossing)
    fired = add(f"{name}.any", membrane, current, shape)
    counted = add(f"{name}.count", nir.I(r=full(1.0 / dt)), fired, shape)
    since = add(f"{name}.since", nir.Threshold(full(0.5)), counted, shape)
    before = add(f"{name}.before", nir.Delay(full(dt)), since, shape)
    blocked = add(f"{name}.not", nir.Scale(full(-1.0)), before, shape)
    return add(name, nir.Threshold(full(0.5)), [*fired, *blocked], shape)


def _integrator(keep: float, full: Callable[[float], Array], dt: float) -> nir.NIRNode:
    """u[t] = keep u[t-1] + x[t]."""
    if keep == 1.0:
        return nir.I(r=full(1.0 / dt))
    leak = 1.0 - keep
    return nir.LI(tau=full(dt / leak), r=full(1.0 / leak), v_leak=full(0.0))


def delayed(
    name: str, layer: Delayed, sources: list[str], before: Shape, after: Shape, dt: float, add: Add
) -> list[str]:
    """One Delay and one Linear for each delay; their outputs sum where they are read."""
    found: list[str] = []
    for k, (delay, weight) in enumerate(zip(layer.delays, layer.weight.detach().double().numpy(), strict=True)):
        late = add(f"{name}.delay{k}", nir.Delay(np.full(before, delay * dt)), sources, before)
        found += add(f"{name}.{k}", nir.Linear(weight=weight), late, after)
    return found


def crossing_semantics(name: str, layer: FirstSpike, default: Semantics) -> dict[str, dict[str, Any]]:
    """Fields in which `.any` differs from the network's default; its reset is free: only its first spike counts."""
    own = {"threshold": layer.comparison, "multispike": 1, "v_min": None, "integrator": "euler", "v_init": "v_reset"}
    own |= {"current_order": CurrentOrder.SAME_STEP}
    different = {key: value for key, value in own.items() if getattr(default, key) != value}
    return {f"{name}.any": different} if different else {}
