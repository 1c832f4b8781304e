"""What the commands share: options, progress bars, machine output."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import shlex
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from snnhw import files
from snnhw.errors import DataError, nearest, shown
from snnhw.shipped import examples, resolved
from snnhw.version import version

if TYPE_CHECKING:
    from snnhw.cautions import Caution
    from snnhw.comparison.partial import Part
    from snnhw.data import Samples
    from snnhw.frontends.options import SourceOptions
    from snnhw.pipeline import Pipeline

F = TypeVar("F", bound=Callable[..., Any])


def _settings(ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE words; a value as TOML writes it, or a bare word."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key in found:
            raise click.BadParameter(f"{word!r} is " + ("named twice" if equals else "not KEY=VALUE"), ctx, param)
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            found[key] = value
    return found


class Choice(click.Choice[str]):
    """One of some names; the nearest is named where none is meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        near = nearest(str(value), self.choices)
        return super().get_invalid_choice_message(value, ctx) + (f" {near.capitalize()}" if near else "")


class Given(click.Path):
    """A file that is read, or example:NAME."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return resolved(value) if isinstance(value, str) else super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(f"example:{name}") for name in examples() if f"example:{name}".startswith(incomplete)]
        return names if incomplete.startswith("ex") and names else super().shell_complete(ctx, param, incomplete)


class TargetName(click.ParamType[str]):
    """A shipped target or a .toml file."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from snnhw.machine import available

        files = click.Path().shell_complete(ctx, param, incomplete)
        return [*(CompletionItem(name) for name in available() if name.startswith(incomplete)), *files]


GIVEN = Given()

_SECTIONS = {
    "How integers are made": ("target", "calibrate", "weight_bits", "sums", "hard_reset", "approximate", "settings"),
    "What is run": ("data", "input", "samples", "preprocess", "engine", "encode", "steps", "seed"),
    "Where it is run": ("memory", "force", "shard", "cluster", "tls"),
    "What is written": (
        "output",
        "record",
        "html",
        "markdown",
        "figures",
        "tables",
        "sample",
        "what_if",
        "neurobench",
        "emit_nir",
        "with_own_nodes",
        "dump",
        "machine",
    ),
}


class Sections(click.Command):
    """A command with many options: help shows them by what they are for."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What no section names comes last, under the name that the source options give it."""
        options = (p for p in self.get_params(ctx) if isinstance(p, click.Option))
        left = {p.name: record for p in options if (record := p.get_help_record(ctx)) is not None}
        for title, names in _SECTIONS.items():
            rows = [left.pop(name) for name in names if name in left]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if left:
            with formatter.section("What a source does not say itself, and more"):
                formatter.write_dl(list(left.values()))


set_option = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_settings,
    help="Another value for a number of the target, as core.neurons=512 (repeatable); the artifact records it.",
)
json_option = click.option("--json", "machine", is_flag=True, help="Machine output on stdout, nothing else.")


def input_options(function: F) -> F:
    """--encode, --steps, --seed: how static samples become steps, where it differs from what was compiled."""
    for option in (
        click.option("--seed", type=int, default=None, help="Seed of Bernoulli draws."),
        click.option("--steps", type=click.IntRange(min=1), default=None, help="T: steps per sample."),
        click.option(
            "--encode",
            type=Choice(["direct", "bernoulli", "latency"]),
            default=None,
            help="Encoding of static samples.",
        ),
    ):
        function = option(function)
    return function


def emit(content: Any) -> None:
    """Machine output."""
    plain = asdict(content) if is_dataclass(content) and not isinstance(content, type) else content
    click.echo(json.dumps(plain, indent=2, default=str))


def warn(cautions: Sequence[Caution]) -> None:
    """What a person must know, a line each."""
    for caution in cautions:
        click.secho(f"WARNING {caution}", fg="red", bold=True)


def require_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
    """Refuse, before any work, outputs that cannot be written or that would replace an input or each other.

    No other run can write them until the command ends.
    """
    if click.get_current_context().find_root().params.get("no_clobber"):
        for path in outputs:
            if path is not None and os.path.exists(path):  # `Path.exists` raises for names that are too long
                raise DataError(
                    "exists",
                    "the output is there already",
                    where=str(path),
                    hint="another name, or without --no-clobber",
                )
    taken = {os.path.realpath(path) for path in inputs if path is not None}
    for path in (path for path in outputs if path is not None):
        place = os.path.realpath(path)
        if place in taken:
            raise DataError(
                "would-replace",
                "the output would replace an input or another output",
                where=str(path),
                hint="give it another name",
            )
        taken.add(place)
    click.get_current_context().with_resource(files.claim([path for path in outputs if path is not None]))


def inputs_of(source: Path, options: SourceOptions) -> dict[str, Path]:
    """The files that a source is read from, by what they are: of FILE.py:NAME the file, --weights and --example."""
    from snnhw.frontends.options import code_file

    said = {"weights": options.weights, "example": options.example}
    return {"source": code_file(source)[0], **{name: Path(path) for name, path in said.items() if path is not None}}


def provenance(**paths: Path) -> dict[str, str]:
    """What a report was made with and from: version, date (SOURCE_DATE_EPOCH if set), command, files and their hashes.

    It stands in reports only: the same input gives the same artifact.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = datetime.fromtimestamp(int(seconds) if seconds.isdecimal() else time.time(), UTC)
    said = {
        "snnhw": version(),
        "date": when.strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["snnhw", *sys.argv[1:]]),
    }
    for name, path in paths.items():
        said[name] = path.name
        if path.is_file():
            said[name] += f" sha256 {file_hash(path)}"
    return said


LOG = logging.getLogger("snnhw")
"""Stages and warnings; `snnhw --verbose` and `--log FILE` show them with their times."""


def _quiet() -> bool:
    """--quiet; on a worker of a cluster there is no command line."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("quiet"))


def shows_progress() -> bool:
    """Bars and stages, on a terminal and unless --quiet."""
    return sys.stderr.isatty() and not _quiet()


@contextmanager
def kernels_told() -> Iterator[None]:
    """Says on stderr that numba compiles, which takes seconds the first time and is kept for later processes."""
    from numba.core import event

    class _Told(event.Listener):
        said = False

        def on_start(self, event: Any) -> None:
            if not self.said:
                click.echo("compiling kernels (once) …", err=True)
            self.said = True

        def on_end(self, event: Any) -> None:
            """Nothing to say."""

    with event.install_listener("numba:compile", _Told()):
        yield


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, off when that is no terminal; call it with (done, all)."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not shows_progress(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """The name of the stage that runs, on stderr, off when that is no terminal."""
    if not shows_progress():
        yield LOG.info
        return

    def said(name: str) -> None:
        LOG.info(name)
        status.update(f"{name} …")

    with Console(stderr=True).status("") as status:
        yield said


_MAKING = ("calibrate", "weight_bits", "sums", "hard_reset", "approximate", "settings", "aim", "rates")


def making_options(function: F) -> F:
    """How integers are made of a source; handed over as one argument `making`, for `pipeline_of`."""

    @functools.wraps(function)
    def called(*args: Any, **given: Any) -> Any:
        return function(*args, making={name: given.pop(name) for name in _MAKING}, **given)

    wrapped: Any = called
    for option in (
        click.option(
            "--rates",
            metavar="RATE|NAME=RATE,...",
            default=None,
            help="Events of a neuron in a step, to place for (the first name that matches counts) [as calibrated].",
        ),
        click.option(
            "--map",
            "aim",
            type=click.Choice(["fewest-cores", "balanced", "fastest"]),
            default="balanced",
            show_default=True,
            help="Placement: fewest cores, the shortest period of their chips, or one for at most 5 % more energy.",
        ),
        click.option(
            "--hard-reset",
            is_flag=True,
            help="Reset to zero where the target cannot subtract the threshold (approximate: compare shows the loss).",
        ),
        click.option(
            "--approximate",
            type=Choice(["pool-after-spikes"]),
            default=None,
            callback=lambda ctx, param, value: value or "",
            help="Where a neuron reads a maximum of currents: put it before the max-pool (the effect is measured).",
        ),
        click.option(
            "--sums",
            type=Choice(["cheapest", "summands", "relays"]),
            default="cheapest",
            show_default=True,
            help="Sums of spikes (SEW ADD): a projection per summand, or graded relays; the same integers.",
        ),
        click.option(
            "--weight-bits",
            metavar="BITS|NAME=BITS,...",
            default=None,
            help="Bits of a weight, sign included: 4 (all layers but the first and the last), or by layer: "
            "conv1=8,fc=4,*=5 (the first that matches counts).",
        ),
        click.option(
            "--calibrate",
            type=GIVEN,
            default=None,
            help="Training samples (.npz) for the scale search.",
        ),
        set_option,
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def refuse_making(making: Mapping[str, Any]) -> None:
    """The integers of an artifact are made: wrong use. Limits of a chip may still be other ones (--set)."""
    placing = ("settings", "aim", "rates")
    said = [name for name in _MAKING if name not in placing and making[name] not in (None, False, "", "cheapest")]
    if said:
        flags = ", ".join("--" + name.replace("_", "-") for name in said)
        raise click.UsageError(f"{flags}: for a source, not for an artifact")


def _bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """ "4GiB" as bytes."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", value, re.IGNORECASE)
    if not found:
        raise click.BadParameter(f"{value!r} is no number of bytes, as 4GiB or 500MB", ctx, param)
    unit = (found[2] or "").upper()
    size = (1024 if unit.endswith("I") else 1000) ** " KMGT".index(unit[:1] or " ")
    return int(min(float(found[1]) * size, 1 << 62))


def _shard(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """ "2/8" as numbers."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise click.BadParameter(f"{value!r} is no shard I/N, from 1/N to N/N", ctx, param)
    return int(found[1]), int(found[2])


def shard_option(
    text: str = "Only part I of N (from 1), into the file of -o; snnhw merge makes one result of all parts.",
) -> Callable[[F], F]:
    """--shard I/N."""
    return click.option("--shard", metavar="I/N", callback=_shard, default=None, help=text)


def cluster_options(function: F) -> F:
    """--cluster and --tls."""
    for option in (
        click.option(
            "--tls",
            nargs=3,
            type=click.Path(path_type=Path),
            default=None,
            metavar="CA CERT KEY",
            help="Files of a scheduler that speaks TLS.",
        ),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            default=None,
            help="Run on the workers of this dask.distributed scheduler, which is trusted like your own machine.",
        ),
    ):
        function = option(function)
    return function


def save_part(part: Part, path: Path, machine: bool) -> None:
    """A shard's file, and a line that says so."""
    from snnhw.comparison.partial import save

    save(part, path)
    said = {"first": part.of["first"], "last": part.of["last"], "total": part.of["total"], "output": str(path)}
    if machine:
        emit(said)
    else:
        click.echo(f"samples {said['first']} to {said['last'] - 1} of {said['total']}: {path}")


def file_hash(path: Path) -> str:
    """SHA-256 of a file; raises DataError 'no-such-file'."""
    if not path.is_file():
        raise DataError("no-such-file", "there is no such file", where=str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_options(*names: str, required: bool = True) -> Callable[[F], F]:
    """Which samples: --data under its names, --samples, --preprocess, --memory."""

    def decorate(function: F) -> F:
        for option in (
            click.option("--force", is_flag=True, help="Run even what takes over an hour, or over 80 % of the memory."),
            click.option(
                "--memory",
                callback=_bytes,
                default=None,
                help="Most memory to hold, as 4GiB: batches that fit, data in slices.",
            ),
            click.option(
                "--preprocess", default=None, metavar="STEPS", help="Of a folder of images, as resize=256,crop=224."
            ),
            click.option("--samples", type=click.IntRange(min=1), default=None, help="Only the first N samples."),
            click.option(
                *names,
                "data",
                type=GIVEN,
                required=required,
                help="Samples x, and y if known: .npz, .npy, .h5, .zarr, a folder of such shards or of images.",
            ),
        ):
            function = option(function)
        return function

    return decorate


def samples_of(path: Path, preprocess: str | None = None, memory: int | None = None) -> Samples:
    """The samples at a path; arrays of it that are not read are named on stderr.

    Args:
        memory: an .npz that would take more than a quarter of it is read in slices.
    """
    from snnhw.data import load_samples

    found = load_samples(path, preprocess=preprocess, held=None if memory is None else memory // 4)
    if found.unread:
        names = shown(", ".join(found.unread))
        click.echo(f"note: arrays of {shown(path.name)} that are not read: {names} (x: samples, y: labels)", err=True)
    return found


def pipeline_of(
    source: Path, target: str | None, making: Mapping[str, Any], options: SourceOptions, stage: Callable[[str], None]
) -> Pipeline:
    """The stages that every command reads its networks from."""
    from snnhw.pipeline import Options, Pipeline

    samples = None if making["calibrate"] is None else samples_of(making["calibrate"])
    given = {} if samples is None else {"calibrate": samples.held, "labels": samples.y}
    return Pipeline(source, target, Options(**{**making, **given}, source=options), stage)
