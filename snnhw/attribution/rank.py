"""Parameters by the harm that their rounding does: each is unrounded alone, and the rest of the network stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.attribution import reals
from snnhw.attribution.harm import Harm, Seen, harm, healed
from snnhw.attribution.swaps import Swap, swaps
from snnhw.encoding import encode
from snnhw.engines.base import Record
from snnhw.engines.choose import integer_engine
from snnhw.engines.floating import FloatEngine
from snnhw.engines.observe import output_needs
from snnhw.errors import ArtifactError
from snnhw.evaluate import output_key
from snnhw.network import Array

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Cause:
    """One parameter: what unrounding it alone leaves of the harm, and by how much that is less (`healed`)."""

    swap: Swap
    harm: Harm
    healed: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        s = self.swap
        return {
            "layer": s.layer,
            "population": s.population,
            "parameter": s.kind,
            "rounding": s.said,
            "healed": self.healed,
            "drift": self.harm.drift,
            "flipped": self.harm.flipped,
        }


@dataclass(frozen=True)
class Ranking:
    """What unrounding tells of an artifact.

    Args:
        harm: of the integers themselves.
        causes: the most harmful first; those that unrounding makes worse come last.
        overflows: population -> how often its states left their range.
    """

    harm: Harm
    causes: tuple[Cause, ...]
    overflows: dict[str, int]


class _Overflows:
    """Counts how often states left their range, by population."""

    def __init__(self, artifact: Artifact) -> None:
        self.needs = output_needs(artifact.network)
        self.found = {p.name: 0 for p in artifact.network.computed}

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Add up one population of one chunk."""
        if population in self.found:
            self.found[population] += sum(record.overflows.values())


def rank(artifact: Artifact, x: Array, labels: Array | None = None, progress: Progress | None = None) -> Ranking:
    """Every kind of parameter of every layer, by what unrounding it alone heals.

    Args:
        x: samples (B, ...) as the user gives them.
        labels: (B,), if known.
        progress: told after every run.

    Raises:
        ArtifactError 'no-scales': the artifact does not know its scales.
    """
    network, widths = artifact.network, artifact.target.widths
    pairs = {(q.name, q.pre, q.post) for q in artifact.reference.projections}
    apart = any((q.name, q.pre, q.post) not in pairs for q in network.projections if not q.op.injects)
    if not artifact.scales or apart:
        raise ArtifactError(
            "no-scales",
            "the artifact does not say what its integers stand for",
            hint="compile the source again; layers that --approximate replaces stand for no single layer",
        )
    inputs = encode(x, artifact.inputs, network.steps)
    counted = _Overflows(artifact)
    integer_engine("fast").run(network, artifact.target, [inputs], [counted])
    base = _packed(reals.run(reals.Variant(network), widths, inputs))
    floats = float_seen(artifact, x)
    before = harm(network, floats, Seen.of(network, base, reals.outputs(network, base)), labels)
    tried = list(swaps(artifact, base, x, counted.found))
    causes = []
    for i, swap in enumerate(tried):
        found = reals.run(swap.variant, widths, inputs, base)
        seen = Seen.of(network, found, reals.outputs(network, found))
        after = harm(network, floats, seen, labels)
        causes.append(Cause(swap, after, healed(before, after)))
        if progress is not None:
            progress(i + 1, len(tried))
    causes.sort(key=lambda cause: -cause.healed)
    return Ranking(before, tuple(causes), counted.found)


def float_seen(artifact: Artifact, x: Array) -> Seen:
    """What the float network that the artifact stands for does on some samples."""
    engine = FloatEngine(artifact.reference, artifact.deployment)
    found = engine.values(x)
    return Seen.of(engine.network, found, found[output_key(engine.network)])


def _packed(values: reals.Values) -> reals.Values:
    """Whole numbers, held in fewer bytes."""
    return {name: x if x.strides[1] == 0 else x.astype(_type(x)) for name, x in values.items()}


def _type(x: Array) -> Any:
    return np.uint8 if x.min(initial=0) >= 0 and x.max(initial=0) <= 255 else np.int32
