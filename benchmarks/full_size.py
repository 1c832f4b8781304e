"""Full-size networks through the compiler: docs/full_size.md.

    python benchmarks/full_size.py                              # all; 5 minutes on a free core, far more on a busy one
    python benchmarks/full_size.py --only SEW-ResNet-152        # one, into runs/full_size.json and the page
    python benchmarks/full_size.py --page-only                  # the page again, from runs/full_size.json

Weights are random (seeded) and BatchNorm statistics are those of one random image, so that every layer is alive. Each
network is written as a checkpoint with the keys of its authors' code, read by `load_source`, compiled for loihi2,
saved, loaded and run on one image, in a process of its own: its peak memory is the compiler's.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import full_size_page as page
import numpy as np
import torch
from torch import Tensor, nn

from snnhw import api
from snnhw.artifact import load, save
from snnhw.frontends import load_source
from snnhw.frontends.options import SourceOptions
from snnhw.network import Kind
from snnhw.zoo.resnet import sew_resnet
from snnhw.zoo.tdbn import tdbn_resnet19, tdbn_resnet34, tdbn_resnet50

RESULTS = Path("runs/full_size.json")
IMAGE, SMALL = (3, 224, 224), (3, 32, 32)
TARGET = "loihi2"


def _tdbn(shape: tuple[int, ...]) -> SourceOptions:
    return SourceOptions(threshold=0.5, steps=2 if shape == SMALL else 6, input_shape=shape)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], SourceOptions]] = {
    **{f"SEW-ResNet-{d}": (lambda d=d: sew_resnet(depth=d), IMAGE, SourceOptions()) for d in (18, 34, 50, 101, 152)},
    "tdBN ResNet-19": (tdbn_resnet19, SMALL, _tdbn(SMALL)),
    "tdBN ResNet-34": (tdbn_resnet34, IMAGE, _tdbn(IMAGE)),
    "tdBN ResNet-50": (tdbn_resnet50, IMAGE, _tdbn(IMAGE)),
}
"""Name -> (network, image, what its file does not say). SEW: T = 4 and ADD in `args`; tdBN: the papers' T."""

OLD_SEW = (
    (re.compile(r"^(layer\d\.\d+\.conv\d)\."), r"\1.module."),
    (re.compile(r"(\.downsample\.0)\."), r"\1.module."),
)
TDBN = (
    (re.compile(r"^stages\.(\d+)\."), lambda m: f"layer{int(m[1]) + 1}."),
    (re.compile(r"^stem\.(conv|bn)\."), r"\g<1>1."),
    (re.compile(r"\.branch\.conv(\d)\.(conv|bn)\."), r".\2\1."),
    (re.compile(r"\.shortcut\.conv\."), ".downsample.layer."),
    (re.compile(r"\.shortcut\.bn\."), ".downsample.bn."),
)


def official(name: str, state: dict[str, Tensor]) -> dict[str, Any]:
    """What the authors' training script would have saved."""
    if name.startswith("SEW"):
        renamed = {f"module.{_renamed(key, OLD_SEW)}": value for key, value in state.items()}
        return {"model": renamed, "args": Namespace(T=4, connect_f="ADD"), "epoch": 319}
    heads = sorted({key.split(".")[1] for key in state if key.startswith("head.")})
    last = {f"head.{n}.0.": f"fc{i + 1}." if len(heads) > 1 else "fc." for i, n in enumerate(heads)}
    found = {_renamed(key, TDBN): value for key, value in state.items()}
    return {
        next((new + key[len(old) :] for old, new in last.items() if key.startswith(old)), key): value
        for key, value in found.items()
    }


def _renamed(key: str, rules: Any) -> str:
    for pattern, new in rules:
        key = pattern.sub(new, key)
    return key


def alive(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Running statistics of every BatchNorm from one random image, and a bias: random weights alone fall silent."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = 1.0
        nn.init.constant_(layer.bias, 0.2)
    with torch.no_grad():
        network.train()(torch.randn(1, 1, *shape).expand(4, 1, *shape))
    return network.eval()


def measure(name: str, samples: int) -> dict[str, Any]:
    """Write, read, compile, save, load, run; samples: calibration images (0: scales from the weights alone)."""
    build, shape, options = NETWORKS[name]
    torch.manual_seed(0)
    images = np.random.default_rng(0).standard_normal((max(samples, 1), *shape)).astype(np.float32)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, compiled = Path(folder) / "checkpoint.pth", Path(folder) / "compiled.snnhw"
        network = alive(build(), shape)
        parameters = sum(p.numel() for p in network.parameters())
        torch.save(official(name, network.state_dict()), checkpoint)
        del network
        before = peak()
        clock("read")
        source = load_source(checkpoint, options)
        if not samples:  # normalised images have no known range; pixels have one
            source = replace(source, deployment=replace(source.deployment, preprocessing="uint8/255"))
            images = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
        artifact = api.compile(source, target=TARGET, calibrate=images if samples else None, stage=clock)
        clock("save")
        save(artifact, compiled)
        size = compiled.stat().st_size
        clock("load")
        artifact = load(compiled)
        after = peak()
        clock("run")
        found = api.run(artifact, images[:1], record="spikes")
        clock("")
    populations = {kind: [p for p in artifact.network.computed if p.kind is kind] for kind in Kind}
    counted = [p.name for kind in (Kind.NEURON, Kind.GATE) for p in populations[kind]]
    fired = {p: int(found[f"spikes/{p}"].sum()) for p in counted}
    return {
        "network": name,
        "architecture": artifact.source["architecture"],
        "samples": samples,
        "steps": artifact.steps,
        "parameters": parameters,
        "populations": {str(kind): len(members) for kind, members in populations.items() if members},
        "neurons": {str(kind): sum(p.size for p in members) for kind, members in populations.items() if members},
        "projections": len(artifact.network.projections),
        "operators": dict(Counter(type(p.op).__name__ for p in artifact.network.projections)),
        "cores": artifact.mapping.cores_used,
        "chips": artifact.mapping.chips,
        "unproven": [b["population"] for b in artifact.bounds if b["status"] != "proven"],
        "never_fire": [b["population"] for b in artifact.bounds if b.get("silent")],
        "checks": list(artifact.checks),
        "quiet": [p for p, n in fired.items() if n == 0],
        "rate": sum(fired.values()) / (artifact.steps * sum(artifact.network[p].size for p in counted)),
        "seconds": clock.seconds,
        "compile_seconds": sum(clock.seconds[s] for s in ("read", "import", "lower", "check", "quantise", "map")),
        "artifact_bytes": size,
        "peak_gib": after,
        "peak_before_gib": before,
        "git": _commit(),
    }


class Clock:
    """Seconds between one stage's begin and the next one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", time.perf_counter()

    def __call__(self, stage: str) -> None:
        """A stage begins."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = round(self.seconds.get(self._stage, 0.0) + now - self._since, 2)
        self._stage, self._since = stage, now


def peak() -> float:
    """Largest resident memory of this process so far, GiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(NETWORKS)), help="Only these networks.")
@click.option("--samples", type=int, default=0, show_default=True, help="Calibration images; 0 compiles without.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/full_size.md"), show_default=True)
@click.option("--page-only", is_flag=True, help="Write the page from what was measured before.")
@click.option("--one", hidden=True, default=None)
def main(only: tuple[str, ...], samples: int, out: Path, page_only: bool, one: str | None) -> None:
    """Compile, record, write the page."""
    if one is not None:
        torch.set_num_threads(1)
        Path(one).write_text(json.dumps(measure(only[0], samples)), encoding="utf-8")
        return
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    for name in () if page_only else only or tuple(NETWORKS):
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "row.json"
            command = [sys.executable, __file__, "--only", name, "--samples", str(samples), "--one", str(answer)]
            subprocess.run(command, check=True)
            row = json.loads(answer.read_text(encoding="utf-8"))
        rows = [old for old in rows if (old["network"], old["samples"]) != (name, samples)] + [row]
        rows.sort(key=lambda r: (list(NETWORKS).index(r["network"]), r["samples"]))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(page.row(row), flush=True)
    out.write_text(page.page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
