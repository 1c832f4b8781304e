"""A live torch module as a Source: of our own neurons, or of another framework's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from snnhw.errors import SourceError
from snnhw.frontends.check import check_import, require_equal
from snnhw.frontends.checkpoint import DEFAULT, import_module
from snnhw.frontends.graph import readout_of, validate
from snnhw.frontends.source import Source
from snnhw.semantics import Deployment, Semantics
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.timed import FirstSpike

EXAMPLES = 2
"""Samples of the example on which a module is checked at once; `compile` checks more."""


def load_module(
    module: nn.Module,
    example: Any = None,
    *,
    steps: int | None = None,
    deployment: Deployment | None = None,
    semantics: Semantics = DEFAULT,
) -> Source:
    """Import a live module; its spikes on the example are checked to be those of its own framework.

    Args:
        example: what its forward takes for one run: all steps (T, N, ...) as the framework orders them, one step
            (N, ...) with `steps` or `deployment`, or (T, N, ...) for a module that takes one step a call; of our own
            neurons (T, N, ...), which `deployment` can say instead. Another framework's is calibration data where
            `compile` gets no others.
        steps: T, where neither the example nor `deployment` says it.
        deployment: T, encoding, shape of a sample, readout; told from the example if None.
        semantics: of snnhw's own neurons; other frameworks' modules say theirs themselves and take dt only.

    Raises:
        SourceError: what cannot be read, by the layer's path and the operation's name.
    """
    if any(isinstance(layer, (Neuron, FirstSpike)) for layer in module.modules()):
        return _of_zoo(module, example, deployment, semantics)
    if example is None:
        raise _needs_example(module, "what its forward takes")
    from snnhw.frontends.live.load import load_module as load_live

    source = load_live(module, example, semantics, steps=steps, deployment=deployment)
    assert source.replay is not None
    validate(source.graph)
    example = source.replay.example
    require_equal(check_import(source, example[:EXAMPLES]))
    return replace(source, calibration=example) if example.any() else source


def _of_zoo(module: nn.Module, example: Any, deployment: Deployment | None, semantics: Semantics) -> Source:
    if deployment is None:
        if example is None or len(example.shape) < 3:
            raise _needs_example(module, "(T, N, *input shape)")
        shape = tuple(int(n) for n in example.shape)
        deployment = Deployment(shape[0], "spikes", shape[2:], "rate")
        deployment = replace(deployment, readout=readout_of(import_module(module, deployment, semantics).graph))
    return import_module(module, deployment, semantics)


def _needs_example(module: nn.Module, needed: str) -> SourceError:
    return SourceError(
        "needs-example",
        "a live module needs an example input",
        where=type(module).__name__,
        needed=needed,
        hint="give example_input=, or deployment=",
    )
