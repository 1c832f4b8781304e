"""Event time of the shipped networks: periods and energy of each aim of the placement, speed, and what a bypass gains.

    python benchmarks/event.py [--samples 20] [--networks stbp_scnn --networks sew_resnet]

CPU seconds are of one thread: of messages that are timed (once for the latency, once for the period), their making
included. The samples are no calibration samples. Last come single steps of 1e3 to 1e7 messages on 98 cores.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click
import numpy as np

from snnhw import api
from snnhw.artifact import Artifact
from snnhw.chip.band import band_of
from snnhw.chip.counts import ChipObserver
from snnhw.chip.energy import operations
from snnhw.chip.event import Step, mesh_of, simulated, state_of
from snnhw.chip.tally import tally
from snnhw.data import load_samples
from snnhw.demo import CALIBRATION, DATA
from snnhw.encoding import encode
from snnhw.engines.choose import integer_engine
from snnhw.machine import load_target
from snnhw.mapping.choose import Aim
from snnhw.network import Array
from snnhw.shipped import example

CORES = 98
BYPASS = 8


def timed(artifact: Artifact, x: Array, timing: str) -> tuple[ChipObserver, float]:
    """A run's counts and times, and its CPU seconds."""
    observer = ChipObserver(artifact, timing=timing)
    chunks = [encode(x[i : i + 32], artifact.inputs, artifact.steps) for i in range(0, len(x), 32)]
    begin = time.process_time()
    integer_engine("fast").run(artifact.network, artifact.target, chunks, [observer])
    return observer, time.process_time() - begin


def measured(artifact: Artifact, x: Array) -> dict[str, Any]:
    """Means of a sample."""
    timed(artifact, x[:1], "event")  # compile the kernels
    plain, before = timed(artifact, x, "analytic")
    observer, seconds = timed(artifact, x, "event")
    total = tally(artifact, observer.wiring, observer.counts)
    joules = sum(band_of(artifact.target.constant(key)).likely * count for key, count in operations(total).values())
    work = np.maximum(plain.times.generation, plain.times.reception)
    return {
        "cores": artifact.mapping.cores_used,
        "analytic": plain.times.period / len(x) / 1e9,
        "event": observer.times.period / len(x) / 1e9,
        "energy": 1e6 * joules / len(x),
        "busiest": work.max() / work.mean(),
        "messages": total.messages / len(x),
        "cpu": max(seconds - before, 1e-9) / len(x),
    }


def step_of(messages: int) -> Step:
    """Random messages among all cores, about as many picoseconds to send as to receive."""
    rng = np.random.default_rng(0)
    first = np.searchsorted(np.sort(rng.integers(0, CORES, messages)), np.arange(CORES + 1))
    gap, work = rng.integers(4_000, 16_000, messages), rng.integers(15_000, 60_000, messages)
    none = np.zeros(CORES, np.int64)
    return Step(first, gap, rng.integers(0, CORES, messages), work, np.ones(messages, np.int64), none, none)


@click.command()
@click.option("--samples", default=20, show_default=True)
@click.option("--target", default="loihi2", show_default=True)
@click.option("--networks", multiple=True, default=("stbp_scnn", "sew_resnet", "tdbn_resnet"), show_default=True)
@click.option("--most", default=10_000_000, show_default=True, help="Messages of the longest single step.")
def main(samples: int, target: str, networks: tuple[str, ...], most: int) -> None:
    """Print a line for each network and aim, then speed by messages."""
    x, calibration = load_samples(example(DATA)).x[:samples], load_samples(example(CALIBRATION)).held
    for name in networks:
        rows = {}
        for aim in Aim:
            artifact = api.compile(example(f"{name}.pt"), target=target, calibrate=calibration, map=str(aim))
            row = rows[aim] = measured(artifact, x)
            few = rows[Aim.FEWEST]
            print(
                f"{name} {aim}: {row['cores']} cores, {row['analytic']:.4f} ms analytic, {row['event']:.4f} ms event "
                f"({few['event'] / row['event']:.2f} times shorter), {row['energy']:.1f} uJ without static parts "
                f"({100 * (row['energy'] / few['energy'] - 1):+.1f} %), busiest core {row['busiest']:.2f} of the mean; "
                f"event model {row['cpu']:.3f} s CPU a sample, {1e6 * row['cpu'] / row['messages']:.2f} us a message",
                flush=True,
            )
            changed = artifact.target.changed({"chip.bypass_hops": BYPASS})
            passed = measured(replace(artifact, target=changed), x)["event"]
            print(f"  with routers that up to {BYPASS} hops pass by: {passed:.4f} ms", flush=True)
    mesh = mesh_of(np.arange(CORES), load_target(target))
    state, messages = state_of(mesh), 1000
    while messages <= most:
        step, runs = step_of(messages), max(1, 200_000 // messages)
        begin = time.process_time()
        for _ in range(runs):
            simulated(step, mesh, state)
        seconds = (time.process_time() - begin) / runs
        print(
            f"{messages:>9,} messages in a step: {seconds:.4f} s, {messages / seconds / 1e6:.2f} million a second",
            flush=True,
        )
        messages *= 10


if __name__ == "__main__":
    main()
