"""The command line: `snnhw COMMAND`. Thin over `snnhw.api`; each command lives in `snnhw/commands/`."""

from __future__ import annotations

import errno
import functools
import gc
import importlib
import json
import os
import secrets
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from snnhw import files
from snnhw.errors import DataError, Plain, SnnhwError, StreamLostError, nearest, printable, shown
from snnhw.limits import fault, is_memory

COMMANDS = {
    "compile": "Compile a trained network for a chip.",
    "check": "Does the network fit the chip?",
    "run": "Run a compiled network (or a source, in floats) on samples.",
    "compare": "Float network against compiled network: accuracy, spikes, synops, latency, energy.",
    "sweep": "Accuracy against energy and time, over targets, widths, T and placements.",
    "merge": "One result of the parts that run and compare --shard wrote.",
    "diff": "First population, neuron and step where two runs differ.",
    "why": "Which rounding does harm, and what would help.",
    "explain": "Where each integer comes from.",
    "export": "Hand a network on: NIR, lava-dl .net, ONNX.",
    "examples": "Networks and data that ship with snnhw, for example:NAME.",
    "inspect": "What is in an artifact.",
    "card": "A model card: what a network is, accuracy, energy, licence, how to run it.",
    "targets": "Which chips there are, and the source of every number.",
    "calibrate": "Fit a target's times and energies to measured runs.",
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = nearest(args[0], COMMANDS) if args and args[0] not in COMMANDS and not args[0].startswith("-") else ""
        if near:
            ctx.fail(f"No such command {args[0]!r}: {near}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help without importing the commands (and torch with them)."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "SNNHW"})
@click.version_option(None, "-V", "--version", package_name="snnhw")
@click.option("-q", "--quiet", is_flag=True, help="No progress; warnings and errors are still said.")
@click.option("-v", "--verbose", is_flag=True, help="Stages with their times, on stderr.")
@click.option("--log", type=click.Path(path_type=Path), default=None, help="Append stages with their times to a file.")
@click.option("--no-clobber", is_flag=True, help="Refuse to replace a file that is there.")
def cli(quiet: bool, verbose: bool, log: Path | None, no_clobber: bool) -> None:
    """Deploy trained spiking networks to neuromorphic chips.

    \b
    snnhw compile example:sew_resnet --target loihi2 -o sew.snnhw
    snnhw compare example:sew_resnet sew.snnhw --data example:fashion_mnist_500

    An option's default can be set in the environment: SNNHW_COMPILE_TARGET=loihi2.
    """
    if verbose or log is not None:
        _start_log(verbose, log)


def _start_log(verbose: bool, log: Path | None) -> None:
    """Handlers of the logger "snnhw", until the command ends."""
    import logging

    logger, handlers = logging.getLogger("snnhw"), list[logging.Handler]()
    if verbose:
        handlers.append(logging.StreamHandler(sys.stderr))
    if log is not None:
        try:
            handlers.append(logging.FileHandler(log, encoding="utf-8"))
        except OSError as error:
            what = f"the log cannot be written: {error.strerror}"
            raise DataError("cannot-write", what, where=str(log), hint="give the path of a file") from None
    logger.setLevel(logging.INFO)
    context = click.get_current_context()
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        context.call_on_close(handler.close)
        context.call_on_close(functools.partial(logger.removeHandler, handler))
    logger.info("%s", shlex.join(["snnhw", *(context.obj or ())]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done (a closed pipe too), 1 refused, 2 wrong use, 3 a defect of ours, 130 interrupted;
    of `diff` 0 equal, 1 different, 2 refused or wrong use."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_SNNHW_COMPLETE" in os.environ:
        cli.main(args=words, prog_name="snnhw")
    if arguments is None:  # a process of its own: what imports make stays, and looking through it is a third of a run
        gc.set_threshold(100_000, 10, 10)
    before = sys.stdout
    sys.stdout = before and Plain(before)
    try:
        code = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - nothing ends in a traceback
        code = _failed(error, words)
    finally:
        sys.stdout = before
    if arguments is None:
        gc.freeze()  # nor is it looked through at the end
    sys.exit(code)


def _run(words: list[str]) -> int:
    """The command's exit code."""
    try:
        with cli.make_context("snnhw", list(words), obj=tuple(words)) as context:
            cli.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        return int(ended.code or 0)
    except click.ClickException as error:
        error.show(Plain(sys.stderr) if sys.stderr else None)  # type: ignore[arg-type]
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    return 0


def _failed(error: Exception, words: list[str]) -> int:
    """Says what ended a command, in the words of a refusal, and gives the exit code."""
    if isinstance(error, StreamLostError):
        return _lost(error)
    refusal = error if isinstance(error, SnnhwError) else fault(error, "") if _of_the_machine(error) else None
    code = 3 if refusal is None else 2 if words[:1] == ["diff"] else 1
    said = refusal or _defect(error, words)
    with suppress(OSError):
        if "--json" in words:
            click.echo(json.dumps({"error": said.to_dict()}, indent=2))
    with suppress(OSError):
        click.echo(f"error: {said}" if refusal else f"error: {said.message}", err=True)
    return code


def _of_the_machine(error: Exception) -> bool:
    """Whether a machine without memory, files or room on its disks is to blame."""
    return is_memory(error) or (isinstance(error, OSError) and error.errno in MACHINE)


MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EROFS}


def _lost(error: StreamLostError) -> int:
    """The exit code where standard output failed: 0 where its reader has gone, 1 where it is full."""
    cause = error.__cause__
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's own flush would complain
    if isinstance(cause, BrokenPipeError):
        return 0
    click.echo(f"error: cannot-write: standard output cannot be written: {getattr(cause, 'strerror', cause)}", err=True)
    return 1


def _defect(error: Exception, words: list[str]) -> SnnhwError:
    """One line about an error that nobody foresaw, and a report of it: versions, command line, traceback, no data."""
    import platform
    import traceback
    from importlib.metadata import PackageNotFoundError, version

    names = ("snnhw", "torch", "numpy", "numba", "nir", "onnx", "h5py", "click", "pydantic")
    lines = [shlex.join(["snnhw", *words]), f"Python {platform.python_version()}", platform.platform()]
    for name in names:
        with suppress(PackageNotFoundError):
            lines.append(f"{name} {version(name)}")
    found = "".join(traceback.format_exception(error))
    folder = Path(os.environ.get("XDG_STATE_HOME") or tempfile.gettempdir()) / "snnhw"
    path = folder / f"defect-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}.txt"
    try:
        files.write({path: printable("\n".join([*lines, "", found]))}, folders=True)
        where = f"send the report {path}"
    except SnnhwError as failed:
        where = f"no report could be written: {failed.message}"
    what = shown(f"{type(error).__name__}: {error}".splitlines()[0])
    return SnnhwError("defect", f"defect: {what}; this is a fault of snnhw, not of your files: {where}")


if __name__ == "__main__":
    main()
