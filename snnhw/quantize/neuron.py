"""Float neuron to integer neuron at a given scale, and what a machine cannot do, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from snnhw.errors import QuantizeError
from snnhw.machine import Machine
from snnhw.network import Array, Comparison, FloatNeuron, IntLevel, IntNeuron, Kind, Level, Population, Reset
from snnhw.neurons.base import WORDS
from snnhw.quantize.formats import Formats
from snnhw.rationale import Effect, Reason, rounded

NEARLY_WHOLE = 1e-9
"""A threshold this close to a whole number of grains is meant to be one."""

NEARLY_KEPT = 1e-6
"""The same where weights came from float32, in parts of the threshold."""

OTHERWISE = "use --target loihi2, or train with what the target has"
HARD_RESET = "use --target loihi2, or --hard-reset to reset to zero instead (compare shows the loss)"
"""Hints; a hard reset stands in for a soft one only."""


@dataclass(frozen=True)
class Made:
    """An integer neuron and the reasons of its parameters."""

    neuron: IntNeuron
    reasons: tuple[Reason, ...]

    def reason(self, parameter: str) -> Reason:
        """The reason of one parameter."""
        return next(r for r in self.reasons if r.parameter == parameter)

    def with_note(self, parameter: str, kind: Effect, text: str) -> Made:
        """The reason of one parameter with another kind and more text."""
        noted = (
            replace(r, kind=kind, text=f"{r.text}; {text}") if r.parameter == parameter else r for r in self.reasons
        )
        return replace(self, reasons=tuple(noted))


def refuse_unsupported(population: Population[FloatNeuron], target: Machine) -> None:
    """Everything a target's neuron cannot do raises here, with the nearest alternative."""
    n = population.model
    if target.profile not in n.PROFILES:
        raise _unsupported(population.name, "neuron model", n.MODEL, "cuba_lif", target)
    for what, needed, offered in n.beyond(target.numeric, population.kind is Kind.NEURON):
        hint = HARD_RESET if what.startswith("reset") and n.reset is Reset.SUBTRACT else OTHERWISE
        have = needed if isinstance(needed, str) else _text(needed)
        raise _unsupported(population.name, what, have, offered, target, hint)
    if population.kind in (Kind.NEURON, Kind.GATE) and np.min(n.threshold) < 0:
        raise QuantizeError(
            "bad-threshold",
            "a threshold is negative",
            where=population.name,
            needed=float(np.min(n.threshold)),
            limit="0 or more",
            hint="shift the membrane so that the threshold is positive",
        )
    _refuse_per_neuron(population, target)


def _refuse_per_neuron(population: Population[FloatNeuron], target: Machine) -> None:
    """Parameters that differ inside a population, where the target has one for all of it."""
    n = population.model
    numeric = target.numeric
    levels: tuple[tuple[bool, str, Level], ...] = (
        (numeric.vth_per_neuron, "threshold", n.threshold),
        (numeric.decay_per_neuron, "membrane decay", n.v_keep),
        (numeric.decay_per_neuron, "current decay", n.u_keep),
        *((numeric.levels_per_neuron, WORDS[name], level) for name, level in n.levels.items()),
    )
    for differing, what, level in levels:
        if np.ndim(level) and np.ptp(level) and not differing:
            raise _unsupported(population.name, what, "one per neuron", "one per population", target)


def _unsupported(
    where: str,
    what: str,
    needed: Any,
    limit: Any,
    target: Machine,
    hint: str = OTHERWISE,
) -> QuantizeError:
    return QuantizeError(
        "unsupported-neuron",
        f"target {target.name} has no such {what}",
        where=where,
        needed=needed,
        limit=limit,
        hint=hint,
    )


def decay(keep: Level, what: str, where: str, one: int) -> IntLevel:
    """Units of 1/`one` lost per step; raises QuantizeError outside [0, 1]."""
    kept = np.asarray(keep, np.float64)
    inside = (kept >= 0.0) & (kept <= 1.0)
    if not inside.all():
        raise QuantizeError(
            "bad-decay",
            f"the {what} grows or changes sign every step",
            where=where,
            needed=kept[~inside].flat[0].item(),
            limit="0 to 1",
            hint="check tau and dt (dt <= tau)",
        )
    return one_for_all(np.rint(one * (1.0 - kept)).astype(np.int64))


def one_for_all(x: Array) -> IntLevel:
    """The array, or the one number that all its entries are."""
    return int(x.flat[0]) if (x == x.flat[0]).all() else x


def make_neuron(
    population: Population[FloatNeuron],
    scale: Array,
    shift: int,
    formats: Formats,
    even: bool,
    exact: bool = False,
    most: int | None = None,
    whole: Array | bool = False,
) -> Made:
    """Integers of one neuron model; `scale` is weight units per real unit, membrane units are 2**shift times that.

    Args:
        even: all that arrives is a sum of even weights (stock LIF without injected currents).
        exact: all that arrives are whole numbers of `scale` (relays and gates that count spikes).
        most: spikes it sends in one step at most, where that is less than the model's.
        whole: which neurons' weights are whole at this scale (`grid.py`); broadcasts to the population.
    """
    n, name = population.model, population.name
    unit = scale * (1 << shift)
    one = formats.decay_one
    du, dv = decay(n.u_keep, "current", name, one), decay(n.v_keep, "membrane", name, one)
    dv = one_for_all(np.minimum(dv, formats.dv_max))
    grain = _grain(n, shift, formats, even) if formats.threshold_step > 1 else 1
    bias, bias_text = _bias(n, unit, formats, grain, name)
    lost = [rounded(d, one * (1.0 - np.asarray(keep))) for d, keep in ((du, n.u_keep), (dv, n.v_keep))]
    kept = f"{one} * (1 - {said(n.v_keep)}); keeps {_kept(dv, one)} per step"
    shifted = "largest shift of the sum at which the range is proven, else the smallest"
    reasons = [
        Reason(name, "du", _text(du), _text(n.u_keep), lost[0], f"{one} * (1 - {said(n.u_keep)})"),
        Reason(name, "dv", _text(dv), _text(n.v_keep), lost[1], kept),
        Reason(name, "scale", _text(scale), 1.0, Effect.CHOSEN, "weight units per real unit"),
        Reason(name, "act_shift", shift, None, Effect.CHOSEN, shifted),
        Reason(name, "bias", _text(bias), _text(n.bias), rounded(bias, n.bias * unit), bias_text),
    ]
    if population.kind is Kind.ACCUMULATOR:
        vth: Array = np.asarray(formats.threshold_max, np.int64)
        start = _levels({key: x for key, x in n.levels.items() if key == "v_init"}, unit, name, reasons, formats)
        neuron = IntNeuron(dv=dv, vth=vth, bias=bias, du=du, act_shift=shift, **start)
        never = Reason(name, "vth", int(vth), None, Effect.EXACT, "never reached: the membrane is the result")
        return Made(neuron, (*reasons, never))
    counted = exact and formats.threshold_step == 1 and n.max_spikes == 1
    found = _counted(n, scale, shift, formats) if counted else _threshold(n, unit, formats, grain, whole)
    vth, comparison, kind, text = _offered(found, n, formats, grain, name)
    reasons.append(Reason(name, "vth", _text(vth), _text(n.threshold), kind, text))
    neuron = IntNeuron(
        dv=dv,
        vth=vth,
        bias=bias,
        du=du,
        act_shift=shift,
        comparison=comparison,
        **n.spiking,
        **_levels(n.levels, unit, name, reasons, formats),
    )
    if most is not None and most < n.max_spikes:
        neuron = replace(neuron, max_spikes=most)
    made = n.quantised(neuron, unit, lambda keep, what: decay(keep, what, name, one))
    reasons += [
        Reason(name, key, _text(getattr(made, key)), None, Effect.ROUNDED, f"a parameter of {made.MODEL}")
        for key in (f.name for f in fields(made))
        if not hasattr(neuron, key)
    ]
    return Made(made, tuple(reasons))


def _levels(
    levels: Mapping[str, Level], units: Array, name: str, reasons: list[Reason], formats: Formats
) -> dict[str, Any]:
    """Levels of the membrane beside the threshold in its units; their reasons are added."""
    found, unit = {}, float(units.ravel()[0])
    for key, value in levels.items():
        if not (np.abs(np.asarray(value)) <= formats.v_max / unit).all():
            raise QuantizeError(
                "level-range",
                f"{key} does not fit {formats.numeric.v_bits} bit beside the weights and thresholds",
                where=name,
                needed=f"{float(np.max(np.abs(value))):g} in units of 1/{unit:g}",
                limit=formats.v_max,
                hint="choose a value of the size of the threshold",
            )
        real = np.asarray(value) * unit
        found[key] = one_for_all(np.rint(real).astype(np.int64))
        reasons.append(Reason(name, key, _text(found[key]), _text(value), rounded(found[key], real), f"{key} * scale"))
    return found


def _grain(n: FloatNeuron, shift: int, formats: Formats, even: bool) -> int:
    """What the membrane is always a multiple of, so that `>=` is `>` a little lower; 1 if nothing.

    Without memory that is a weight step (its power of two) after the shift, but for what the largest decay leaves;
    with all memory a unit of the shift, which the bias keeps to as well.
    """
    lasting = forgets_or_keeps(n.u_keep)  # the current only ever adds, or is forgotten: nothing rounds
    if np.all(n.v_keep == 1.0) and lasting and str(n.comparison) not in formats.numeric.comparisons:
        return 1 << shift
    step = formats.numeric.weight_step
    return (step & -step) << shift if even and not np.any(n.v_keep) and lasting else 1


def _free_bits(formats: Formats) -> int:
    return residue_free(formats).bit_length() - 1


def residue_free(formats: Formats) -> int:
    """Below this |v| what the largest decay leaves of it is less than a threshold's step and decides nothing."""
    return formats.threshold_step * formats.decay_one


def forgets_or_keeps(keep: Level) -> bool:
    """Whether a decay leaves whole numbers whole: all is kept, or nothing."""
    return bool(np.isin(keep, (0.0, 1.0)).all())


Rule = tuple[Array, Comparison, Effect, str]
"""Integer thresholds, the comparison with them, and why."""


def _threshold(n: FloatNeuron, unit: Array, formats: Formats, grain: int, kept: Array | bool = False) -> Rule:
    """Thresholds on their grid: the nearest, or between two multiples of the membranes' grain where that is coarser.

    Of neurons whose membranes are whole because nothing of them is rounded (`kept`), the last whole number below.
    """
    step, want = formats.threshold_step, n.threshold * unit
    if grain > step and "gt" in formats.numeric.comparisons:
        while_ = "" if formats.dv_max == formats.decay_one else f" while |v| < 2**{_free_bits(formats)}"
        text = f"between the two multiples of {grain} that {n.comparison} separates; exact{while_}"
        return _between(want, n.comparison, grain), Comparison.GT, Effect.EXACT, text
    units, whole = want / step, np.rint(want / step)
    if n.reset is not Reset.SUBTRACT and forgets_or_keeps(n.v_keep) and forgets_or_keeps(n.u_keep):
        near = NEARLY_KEPT * np.maximum(np.abs(units), 1.0)
        last = np.floor(units + near) if n.comparison is Comparison.GT else np.ceil(units - near)
        whole = np.where(kept, last, whole)
    vth = whole.astype(np.int64) * step
    text = f"threshold * scale, off by at most {_worst(vth, want):.3%}"
    return vth, n.comparison, rounded(vth, want), text


def _offered(found: Rule, n: FloatNeuron, formats: Formats, grain: int, where: str) -> Rule:
    """The rule by a comparison that the machine has: `>=` is `>` a step lower where membranes lie on such steps.

    Raises:
        QuantizeError: spikes are counted by thresholds, so that another threshold counts others, or out of format.
    """
    vth, comparison, kind, text = found
    step, lowest = formats.threshold_step, 1 if n.max_spikes > 1 else 0  # whole thresholds are counted
    if str(comparison) not in formats.numeric.comparisons:
        lower = comparison is Comparison.GE
        if n.max_spikes > 1:
            raise QuantizeError(
                "unsupported-neuron",
                "the target has no such comparison, and several spikes a step are counted by it",
                where=where,
                needed=str(comparison),
                limit=", ".join(formats.numeric.comparisons),
                hint=OTHERWISE,
            )
        unit = "unit" if step == 1 else "mantissa"
        text += f"; >= becomes > one {unit} lower: " if lower else f"; > becomes >= one {unit} higher: "
        if grain != step:
            kind = Effect.APPROXIMATE
            text += f"approximate, a leaking v less than {step} below the threshold fires"
        elif n.reset is Reset.SUBTRACT:
            kind = Effect.APPROXIMATE
            text += f"approximate, each spike then takes one {unit} {'less' if lower else 'more'}"
        else:
            text += "exact, v is always a multiple of it"
        vth = vth - step if lower else vth + step
        vth = np.maximum(vth, 0) if grain != step else vth
        comparison = Comparison.GT if lower else Comparison.GE
    if vth.max() > formats.threshold_max or vth.min() < lowest:
        raise QuantizeError(
            "threshold-range",
            "a threshold does not fit its format",
            where=where,
            needed=int(vth.min() if vth.min() < lowest else vth.max()),
            limit=f"{lowest} to {formats.threshold_max}",
            hint="rescale the layer: threshold and weights are too far apart",
        )
    return vth, comparison, kind, text


def _counted(n: FloatNeuron, scale: Array, shift: int, formats: Formats) -> Rule:
    """Threshold of a membrane that only ever is a multiple of 2**shift: the last one that does not fire."""
    units = n.threshold * scale
    last = np.floor(units + NEARLY_WHOLE) if n.comparison is Comparison.GT else np.ceil(units - NEARLY_WHOLE) - 1
    vth = np.clip(last, 0, formats.threshold_max >> shift).astype(np.int64) << shift
    return vth, Comparison.GT, Effect.EXACT, "exact: between the two counts that the threshold separates"


def _between(want: Array, comparison: Comparison, grain: int) -> Array:
    """The threshold of `>` half way between the multiples of the grain that must and must not fire."""
    if comparison is Comparison.GE:
        first = np.ceil(want / grain - NEARLY_WHOLE)
    else:
        first = np.floor(want / grain + NEARLY_WHOLE) + 1
    return np.asarray(first.astype(np.int64) * grain - grain // 2)


def _worst(have: Array, want: Array) -> float:
    return float(np.max(np.abs(have - want) / np.maximum(np.abs(want), 1e-12)))


def _bias(n: FloatNeuron, unit: Array, formats: Formats, grain: int, where: str) -> tuple[Array, str]:
    """Integer biases, multiples of the grain: the smallest exponent at which all mantissas fit."""
    want = np.asarray(n.bias * unit)
    for exponent in formats.bias_exponents:
        step = max(grain, 1 << exponent)
        bias = np.rint(want / step).astype(np.int64) * step
        if np.abs(bias).max(initial=0) >> exponent <= formats.bias_mantissa:
            return bias, f"bias * scale, mantissa of {formats.numeric.bias_mant_bits} bit << {exponent}"
    raise QuantizeError(
        "bias-range",
        "a bias does not fit its format",
        where=where,
        needed=int(np.abs(want).max()),
        limit=largest_bias(formats),
        hint="rescale the layer: bias and weights are too far apart",
    )


def largest_bias(formats: Formats) -> int:
    """In membrane units."""
    return formats.bias_mantissa << formats.bias_exponents[-1]


def bias_limit(largest: Array, shift: int, formats: Formats) -> Array:
    """Largest scales at which biases fit.

    Args:
        largest: the largest |bias| of the neurons of each scale.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(largest_bias(formats) / (largest * (1 << shift)))


def fits(n: FloatNeuron, scale: Array, shift: int, formats: Formats) -> bool:
    """Whether bias and threshold fit their formats at a shift."""
    unit = scale * (1 << shift)
    bias, threshold = float(np.abs(n.bias * unit).max()), float(np.max(n.threshold * unit))
    return bias <= largest_bias(formats) and threshold <= formats.threshold_max


def said(x: Level) -> str:
    """One number, or the range of an array, for a sentence."""
    low, high = np.min(x), np.max(x)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _kept(dv: IntLevel, one: int) -> str:
    low, high = (1 - end / one for end in (np.max(dv), np.min(dv)))
    return f"{low:.6f}" if low == high else f"{low:.6f} to {high:.6f}"


def _text(x: Any) -> Any:
    """One number, or the range of an array."""
    x = np.asarray(x)
    low, high = x.min().item(), x.max().item()
    return low if low == high else f"{low:.6g} to {high:.6g}"
