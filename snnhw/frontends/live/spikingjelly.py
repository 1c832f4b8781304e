"""SpikingJelly 2.x and 0.0.0.0.14: IFNode, LIFNode, ParametricLIFNode, CUBALIFNode, single and multi-step.

A step (activation_based.neuron): IF u = v + x; LIF u = v + (x - (v - v_reset)) / tau with decay_input, else
u = v - (v - v_reset) / tau + x; CUBALIF i = c_decay i + x, u = v_decay v + i. z = [u >= thr]; v = v_reset, or u - z thr
where v_reset is None. PLIF has 1 / tau = sigmoid(w).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from snnhw.frontends.live.adapter import MEMBRANE, Call, Cell, Shape, array, class_of, refused
from snnhw.frontends.live.equations import Membrane, spiking
from snnhw.network import Comparison, Reset, ResetTiming

PACKAGE = "spikingjelly"
READ = ("IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode")


class SpikingJellyAdapter:
    """Neurons of spikingjelly.activation_based.neuron."""

    name = "SpikingJelly"

    def claims(self, layer: nn.Module) -> bool:
        """Everything that the neuron module of the package defines."""
        own = (c.__module__.split(".") for c in type(layer).__mro__)
        return any(parts[0] == PACKAGE and "neuron" in parts for parts in own)

    def keeps_time(self, layer: nn.Module) -> bool:
        """step_mode 'm'."""
        return getattr(layer, "step_mode", "s") == "m"

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """Input -> spikes; the state stays inside."""
        given = [*args, *kwargs.values()]
        return Call(given[0], result, "TN" if self.keeps_time(layer) else "N")

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """See the module's equations."""
        kind = class_of(layer, PACKAGE)
        if kind not in READ:
            raise refused(layer, self.name, where, f"{kind} has no form on a core", "IFNode or LIFNode", READ)
        if read == MEMBRANE:
            raise refused(layer, self.name, where, "a membrane that resets is read", "read the spikes")
        node: Any = layer
        soft = node.v_reset is None
        rest = np.full(shape, 0.0 if soft else float(node.v_reset))
        equation = _equation(node, kind, rest, shape, where)
        nir_node, before = spiking(equation, array(node.v_threshold, shape, where), rest, dt, where)
        reset = Reset.SUBTRACT if soft else Reset.V_RESET if rest.any() else Reset.ZERO
        semantics = {
            "reset": reset,
            "reset_timing": ResetTiming.SAME_STEP,
            "threshold": Comparison.GE,
            "multispike": 1,
            "v_min": None,
            "v_init": 0.0 if soft else float(node.v_reset),
        }
        return Cell(nir_node, semantics, before=before)

    def reset(self, layer: nn.Module) -> None:
        """As spikingjelly.activation_based.functional.reset_net does."""
        reset: Any = getattr(layer, "reset", None)
        if reset is not None:
            reset()

    def threads(self, module: nn.Module) -> bool:
        """Layers keep their states themselves."""
        return False


def _equation(node: Any, kind: str, rest: Any, shape: Shape, where: str) -> Membrane:
    one = np.ones(shape)
    if kind == "IFNode":
        return Membrane(one, one, np.zeros(shape))
    if kind == "CUBALIFNode":
        decay = array(node.v_decay, shape, where)
        return Membrane(decay, one, np.zeros(shape), array(node.c_decay, shape, where), one)
    lam = array(torch.sigmoid(node.w) if kind == "ParametricLIFNode" else 1.0 / node.tau, shape, where)
    return Membrane(1 - lam, lam if node.decay_input else one, lam * rest)


ADAPTER = SpikingJellyAdapter()
