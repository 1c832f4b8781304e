"""snnhw's own neurons and delayed connections (snnhw.zoo), which take all steps (T, N, ...) at once.

NIR has no neuron that spikes once. It is built from three: `.any` spikes whenever the membrane is at the threshold,
`.since` has counted whether it did before, and the gate lets the first through: [any[t] - since[t - 1] > 1/2].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from torch import nn

from snnhw.frontends.live.adapter import OUT, Call, Cell, Part, Shape, array, cell_of, given, refused, require_own_code
from snnhw.frontends.own import NeuronNode
from snnhw.network import Array, Comparison, Reset
from snnhw.zoo.competition import Competing
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.timed import Delayed, FirstSpike

PACKAGE = "snnhw"

OWN = "snnhw_neuron"
"""A method of modules that are neurons of a model of `snnhw.neurons`: its name, parameters by name, and (comparison,
reset)."""


class ZooAdapter:
    """Neurons of snnhw.zoo.neurons and snnhw.neurons, FirstSpike and Delayed of snnhw.zoo.timed, and Competing."""

    name = "snnhw.zoo"

    def claims(self, layer: nn.Module) -> bool:
        """The zoo's neurons and delays, and what inherits from them."""
        return isinstance(layer, (Neuron, FirstSpike, Delayed, Competing)) or hasattr(type(layer), OWN)

    def keeps_time(self, layer: nn.Module) -> bool:
        """All of them."""
        return True

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """Currents to spikes, both (T, N, ...)."""
        return Call(given(layer, args, kwargs)[0], result, "TN")

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """By what the layer's own properties say."""
        require_own_code(layer, PACKAGE, self.name, where)
        if read != OUT:
            raise refused(layer, self.name, where, "a membrane is read", "read the spikes")
        if isinstance(layer, FirstSpike):
            return _first_spike(layer, shape, dt)
        if isinstance(layer, Competing):
            return _competing(layer, shape, dt)
        if isinstance(layer, Delayed):
            return _delayed(layer, dt)
        if not isinstance(layer, Neuron):
            model, parameters, (comparison, reset) = getattr(layer, OWN)()
            node = NeuronNode(model, {key: array(value, shape, where) for key, value in parameters.items()})
            return cell_of(node, _rules(comparison, reset, 0.0))
        soft = layer.v_reset is None
        rest = 0.0 if layer.v_reset is None else layer.v_reset
        node = _spiking(layer.decay, layer.gain, layer.v_threshold, rest, shape, dt)
        reset = Reset.SUBTRACT if soft else Reset.V_RESET if rest else Reset.ZERO
        return cell_of(node, _rules(layer.comparison, reset, "v_reset" if layer.v_init is None else layer.v_init))

    def reset(self, layer: nn.Module) -> None:
        """A call starts a sample; nothing is kept."""

    def threads(self, module: nn.Module) -> bool:
        """Modules take all steps at once."""
        return False


def _rules(comparison: str, reset: Reset, v_init: float | str) -> dict[str, Any]:
    return {
        "reset": reset,
        "threshold": Comparison(comparison),
        "v_init": v_init,
    }


def _competing(layer: Competing, shape: Shape, dt: float) -> Cell:
    """Leaky neurons that read each other's spikes of the step before."""
    node = _spiking(layer.keep, 1.0, layer.thresholds.double().cpu().numpy(), 0.0, shape, dt)
    recurrent = nir.Linear(layer.inhibiting().cpu().numpy())
    return cell_of(node, _rules("ge", Reset.ZERO, "v_reset"), recurrent)


def _spiking(
    keep: float, gain: float, threshold: float | Array, rest: float, shape: Shape, dt: float
) -> nir.IF | nir.LIF:
    """v' = rest + keep (v - rest) + gain x; IF where nothing leaks, else LIF with tau = dt / (1 - keep)."""
    fixed = {"v_threshold": np.full(shape, threshold), "v_reset": np.full(shape, rest)}
    if keep == 1.0:
        return nir.IF(r=np.full(shape, gain / dt), **fixed)
    leak = 1.0 - keep
    return nir.LIF(tau=np.full(shape, dt / leak), r=np.full(shape, gain / leak), v_leak=np.full(shape, rest), **fixed)


def _first_spike(layer: FirstSpike, shape: Shape, dt: float) -> Cell:
    """The reset of `.any` is free: only its first spike counts."""

    def full(value: float) -> Array:
        return np.full(shape, value)

    rules = _rules(layer.comparison, Reset.ZERO, "v_reset")
    leak = 1.0 - layer.u_keep
    current = nir.LI(full(dt / leak), full(1.0 / leak), full(0.0)) if leak else nir.I(full(1.0 / dt))
    membrane = _spiking(layer.v_keep, 1.0, layer.threshold, 0.0, shape, dt)
    parts = {
        ".current": Part(current, semantics=rules),
        ".any": Part(membrane, ((".current", 0),), rules),
        ".count": Part(nir.I(full(1.0 / dt)), ((".any", 0),), rules),
        ".since": Part(nir.Threshold(full(0.5)), ((".count", 0),)),
        ".before": Part(nir.Delay(full(dt)), ((".since", 0),)),
        ".not": Part(nir.Scale(full(-1.0)), ((".before", 0),)),
        "": Part(nir.Threshold(full(0.5)), ((".any", 0), (".not", 0))),
    }
    return Cell(parts)


def _delayed(layer: Delayed, dt: float) -> Cell:
    """One Delay and one Linear for each delay; their outputs sum where they are read."""
    parts: dict[str, Part] = {}
    for k, (delay, weight) in enumerate(zip(layer.delays, layer.weight.detach().double().cpu().numpy(), strict=True)):
        parts[f".delay{k}"] = Part(nir.Delay(np.full(weight.shape[1], delay * dt)))
        parts[f".{k}"] = Part(nir.Linear(weight=weight), ((f".delay{k}", 0),))
    return Cell(parts, tuple(f".{k}" for k in range(len(layer.delays))))


ADAPTER = ZooAdapter()
