"""The answer of `snnhw why`: parameters by the harm that their rounding does, and what would help, with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.attribution.fixes import Fix, Settings, Trials, settings_of
from snnhw.attribution.harm import Harm
from snnhw.attribution.rank import Cause, Progress, rank
from snnhw.errors import DataError
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.quantize.activity import split

FEWEST = 8
"""Samples without which nothing can be kept apart."""

MOST = 256
"""Samples that are looked at, and as many kept apart."""

UPDATES = 1 << 25
"""Neuron updates of one run with unrounded parameters; large networks are ranked on fewer samples."""

FIXED = 3
"""Causes that fixes are looked for: the most harmful."""

SHARE = 0.1
"""Part of the harm below which a parameter is no cause worth a fix."""


@dataclass(frozen=True)
class Explanation:
    """Why an artifact does other things than the float network, and what would help.

    Args:
        ranked: harm of the artifact on the samples that causes were told from.
        apart: harm on the samples kept apart, on which fixes are tried.
        causes: the most harmful first, each with the best of the fixes that were tried, or None: no remedy on this
            target (of the first `tried` causes; of the others none was looked for).
        float_accuracy: of the float network on the samples kept apart, where labels are known.
    """

    source: str
    target: str
    ranked: Harm
    apart: Harm
    causes: tuple[tuple[Cause, Fix | None], ...]
    tried: int
    float_accuracy: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        causes = [
            {**cause.to_dict(), "fix": None if fix is None else fix.to_dict(), "tried": i < self.tried}
            for i, (cause, fix) in enumerate(self.causes)
        ]
        return {
            "source": self.source,
            "target": self.target,
            "causes": causes,
            "ranked": self.ranked.to_dict(),
            "apart": self.apart.to_dict(),
            "float_accuracy": self.float_accuracy,
        }

    @property
    def fixed_source(self) -> Source:
        """The source with the change that helps most; raises DataError 'no-change' where none does."""
        changed = [fix for _, fix in self.causes if fix is not None and fix.source is not None]
        if not changed:
            raise DataError(
                "no-change",
                "no fix changes the source",
                where="--fixed",
                hint="leave it out: the fixes are options of compile, or there is none",
            )
        best = max(changed, key=lambda fix: fix.healed).source
        assert best is not None
        return best

    @property
    def lines(self) -> list[str]:
        """For a person: the most harmful parameter first, each with its fix."""
        return list(self._lines())

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _lines(self) -> Iterator[str]:
        worth = [pair for pair in self.causes if pair[0].healed >= SHARE]
        for i, (cause, fix) in enumerate(worth or self.causes[:1]):
            yield _said(cause, self.ranked)
            if i < self.tried:
                yield f"  fix: {fixed(fix, self.apart)}"
        if not self.causes:
            yield "nothing was rounded: every integer is its real value"
        yield f"on {self.apart.samples} samples kept apart {measured(self.apart)}" + (
            "" if self.float_accuracy is None else f"; float accuracy {self.float_accuracy:.1%}"
        )


def _said(cause: Cause, before: Harm) -> str:
    s, after = cause.swap, cause.harm
    return (
        f"{s.layer}: {s.kind}: {s.said}; unrounded alone it takes away {cause.healed:.0%} of the harm: "
        f"drift {before.drift:.1%} -> {after.drift:.1%}, {before.flipped} -> {after.flipped} of {after.samples} "
        "decisions differ"
    )


def fixed(fix: Fix | None, before: Harm) -> str:
    """A fix in words, with its numbers."""
    if fix is None:
        return "no remedy on this target: nothing that was tried takes away a fifth of the harm"
    return f"{fix.said}: {fix.healed:.0%} of the harm gone, {measured(before)} -> {measured(fix.harm)}"


def measured(harm: Harm) -> str:
    """Agreement, drift and accuracy."""
    more = "" if harm.accuracy is None else f", accuracy {harm.accuracy:.1%}"
    return f"agreement {harm.agreement:.1%}, drift {harm.drift:.1%}{more}"


def explain(
    source: Source,
    artifact: Artifact,
    x: Array,
    labels: Array | None = None,
    *,
    calibrate: tuple[Array, Array | None] | None = None,
    given: bool = False,
    data: str = "DATA.npz",
    progress: Progress | None = None,
) -> Explanation:
    """Rank what rounding did, and try what would help.

    Args:
        source: what the artifact was compiled from.
        x: samples (B, ...) as the user has them; causes are told from some, fixes are tried on others.
        labels: classes (B,), if known.
        calibrate: calibration samples and their labels; those that causes are told from, if None.
        given: whether the artifact was calibrated on these.
        data: how the samples are called where they are to calibrate on.

    Raises:
        DataError 'too-few-samples': nothing could be kept apart.
        ArtifactError 'no-scales': the artifact does not know its scales.
    """
    if len(x) < FEWEST:
        raise DataError(
            "too-few-samples",
            "causes and fixes are told from different samples",
            where="x",
            needed=f"{FEWEST} samples",
            limit=f"got {len(x)}",
        )
    parts = split(x[:, None], labels, MOST)
    per_sample = artifact.steps * sum(p.size for p in artifact.network.computed)
    ranked = np.sort(parts.used)[: max(FEWEST, UPDATES // per_sample)]
    found = rank(artifact, x[ranked], None if labels is None else labels[ranked], progress)
    bits, hard = settings_of(artifact)
    used = (x[parts.used], None if labels is None else labels[parts.used])
    samples, classes = calibrate or used
    apart = np.sort(parts.apart)
    own = Settings(bits, hard, samples, classes, given)
    trials = Trials(source, artifact, own, x[apart], None if labels is None else labels[apart], data)
    tried = sum(cause.healed >= SHARE for cause in found.causes[:FIXED])
    fixes = [trials.best(cause) if i < tried else None for i, cause in enumerate(found.causes)]
    right = None if labels is None else float((trials.floats.predictions == labels[apart]).mean())
    name = str(artifact.source.get("file", "a network in memory"))
    causes = tuple(zip(found.causes, fixes, strict=True))
    return Explanation(name, artifact.target.name, found.harm, trials.before, causes, tried, right)
