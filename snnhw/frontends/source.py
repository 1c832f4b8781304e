"""What every front end hands on: a NIR graph, its semantics, and the thing it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import nir
from torch import nn

from snnhw.cautions import Caution
from snnhw.encoding import InputSpec
from snnhw.errors import SourceError
from snnhw.network import Array, FloatNeuron, IntNeuron, Network
from snnhw.rationale import Reason
from snnhw.semantics import Deployment, Semantics


class Replay(Protocol):
    """A model that still runs in its own framework."""

    @property
    def example(self) -> Array:
        """Samples (B, T, *input shape) that it was given with."""

    def like(self, x: Array) -> Array:
        """Samples as it can run them."""

    def __call__(self, x: Array) -> Mapping[str, Array]:
        """Spikes and read-out membranes (B, T, ...) by node name, in the framework's own float precision.

        The output may be (B, ...): summed up over time, or a mean, times any positive factor.
        """


@dataclass(frozen=True)
class Source:
    """One imported model.

    Args:
        graph: NIR graph in floats, BatchNorm folded; carries semantics and deployment as metadata.
        origin: file name, hash, recipe: whatever names the source.
        module: the torch module it came from, in eval mode, if there is one.
        calibration: training samples that came with the source, uint8 or float, if any.
        replay: runs the model in its own framework.
        warnings: what reading it found that a person must know.
        returns: how the source itself makes what it returns of its output, if it is known; `deployment` may say else.
    """

    graph: nir.NIRGraph
    semantics: Semantics
    deployment: Deployment
    origin: Mapping[str, Any] = field(default_factory=dict)
    module: nn.Module | None = None
    calibration: Array | None = None
    replay: Replay | None = None
    warnings: tuple[Caution, ...] = ()
    returns: Deployment | None = None

    def nir_graph(self) -> nir.NIRGraph:
        """The graph, to be saved."""
        return self.graph


@dataclass(frozen=True)
class IntegerSource:
    """One imported model that is integers already, logical ones: as they act, before any chip's format and schedule.

    Args:
        reference: the same integers as reals, in weight units; no start steps, every delay one step.
        neurons: population -> its integers.
        inputs: how samples become values of the input populations; one with a `host` replaces the projections out of
            the reference's input that the host reads.
        replay: values (B, T, ...) of the input population -> spikes of each population by the source's own rules (v of
            those that never fire).
        rationale: where each integer was found.
        origin: file name, hash, flags.
    """

    reference: Network[FloatNeuron]
    neurons: Mapping[str, IntNeuron]
    inputs: tuple[InputSpec, ...]
    semantics: Semantics
    deployment: Deployment
    replay: Callable[[Array], Mapping[str, Array]]
    rationale: tuple[Reason, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    calibration: Array | None = None
    warnings: tuple[Caution, ...] = ()

    def nir_graph(self) -> NoReturn:
        """Refused: bias currents, decays in 1/4096 and delays are not written as NIR."""
        raise SourceError(
            "no-graph",
            "a network that is integers already is not written as a NIR graph",
            where=str(self.origin.get("file", "")),
            hint="leave --emit-nir out; snnhw export of the artifact writes other formats",
        )
