"""What the numbers of a comparison say, in a few sentences: did integers keep the answers, and what sets the time."""

from __future__ import annotations

from statistics import fmean

from snnhw.comparison.tree import Comparison
from snnhw.report.numbers import percent, si
from snnhw.report.tables import errors_told


def verdict(c: Comparison) -> list[str]:
    """Sentences, the most important first."""
    said = [c.bottleneck] if c.bottleneck else []
    return [_kept(c), *_moved(c), *_bottleneck(c), *_twin(c), *said]


def _kept(c: Comparison) -> str:
    if c.agreement is None:
        return f"The integers give the float network's values {errors_told(c)}."
    said = f"The integers decide as the float network on {percent(c.agreement)} of {c.samples} samples"
    if c.float_.accuracy is None or c.quantized.accuracy is None:
        return f"{said}."
    change = 100 * (c.quantized.accuracy - c.float_.accuracy)
    kept = "accuracy is the same" if round(change, 2) == 0 else f"accuracy changes by {change:+.2f} points"
    return f"{said}; {kept}."


def _moved(c: Comparison) -> list[str]:
    """The layer whose rates moved most, where any did."""
    worst = max(c.drift, key=lambda row: row.distance, default=None)
    if worst is None or worst.distance == 0:
        return []
    return [f"Firing rates moved most in {worst.name}: {worst.distance:.4f} spikes per neuron and step."]


def _bottleneck(c: Comparison) -> list[str]:
    """The busiest core, against the mean of the cores in use."""
    if len(c.cores) < 2:
        return []
    busiest = max(c.cores, key=lambda row: row.load)
    if not busiest.load:
        return []
    held = max(busiest.populations, key=lambda name: busiest.populations[name])
    times = busiest.load / fmean(row.load for row in c.cores)
    said = f"Core {busiest.core} ({held}) is the busiest, {times:.1f} times the mean of the {len(c.cores)} cores in use"
    advice = f"; {held} on more cores would shorten the step" if times >= 2 else "; the load is even"
    return [f"{said}{advice}."]


def _twin(c: Comparison) -> list[str]:
    """Said where spikes do not pay in the papers' own arithmetic."""
    block = c.convention_45nm
    if block.float_snn.energy_j <= block.ann.energy_j:
        return []
    return [
        f"By the 45 nm convention the spiking network costs more than its dense twin: "
        f"{si(block.float_snn.energy_j, 'J')} against {si(block.ann.energy_j, 'J')}."
    ]
