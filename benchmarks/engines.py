"""How fast the engines are, beside each other and beside float frameworks: `make bench` (ARGS="--baseline --lava").

One table from one run: every contender is a process of one thread that stays, and all run in turns, so that what else
the machine does hits them alike. Printed are medians over the rounds, their spread, and ratios of medians; wall time,
and CPU time beside it. Rows that count the same number of spikes did the same work bit for bit.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import nir
import numpy as np

from snnhw.shipped import example

ROOT = Path(__file__).resolve().parent.parent
BASELINE = "9e06522"
"""The commit that `--baseline` measures beside this one: float convolutions, neurons in int64."""

STEPS, SAMPLES = 4, 16
SHAPES = ((64, 28), (128, 14), (16, 28))
"""Channels and width of the one-layer networks."""


@dataclass
class Contender:
    """A process that runs when it is asked to."""

    name: str
    said: dict[str, Any]
    path: Sequence[Path] = (ROOT,)
    times: list[list[float]] = field(default_factory=list)
    why: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Ready to run, or `why` says what is missing."""
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        env = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(map(str, self.path))}
        script = Path(__file__).with_name("contender.py")
        command = [sys.executable, str(script), json.dumps(self.said)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env, cwd="/")
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            said = self.process.communicate()[1].strip().splitlines()
            self.why, self.process = f"skipped: {said[-1] if said else 'it ended'}", None

    def run(self) -> None:
        """Once."""
        if self.process is not None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            self.times.append(json.loads(self.process.stdout.readline()))

    def stop(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.communicate()

    def median(self, i: int = 0) -> float:
        """Seconds of a run: 0 wall, 1 CPU."""
        return statistics.median(row[i] for row in self.times)


def layer(folder: Path, channels: int, width: int, rate: float) -> dict[str, Any]:
    """A 3x3 convolution onto IF neurons that reset to zero, and spikes of a rate: files for all sides."""
    rng = np.random.default_rng(channels + width)
    weight = (rng.normal(size=(channels, channels, 3, 3)) / 12).astype(np.float32)
    shape = (channels, width, width)
    threshold = 1.0
    nodes = {
        "input": nir.Input({"input": np.array(shape)}),
        "conv": nir.Conv2d((width, width), weight, 1, 1, 1, 1, np.zeros(channels, np.float32)),
        "lif": nir.IF(r=np.ones(shape), v_threshold=np.full(shape, threshold)),
        "output": nir.Output({"output": np.array(shape)}),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(pairwise(names)))
    stem = folder / f"{channels}x{width}_{rate:g}"
    nir.write(stem.with_suffix(".nir"), graph)
    x = (rng.random((SAMPLES, STEPS, *shape)) < rate).astype(np.uint8)
    np.savez(stem.with_suffix(".npz"), x=x, weight=weight, threshold=threshold)
    options = {"steps": STEPS, "encoding": "spikes", "dialect": "spikingjelly", "readout": "rate"}
    files = {"net": str(stem.with_suffix(".nir")), "data": str(stem.with_suffix(".npz"))}
    return {**files, "options": options, "samples": SAMPLES, "batch": SAMPLES}


def measure(title: str, contenders: Sequence[Contender], rounds: int, samples: int) -> list[str]:
    """Rows of the table; ratios are to the first, which is `fast`."""
    for contender in contenders:
        contender.start()
    for _ in range(rounds):
        for contender in contenders:
            contender.run()
    rows = []
    for contender in contenders:
        contender.stop()
        if contender.why:
            rows.append(f"| {title} | {contender.name} | {contender.why} | | | | |")
            continue
        wall, cpu = (contender.median(i) for i in (0, 1))
        walls = sorted(row[0] for row in contender.times)
        spread = (walls[-1] - walls[0]) / wall
        ran = contender.said["samples"]
        ratio = (wall / ran) / (contenders[0].median() / contenders[0].said["samples"])
        told = f"{1000 * wall / ran:.3f} | {1000 * cpu / ran:.3f} | {spread:.0%} | {ratio:.2f}"
        rows.append(f"| {title} | {contender.name} | {told} | {contender.times[0][2]:,.0f} |")
    for row in rows:
        print(row, flush=True)
    return rows


def frameworks(wanted: bool) -> dict[str, list[Path]]:
    """Import paths of the float frameworks, by name: the overlays of `make frontends`, made where they are missing."""
    if not wanted:
        return {}
    sys.path.insert(0, str(ROOT))
    from tests.frontends.environments import make, matrix

    return {name: [make(name, matrix()[name]["packages"])] for name in ("spikingjelly", "snntorch")}


def baseline(folder: Path) -> Path:
    """The sources of the older commit."""
    path = folder / "baseline"
    path.mkdir()
    found = subprocess.run(["git", "archive", BASELINE], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        raise SystemExit(f"--baseline needs the commit {BASELINE}: git fetch --unshallow")
    subprocess.run(["tar", "-x", "-C", str(path)], input=found.stdout, check=True)
    return path


def machine() -> str:
    """Versions and the processor."""
    found = [f"Python {platform.python_version()}", platform.processor() or platform.machine()]
    info = Path("/proc/cpuinfo")
    if info.exists():
        text = info.read_text(encoding="utf-8")
        found[1] = next((r.split(":")[1].strip() for r in text.splitlines() if r.startswith("model name")), found[1])
        found += [flag for flag in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if f" {flag}" in text]
    for name in ("torch", "numba", "numpy", "onnxruntime", "lava-nc"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--rates", default="0.02,0.1,0.4", show_default=True, help="Of the one-layer networks.")
@click.option("--networks", default="sew_resnet,stbp_scnn", show_default=True)
@click.option("--samples", default=128, show_default=True, help="Images of the networks (of Lava: 4).")
@click.option("--baseline", "older", is_flag=True, help=f"Also fast of commit {BASELINE}.")
@click.option("--lava", is_flag=True, help="Also Lava and the reference engine, which take minutes.")
@click.option("--frameworks/--no-frameworks", "floats", default=True, help="SpikingJelly and snnTorch, in floats.")
def main(rounds: int, rates: str, networks: str, samples: int, older: bool, lava: bool, floats: bool) -> None:
    """One table: milliseconds a sample, and ratios to `fast`."""
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = frameworks(floats)
        before = [baseline(folder)] if older else []
        print("| what | who | ms a sample | CPU ms | spread | times fast | spikes |\n|---|---|---|---|---|---|---|")
        for channels, width in SHAPES:
            for rate in map(float, rates.split(",")):
                said = layer(folder, channels, width, rate)
                rows = [Contender("fast", {**said, "kind": "fast"})]
                rows += [Contender(f"fast of {BASELINE}", {**said, "kind": "fast"}, before)] if before else []
                rows += [Contender(f"{who}, float", {**said, "kind": who}, path) for who, path in paths.items()]
                rows += [Contender("onnx", {**said, "kind": "onnx"})]
                measure(f"{channels} channels {width}x{width}, {100 * rate:g} %", rows, rounds, SAMPLES)
        for net in networks.split(","):
            files = {"net": str(example(f"{net}.pt")), "data": str(example("fashion_mnist_500"))}
            said = {**files, "calibrate": str(example("fashion_mnist_calibration")), "batch": 32, "samples": samples}
            rows = [Contender("fast", {**said, "kind": "fast"})]
            rows += [Contender(f"fast of {BASELINE}", {**said, "kind": "fast"}, before)] if before else []
            rows += [Contender("onnx", {**said, "kind": "onnx"})]
            few = {**said, "samples": 4}
            rows += [Contender(f"{kind}, 4 images", {**few, "kind": kind}) for kind in ("reference", "lava") if lava]
            measure(net, rows, rounds, samples)
        print()
        for kind, unit in (("int8", "TMAC/s"), ("float", "TMAC/s"), ("copy", "TB/s")):
            peak = Contender(kind, {"kind": f"peak-{kind}"})
            peak.start()
            for _ in range(rounds):
                peak.run()
            peak.stop()
            said = peak.why or f"{max(row[2] / row[0] for row in peak.times) / 1e12:.3f} {unit}"
            print(f"peak of this machine, one thread, {kind}: {said}")


if __name__ == "__main__":
    main()
