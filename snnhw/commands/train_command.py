"""`snnhw train`."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from snnhw.commands.common import emit, json_option, require_outputs
from snnhw.extras import require

SEEDS = 1 << 32


@click.command("train")
@click.argument("recipe", required=False)
@click.option("--list", "listing", is_flag=True, help="List the recipes by family.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="Checkpoint to write, .pt or .safetensors [RECIPE.pt].",
)
@click.option("--seed", type=click.IntRange(0, SEEDS - 1), default=0, show_default=True)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=None, help="Stop after this many epochs (the schedule stays)."
)
@click.option("--resume", is_flag=True, help="Go on from OUTPUT.resume; says so if there is none and starts anew.")
@click.option(
    "--health",
    type=click.Path(path_type=Path),
    default=None,
    help="Firing rates, dead and saturated neurons and gradients of every layer by epoch: FILE.html or FILE.json.",
)
@json_option
def command(
    recipe: str | None,
    listing: bool,
    output: Path | None,
    seed: int,
    epochs: int | None,
    resume: bool,
    health: Path | None,
    machine: bool,
) -> None:
    """Train a network of the zoo; seeded, resumable, with a checkpoint after every epoch.

    \b
    Example:
      snnhw train stbp_scnn_smoke -o small.pt
      snnhw train sew_resnet_smoke -o sew.pt --health sew.html
    """
    from snnhw.frontends.ann import convert
    from snnhw.tensor_file import SUFFIX
    from snnhw.zoo.registry import recipe_of
    from snnhw.zoo.train import train

    if listing:
        _list(machine)
        return
    if recipe is None:
        raise click.UsageError("name a recipe, or give --list")
    if health is not None and health.suffix not in (".html", ".json"):
        raise click.UsageError("--health writes FILE.html or FILE.json")
    if health is not None and health.suffix == ".html":
        require("report", "train --health FILE.html")
    chosen = recipe_of(recipe)
    path = output if output is not None else Path(f"{chosen.name}.pt")
    if path.suffix == SUFFIX:
        require("safetensors", f"writing {SUFFIX} files")
    require_outputs([path, Path(f"{path}.resume"), health], [])
    watch = _watch(health, chosen.name, seed) if health is not None else None
    content = train(chosen, path, seed=seed, resume=resume, epochs=epochs, health=watch, convert=convert)
    summary = {
        "checkpoint": str(path),
        "recipe": chosen.name,
        "seed": content["seed"],
        "epoch": content["epoch"],
        "epochs": chosen.epochs,
        **{key: value for key, value in content["metrics"].items() if key != "epoch"},
    }
    if machine:
        emit({**summary, "history": content["history"]})
        return
    for key, value in summary.items():
        click.echo(f"{key:<15} {value}")


def _list(machine: bool) -> None:
    from snnhw.zoo.registry import RECIPES, family_of

    rows: list[dict[str, Any]] = [
        {
            "recipe": r.name,
            "family": family_of(r),
            "network": r.kind,
            "steps": r.steps,
            "encoding": r.encoding,
            "data": r.dataset,
            "epochs": r.epochs,
        }
        for r in RECIPES.values()
    ]
    if machine:
        emit(rows)
        return
    width = max(len(row["recipe"]) for row in rows)
    for family, members in groupby(rows, key=lambda row: row["family"]):
        click.echo(family)
        for row in members:
            steps = f"T={row['steps']}"
            epochs = f"{row['epochs']} epochs of {row['data']}"
            click.echo(f"  {row['recipe']:<{width}}  {steps:<5} {row['encoding']:<10} {epochs}")


def _watch(path: Path, recipe: str, seed: int) -> Callable[[list[dict[str, Any]]], None]:
    """Writes the health file anew after every epoch, of the epochs that have it."""
    from snnhw import files
    from snnhw.report.health import write_health
    from snnhw.zoo.diagnose import Health

    def watch(history: list[dict[str, Any]]) -> None:
        epochs = [{"epoch": row["epoch"], **row["health"]} for row in history if "health" in row]
        if not epochs:
            click.echo(f"{path} is not written: no epoch of this training was run with --health", err=True)
            return
        warnings = Health.of_columns(epochs[-1]).warnings()
        if path.suffix == ".json":
            content = {"recipe": recipe, "seed": seed, "epochs": epochs, "warnings": warnings}
            files.write({path: json.dumps(content, indent=2) + "\n"})
        else:
            write_health(path, f"{recipe}, seed {seed}", epochs, warnings)

    return watch
