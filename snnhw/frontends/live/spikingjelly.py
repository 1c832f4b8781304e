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
from torch import Tensor, nn

from snnhw.frontends.live.adapter import (
    MEMBRANE,
    OUT,
    Call,
    Cell,
    Other,
    Shape,
    array,
    cell_of,
    class_of,
    comparison_of,
    given,
    refused,
    require_own_code,
)
from snnhw.frontends.live.equations import Membrane, silent, spiking
from snnhw.network import Comparison, Reset

PACKAGE = "spikingjelly"
READ = ("IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode", "SimpleIFNode", "SimpleLIFNode")
SILENT = ("NonSpikingIFNode", "NonSpikingLIFNode")
"""Membranes alone, of T steps at once: all of them, or decoded to one value."""

DECODED = {"max-mem": "max", "mean-mem": "mean"}


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
        """Input -> spikes; the state stays inside, where forward may read it."""
        current, node = given(layer, args, kwargs)[0], layer
        if self._shows_membranes(layer):
            return _membranes(layer, current, result)
        membrane = getattr(node, "v", None)
        membrane = membrane if isinstance(membrane, Tensor) else None
        if not self.keeps_time(layer):
            return Call(current, result, "N", membrane=None if membrane is result else membrane, keeps=True)
        over_time = getattr(node, "v_seq", None) if getattr(node, "store_v_seq", False) else None
        last = () if membrane is None else (Other(membrane, MEMBRANE, -1),)
        return Call(current, result, "TN", membrane=over_time, keeps=True, others=last)

    def _shows_membranes(self, layer: nn.Module) -> bool:
        return any(c.__name__ == "NonSpikingBaseNode" for c in type(layer).__mro__)

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """See the module's equations."""
        kind = class_of(layer, PACKAGE)
        node: Any = layer
        if kind in SILENT:
            require_own_code(layer, PACKAGE, self.name, where)
            lam = np.full(shape, 1.0 / node.tau if kind == "NonSpikingLIFNode" else 1.0)
            keep = 1 - lam if kind == "NonSpikingLIFNode" else np.ones(shape)
            return cell_of(silent(Membrane(keep, lam, np.zeros(shape)), dt, where), {"v_init": 0.0})
        if kind not in READ:
            raise refused(layer, self.name, where, f"{kind} has no form on a core", "IFNode or LIFNode", READ)
        shows = _returns_membrane(layer)
        if not shows:
            require_own_code(layer, PACKAGE, self.name, where)
        if shows or (read == MEMBRANE and np.isinf(array(node.v_threshold, shape, where)).all()):
            rest = np.full(shape, 0.0 if node.v_reset is None else float(node.v_reset))
            start = self._start(node, float(rest.flat[0]), where)
            return cell_of(silent(_equation(node, kind, rest, shape, where), dt, where), {"v_init": start})
        if read == MEMBRANE:
            raise refused(layer, self.name, where, "a membrane that resets is read", "read the spikes")
        if np.isinf(array(node.v_threshold, shape, where)).any():
            what = "a threshold is infinite: it never fires, and only its membrane can be read"
            raise refused(layer, self.name, where, what, "read its v")
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
        first.pop("v_seq", None)  # a record of v, which 0.0.0.0.14 lists among the states
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


def _returns_membrane(layer: nn.Module) -> bool:
    """Whether a subclass's step charges and shows its membrane, and does nothing else (NonSpikingLIFNode of the
    framework's own examples)."""
    own = vars(type(layer))
    step = own.get("single_step_forward")
    others = [
        name for name, value in own.items() if callable(value) and name not in ("__init__", "single_step_forward")
    ]
    used = () if step is None else step.__code__.co_names
    return not others and used in (("neuronal_charge", "v"), ("v_float_to_tensor", "neuronal_charge", "v"))


def _membranes(layer: nn.Module, current: Tensor, result: Any) -> Call:
    """A call of a node that never fires, over T steps."""
    decode = getattr(layer, "decode", None)
    if isinstance(result, list):
        shown = tuple(Other(tensor, OUT, step) for step, tensor in enumerate(result))
        return Call(current, torch.stack(result), "TN", others=shown)
    last = Other(result, OUT, -1) if decode not in DECODED else Other(result, OUT, None, DECODED[decode])
    if decode == "max-abs-mem":
        raise refused(
            layer, "SpikingJelly", "", "decode max-abs-mem is no readout", "decode=None, 'max-mem', 'mean-mem'"
        )
    return Call(current, torch.empty_like(current), "TN", others=(last,), hidden=True)


def _equation(node: Any, kind: str, rest: Any, shape: Shape, where: str) -> Membrane:
    one = np.ones(shape)
    if kind in ("IFNode", "SimpleIFNode"):
        return Membrane(one, one, np.zeros(shape))
    if kind == "CUBALIFNode":
        decay = array(node.v_decay, shape, where)
        return Membrane(decay, one, np.zeros(shape), array(node.c_decay, shape, where), one)
    lam = array(torch.sigmoid(node.w) if kind == "ParametricLIFNode" else 1.0 / node.tau, shape, where)
    return Membrane(1 - lam, lam if node.decay_input else one, lam * rest)


ADAPTER = SpikingJellyAdapter()
