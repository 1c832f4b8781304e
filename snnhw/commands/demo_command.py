"""`snnhw demo`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from snnhw import files
from snnhw.commands.common import TargetName, emit, json_option, stages
from snnhw.demo import NETWORKS, Outcome, demonstrate
from snnhw.extras import require


@click.command("demo")
@click.option("--target", type=TargetName(), default="loihi2", show_default=True, help="Chip to compile for.")
@click.option(
    "--lava-samples", type=click.IntRange(min=1), default=10, show_default=True, help="Images to run in Lava."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Folder for reports.",
)
@json_option
def command(target: str, lava_samples: int, output: Path, machine: bool) -> None:
    """Compile the shipped networks, run them in the fast engine and in Lava, compare both with the float model.

    Exits 1 if the engines differ in one bit, or if a population stays silent.

    \b
    Example:
      snnhw demo --target loihi1
    """
    require("report", "demo")
    files.make_folder(output)
    outcomes = []
    for name in NETWORKS:
        with stages() as stage:
            outcomes.append(demonstrate(name, target, output, lava_samples, stage))
        if not machine:
            _show(outcomes[-1])
    if machine:
        emit([{**_row(outcome), "comparison": outcome.comparison.to_dict()} for outcome in outcomes])
    sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


def _row(outcome: Outcome) -> dict[str, object]:
    c = outcome.comparison
    return {
        "network": outcome.name,
        "target": c.target,
        "float_accuracy": c.float_.accuracy,
        "integer_accuracy": c.quantized.accuracy,
        "agreement": c.agreement,
        "synops": c.synops,
        "energy_j": c.energy.total_j,
        "energy_band": asdict(c.energy.band),
        "energy_grade": c.energy.grade,
        "engines": verdict(outcome),
        "report": str(outcome.report),
    }


def verdict(outcome: Outcome) -> str:
    """One line about the two engines."""
    if outcome.difference is not None:
        return f"fast = lava: DIFFERENT: {outcome.difference}"
    if outcome.silent:
        return f"fast = lava: identical, but silent: {', '.join(outcome.silent)}"
    return (
        f"fast = lava: identical ({outcome.compared:,} values: u, v and spikes of {outcome.populations} populations, "
        f"{outcome.samples} samples, every population spiking)"
    )


def _show(outcome: Outcome) -> None:
    c = outcome.comparison
    click.echo(f"{outcome.name} on {c.target}, {c.samples} test images, {c.cores_used} cores, {c.chips_used} chip(s)")
    click.echo(
        f"  accuracy    float {c.float_.accuracy:.2%}, integer {c.quantized.accuracy:.2%}, "
        f"agreement {c.agreement or 0.0:.2%}"
    )
    click.echo(f"  synops      {c.synops:,.0f} per sample")
    time, energy = c.latency.band, c.energy.band
    click.echo(
        f"  latency     {time.likely * 1e6:,.1f} µs ({time.low * 1e6:,.1f} to {time.high * 1e6:,.1f}), "
        f"{c.latency.steps} steps (model; grade: {c.latency.grade})"
    )
    click.echo(
        f"  energy      {energy.likely * 1e6:,.2f} µJ ({energy.low * 1e6:,.2f} to {energy.high * 1e6:,.2f}) per sample "
        f"(model; grade: {c.energy.grade})"
    )
    click.echo(f"  saturations {c.saturations:g} per sample")
    click.echo(f"  engines     {verdict(outcome)}")
    click.echo(f"  report      {outcome.report}")
