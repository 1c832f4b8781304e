"""Float neuron to integer neuron at a given scale, and what a profile cannot do, refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.errors import QuantizeError
from snnhw.fixed import DECAY_ONE
from snnhw.network import Array, Comparison, FloatNeuron, IntNeuron, Kind, Population
from snnhw.quantize.formats import Formats
from snnhw.target import Target

STOCK_DECAY_MAX = 4095
"""Lava's LIF keeps dv in 12 bit; 4095 forgets all but 1/4096, which rounds to 0 below 4096."""


@dataclass(frozen=True)
class Made:
    """An integer neuron and the rationale rows of its parameters."""

    neuron: IntNeuron
    rows: tuple[dict[str, Any], ...]


def refuse_unsupported(population: Population[FloatNeuron], target: Target) -> None:
    """Everything a target's neuron cannot do raises here, with the nearest alternative."""
    n = population.model
    wishes = (
        ("reset", str(n.reset), list(target["numeric.resets"])),
        ("reset timing", str(n.reset_timing), list(target["numeric.reset_timings"])),
    )
    for what, needed, offered in wishes:
        if population.kind is Kind.NEURON and needed not in offered:
            raise _unsupported(population.name, what, needed, ", ".join(offered), target)
    if n.max_spikes > 1 and not target["numeric.multi_spike"]:
        raise _unsupported(population.name, "spikes per step", n.max_spikes, 1, target)
    if n.v_min is not None and not target["numeric.v_min"]:
        raise _unsupported(population.name, "lower clip of v", n.v_min, "none", target)
    if n.v_init and target.profile == "lava-lif":
        raise _unsupported(population.name, "initial v", n.v_init, 0, target)
    if population.kind is Kind.NEURON and np.min(n.threshold) < 0:
        raise QuantizeError(
            "bad-threshold",
            "a threshold is negative",
            where=population.name,
            needed=float(np.min(n.threshold)),
            limit="0 or more",
            hint="shift the membrane so that the threshold is positive",
        )
    if np.ndim(n.threshold) and np.ptp(n.threshold) and not target["numeric.vth_per_neuron"]:
        raise _unsupported(population.name, "threshold", "one per neuron", "one per population", target)


def _unsupported(where: str, what: str, needed: Any, limit: Any, target: Target) -> QuantizeError:
    return QuantizeError(
        "unsupported-neuron",
        f"target {target.name} has no such {what}",
        where=where,
        needed=needed,
        limit=limit,
        hint="use --target loihi2, or train with what the target has",
    )


def decay(keep: float, what: str, where: str) -> int:
    """Units of 1/4096 lost per step; raises QuantizeError outside [0, 1]."""
    if not 0.0 <= keep <= 1.0:
        raise QuantizeError(
            "bad-decay",
            f"the {what} grows or changes sign every step",
            where=where,
            needed=keep,
            limit="0 to 1",
            hint="check tau and dt (dt <= tau)",
        )
    return round(DECAY_ONE * (1.0 - keep))


def make_neuron(population: Population[FloatNeuron], scale: Array, shift: int, formats: Formats) -> Made:
    """Integers of one neuron model; `scale` is weight units per real unit, membrane units are 2**shift times that."""
    n, name = population.model, population.name
    unit = scale * (1 << shift)
    du, dv = decay(n.u_keep, "current", name), decay(n.v_keep, "membrane", name)
    if formats.stock:
        dv = min(dv, STOCK_DECAY_MAX)
    rows = [
        _row(name, "dv", dv, n.v_keep, f"4096 * (1 - {n.v_keep:g}); keeps {1 - dv / DECAY_ONE:.6f} per step"),
        _row(name, "scale", _text(scale), 1.0, "weight units per real unit"),
        _row(
            name,
            "act_shift",
            shift,
            None,
            "largest shift of the synaptic sum at which 24 bit are proven, else the smallest",
        ),
    ]
    exact = n.v_keep == 1.0 and n.u_keep == 0.0
    bias, why = _bias(n, unit, formats, whole=formats.stock and exact and n.comparison is Comparison.GE, where=name)
    rows.append(_row(name, "bias", _text(bias), _text(n.bias), why))
    if population.kind is Kind.ACCUMULATOR:
        vth: Array = np.asarray(formats.threshold_max, np.int64)
        neuron = IntNeuron(dv=dv, vth=vth, bias=bias, du=du, act_shift=shift)
        return Made(neuron, (*rows, _row(name, "vth", int(vth), None, "never reached: the membrane is the result")))
    vth, comparison, why = _threshold(n, unit, formats, exact, name)
    rows.append(_row(name, "vth", _text(vth), _text(n.threshold), why))
    whole = float(unit.ravel()[0])
    neuron = IntNeuron(
        dv=dv,
        vth=vth,
        bias=bias,
        du=du,
        act_shift=shift,
        comparison=comparison,
        reset=n.reset,
        reset_timing=n.reset_timing,
        v_reset=round(n.v_reset * whole),
        v_min=None if n.v_min is None else round(n.v_min * whole),
        v_init=round(n.v_init * whole),
        max_spikes=n.max_spikes,
    )
    return Made(neuron, tuple(rows))


def _threshold(n: FloatNeuron, unit: Array, formats: Formats, exact: bool, where: str) -> tuple[Array, Comparison, str]:
    """Integer thresholds; `>=` on a stock LIF becomes `>` one mantissa lower where that is the same."""
    step = formats.threshold_step
    vth = np.rint(n.threshold * unit / step).astype(np.int64) * step
    why = f"threshold * scale, off by at most {_worst(vth, n.threshold * unit):.3%}"
    comparison = n.comparison
    if formats.stock and comparison is Comparison.GE:
        comparison = Comparison.GT
        if exact:
            vth, why = vth - step, why + "; >= becomes > one mantissa lower: exact, v is always a multiple of it"
        else:
            why += "; >= becomes >: differs where v meets the threshold exactly"
    if vth.max() > formats.threshold_max or vth.min() < 0:
        raise QuantizeError(
            "threshold-range",
            "a threshold does not fit its format",
            where=where,
            needed=int(vth.max()),
            limit=f"0 to {formats.threshold_max}",
            hint="rescale the layer: threshold and weights are too far apart",
        )
    return vth, comparison, why


def _worst(have: Array, want: Array) -> float:
    return float(np.max(np.abs(have - want) / np.maximum(np.abs(want), 1e-12)))


def _bias(n: FloatNeuron, unit: Array, formats: Formats, whole: bool, where: str) -> tuple[Array, str]:
    """Integer biases: the smallest exponent at which all mantissas fit; `whole` keeps v a multiple of 64."""
    want = np.asarray(n.bias * unit)
    most = (1 << (formats.bias_bits - 1)) - 1
    for exponent in range(formats.bias_exponents):
        if whole and (1 << exponent) < formats.threshold_step:
            continue
        mantissa = np.rint(want / (1 << exponent))
        if np.abs(mantissa).max(initial=0) <= most:
            return mantissa.astype(
                np.int64
            ) << exponent, f"bias * scale, mantissa of {formats.bias_bits} bit << {exponent}"
    limit = most << (formats.bias_exponents - 1)
    raise QuantizeError(
        "bias-range",
        "a bias does not fit its format",
        where=where,
        needed=int(np.abs(want).max()),
        limit=limit,
        hint="rescale the layer: bias and weights are too far apart",
    )


def bias_limit(n: FloatNeuron, shift: int, formats: Formats) -> float:
    """Largest scale at which every bias fits."""
    largest = float(np.max(np.abs(n.bias)))
    most = ((1 << (formats.bias_bits - 1)) - 1) << (formats.bias_exponents - 1)
    return most / (largest * (1 << shift)) if largest else float("inf")


def _row(population: str, parameter: str, integer: Any, real: Any, why: str) -> dict[str, Any]:
    return {"population": population, "parameter": parameter, "integer": integer, "real": real, "why": why}


def _text(x: Array) -> Any:
    """One number, or the range of an array."""
    x = np.asarray(x)
    low, high = x.min().item(), x.max().item()
    return low if low == high else f"{low:.6g} to {high:.6g}"
