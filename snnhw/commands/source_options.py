"""Flags that say what a published checkpoint does not (docs/checkpoints.md), for all commands that take a source."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions

F = TypeVar("F", bound=Callable[..., Any])

GROUP = "(published checkpoints)"


def _shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """ "3,32,32" as numbers."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is not three whole numbers C,H,W", ctx, param)
    return tuple(map(int, parts))


def _choice(*names: str) -> click.Choice[str]:
    return click.Choice(names, case_sensitive=False)


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
    "input_shape": (str, "Shape C,H,W of one sample"),
    "readout": (_choice("rate", "mean"), "Readout"),
}
_CALLBACKS = {"input_shape": _shape}
_SAID_BY_INPUT_OPTIONS = ("steps", "encoding")


def source_options(*, with_input: bool = False) -> Callable[[F], F]:
    """Adds the flags and hands them over as one argument `options`.

    Args:
        with_input: the command has `input_options` too, whose --steps and --encode say T and encoding.
    """

    def decorate(function: F) -> F:
        names = [name for name in _FLAGS if not (with_input and name in _SAID_BY_INPUT_OPTIONS)]

        @functools.wraps(function)
        def called(*args: Any, **given: Any) -> Any:
            from snnhw.frontends.options import SourceOptions

            said = {name: given.pop(name) for name in names}
            return function(*args, options=SourceOptions(**said), **given)

        wrapped: Any = called
        for name in reversed(names):
            kind, text = _FLAGS[name]
            flag = "--" + name.replace("_", "-")
            option = click.option(
                flag, name, type=kind, default=None, callback=_CALLBACKS.get(name), help=f"{text} {GROUP}."
            )
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def refuse_for_artifact(options: SourceOptions) -> None:
    """An artifact knows all that these flags say: wrong use."""
    if options.given:
        flags = ", ".join("--" + name.replace("_", "-") for name in options.given)
        raise click.UsageError(f"{flags}: for a source, not for an artifact")
