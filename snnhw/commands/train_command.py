"""`snnhw train`."""

from __future__ import annotations

from pathlib import Path

import click

from snnhw.commands.common import emit, json_option, writing


@click.command("train")
@click.argument("recipe", required=False)
@click.option("--list", "listing", is_flag=True, help="List the recipes.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="Checkpoint to write [RECIPE.pt].")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=None, help="Stop after this many epochs (the schedule stays)."
)
@click.option("--resume", is_flag=True, help="Go on from OUTPUT and OUTPUT.resume.")
@json_option
def command(
    recipe: str | None, listing: bool, output: Path | None, seed: int, epochs: int | None, resume: bool, machine: bool
) -> None:
    """Train a network of the zoo; seeded, resumable, with a checkpoint after every epoch.

    \b
    Example:
      snnhw train stbp_scnn_smoke -o small.pt
    """
    from snnhw.zoo.registry import RECIPES, recipe_of
    from snnhw.zoo.train import train

    if listing:
        rows = [
            {
                "recipe": r.name,
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
        else:
            for row in rows:
                click.echo(
                    "  ".join(f"{key} {value}" if key != "recipe" else f"{value:<18}" for key, value in row.items())
                )
        return
    if recipe is None:
        raise click.UsageError("name a recipe, or give --list")
    path = output if output is not None else Path(f"{recipe_of(recipe).name}.pt")
    with writing(path):
        content = train(recipe, path, seed=seed, resume=resume, epochs=epochs)
    metrics = {"checkpoint": str(path), "seed": content["seed"], "epoch": content["epoch"], **content["metrics"]}
    if machine:
        emit(metrics)
        return
    for key, value in metrics.items():
        click.echo(f"{key:<15} {value}")
