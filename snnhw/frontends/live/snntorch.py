"""snnTorch 1.x: Leaky, Synaptic, their recurrent forms, and Lapicque.

A step (snntorch._neurons), q = H(v - thr) of the step before, H(x) = [x > 0]: i = alpha i + x; u = beta v + i
(+ w_rec z).
'subtract', reset_delay: v = u - q thr, z = H(v - thr): next-step subtraction; else `snnhw/neurons/prepaid.py`.
'zero': Leaky forgets v before the step; the others lose their whole step, input included, which is no reset of NIR's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from torch import nn

from snnhw.frontends.convert import converted
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
    is_class,
    refused,
    require_own_code,
    tensors,
)
from snnhw.frontends.live.equations import Membrane, silent, spiking
from snnhw.network import Reset, ResetTiming

PACKAGE = "snntorch"
READ = ("Leaky", "Synaptic", "RLeaky", "RSynaptic", "Lapicque")
CURRENT = ("Synaptic", "RSynaptic")
RECURRENT = ("RLeaky", "RSynaptic")


class SnnTorchAdapter:
    """Neurons of snntorch."""

    name = "snnTorch"

    def claims(self, layer: nn.Module) -> bool:
        """Everything that is a SpikingNeuron, and layers that keep time in other ways."""
        return is_class(
            layer, PACKAGE, "SpikingNeuron", "StateLeaky", "LinearLeaky", "LeakyParallel", "AssociativeLeaky"
        )

    def keeps_time(self, layer: nn.Module) -> bool:
        """Never: one step a call."""
        return False

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """(input, states...) -> spikes, or (spikes, states...), the membrane last."""
        current, *handed = given(layer, args, kwargs)
        found = tensors(result)
        states = tuple(tensors(handed))
        membrane = found[-1] if len(found) > 1 else getattr(layer, "mem", None)
        delayed = bool(getattr(layer, "reset_delay", True))  # what resets to zero a step later is shown before it does
        keeps = str(getattr(layer, "reset_mechanism", "")) == "subtract" or not delayed
        return Call(current, found[0], "N", states, membrane, tuple(found[1:-1]), keeps=keeps)

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """See the module's equations."""
        kind = class_of(layer, PACKAGE)
        if kind not in READ:
            raise refused(layer, self.name, where, f"{kind} has no form on a core", "Leaky or Synaptic", READ)
        require_own_code(layer, PACKAGE, self.name, where)
        self._require_plain(layer, where)
        equation = _equation(layer, kind, shape, where)
        rule = str(layer.reset_mechanism)
        if read == MEMBRANE:
            if rule != "none":
                what, hint = "the membrane of a layer that resets is read", "reset_mechanism='none'"
                if rule == "zero":
                    what += ": it is shown before its reset to zero, which a core does not keep"
                    hint = "reset_mechanism='subtract' or 'none', reset_delay=False, or the spikes"
                raise refused(layer, self.name, where, what, hint)
            if kind in RECURRENT:
                raise refused(layer, self.name, where, "the membrane of a recurrent layer is read", "read the spikes")
            return cell_of(silent(equation, dt, where), {"v_init": 0.0})
        semantics = self._semantics(layer, kind, rule, where)
        threshold = array(layer.threshold, shape, where)
        node, before = spiking(equation, threshold, np.zeros(shape), dt, where)
        recurrent = _recurrent(layer, shape, where) if kind in RECURRENT else None
        if before and recurrent is not None:
            raise refused(layer, self.name, where, "RSynaptic with beta = 1 and alpha < 1", "beta below 1")
        return cell_of(node, semantics, recurrent, before)

    def _semantics(self, layer: Any, kind: str, rule: str, where: str) -> dict[str, Any]:
        """Threshold and reset of a layer."""
        delayed = bool(getattr(layer, "reset_delay", True)) or kind == "RSynaptic"  # 1.0.0 ignores RSynaptic's
        if rule == "none":
            raise refused(
                layer,
                self.name,
                where,
                "reset_mechanism 'none' of a layer whose spikes are read",
                "'subtract', or 'zero'",
            )
        if rule == "zero" and kind != "Leaky" and delayed:
            what = f"reset_mechanism 'zero' of {kind} drops the input of the step after a spike"
            raise refused(layer, self.name, where, what, "'subtract', or reset_delay=False")
        if rule == "subtract":
            reset, timing = Reset.SUBTRACT, ResetTiming.NEXT_STEP if delayed else ResetTiming.PREPAID
        else:
            reset, timing = Reset.ZERO, ResetTiming.SAME_STEP
        return {
            "reset": reset,
            "reset_timing": timing,
            "threshold": comparison_of(layer.spike_grad, layer, self.name, where),
            "v_init": 0.0,
        }

    def _require_plain(self, layer: Any, where: str) -> None:
        """Options that change spikes in ways a core has no form for."""
        if layer.inhibition:
            raise refused(layer, self.name, where, "inhibition: only the highest membrane fires", "inhibition=False")
        if layer.state_quant:
            raise refused(layer, self.name, where, "state_quant quantises states in forward", "state_quant=False")
        factor = array(layer.graded_spikes_factor, (), where)
        if factor != 1:
            raise refused(
                layer, self.name, where, f"graded_spikes_factor is {factor:g}", "a factor of 1: scale the weights"
            )

    def reset(self, layer: nn.Module) -> None:
        """States of no size, as in a new layer: they take the shape of the input."""
        for name in ("mem", "syn", "spk"):
            state = getattr(layer, name, None)
            if state is not None:
                setattr(layer, name, state.new_zeros(0))

    def threads(self, module: nn.Module) -> bool:
        """States are handed over layer by layer."""
        return False


def _equation(layer: Any, kind: str, shape: Shape, where: str) -> Membrane:
    rest = np.zeros(shape)
    if kind == "Lapicque":
        lam = layer.time_step / (layer.R * layer.C)
        return Membrane(array(1 - lam, shape, where), array(layer.R * lam, shape, where), rest)
    keep = np.clip(array(layer.beta, shape, where), 0, 1)
    if kind not in CURRENT:
        return Membrane(keep, np.ones(shape), rest)
    alpha = np.clip(array(layer.alpha, shape, where), 0, 1)
    return Membrane(keep, np.ones(shape), rest, alpha, np.ones(shape))


def _recurrent(layer: Any, shape: Shape, where: str) -> nir.NIRNode:
    """Linear or convolution, or a factor V of its own spike."""
    way = layer.recurrent
    if not hasattr(way, "V"):
        return converted(way, shape, f"{where}.recurrent")
    return nir.Scale(array(way.V, shape, where))


ADAPTER = SnnTorchAdapter()
