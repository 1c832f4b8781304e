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

from snnhw.frontends.live.adapter import (
    MEMBRANE,
    Call,
    Cell,
    Shape,
    array,
    cell_of,
    class_of,
    comparison_of,
    given,
    refused,
    require_own_code,
)
from snnhw.frontends.live.equations import Membrane, spiking
from snnhw.network import Comparison, Reset

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
        return Call(given(layer, args, kwargs)[0], result, "TN" if self.keeps_time(layer) else "N")

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """See the module's equations."""
        kind = class_of(layer, PACKAGE)
        if kind not in READ:
            raise refused(layer, self.name, where, f"{kind} has no form on a core", "IFNode or LIFNode", READ)
        require_own_code(layer, PACKAGE, self.name, where)
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
            "threshold": self._comparison(layer, where),
            "v_init": self._start(node, 0.0 if soft else float(node.v_reset), where),
        }
        return cell_of(nir_node, semantics, before=before)

    def _comparison(self, layer: Any, where: str) -> Comparison:
        """By the surrogate; 0.0.0.0.14 compares by >= in eval mode where it has a jit form, whatever the surrogate."""
        found = comparison_of(layer.surrogate_function, layer, self.name, where)
        if found is not Comparison.GE and any(name.startswith("jit_eval") for name in dir(type(layer))):
            what = "the surrogate fires above the threshold only, but in eval mode the layer fires at it"
            raise refused(layer, self.name, where, what, "a surrogate that gives 1 at 0")
        return found

    def _start(self, layer: Any, rest: float, where: str) -> float:
        """The membrane that `reset` goes back to; a current starts at zero."""
        first = dict(getattr(layer, "_memories_rv", {}))
        value = first.pop("v", rest)
        start = np.unique(array(value, tuple(np.shape(value)), where))
        if start.size != 1:
            raise refused(layer, self.name, where, "neurons start at different membranes", "one reset value of v")
        for name, value in first.items():
            if value is None or np.any(array(value, tuple(np.shape(value)), where)):
                raise refused(layer, self.name, where, f"the state {name} does not start at zero", "a reset value of 0")
        return float(start[0])

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
