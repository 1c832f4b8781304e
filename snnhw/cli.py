"""The command line: `snnhw COMMAND`. Thin over `snnhw.api`; each command lives in `snnhw/commands/`."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from snnhw.errors import SnnhwError

COMMANDS = {
    "compile": "Compile a trained network for a chip.",
    "check": "Does the network fit the chip?",
    "run": "Run a compiled network (or a source, in floats) on samples.",
    "compare": "Float network against compiled network: accuracy, spikes, synops, latency, energy.",
    "diff": "First population, neuron and step where two runs differ.",
    "explain": "Where each integer comes from.",
    "export": "Hand a network on: NIR, lava-dl .net, ONNX.",
    "inspect": "What is in an artifact.",
    "targets": "Which chips there are, and the source of every number.",
    "train": "Train a network of the zoo.",
    "doctor": "What is missing on this machine, and the command that fixes it.",
    "demo": "Compile, run in two engines and compare the shipped networks.",
}
"""Commands with the line that `--help` shows; a command's module is imported when it is used."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"snnhw.commands.{cmd_name}_command")
        return module.command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help without importing the commands (and torch with them)."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="snnhw")
def cli() -> None:
    """Deploy trained spiking networks to neuromorphic chips.

    \b
    snnhw compile examples/sew_resnet.pt --target loihi2 -o sew.snnhw
    snnhw compare examples/sew_resnet.pt sew.snnhw --data examples/fashion_mnist_500.npz
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: exit 0 on success, 2 on wrong use, 1 on a refused model, target or data."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(args=words, prog_name="snnhw", standalone_mode=True)
    except SnnhwError as error:
        _refuse(error, words)
    except MemoryError as error:
        _refuse(_out_of_memory(str(error)), words)
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch has no class of its own for it
            raise
        _refuse(_out_of_memory(str(error)), words)


def _refuse(error: SnnhwError, words: list[str]) -> None:
    _report(error, machine="--json" in words)
    sys.exit(1)


def _out_of_memory(what: str) -> SnnhwError:
    return SnnhwError(
        "out-of-memory",
        "there is not enough memory for this network and these samples",
        needed=what or None,
        hint="give fewer samples (--samples) or fewer steps, or use a machine with more memory",
    )


def _report(error: SnnhwError, machine: bool) -> None:
    content: dict[str, Any] = {"error": error.to_dict()}
    if machine:
        click.echo(json.dumps(content, indent=2))
    click.echo(f"error: {error}", err=True)


if __name__ == "__main__":
    main()
