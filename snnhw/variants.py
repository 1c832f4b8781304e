"""What other targets and fewer bits would give: the same source compiled again, compared on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snnhw import api
from snnhw.artifact import Artifact, load
from snnhw.comparison.tree import Variant
from snnhw.errors import SnnhwError
from snnhw.frontends.options import SourceOptions
from snnhw.machine import Machine, available, load_target
from snnhw.network import Array
from snnhw.report.objects import ComparisonReport
from snnhw.rows import Rows

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
    given = api.as_source(source, compiled, x)
    asked = None if given is not source else replace(options or SourceOptions(), data=x.shape)
    asked = asked and asked.remembering(compiled.source)
    judge = "values" if report.agreement is None else "classes"
    rows = [_row(report, compiled.target, compiled.network.bits_per_weight(compiled.target.numeric.weight_bits))]
    for target, width in _variants(compiled.target, targets, bits):
        stage(f"{target.name}, {width} bits")
        try:
            made = api.compile(
                given, target=target, calibrate=calibrate, labels=labels, weight_bits=width, options=asked,
                sums=compiled.reference.notes.sums,
            )  # fmt: skip
            found = api.compare(
                given, made, x, y, engine=report.engine, options=asked, memory=memory, judge=judge,
                timing=report.latency.model, force=force,
            )  # fmt: skip
        except SnnhwError as error:
            rows.append(Variant(target.name, float(width), f"{error.code}: {error.message}"))
            continue
        rows.append(_row(found, target, made.network.bits_per_weight(target.numeric.weight_bits)))
    return replace(report, what_if=tuple(rows))


def _variants(own: Machine, targets: Sequence[str] | None, bits: Sequence[int]) -> Iterator[tuple[Machine, int]]:
    for width in bits:
        if width < own.numeric.weight_bits:
            yield own, width
    for name in available() if targets is None else targets:
        if name != own.name:
            other = load_target(name)
            yield other, other.numeric.weight_bits


def _row(c: ComparisonReport, target: Machine, width: float) -> Variant:
    return Variant(
        target.name, round(width, 2), None, c.quantized.accuracy, c.agreement, c.energy.total_j, c.energy.grade,
        c.latency.seconds, c.latency.grade, c.cores_used,
    )  # fmt: skip
