"""The whole way on real data: compile a shipped network, run it in two engines, count, compare, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnhw import api
from snnhw.artifact import Artifact, save
from snnhw.comparison.diff import Difference, diff
from snnhw.comparison.tree import Comparison
from snnhw.data import load_samples
from snnhw.errors import EngineError
from snnhw.network import Array, Kind
from snnhw.shipped import example

NETWORKS = ("stbp_scnn", "sew_resnet")
DATA, CALIBRATION = "fashion_mnist_500.npz", "fashion_mnist_calibration.npz"


@dataclass(frozen=True)
class Outcome:
    """What the demo found about one network.

    Args:
        difference: first difference between `fast` and `lava`, or None.
        compared: entries of u, v and spikes compared, over all populations.
        silent: populations without a spike in the compared samples.
    """

    name: str
    comparison: Comparison
    difference: Difference | None
    compared: int
    samples: int
    populations: int
    silent: tuple[str, ...]
    report: Path

    @property
    def ok(self) -> bool:
        """Both engines agree and every population took part."""
        return self.difference is None and not self.silent


def demonstrate(name: str, target: str, folder: Path, lava_samples: int, stage: Callable[[str], None]) -> Outcome:
    """Compile, compare on the shipped test images, and run `lava_samples` of them in `fast` and in Lava.

    Raises:
        SnnhwError: a stage refused; EngineError 'lava-missing' where Lava is not installed.
    """
    data, source = load_samples(example(DATA)), example(f"{name}.pt")
    stage(f"{name}: compile for {target}")
    artifact = api.compile(source, target=target, calibrate=load_samples(example(CALIBRATION)).held)
    save(artifact, folder / f"{name}.{target}.snnhw")
    stage(f"{name}: compare on {len(data.x)} test images")
    comparison = api.compare(source, artifact, data.x, data.y)
    report = folder / f"{name}.{target}.html"
    comparison.to_html(report)
    few = data.x[:lava_samples]
    stage(f"{name}: {lava_samples} images in fast")
    fast = api.run(artifact, few, "fast", record="state")
    stage(f"{name}: {lava_samples} images in Lava")
    lava = api.run(artifact, few, "lava", record="state")
    found = diff(fast, lava, [p.name for p in artifact.network.populations])
    populations = len(artifact.network.computed)
    return Outcome(
        name, comparison, found, _compared(fast, lava), lava_samples, populations, silent(artifact, lava), report
    )


def _compared(a: Mapping[str, Array], b: Mapping[str, Array]) -> int:
    recorded = {key for key in a if "/" in key}
    if recorded != {key for key in b if "/" in key}:
        odd = sorted(recorded ^ {key for key in b if "/" in key})
        raise EngineError("not-comparable", "the engines recorded different populations", where=", ".join(odd[:3]))
    return sum(int(np.size(a[key])) for key in recorded)


def silent(artifact: Artifact, recorded: Mapping[str, Array]) -> tuple[str, ...]:
    """Spiking populations without a single spike."""
    spiking = [p.name for p in artifact.network.computed if p.kind is not Kind.ACCUMULATOR]
    return tuple(name for name in spiking if not recorded[f"spikes/{name}"].any())
