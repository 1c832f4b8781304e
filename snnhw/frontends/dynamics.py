"""What neurons, filters and delays of NIR do in one step: their models say it (`snnhw/neurons/`), in front of what."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.graph import MEMBRANES, first
from snnhw.frontends.own import NeuronNode
from snnhw.network import Array, FloatNeuron, Reset, ResetTiming
from snnhw.neurons import REGISTRY
from snnhw.neurons.decimals import squeeze
from snnhw.neurons.prepaid import FloatPrepaid
from snnhw.semantics import Semantics

WHOLE = 1e-6
"""Steps that a delay may miss a whole number by: files hold it in seconds."""


def lag_of(where: str, node: nir.Delay, semantics: Semantics) -> int:
    """A Delay node in whole steps; raises SourceError for anything else."""
    steps = np.asarray(node.delay, np.float64) / semantics.dt
    whole = np.rint(steps)
    if steps.size == 0 or (whole != whole.ravel()[0]).any() or np.abs(steps - whole).max() > WHOLE or whole.min() < 0:
        raise SourceError(
            "bad-delay",
            "a delay is not one whole number of steps",
            where=where + first((np.abs(steps - whole) > WHOLE) | (whole < 0)),
            needed=f"{steps.min():g} to {steps.max():g} steps" if steps.size else "nothing",
            limit=f"one multiple of dt = {semantics.dt:g} s, 0 or more, for all neurons",
            hint="one Delay node per delay, rounded to steps",
        )
    return int(whole.ravel()[0])


def neuron_model(
    node: nir.NIRNode, semantics: Semantics, before: nir.NIRNode | None = None
) -> tuple[FloatNeuron, Array]:
    """The neuron, or the membrane that never fires, of a node, and the gain of its input.

    Args:
        before: the synaptic filter in front of it (I, LI): u[t] = keep * u[t-1] + gain * x[t].
    """
    if isinstance(node, NeuronNode):
        model, parameters = REGISTRY[node.model].reals, node.parameters
    else:
        kind = type(node).__name__
        model = next(model.reals for model in REGISTRY.values() if kind in model.reals.NIR)
        parameters = {name: getattr(node, name) for name in model.NIR[kind]}
    neuron, gain = model.of_node(parameters, semantics)
    if semantics.reset_timing is ResetTiming.PREPAID and neuron.reset is Reset.SUBTRACT:
        neuron = FloatPrepaid.of(neuron)
    if before is None:
        return neuron, gain
    current, given = neuron_model(before, semantics)
    if np.any(current.bias):
        raise SourceError("bad-semantics", "a synaptic filter rests at a value other than 0", hint="v_leak = 0")
    return replace(neuron, u_keep=current.v_keep), squeeze(gain * given)


def delays_input(node: nir.NIRNode, semantics: Semantics, before: nir.NIRNode | None = None) -> bool:
    """Whether the membrane sees the current of the step before (`current_order`), and so all input a step late."""
    currents = before is not None or isinstance(node, (nir.CubaLIF, nir.CubaLI))
    return currents and semantics.late_current


def membrane_offset(node: nir.NIRNode, semantics: Semantics) -> Array:
    """What a spiking node's membrane is where its neuron model's is zero."""
    if semantics.reset is Reset.SUBTRACT or not isinstance(node, MEMBRANES):
        return np.zeros(())
    return np.asarray(node.v_reset, np.float64)
