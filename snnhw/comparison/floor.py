"""What no step can be shorter than, by kind of work, and the sentence that says what would move it.

After the floorline of Yik et al. (arXiv 2511.21549): a step takes as long as its busiest core, not as the total.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnhw.chip.layers import KINDS, CoreWork
from snnhw.comparison.tree import Floor
from snnhw.mapping.types import Mapping
from snnhw.network import Array

UNEVEN = 2.0
"""From this ratio of the busiest core to the mean on, more cores for what it holds are advised."""

SIGNIFICANT = 0.1
"""Share of messages that wait from which on it is said."""


def floors(work: CoreWork, cores: Array, mapping: Mapping, steps: int, barrier_s: float) -> tuple[Floor, ...]:
    """The busiest core of each kind of work, longest first; the barrier among them.

    Args:
        work: of all cores in use, whose global numbers are `cores`, over so many steps.
    """
    number = {"synops": work.synops, "messages": work.messages, "updates": work.updates, "sent": work.sent}
    held: dict[int, dict[str, int]] = {}
    for part in mapping.slices:
        row = held.setdefault(part.core, {})
        row[part.population] = row.get(part.population, 0) + part.size
    found = [Floor("barrier", None, None, 1.0, barrier_s, barrier_s)]
    for kind in KINDS:
        taken = work.seconds[kind] / steps
        at = int(np.argmax(taken))
        core = int(cores[at])
        name = max(held[core], key=held[core].__getitem__)
        found.append(Floor(kind, core, name, float(number[kind][at]) / steps, float(taken[at]), float(taken.mean())))
    return tuple(sorted(found, key=lambda row: -row.seconds))


def bottleneck(found: Sequence[Floor], waiting: float) -> str:
    """One sentence: what sets the time of a step, and what would move it.

    Args:
        waiting: share of the time that messages wait for each other; 0 where the model does not know.
    """
    first = found[0]
    if first.kind == "barrier":
        return "The barrier sets the time of a step: cores on fewer tiles, or fewer steps T, would shorten a sample."
    said = (
        f"{KINDS[first.kind].capitalize()} of core {first.core} ({first.population}) set the time of a step, "
        f"{first.seconds / first.mean if first.mean else 1.0:.1f} times the mean of the cores in use"
    )
    if first.seconds >= UNEVEN * first.mean:
        change = f"{first.population} on more cores (--map balanced or fastest) would shorten it"
    elif first.kind in ("messages", "sent"):
        change = "fewer bits per weight leave fewer slices, and so fewer messages; a lower rate does too"
    elif first.kind == "synops":
        change = f"a lower rate of the layers before {first.population} would shorten it"
    else:
        change = f"more cores for {first.population}, as the load is even, need a larger --map or chip"
    blocked = f"; messages wait for each other in {waiting:.0%} of the time" if waiting >= SIGNIFICANT else ""
    return f"{said}; {change}{blocked}."
