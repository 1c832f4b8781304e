"""A live torch module as a Source: of our own neurons, or of another framework's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.check import Check, check_import, require_equal
from snnhw.frontends.checkpoint import DEFAULT, import_module
from snnhw.frontends.graph import readout_of, validate
from snnhw.frontends.live.load import load_module as load_live
from snnhw.frontends.live.reader import same_node
from snnhw.frontends.live.registry import ZOO, frameworks
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.semantics import Deployment, Semantics, to_metadata

EXAMPLES = 2
"""Samples of the example on which a module is checked at once; `compile` checks more."""

LOUDER = (1.0, 4.0)
"""Largest values of the random input on which a module is checked whose neurons are silent on the example, relative to
the example's. Not larger: the rounding of float32 would be as large as what is compared."""

OTHER_SEED = 0x5EED
"""Of the second reading's random numbers."""


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
    if frameworks(module) == [ZOO]:
        return _of_zoo(module, example, deployment, semantics)
    if example is None:
        raise _needs_example(module, "what its forward takes")
    source = load_live(module, example, semantics, steps=steps, deployment=deployment)
    assert source.replay is not None
    validate(source.graph)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(OTHER_SEED)
        other = load_live(module, _shuffled(torch.as_tensor(example)), semantics, steps=steps, deployment=deployment)
    _require_constant(source.graph, other.graph)
    samples = source.replay.example
    found = require_equal(check_import(source, samples[:EXAMPLES]), source)
    _check_louder(source, samples, found)
    return replace(source, calibration=samples) if samples.any() else source


def _shuffled(example: Tensor) -> Tensor:
    """Another input from the same numbers, and zeros."""
    generator = torch.Generator().manual_seed(0)
    flat = example.detach().cpu().flatten()
    values = flat[torch.randperm(len(flat), generator=generator)] if flat.any() else torch.ones_like(flat)
    kept = torch.rand(len(flat), generator=generator) < 0.5
    return torch.where(kept, values, torch.zeros_like(values)).reshape(example.shape)


def _require_constant(graph: nir.NIRGraph, other: nir.NIRGraph) -> None:
    """Two readings give one graph: no number that comes from the input, or from chance, is taken for a weight."""
    changed = {
        name for name in graph.nodes if name not in other.nodes or not same_node(graph.nodes[name], other.nodes[name])
    }
    changed |= {name for edge in set(graph.edges) ^ set(other.edges) for name in edge}
    if changed:
        raise SourceError(
            "not-constant",
            "numbers that forward computes change from run to run: they depend on the input or on chance",
            where=", ".join(sorted(changed)),
            limit="weights that are the same in every run",
            hint="compute with torch functions on what layers give; keep random numbers and numpy out of forward",
        )


def _check_louder(source: Source, samples: Array, found: Check) -> None:
    """A layer that never fired has shown nothing: once more on random input, larger and larger."""
    assert source.replay is not None
    rng = np.random.default_rng(0)
    for factor in LOUDER:
        if not found.silent:
            return
        x = rng.random(samples[:EXAMPLES].shape) * factor * (np.abs(samples).max() or 1.0)
        found = require_equal(check_import(source, source.replay.like(x)), source)


def _of_zoo(module: nn.Module, example: Any, deployment: Deployment | None, semantics: Semantics) -> Source:
    if deployment is not None:
        return import_module(module, deployment, semantics)
    if example is None or len(example.shape) < 3:
        raise _needs_example(module, "(T, N, *input shape)")
    shape = tuple(int(n) for n in example.shape)
    source = import_module(module, Deployment(shape[0], "spikes", shape[2:], "rate"), semantics)
    deployment = replace(source.deployment, readout=readout_of(source.graph))
    source.graph.metadata = to_metadata(source.semantics, deployment)
    return replace(source, deployment=deployment)


def _needs_example(module: nn.Module, needed: str) -> SourceError:
    return SourceError(
        "needs-example",
        "a live module needs an example input",
        where=type(module).__name__,
        needed=needed,
        hint="give example_input=, or deployment=",
    )
