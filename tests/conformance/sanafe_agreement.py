"""`make sanafe`: random networks on both chips, ours and SANA-FE's, and a table of what agrees (docs/sanafe.md).

SANA-FE (GPL-3) is put into .frontends/sanafe and run as a program. Exit 1 where spikes, times or energies differ.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import busiest
from snnhw.chip.counts import ChipObserver
from snnhw.chip.energy import operations
from snnhw.chip.loads import Loads
from snnhw.chip.tally import tally
from snnhw.engines.choose import integer_engine
from snnhw.engines.observe import Recorder
from snnhw.export.sanafe import write_sanafe
from snnhw.machine import load_target
from snnhw.mapping.types import Mapping, Slice
from snnhw.network import Inject, IntNeuron, Kind, Network, Population, Projection, Readout, Sparse
from tests.unit.chip.nets import mapped

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".frontends" / "sanafe"
PACKAGE = "sanafe==2.2.9"
RUNNER = Path(__file__).with_name("run_sanafe.py")
NETWORK = {"chip.link_buffer": 8, "chip.networks": 2, "time.link_occupancy": 1.0, "time.hop_ew": 4.0,
           "time.hop_ns": 4.0, "core.message_per_axon": False}  # fmt: skip
"""SANA-FE's cycle model simulates such a network of routers, whatever the architecture says; hops are our guess."""
STEPS = 8
CASES = ((1, 40, 6), (2, 40, 6), (4, 60, 8), (8, 60, 8), (16, 60, 10), (32, 60, 10), (64, 50, 10), (96, 50, 12),
         (128, 40, 10), (128, 50, 24), (64, 60, 40))  # fmt: skip
"""Cores, neurons on each, synapses of each neuron."""


class Steps(Loads):
    """Keeps the analytic time of every chip step of isolated samples."""

    def finish(self, loads: Any) -> None:
        whole = loads.copy()
        whole[0] += self.idle + self.waiting
        self.found = busiest(whole) + self.sync
        super().finish(loads)


def random_mesh(cores: int, each: int, fan: int, seed: int) -> Artifact:
    """Neurons that a bias drives and that send to each other at random, `each` of them on every core."""
    rng = np.random.default_rng(seed)
    size = cores * each
    target = load_target("loihi1", NETWORK)
    heavy = rng.random(size) ** 3  # some receive much more than others
    indices = np.sort(rng.choice(size, (size, fan), p=heavy / heavy.sum()), axis=1)
    pre = np.repeat(np.arange(size), fan)
    pairs = np.unique(np.stack([indices.ravel(), pre]), axis=1)
    indptr = np.searchsorted(pairs[0], np.arange(size + 1))
    weights = {"w": 2 * rng.integers(-20, 20, pairs.shape[1]), "w/indices": pairs[1], "w/indptr": indptr}
    bias = 64 * rng.integers(20, 200, size)
    neuron = IntNeuron(dv=np.int64(300), vth=np.int64(64 * 400), bias=bias, du=4096)
    network = Network(
        (Population("host", (size,), Kind.INPUT, payload=(0, 1)), Population("n", (size,), Kind.NEURON, neuron, 1)),
        (Projection("host-n", "host", "n", Inject()), Projection("n-n", "n", "n", Sparse("w"), lag=1)),
        weights, STEPS, Readout("rate", "n"),
    )  # fmt: skip
    slices = tuple(Slice("n", ((c * each, (c + 1) * each),), c, {}) for c in range(cores))
    return replace(mapped(network, [("n", ((0, size),), 0)]), target=target, mapping=Mapping(slices, 1))


def ours(artifact: Artifact) -> dict[str, Any]:
    """Spikes, times of every step (analytic and event) in seconds, joules, CPU seconds of the event run."""
    x = {"host": np.zeros((1, STEPS, artifact.network["host"].size), np.int32)}
    recorder = Recorder(artifact.network, spikes=True)
    observer = ChipObserver(artifact)
    steps = observer.ends["low"] = Steps(artifact, observer.wiring, artifact.target)
    engine = integer_engine("fast")
    engine.run(artifact.network, artifact.target, [x], [recorder, observer])
    for _ in range(2):  # the first compiles
        timed = ChipObserver(artifact, observer.wiring, timing="event")
        begin = time.process_time()
        engine.run(artifact.network, artifact.target, [x], [timed])
        spent = time.process_time() - begin
    total = tally(artifact, observer.wiring, observer.counts)
    si = {
        key: artifact.target.constant(key).si()
        for key, _ in operations(total).values()
        if key in artifact.target.constants
    }
    joules = float(sum(si[key] * count for key, count in operations(total).values() if key in si))
    first = artifact.network["n"].start
    return {
        "spikes": recorder.arrays()["spikes/n"][0],
        "simple": steps.found[0, first:] / 1e12,
        "event": timed.events.isolated[0][0, first:] / 1e12,  # type: ignore[union-attr]
        "joules": joules,
        "messages": total.messages / STEPS,
        "cpu": spent,
    }


def compared(case: tuple[int, int, int], seed: int) -> dict[str, Any]:
    """One row of the table."""
    artifact = random_mesh(*case, seed)
    mine = ours(artifact)
    with tempfile.TemporaryDirectory() as folder:
        groups = write_sanafe(artifact, folder)
        out = Path(folder) / "out.json"
        command = [sys.executable, str(RUNNER), folder, str(STEPS), str(out), "simple", "detailed", "cycle"]
        environment = {"PYTHONPATH": str(FOLDER), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        theirs = json.loads(out.read_text())
    fired = np.zeros_like(mine["spikes"])
    for step, names in enumerate(theirs["simple"]["fired"]):
        for group, neuron in names:
            assert group == groups["n"]
            fired[step, neuron] = 1
    row = {
        "cores": case[0], "messages": mine["messages"], "spikes": int((fired != mine["spikes"]).sum()),
        "simple": worst(mine["simple"], theirs["simple"]["seconds"]),
        "energy": abs(mine["joules"] / sum(theirs["simple"]["joules"]) - 1),
        "speed": theirs["detailed"]["cpu"] / mine["cpu"],
    }  # fmt: skip
    cycle = theirs["cycle"]["seconds"]
    models = {"analytic": mine["simple"], "detailed": theirs["detailed"]["seconds"], "event": mine["event"]}
    for name, times in models.items():
        row[f"{name}_mean"], row[f"{name}_worst"] = mean(times, cycle), worst(times, cycle)
    return row


def worst(times: Any, reference: Any) -> float:
    """Largest relative difference of a step."""
    return float(np.abs(np.asarray(times) / np.asarray(reference) - 1).max())


def mean(times: Any, reference: Any) -> float:
    """Mean relative difference of a step."""
    return float(np.abs(np.asarray(times) / np.asarray(reference) - 1).mean())


def make() -> None:
    """The package, without what it does not need."""
    if not (FOLDER / "sanafe").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*pip, "--target", str(FOLDER), PACKAGE], check=False).returncode:
            raise SystemExit(f"{PACKAGE} cannot be had here: skipped")


def main(names: list[str]) -> int:
    make()
    wrong = 0
    print("cores, messages a step | spikes that differ, time (worst step) and energy against simple |")
    print("  analytic, detailed, event against cycle: mean / worst step | CPU of detailed by ours")
    for seed, case in enumerate(CASES[: int(names[0]) if names else None]):
        row = compared(case, seed)
        wrong += row["spikes"] > 0 or row["simple"] > 1e-9 or row["energy"] > 1e-9
        same = f"{row['spikes']} {row['simple']:.0e} {row['energy']:.0e}"
        models = ", ".join(
            f"{row[f'{m}_mean']:.2%} / {row[f'{m}_worst']:.2%}" for m in ("analytic", "detailed", "event")
        )
        print(f"{row['cores']:>3} {row['messages']:>6.0f} | {same} | {models} | {row['speed']:.1f}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
