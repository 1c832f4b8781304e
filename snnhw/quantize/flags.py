"""What quantisation did to parameters that a person must know: how large it is, and what helps.

Thresholds and decays off by more than rounding should be, weights that have lost their resolution, clipped biases.
A threshold that becomes 0 is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnhw.cautions import Caution
from snnhw.errors import QuantizeError
from snnhw.network import Array, Comparison, FloatNeuron, IntNeuron, Kind, Level, Population
from snnhw.quantize.formats import Formats
from snnhw.rationale import Effect

THRESHOLD_OFF = 0.01
TIME_CONSTANT_OFF = 0.05
"""Parts of a threshold or a time constant from which on rounding is named."""

RANGE_USED = 0.25
"""Part of its format that the largest weight into a neuron should use."""

VANISHED = 0.9
"""Part of a row's weights that may become 0: without an outlier a half at 3 bits, a fifth at 4."""

FEWEST = 8
"""Weights of a row below which it has no outliers."""


@dataclass(frozen=True)
class Rows:
    """Weights of one array, a row for each neuron or channel, in reals and in integers.

    Args:
        layer: the source's name of it.
        high: the format's largest weight.
    """

    layer: str
    bits: int
    real: Array
    integers: Array
    high: int

    def joined(self) -> Rows:
        """All rows as one: they share a scale, so that small ones use less of the range."""
        return replace(self, real=self.real.reshape(1, -1), integers=self.integers.reshape(1, -1))

    @property
    def used(self) -> Array:
        """Part of the format that each row's largest weight uses."""
        return np.asarray(np.abs(self.integers).max(axis=1) / self.high)


def neuron_flags(
    population: Population[FloatNeuron], made: IntNeuron, unit: Array, kind: Effect, formats: Formats
) -> Iterator[Caution]:
    """Thresholds and decays of a population whose rounding is more than that.

    Args:
        unit: membrane units per real unit.
        kind: of the threshold's rule.

    Raises:
        QuantizeError 'threshold-range': a threshold becomes 0.
    """
    name, n = population.name, population.model
    if population.kind is not Kind.NEURON:
        return
    for what, keep, lost in (("membrane", n.v_keep, made.dv), ("current", n.u_keep, made.du)):
        yield from _decay_flag(name, what, keep, lost, formats.decay_one)
    if kind is Effect.EXACT:
        return
    want = np.broadcast_to(n.threshold * unit, np.broadcast_shapes(np.shape(n.threshold), np.shape(unit)))
    have = np.asarray(made.vth)
    # `>` a step lower, which is no other threshold where membranes lie on such steps: it fires from that step on
    lower = n.comparison is Comparison.GE and made.comparison is Comparison.GT and kind is not Effect.APPROXIMATE
    if not lower and ((have == 0) & (want > 0)).any():
        raise QuantizeError(
            "threshold-range",
            "a threshold becomes 0: it is smaller than half of what the membrane counts in",
            where=name,
            needed=f"{float(np.min(n.threshold)):g} beside weights of {float(np.max(1 / unit)):g} a unit",
            limit=f"{formats.threshold_step} unit{'s' if formats.threshold_step > 1 else ''} or more",
            hint="rescale the layer: its threshold and weights are too far apart",
        )
    moved = formats.threshold_step if str(n.comparison) not in formats.numeric.comparisons else 0
    off = np.maximum(np.abs(have - want) - moved, 0.0) / np.maximum(want, 1e-30)
    if off.max(initial=0.0) > THRESHOLD_OFF:
        yield Caution(
            "threshold-off",
            name,
            "the integer thresholds are not near the trained ones",
            f"vth off by up to {off.max():.1%}, {int((off > THRESHOLD_OFF).sum())} of {off.size}",
            "give its weights more bits (--weight-bits), or train with a threshold of the size of its weights",
        )


def _decay_flag(name: str, what: str, keep: Level, lost: Level, one: int) -> Iterator[Caution]:
    """A time constant, -1 / ln(part kept) steps, that parts of 1/`one` do not express."""
    real, have = np.broadcast_arrays(np.atleast_1d(np.asarray(keep, np.float64)), 1.0 - np.asarray(lost) / one)
    decays = (real > 1.0 / one) & (real < 1.0)
    with np.errstate(divide="ignore"):
        want, found = (-1.0 / np.log(np.where(decays, x, 0.5)) for x in (real, have))
    off = np.abs(found / want - 1.0)
    if off.max() <= TIME_CONSTANT_OFF:
        return
    worst = int(off.argmax())
    lasts = bool(np.isinf(found.flat[worst]))
    paces = f"{want.flat[worst]:.4g} steps, of the integers " + ("none" if lasts else f"{found.flat[worst]:.4g}")
    yield Caution(
        "decay-off",
        name,
        f"the {what} no longer decays: 0 of {one} is lost a step" if lasts else f"the {what} decays at another pace",
        f"time constant {paces}; {int((off > TIME_CONSTANT_OFF).sum())} of {off.size}",
        "train with a shorter time constant, or without a leak",
    )


def weight_flags(name: str, arrays: Sequence[Rows], cause: str) -> Iterator[Caution]:
    """Weights into one population that have lost their resolution.

    Args:
        arrays: whose rows are the neurons or channels of the population, or one row each.
        cause: what limits the scale, where weights do not use their range.
    """
    some = [rows for rows in arrays if rows.real.any()]
    if some and len({len(rows.real) for rows in some}) == 1:
        used = np.maximum.reduce([rows.used for rows in some])
        short = (used < RANGE_USED) & np.logical_or.reduce([rows.real.any(axis=1) for rows in some])
        if short.any():
            worst = int(np.where(short, used, np.inf).argmin())
            yield Caution(
                "range-unused",
                name,
                f"weights of {', '.join(rows.layer for rows in some)} use little of their bits: {cause} is in the way",
                f"{int(short.sum())} of {short.size} rows; row {worst} uses {used[worst]:.1%} of the range",
                "train with a bias and a threshold of the size of the weights",
            )
    for rows in some:
        kept = (rows.real != 0).sum(axis=1)
        lost = ((rows.real != 0) & (rows.integers == 0)).sum(axis=1)
        eaten = (kept >= FEWEST) & (lost >= VANISHED * kept) & (rows.used >= RANGE_USED) & (rows.bits > 2)
        if eaten.any():
            row = int(np.where(eaten, np.abs(rows.real).max(axis=1), 0.0).argmax())
            sizes = np.abs(rows.real[row])
            times = sizes.max() / max(float(np.median(sizes[sizes > 0])), 1e-300)
            yield Caution(
                "outlier-weights",
                name,
                f"a few large weights of {rows.layer} leave the others of their row nothing at {rows.bits} bits",
                f"{int(eaten.sum())} of {eaten.size} rows; row {row}: {lost[row]} of {kept[row]} weights become 0, "
                f"the largest is {times:.3g} times the median",
                f"train with clipped weights, or give it more bits: --weight-bits {rows.layer}=8",
            )


def clipped_bias(name: str, layer: str, clipped: int, size: int, worst: float) -> Caution:
    """Biases beyond what their format holds at the scale of the weights."""
    return Caution(
        "bias-clipped",
        name,
        f"biases of {layer} do not fit beside its weights and were clipped",
        f"{clipped} of {size}; the largest is {worst:.3g} times what fits",
        "train with smaller biases, or give the layer's weights more bits (--weight-bits)",
    )
