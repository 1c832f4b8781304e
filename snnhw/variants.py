"""What other targets and fewer bits would give: a report's own source compiled again, on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnhw import api
from snnhw.artifact import Artifact, load
from snnhw.comparison.points import Point, Row
from snnhw.errors import DataError, SnnhwError
from snnhw.frontends.options import SourceOptions
from snnhw.machine import available
from snnhw.network import Array
from snnhw.pipeline import Options, Pipeline
from snnhw.report.objects import ComparisonReport
from snnhw.rows import Rows
from snnhw.sweep import row_of

if TYPE_CHECKING:
    from torch import nn

    from snnhw.frontends.source import IntegerSource, Source

BITS = (6, 4)
"""Bits of a weight that are tried on the artifact's own target, where it has more."""


def what_if(
    report: ComparisonReport,
    source: Source | IntegerSource | str | Path | nn.Module,
    artifact: Artifact | str | Path,
    x: Array | Rows,
    y: Array | None = None,
    *,
    targets: Sequence[str] | None = None,
    bits: Sequence[int] = BITS,
    calibrate: Array | None = None,
    labels: Array | None = None,
    options: SourceOptions | None = None,
    memory: int | None = None,
    force: bool = False,
    stage: Callable[[str], None] = lambda name: None,
) -> ComparisonReport:
    """The report with `what_if` filled in; a variant that is refused is a row that says why.

    Args:
        report: what `compare` gave for the same source, artifact and samples; its engine and rule are used again.
        targets: names to compile for; all shipped ones but the artifact's own if None.
        bits: of a weight, on the artifact's own target.
        calibrate, labels: samples for the scale search, as of `compile`; those inside the source if None.
        options, memory, force: as of `compare`.
        stage: told which variant begins.
    """
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    own, given = compiled.target, api.as_source(source, compiled, x)
    said = replace(options or SourceOptions(), data=x.shape).remembering(compiled.source)
    asked = replace(Options.remembered(compiled, said), calibrate=calibrate, labels=labels)
    start = Pipeline(given, own, asked)
    how: dict[str, Any] = {"engine": report.engine, "judge": "values" if report.agreement is None else "classes"}
    how |= {
        "timing": report.latency.model,
        "boundary": report.latency.boundary,
        "options": options,
        "memory": memory,
        "force": force,
    }
    fewer = [Point(own.name, str(width)) for width in bits if width < own.numeric.weight_bits]
    others = [Point(name) for name in (available() if targets is None else targets) if name != own.name]
    fewer, others = ([replace(point, map=asked.aim) for point in found] for found in (fewer, others))
    rows = [row_of(Point(own.name, map=asked.aim), compiled, report)]
    for point in (*fewer, *others):
        stage(str(point))
        try:
            changes = {} if point.weight_bits is None else {"weight_bits": point.weight_bits}
            made = start.varied(None if point.target == own.name else point.target, **changes).mapped
            made = _with_input_of(compiled, made)
            rows.append(row_of(point, made, api.compare(given, made, x, y, **how)))
        except SnnhwError as refusal:
            if isinstance(refusal, DataError):  # of the samples, not of the variant
                raise
            rows.append(Row(point, refused=f"{refusal.code}: {refusal.message}"))
    return replace(report, what_if=tuple(rows))


def _with_input_of(compiled: Artifact, made: Artifact) -> Artifact:
    """A variant with the input of the report's artifact: its encoding, T where it differs, and its seed."""
    steps = None if made.steps == compiled.steps else compiled.steps
    return api.with_input(made, compiled.deployment.encoding, steps, compiled.deployment.seed)
