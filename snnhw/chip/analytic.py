"""The analytic time model (docs/energy.md, "Time: the analytic model"), and times summed over the samples of a run.

    T(step) = max( max over cores of generation, max over cores of reception ) + sync(tiles in use)

    generation = access of every neuron + update of the active ones + spike_out per spike + message_out per message
    reception  = message_in per message + synop per synapse reached, by format

Messages are received in the step they are sent in. Inputs live on the host: their messages load the receiving
cores and no sender. Everything is in integer picoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from snnhw.machine import Machine
from snnhw.mapping.route import tile
from snnhw.network import Array


@dataclass(frozen=True)
class Times:
    """Sums over the samples of a run, integer picoseconds; `+` merges shards.

    Args:
        latency: time of one isolated sample, summed over samples; with its smallest and largest.
        period: time of T steps of the steady pipeline, summed over samples; with its smallest and largest.
        generation, reception: busy time of every core in use in those T steps, summed over samples, int64 (cores,).
        critical: of those T steps without their barriers the time of every core that was waited for, as it generated or
            received, int64 (2, cores).
    """

    samples: int
    latency: int
    latency_min: int
    latency_max: int
    period: int
    period_min: int
    period_max: int
    generation: Array
    reception: Array
    critical: Array

    def __add__(self, other: Times) -> Times:
        if not self.samples or not other.samples:
            return self if self.samples else other
        return Times(
            self.samples + other.samples,
            self.latency + other.latency,
            min(self.latency_min, other.latency_min),
            max(self.latency_max, other.latency_max),
            self.period + other.period,
            min(self.period_min, other.period_min),
            max(self.period_max, other.period_max),
            self.generation + other.generation,
            self.reception + other.reception,
            self.critical + other.critical,
        )

    def arrays(self, end: str) -> dict[str, Any]:
        """As arrays of a part of a run (`comparison.partial`)."""
        return {
            f"sum:{end}/times": [self.samples, self.latency, self.period],
            f"min:{end}/times": [self.latency_min, self.period_min],
            f"max:{end}/times": [self.latency_max, self.period_max],
            f"sum:{end}/cores": np.stack([self.generation, self.reception, *self.critical]),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array], end: str) -> Times:
        """Back from those arrays."""
        samples, latency, period = arrays[f"sum:{end}/times"].tolist()
        (latency_min, period_min), (latency_max, period_max) = (
            arrays[f"{how}:{end}/times"].tolist() for how in ("min", "max")
        )
        generation, reception, *critical = arrays[f"sum:{end}/cores"]
        ends = latency_min, latency_max, period, period_min, period_max
        return cls(samples, latency, *ends, generation, reception, np.stack(critical))


def no_times(cores: int) -> Times:
    """Nothing yet."""
    zero = np.zeros(cores, np.int64)
    return Times(0, 0, 0, 0, 0, 0, 0, zero, zero, np.zeros((2, cores), np.int64))


def sample_times(loads: Array, stream: Array, idle: Array, sync: int) -> Times:
    """Times of a batch of samples.

    Args:
        loads: generation and reception of every chip step of an isolated sample, int64 (2, B, depth + T, cores),
            without what neurons take that have nothing to do.
        stream: the same of the T steps of a stream of this sample, complete.
        idle: what neurons take that have nothing to do, in each chip step of the isolated sample, int64
            (depth + T, cores).
        sync: barrier at the end of each chip step.
    """
    loads[0] += idle
    latency, period = ((busiest(side) + sync).sum(axis=1) for side in (loads, stream))
    return Times(
        loads.shape[1], int(latency.sum()), int(latency.min()), int(latency.max()), int(period.sum()),
        int(period.min()), int(period.max()), stream[0].sum(axis=(0, 1)), stream[1].sum(axis=(0, 1)),
        waited_for(stream),
    )  # fmt: skip


def steady(loads: Array, steps: int) -> Array:
    """Of a stream of this sample the work of T chip steps, (2, B, T, cores), from that of an isolated one."""
    found = np.zeros_like(loads[:, :, :steps])
    for first in range(0, loads.shape[2], steps):
        part = loads[:, :, first : first + steps]
        found[:, :, : part.shape[2]] += part
    return found


def busiest(loads: Array) -> Array:
    """Times of chip steps without their barrier (B, steps), of generation and reception (2, B, steps, cores)."""
    return np.asarray(loads.max(axis=(0, 3)))


def waited_for(loads: Array) -> Array:
    """Sum of the times of the steps in which each core and side was the longest (the first of equals), (2, cores)."""
    cores = loads.shape[3]
    flat = np.moveaxis(loads, 0, 2).reshape(-1, 2 * cores)
    longest = flat.argmax(axis=1)
    found = np.zeros(2 * cores, np.int64)
    np.add.at(found, longest, flat[np.arange(len(flat)), longest])
    return found.reshape(2, cores)


def tiles_in_use(cores: Array, target: Machine) -> int:
    """Distinct tiles (routers) that hold a core in use, over all chips."""
    return len(set(zip(*(axis.tolist() for axis in tile(cores, target)), strict=True)))


@dataclass(frozen=True)
class Barrier:
    """The barrier at the end of every chip step.

    Args:
        keys: constants it was made from.
        interpolated: between the tiles' barrier and that of more chips than are in use, which nobody published.
    """

    picoseconds: int
    keys: tuple[str, ...]
    interpolated: bool


def barrier(target: Machine, tiles: int, chips: int) -> Barrier:
    """The longer one of tiles and chips: of the largest published size that is not above what is in use.

    Of fewer chips than the least published size: linear in the logarithm of the chips, as in a tree of them.
    """
    key, least = _largest(target.time.sync, tiles)
    keys, time = [f"time.sync.{key}"], least
    interpolated = False
    if chips > 1 and target.time.sync_chips:
        table = {_size(name): name for name in target.time.sync_chips}
        interpolated = chips < min(table)
        name = table[max(size for size in table if size <= max(chips, min(table)))]
        keys.append(f"time.sync_chips.{name}")
        whole = max(least, target.time.sync_chips[name])
        part = log(chips) / log(min(table)) if interpolated else 1.0
        time = least + round((whole - least) * part)
    return Barrier(time, tuple(keys), interpolated)


def _largest(table: Mapping[str, int], used: int) -> tuple[str, int]:
    """Key and time of the largest size up to `used`."""
    key = max((key for key in table if _size(key) <= used), key=_size)
    return key, table[key]


def _size(key: str) -> int:
    return int(key.rpartition("_")[2])


def time_keys(target: Machine, formats: set[str], tiles: int, chips: int) -> list[str]:
    """Keys of the constants a time was made from."""
    plain = ("access", "update", "spike_out", "message_out", "message_in")
    synops = [f"time.synop.{f}" for f in sorted(formats)]
    return [f"time.{key}" for key in plain] + synops + list(barrier(target, tiles, chips).keys)
