"""What Lava 0.10.0's fixed-point LIF, Dense and Conv can hold; anything else is refused by name, never rounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnhw import fixed
from snnhw.errors import EngineError
from snnhw.network import (
    Array,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
)
from snnhw.neurons import REGISTRY

VTH_BITS, VTH_SHIFT = 17, 6
VTH_MAX = (1 << VTH_BITS) - 1
BIAS_LOW, BIAS_HIGH = -(1 << 12), (1 << 12) - 1
BIAS_EXPONENTS = range(8)
DENSE_EXPONENTS = range(-31, 32)


def verify(network: Network[IntNeuron], profile: str, widths: fixed.Widths, stock: Sequence[Projection]) -> None:
    """Check a network against the profile; `stock` are the projections that run as Lava's own Dense and Conv."""
    for population in network.computed:
        if not type(population.model).__module__.startswith("snnhw."):
            raise EngineError(
                "lava-unsupported",
                "Lava's worker process knows the neuron models inside of snnhw only",
                where=population.name,
                needed=population.model.MODEL,
                limit=", ".join(sorted(REGISTRY)),
                hint="use --engine fast, onnx or reference, or put the model's file into snnhw/neurons/",
            )
    if profile == "lava-lif":
        _check_widths(widths)
        for population in network.computed:
            _check_lif(population)
        for projection in network.projections:
            if not projection.op.injects:
                _check_weights(projection, network.array(projection.op))
    for projection in stock:
        if projection.op.format == "dense":
            _check_weights(projection, network.array(projection.op))
        elif projection.weight_exp:
            raise EngineError(
                "lava-unsupported",
                "Lava's Conv ignores weight_exp (lava issue 803)",
                where=projection.name,
                needed=projection.weight_exp,
                limit=0,
                hint="use connections='sparse'",
            )


def _check_widths(widths: fixed.Widths) -> None:
    for name, have, want in zip(widths._fields, widths, fixed.LOIHI, strict=True):
        if have != want:
            raise EngineError(
                "lava-unsupported",
                f"Lava's LIF has no such format of {name}",
                needed=_said(have),
                limit=_said(want),
                hint="compile for a target with programmable neurons, or use --engine fast",
            )


def _said(format_: Any) -> str:
    """A format of a state, or the bits of a decay, in words."""
    if isinstance(format_, int):
        return f"{format_} bits"
    overflow = ("wrap-once", "wrap", "saturate")[format_.overflow]
    low, high = fixed.ends(format_)
    return f"{format_.bits} bits, {overflow}, {low}..{high}"


def graded(population: Population[Any]) -> bool:
    """Whether events carry more than a spike."""
    return population.payload != (0, 1) or (population.neuron is not None and population.neuron.max_spikes > 1)


def _check_lif(population: Population[IntNeuron]) -> None:
    n = population.model
    for name in ("du", "dv"):
        if np.ndim(getattr(n, name)):
            raise EngineError(
                "lava-unsupported",
                f"Lava's LIF has one {name} per population",
                where=population.name,
                needed="one per neuron",
                limit="one value",
                hint="compile for a target with programmable neurons",
            )
    registers = (
        ("act_shift", n.act_shift, range(VTH_SHIFT, VTH_SHIFT + 1)),
        ("du", n.du, range(4097)),  # 0 is the register value -1, which Lava's own tests use for no leak
        ("dv", n.dv, range(4096)),
    )
    for name, needed, _ in (*n.beyond_lif(), *(row for row in registers if row[1] not in row[2])):
        raise EngineError(
            "lava-unsupported",
            f"Lava's LIF has no such {name}",
            where=population.name,
            needed=needed,
            hint="compile for a target with programmable neurons",
        )
    vth_register(population)
    bias_register(n, population.name)


def vth_register(population: Population[IntNeuron]) -> int:
    """Mantissa of the threshold, one for the population; an accumulator gets the largest (it never fires)."""
    if population.kind is Kind.ACCUMULATOR:
        return VTH_MAX
    vth = np.asarray(population.model.vth)
    value = int(vth.flat[0])
    if (vth != value).any():
        raise EngineError(
            "lava-unsupported",
            "Lava's LIF has one threshold per population",
            where=population.name,
            needed=f"{vth.min()}..{vth.max()}",
            limit="one value",
        )
    if value % (1 << VTH_SHIFT) or not 0 <= value >> VTH_SHIFT <= VTH_MAX:
        raise EngineError(
            "lava-unsupported",
            "the threshold is not a 17-bit mantissa times 64",
            where=population.name,
            needed=value,
            limit=f"a multiple of 64 up to {VTH_MAX << VTH_SHIFT}",
        )
    return value >> VTH_SHIFT


def bias_register(neuron: IntNeuron, where: str) -> tuple[Array, int]:
    """Mantissas and the smallest exponent for which all biases of a population are exact."""
    bias = np.asarray(neuron.bias, np.int64)
    for exponent in BIAS_EXPONENTS:
        mantissa = bias >> exponent
        if ((mantissa << exponent) == bias).all() and mantissa.min() >= BIAS_LOW and mantissa.max() <= BIAS_HIGH:
            return mantissa, exponent
    raise EngineError(
        "lava-unsupported",
        "the biases are not 13-bit mantissas times one power of two",
        where=where,
        needed=f"{bias.min()}..{bias.max()}",
        limit=f"{BIAS_LOW}..{BIAS_HIGH} << 0..7",
    )


def _check_weights(projection: Projection, weights: Array) -> None:
    """Lava's `clip_weights` and `truncate_weights` would change anything else in silence."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    mixed = low < 0 < high
    lowest, highest = (-256, 254) if mixed else (-255, 255)
    if low < lowest or high > highest:
        raise EngineError(
            "weight-range",
            "Lava's synapses hold 8 bits",
            where=projection.name,
            needed=f"{low}..{high}",
            limit=f"{lowest}..{highest}",
        )
    if mixed and (weights & 1).any():
        odd = weights[(weights & 1) == 1]
        raise EngineError(
            "odd-weight",
            "weights of mixed sign must be even: Lava drops their lowest bit",
            where=projection.name,
            needed=int(odd.flat[0]),
            limit="even values in -256..254",
        )
    if projection.weight_exp not in DENSE_EXPONENTS:
        raise EngineError(
            "weight-range", "the weight exponent is out of range", where=projection.name, needed=projection.weight_exp
        )
