"""Run both networks on the same samples and put what was counted into one tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from snnhw.artifact import Artifact
from snnhw.chip.counts import ChipObserver
from snnhw.chip.tally import tally
from snnhw.comparison.floats import FloatCounts, FloatRun
from snnhw.comparison.raster import RasterObserver
from snnhw.comparison.rows import Measured, comparison
from snnhw.comparison.tree import Comparison
from snnhw.encoding import encode
from snnhw.engines.base import Engine
from snnhw.engines.observe import Predictions
from snnhw.errors import DataError
from snnhw.judge import VALUES, judge
from snnhw.network import Array
from snnhw.readout import values
from snnhw.rows import Rows

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


def compare(
    float_run: FloatRun,
    artifact: Artifact,
    x: Array | Rows,
    y: Array | None,
    engine: Engine,
    *,
    chunk: int = 64,
    progress: Progress | None = None,
    rule: str | None = None,
) -> Comparison:
    """Compare a float network with its compiled counterpart.

    Args:
        float_run: the float network.
        x: samples as the user gives them, (B, ...).
        y: labels (B,), real values (B, outputs), or None.
        engine: runs the integers; its name stands in the result.
        chunk: samples held in memory at once.
        progress: told after every chunk.
        rule: outputs are judged as 'classes' or 'values'; told from them and the labels if None (`snnhw.judge`).

    Raises:
        DataError: no samples, or labels that do not fit them or the outputs.
    """
    if x.shape[0] == 0:
        raise DataError("no-samples", "there are no samples to compare on", where="x")
    readout = artifact.network.readout
    outputs = artifact.network[readout.population].size
    judged = judge(y, len(x), readout.groups or outputs, rule)
    chip, said, pictures = ChipObserver(artifact), Predictions(artifact.network), RasterObserver(artifact.network)
    floats, static = FloatCounts(artifact), dict[str, bool]()
    chunks = _chunks(float_run, artifact, x, chunk, floats, static, progress)
    engine.run(artifact.network, artifact.target, chunks, [chip, said, pictures])
    measured = Measured(
        artifact=artifact,
        engine=engine.name,
        wiring=chip.wiring,
        counts=chip.counts,
        times=chip.times,
        total=tally(artifact, chip.wiring, chip.counts),
        float_events=floats.events,
        float_predictions=floats.predictions,
        predictions=said.predictions,
        judge=judged,
        values=None
        if judged.kind != VALUES
        else (floats.values, values(readout, said.scores, outputs, artifact.network.steps)),
        static=static,
        rasters=pictures.rasters,
    )
    return comparison(measured)


def _chunks(
    float_run: FloatRun,
    artifact: Artifact,
    x: Array | Rows,
    size: int,
    floats: FloatCounts,
    static: dict[str, bool],
    progress: Progress | None,
) -> Iterator[Mapping[str, Array]]:
    """Encoded chunks for the engine; the float network runs on each as it passes."""
    for first in range(0, len(x), size):
        part = x[first : first + size]
        floats.add(*getattr(float_run, "outcome", float_run.run)(part))
        encoded = encode(part, artifact.inputs, artifact.network.steps)
        static.update({name: array.shape[1] == 1 or array.strides[1] == 0 for name, array in encoded.items()})
        yield encoded
        if progress is not None:
            progress(min(first + size, len(x)), len(x))
