"""One source compiled in many ways, each compared with it on the same samples: what accuracy costs.

A folder keeps every point under a name that is the hash of all it depends on, so that a sweep goes on where it was
stopped, and shares what earlier ones measured. Stages that points have in common are made once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnhw import files
from snnhw.artifact import write_zip
from snnhw.comparison.points import Point, Row
from snnhw.errors import DataError, SnnhwError
from snnhw.limits import fault, is_file, is_number, require_small
from snnhw.pack import checked
from snnhw.pipeline import Pipeline
from snnhw.version import version

if TYPE_CHECKING:
    from snnhw.artifact import Artifact
    from snnhw.comparison.tree import Comparison

Measure = Callable[[Pipeline, "Artifact", Path], "Comparison"]
"""Compares a pipeline's source with an artifact that was made of it; the path is the artifact's file."""


def grid(
    targets: Sequence[str],
    weight_bits: Sequence[str | None] = (None,),
    steps: Sequence[int | None] = (None,),
    maps: Sequence[str] = ("balanced",),
    scales: Sequence[str] = ("calibrated",),
) -> list[Point]:
    """All combinations, each once; those that share most stages follow each other."""
    found = product(steps, targets, scales, weight_bits, maps)
    return list(dict.fromkeys(Point(target, bits, t, aim, scale) for t, target, scale, bits, aim in found))


def shard(points: Sequence[Point], number: int, of: int) -> Sequence[Point]:
    """Part I of N (from 1): points that follow each other."""
    return points[(number - 1) * len(points) // of : number * len(points) // of]


class Stages:
    """The pipelines of points that come in the order of `grid`: each begins where the last one's stages still hold."""

    def __init__(self, begin: Callable[[str, int | None], Pipeline]) -> None:
        """
        Args:
            begin: the pipeline of a target and a T.
        """
        self._begin = begin
        self._last: tuple[Point, Pipeline] | None = None

    def of(self, point: Point) -> Pipeline:
        """Raises SnnhwError: the source cannot be read."""
        if self._last is None or self._last[0].steps != point.steps:
            last, made = Point(point.target), self._begin(point.target, point.steps)
        else:
            last, made = self._last
        asked = {"weight_bits": point.weight_bits, "scale": point.scale, "aim": point.map}
        changes = {name: value for name, value in asked.items() if getattr(made.options, name) != value}
        made = made.varied(None if last.target == point.target else point.target, **changes)
        self._last = point, made
        return made


def run(
    points: Sequence[Point],
    stages: Stages,
    measure: Measure,
    folder: Path,
    of: Callable[[Point], Mapping[str, Any]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Row]:
    """Rows of the points in order; those that the folder holds are read.

    Args:
        of: what a point depends on besides itself: hashes of source, data and target, options.

    Raises:
        DataError: a file of the folder is no point, or cannot be written.
    """
    for i, point in enumerate(points):
        progress(i, len(points))
        key = hashlib.sha256(
            json.dumps([version(), dict(of(point)), asdict(point)], sort_keys=True).encode()
        ).hexdigest()[:16]
        found = _kept(folder / f"{key}.json", point)
        yield found or _measured(point, stages, measure, folder, key)
    progress(len(points), len(points))


MAX_POINT = 1 << 20
"""Bytes of a point's file."""


def _kept(path: Path, point: Point) -> Row | None:
    if not is_file(path):
        return None
    try:
        require_small(path, MAX_POINT)
        found = json.loads(path.read_text(encoding="utf-8"))
        row = Row(point, **checked(Row, {name: value for name, value in found.items() if name not in asdict(point)}))
        _require_figures(row)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, SnnhwError) as error:
        if isinstance(error, OSError) and (refusal := fault(error, str(path))):
            raise refusal from None
        what = "a point of an earlier sweep cannot be read"
        raise DataError(
            "bad-point", what, where=str(path), hint="remove the file: the point is measured again"
        ) from None
    return row


def _require_figures(row: Row) -> None:
    """Raises ValueError for figures that no point can have, or lacks."""
    figures = {name: value for name, value in asdict(row).items() if isinstance(value, (int, float))}
    if not all(is_number(value) and 0 <= value < math.inf for value in figures.values()):
        raise ValueError("a figure that is no number, infinite or below 0")
    if any(figures.get(name, 0) > 1 for name in ("accuracy_float", "accuracy", "agreement")):
        raise ValueError("a share above 1")
    if row.refused is not None:
        return
    if None in (row.synops, row.spikes, row.cores, row.chips, row.bits_per_weight, row.energy_grade, row.time_grade):
        raise ValueError("a point without its figures")
    for name in ("energy_j", "latency_s", "period_s"):
        ends = [figures[name + end] for end in ("_low", "", "_high") if name + end in figures]
        if len(ends) < 3 or ends != sorted(ends):
            raise ValueError(f"{name} without its band")


def _measured(point: Point, stages: Stages, measure: Measure, folder: Path, key: str) -> Row:
    path = folder / f"{key}.snnhw"
    try:
        pipeline = stages.of(point)
        artifact = pipeline.mapped
        files.write({path: lambda out: write_zip(artifact, out)}, folders=True)
        comparison = measure(pipeline, artifact, path)
    except SnnhwError as refusal:
        if isinstance(refusal, DataError):  # of the samples or the folder, not of the point
            raise
        return Row(point, refused=f"{refusal.code}: {refusal.message}")
    row = replace(row_of(point, artifact, comparison), artifact=path.name)
    files.write({folder / f"{key}.json": json.dumps(row.to_dict(), indent=2) + "\n"})
    return row


def row_of(point: Point, artifact: Artifact, c: Comparison) -> Row:
    """What a comparison says of a point."""
    from snnhw.judge import rmse

    values = () if c.values is None else c.values.quantized
    ends: dict[str, Any] = {}
    for name, cost in (("energy_j", c.energy), ("latency_s", c.latency), ("period_s", c.throughput)):
        ends |= {name: cost.band.likely, f"{name}_low": cost.band.low, f"{name}_high": cost.band.high}
    return Row(
        point,
        accuracy_float=c.float_.accuracy,
        accuracy=c.quantized.accuracy,
        agreement=c.agreement,
        rmse=rmse(values) if values else None,
        **ends,
        synops=c.synops,
        spikes=sum(layer.spikes for layer in c.quantized.layers),
        cores=c.cores_used,
        chips=c.chips_used,
        bits_per_weight=round(artifact.network.bits_per_weight(artifact.target.numeric.weight_bits), 3),
        energy_grade=c.energy.grade,
        time_grade=c.latency.grade,
    )
