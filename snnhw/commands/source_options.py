"""Flags that say what a source does not say itself, for all commands that take one.

Published checkpoints: docs/checkpoints.md; NIR files of other frameworks: docs/nir.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

import click

from snnhw.commands.common import Choice

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions

F = TypeVar("F", bound=Callable[..., Any])

FILES = "(files that do not say it)"
GROUP = "(published checkpoints)"
NIR = "(NIR files)"
ONNX = "(ONNX steps)"
CODE = "(FILE.py:NAME)"
TRUST = (
    "Let a .pt, .pth or .t7 that holds more than numbers (a whole pickled module) run its code: this runs code from "
    "the file, with all your rights. Off: such a file is refused and nothing in it is run."
)

TRUST_CODE = (
    "Let FILE.py:NAME run: reading a module runs its file, with all your rights. Off: it is refused and nothing in it "
    "is run."
)


def _shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """ "3,32,32" as numbers."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is not whole numbers C,H,W (or C,L, or N)", ctx, param)
    return tuple(map(int, parts))


def _readout(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A form of snnhw.readout, in small letters."""
    if value is None:
        return None
    from snnhw.readout import FORMS, parse

    if parse(value.lower()) is None:
        raise click.BadParameter(f"{value!r} is none of {FORMS}", ctx, param)
    return value.lower()


def _semantics(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any] | None:
    """The fields in a JSON file, or in the value itself."""
    if value is None:
        return None
    from snnhw.frontends.nir.fields import read_fields

    return read_fields(value)


def _choice(*names: str) -> Choice:
    return Choice(names, case_sensitive=False)


_FLAGS: dict[str, tuple[Any, str]] = {
    "architecture": (_choice("sew_resnet", "spiking_resnet", "plain_net"), "Family, where keys leave it open"),
    "steps": (click.IntRange(min=1), "T, steps per sample"),
    "connect": (_choice("ADD", "AND", "IAND"), "g of SEW blocks"),
    "neuron": (_choice("if", "lif", "plif"), "Neuron of ImageNet networks"),
    "threshold": (float, "Vth"),
    "decay": (float, "Membrane factor per step, tau_decay"),
    "alpha": (float, "alpha of tdBN on branches that are added"),
    "tdbn_dialect": (_choice("forward", "init"), "Where tdBN's alpha Vth is: in the forward pass, or in the weights"),
    "encoding": (_choice("direct", "bernoulli", "latency", "spikes"), "Encoding of samples"),
    "input_shape": (str, "Shape of one sample: C,H,W, or C,L, or N"),
    "readout": (str, "Readout: rate, first, mean, membrane, last, max, sum, membrane-last, sum[5:], ..."),
    "population": (click.IntRange(min=1), "Classes of a population code: equal groups of outputs"),
    "output_node": (str, "Output node that predictions are read from, of several"),
    "dialect": (
        _choice("snntorch", "spikingjelly", "sinabs", "norse", "rockpool", "nir"),
        "Framework that wrote the file; nir: its numbers are taken literally",
    ),
    "state": (str, "IN:OUT,... of each state input and the output that is its new value, where names mislead"),
    "example": (str, "DATA.npz whose x is what the module's forward takes"),
    "weights": (str, "State dict of the module (.pt, .pth, .safetensors)"),
    "semantics": (str, "FILE.json with single fields of Semantics, over the dialect's or the file's own"),
}
_CALLBACKS = {"input_shape": _shape, "readout": _readout, "semantics": _semantics}
_OF_NIR = ("output_node", "dialect", "semantics")
_OF_FILES = ("steps", "encoding", "input_shape", "readout", "population")
_SAID_BY_INPUT_OPTIONS = ("steps", "encoding")


def _group(name: str) -> str:
    """Which sources ask for a flag."""
    if name in _OF_FILES:
        return FILES
    if name in ("example", "weights"):
        return CODE
    return NIR if name in _OF_NIR else ONNX if name == "state" else GROUP


def source_options(*, with_input: bool = False, without: Collection[str] = ()) -> Callable[[F], F]:
    """Adds the flags and hands them over as one argument `options`.

    Args:
        with_input: the command has `input_options` too, whose --steps and --encode say T and encoding.
        without: flags whose names the command has for something else.
    """

    def decorate(function: F) -> F:
        taken = {*without, *(_SAID_BY_INPUT_OPTIONS if with_input else ())}
        names = [name for name in _FLAGS if name not in taken]

        @functools.wraps(function)
        def called(*args: Any, **given: Any) -> Any:
            from snnhw.frontends.options import SourceOptions

            said = {name: given.pop(name) for name in [*names, "trust_pickle", "trust_code"]}
            return function(*args, options=SourceOptions(**said), **given)

        wrapped: Any = called
        for name in reversed(names):
            kind, text = _FLAGS[name]
            flag = "--" + name.replace("_", "-")
            option = click.option(
                flag,
                name,
                type=kind,
                default=None,
                callback=_CALLBACKS.get(name),
                help=f"{text} {_group(name)}.",
            )
            wrapped = option(wrapped)
        wrapped = click.option("--trust-code", is_flag=True, help=TRUST_CODE)(wrapped)
        return click.option("--trust-pickle", is_flag=True, help=TRUST)(wrapped)  # type: ignore[no-any-return]

    return decorate


def refuse_for_artifact(options: SourceOptions) -> None:
    """An artifact knows all that these flags say: wrong use."""
    given = [*options.given, *["trust_pickle"] * options.trust_pickle, *["trust_code"] * options.trust_code]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise click.UsageError(f"{flags}: for a source, not for an artifact")
