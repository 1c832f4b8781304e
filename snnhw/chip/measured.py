"""Constants of a target from runs that were measured on a board: what each run counts, and the fit (docs/energy.md).

Energy is linear in its constants. A time is not, for the busiest core of every step is waited for: which one that is
follows from the constants of the round before, until it no longer changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import barrier, steady, tiles_in_use
from snnhw.chip.band import band_of
from snnhw.chip.counts import ChipObserver
from snnhw.chip.energy import operations
from snnhw.chip.fit import Fit, fitted
from snnhw.chip.loads import Loads
from snnhw.chip.tally import tally
from snnhw.engines.base import Engine
from snnhw.errors import DataError
from snnhw.machine import PREFIXES, Constant, Machine
from snnhw.network import Array

TIMES = (
    "access", "update", "spike_out", "message_out", "message_in", "synop.dense", "synop.sparse", "synop.conv",
)  # fmt: skip
LEAST = 3
"""Runs that a fit needs."""

ROUNDS = 20


@dataclass(frozen=True)
class Run:
    """What one measured run did, per sample.

    Args:
        loads: operations of each kind of TIMES on every core in the T steps of the stream, (kinds, 2, steps of all
            samples, cores).
        barrier: key of its barrier, and how many a sample has.
        joules, seconds: what was measured for a sample; None where it was not.
        operations: key of an energy -> operations; of powers the cores or chips.
    """

    loads: Array
    samples: int
    barrier: tuple[str, int]
    operations: Mapping[str, float]
    seconds: float | None
    joules: float | None


class _Units(Loads):
    """Counts one kind of operation, as if it took a picosecond and all others nothing."""

    def __init__(self, artifact: Artifact, wiring: Any, kind: str) -> None:
        super().__init__(artifact, wiring, _unit(artifact.target, kind))
        self.found: list[Array] = []

    def finish(self, loads: Array) -> None:
        stream = steady(loads, self.network.steps)
        stream[0] += self.idle
        self.found.append(stream.reshape(2, -1, stream.shape[3]))


def _unit(target: Machine, kind: str) -> Machine:
    names = {key.partition(".")[0] for key in TIMES} - {"synop"}
    plain = dict.fromkeys(names, 0)
    synops = {name: int(kind == f"synop.{name}") for name in ("dense", "sparse", "conv")}
    plain |= {kind: 1} if kind in names else {}
    time = target.time.model_copy(update={**plain, "synop": target.time.synop.model_copy(update=synops)})
    return target.model_copy(update={"time": time})


def counted(
    artifact: Artifact,
    target: Machine,
    chunks: Sequence[Mapping[str, Array]],
    engine: Engine,
    seconds: float | None,
    joules: float | None,
) -> Run:
    """Run an artifact on its input and count.

    Args:
        target: whose constants are fitted; the artifact's mapping must be on such a chip.

    Raises:
        DataError: 'other-chip' where it is not.
    """
    if artifact.target.chip != target.chip:
        raise DataError(
            "other-chip",
            "the artifact was placed on another chip than the target's",
            where=artifact.target.name,
            needed=target.name,
            hint="compile it for this target",
        )
    artifact = replace(artifact, target=target)
    observer = ChipObserver(artifact)
    units = {kind: _Units(artifact, observer.wiring, kind) for kind in TIMES}
    observer.ends = {"likely": observer.loads, **units}
    engine.run(artifact.network, target, chunks, [observer])
    counts = observer.counts
    chips, tiles = artifact.mapping.chips, tiles_in_use(observer.wiring.cores, target)
    done = {key: count / counts.samples for key, count in operations(tally(artifact, observer.wiring, counts)).values()}
    held = observer.times.period / counts.samples / 1e12 if seconds is None else seconds
    done |= {"energy.static_core": artifact.mapping.cores_used * held, "energy.static_chip": chips * held}
    loads = np.stack([np.concatenate(units[kind].found, axis=1) for kind in TIMES])
    key = barrier(target, tiles, chips).keys[-1]
    return Run(loads, counts.samples, (key, artifact.network.steps), done, seconds, joules)


@dataclass(frozen=True)
class Fitted:
    """Constants of one kind ('time' or 'energy') with what the fit says of them."""

    keys: tuple[str, ...]
    fit: Fit
    runs: int


def fit_energy(runs: Sequence[Run], target: Machine) -> Fitted | None:
    """Energies and powers; None where no run has joules."""
    runs = _with(runs, "joules")
    if not runs:
        return None
    keys = tuple(key for key in runs[0].operations if key in target.constants)
    counts = np.array([[run.operations[key] for key in keys] for run in runs])
    return Fitted(keys, fitted(counts, np.array([run.joules for run in runs]), *_known(keys, target)), len(runs))


def fit_time(runs: Sequence[Run], target: Machine) -> Fitted | None:
    """Times of operations and barriers; None where no run has seconds."""
    runs = _with(runs, "seconds")
    if not runs:
        return None
    barriers = sorted({run.barrier[0] for run in runs})
    keys = (*(f"time.{kind}" for kind in TIMES), *barriers)
    (known, unsure), measured = _known(keys, target), np.array([run.seconds for run in runs])
    prices, seen = known, None
    for _ in range(ROUNDS):
        rows = np.array([[*_waited(run, prices[: len(TIMES)]), *(run.barrier[1] * (key == run.barrier[0])
                          for key in barriers)] for run in runs])  # fmt: skip
        if seen is not None and np.array_equal(rows, seen):
            break
        seen = rows
        found = fitted(rows, measured, known, unsure)
        prices = found.price
    return Fitted(keys, found, len(runs))


def _with(runs: Sequence[Run], what: str) -> list[Run]:
    found = [run for run in runs if getattr(run, what) is not None]
    if found and len(found) < LEAST:
        raise DataError(
            "too-few-measurements",
            f"{what} of so few runs tell no constants",
            where=what,
            needed=f"{LEAST} runs",
            limit=f"{len(found)} runs",
        )
    return found


def _waited(run: Run, prices: Array) -> Array:
    """Operations of each kind on the core and side that each step waits for, per sample."""
    loads = run.loads.transpose(2, 0, 1, 3).reshape(run.loads.shape[2], len(prices), -1)
    longest = np.einsum("k,skc->sc", prices, loads).argmax(axis=1)
    return np.asarray(loads[np.arange(len(loads)), :, longest].sum(axis=0) / run.samples)


def _known(keys: Sequence[str], target: Machine) -> tuple[Array, Array]:
    """What the target says of some constants, and how far that may be off by its band."""
    bands = [band_of(target.constant(key)) for key in keys]
    off = [max(band.high - band.likely, band.likely - band.low) for band in bands]
    return np.array([band.likely for band in bands]), np.array(off)


def fitted_target(target: Machine, found: Sequence[Fitted], source: str) -> Machine:
    """The target with what the runs tell, graded measured-fit; what they do not tell stays as it was.

    Raises:
        DataError: 'cannot-tell' where they tell nothing.
    """
    entries = {}
    for one in found:
        fit = one.fit
        for i, key in enumerate(one.keys):
            if not fit.told[i]:
                continue
            old = target.constant(key)
            power = PREFIXES[old.unit.split()[0][:-1]]
            value, low, high = (_rounded(float(x[i]), power, key) for x in (fit.price, fit.low, fit.high))
            said = f"{one.runs} runs of {source}, 95 %: {low:g} to {high:g}; left-out error {fit.error:.1%}"
            entries[key] = {
                "value": value, "unit": old.unit, "grade": "measured-fit", "source": f"{said}; was {old.value:g}",
            }  # fmt: skip
    if not entries:
        raise DataError(
            "cannot-tell",
            "the measurements tell none of the target's constants",
            where=source,
            hint="measure networks that differ in what they do: synapses, neurons, spikes, cores",
        )
    for table in ("time.sync.", "time.sync_chips."):
        entries |= _in_order([key for key in target.constants if key.startswith(table)], entries, target)
    return target.said(entries, f"{len(entries)} constants fitted to {source}")


def _in_order(keys: list[str], fitted_: Mapping[str, Mapping[str, Any]], target: Machine) -> dict[str, dict[str, Any]]:
    """Barriers that were not fitted, where one of less is longer or one of more is shorter: as long as that."""
    keys = sorted(keys, key=lambda key: int(key.rpartition("_")[2]))
    old = {key: target.constant(key) for key in keys}
    now = {key: fitted_.get(key, {"value": old[key].value, "unit": old[key].unit}) for key in keys}
    size = {key: Constant(entry["value"], entry["unit"], "", "").si() for key, entry in now.items()}
    found: dict[str, dict[str, Any]] = {}
    for at, key in enumerate(keys):
        less = max((other for other in keys[:at] if other in fitted_), key=size.__getitem__, default=key)
        more = min((other for other in keys[at + 1 :] if other in fitted_), key=size.__getitem__, default=key)
        bound = less if size[less] > size[key] else more if size[more] < size[key] else None
        if bound is not None:
            said = f"as {bound}, which was fitted; was {old[key].value:g}"
            found[key] = {"value": now[bound]["value"], "unit": now[bound]["unit"], "grade": "assumed", "source": said}
            size[key] = size[bound]
    return found


def _rounded(si: float, power: int, key: str) -> float:
    """In the unit of the file, six digits; a time below a picosecond is none."""
    if key.startswith("time.") and round(si * 1e12) == 0:
        return 0.0
    return float(f"{si / 10.0**power:.6g}")
