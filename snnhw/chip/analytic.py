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
from snnhw.network import Array, Network


@dataclass(frozen=True)
class Times:
    """Sums over the samples of a run, integer picoseconds; `+` merges shards.

    Args:
        latency: time of one isolated sample, summed over samples; with its smallest and largest.
        period: time of T steps of the steady pipeline, summed over samples; with its smallest and largest.
        generation, reception: busy time of every core in use in those T steps, summed over samples, int64 (cores,).
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
        )


def no_times(cores: int) -> Times:
    """Nothing yet."""
    zero = np.zeros(cores, np.int64)
    return Times(0, 0, 0, 0, 0, 0, 0, zero, zero)


Work = dict[str, tuple[Array, Array]]
"""Population -> generation and reception it causes, each (B, T, cores), picoseconds, sample-step aligned."""


def sample_times(network: Network[Any], work: Work, idle: Array, sync: int) -> Times:
    """Times of a batch of samples.

    One isolated sample takes chip steps 0 … depth+T-1: population p works in [start_p, start_p + T), the others
    still pay `idle` (neuron access). The steady pipeline repeats the sample every T steps: at chip step k
    population p computes its sample step (k - start_p) mod T.

    Args:
        idle: access time of all neurons of every core, int64 (cores,).
        sync: barrier at the end of each chip step.
    """
    steps = network.steps
    batch, _, cores = next(iter(work.values()))[0].shape
    once = np.zeros((2, batch, network.depth + steps, cores), np.int64)
    steady = np.zeros((2, batch, steps, cores), np.int64)
    for p in network.populations:
        for side, load in enumerate(work[p.name]):
            once[side, :, p.start : p.start + steps] += load
            steady[side] += np.roll(load, p.start, axis=1)
    once[0] += idle
    steady[0] += idle
    latency, period = (step_times(loads, sync).sum(axis=1) for loads in (once, steady))
    return Times(
        batch, int(latency.sum()), int(latency.min()), int(latency.max()), int(period.sum()), int(period.min()),
        int(period.max()), steady[0].sum(axis=(0, 1)), steady[1].sum(axis=(0, 1)),
    )  # fmt: skip


def step_times(loads: Array, sync: int) -> Array:
    """Times of chip steps (B, steps) from generation and reception (2, B, steps, cores)."""
    busiest: Array = loads.max(axis=(0, 3))
    return busiest + sync


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
