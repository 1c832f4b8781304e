"""Engine speed on the shipped networks: samples per second, `fast` against `lava`, side by side in one run.

Both engines run the same artifact on the same images, in turns; printed is the ratio of medians. Lava's time includes
starting its processes, once per run of `--samples` images, and is also given without that start (from two run lengths).
"""

from __future__ import annotations

import statistics
import time

import click

from snnhw import api
from snnhw.artifact import Artifact
from snnhw.data import load_samples
from snnhw.demo import CALIBRATION, DATA, NETWORKS
from snnhw.encoding import encode
from snnhw.engines.base import Needs
from snnhw.engines.choose import integer_engine
from snnhw.network import Array
from snnhw.shipped import example


class Nothing:
    """An observer that keeps nothing: what is timed is the engine."""

    needs = Needs()

    def observe(self, first_sample: int, population: str, record: object) -> None:
        """Ignore it."""


def seconds(artifact: Artifact, x: Array, engine: str) -> float:
    """Wall time of one run."""
    chunks = [encode(x[i : i + 32], artifact.inputs, artifact.steps) for i in range(0, len(x), 32)]
    begin = time.perf_counter()
    integer_engine(engine).run(artifact.network, artifact.target, chunks, [Nothing()])
    return time.perf_counter() - begin


@click.command()
@click.option("--target", default="loihi2", show_default=True)
@click.option("--samples", default=10, show_default=True, help="Images per Lava run.")
@click.option("--fast-samples", default=256, show_default=True, help="Images per fast run.")
@click.option("--rounds", default=3, show_default=True)
def main(target: str, samples: int, fast_samples: int, rounds: int) -> None:
    """Print samples per second of both engines and their ratio."""
    x = load_samples(example(DATA)).x
    for name in NETWORKS:
        artifact = api.compile(example(f"{name}.pt"), target=target, calibrate=load_samples(example(CALIBRATION)).x)
        seconds(artifact, x[:32], "fast")  # compile the kernels
        fast, lava, short = [], [], []
        for _ in range(rounds):
            fast.append(seconds(artifact, x[:fast_samples], "fast") / fast_samples)
            lava.append(seconds(artifact, x[:samples], "lava"))
            short.append(seconds(artifact, x[:1], "lava"))
        per_fast, per_lava = statistics.median(fast), statistics.median(lava) / samples
        steady = (statistics.median(lava) - statistics.median(short)) / (samples - 1)
        print(
            f"{name} on {target}: fast {1 / per_fast:.1f} samples/s; "
            f"lava {1 / per_lava:.2f} samples/s ({samples} samples a run),"
        )
        print(
            f"  without its start {1 / steady:.2f} samples/s; "
            f"fast is {per_lava / per_fast:.0f}x lava, {steady / per_fast:.0f}x without the start"
        )


if __name__ == "__main__":
    main()
