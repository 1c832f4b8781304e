"""Run both networks on the same samples, count, and put what was counted into one tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import Times
from snnhw.chip.counts import ChipObserver, Counts
from snnhw.chip.system import require_system
from snnhw.chip.tally import tally
from snnhw.chip.wiring import Wiring, wire
from snnhw.comparison.floats import FloatCounts, FloatRun
from snnhw.comparison.partial import Part, of_run, require_arrays, require_inputs, shard_of
from snnhw.comparison.raster import RasterObserver
from snnhw.comparison.rows import Measured, comparison
from snnhw.comparison.tree import Comparison, Raster
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
    float_run: FloatRun, artifact: Artifact, x: Array | Rows, y: Array | None, engine: Engine, **options: Any
) -> Comparison:
    """Compare a float network with its compiled counterpart: `count` all samples, `finish`."""
    return finish(artifact, count(float_run, artifact, x, y, engine, **options))


def count(
    float_run: FloatRun,
    artifact: Artifact,
    x: Array | Rows,
    y: Array | None,
    engine: Engine,
    *,
    chunk: int = 64,
    progress: Progress | None = None,
    rule: str | None = None,
    timing: str = "analytic",
    boundary: str = "core",
    sample: int = 0,
    trace: bool = False,
    shard: tuple[int, int] = (1, 1),
    of: Mapping[str, Any] | None = None,
) -> Part:
    """What both networks do on the samples of a shard, in integers that add up.

    Args:
        float_run: the float network.
        x: samples as the user gives them, (B, ...); all of them, whatever the shard.
        y: labels (B,), real values (B, outputs), or None.
        engine: runs the integers; its name stands in the result.
        chunk: samples held in memory at once.
        progress: told after every chunk.
        rule: outputs are judged as 'classes' or 'values'; told from them and the labels if None (`snnhw.judge`).
        timing: model of the times: 'analytic' or 'event'.
        boundary: what times and energies hold: 'core', 'chip' or 'board' (`snnhw.chip.system`).
        sample: whose spikes are kept for a picture, from 0.
        trace: keep the time of every step of every sample, in picoseconds: arrays `trace/…` (samples, T) of the part.
        shard: I of N, from 1.
        of: what else tells that parts are of one run.

    Raises:
        TargetError: 'no-system' where the target does not say what the boundary holds.
        DataError: no samples, no such sample, labels that do not fit them or the outputs, or too many shards.
    """
    if x.shape[0] == 0:
        raise DataError("no-samples", "there are no samples to compare on", where="x")
    require_system(artifact.target, boundary)
    if not 0 <= sample < len(x):
        raise DataError(
            "no-such-sample", "the sample to be shown is not there", where="x", needed=sample, limit=f"{len(x)} samples"
        )
    first, last = shard_of(len(x), chunk, shard)
    network = artifact.network
    kind = judge(y, len(x), _outputs(artifact), rule).kind
    chip, said = ChipObserver(artifact, timing=timing), Predictions(network)
    pictures = RasterObserver(network, sample - first)
    floats, static = FloatCounts(artifact), dict[str, bool]()
    part = x.cut(first, last) if isinstance(x, Rows) else x[first:last]
    engine.run(
        network,
        artifact.target,
        _chunks(float_run, artifact, part, chunk, floats, static, progress),
        [chip, said, pictures],
    )
    seen = float_run.run(part[sample - first : sample - first + 1])[1] if first <= sample < last else {}
    arrays: dict[str, Any] = {"predictions": said.predictions, "float_predictions": floats.predictions}
    arrays |= _sums(chip) | {f"sum:floats/{population}": found for population, found in floats.events.items()}
    arrays |= _trace(chip) if trace else {}
    arrays |= {} if y is None else {"y": np.asarray(y)[first:last]}
    if kind == VALUES:
        arrays |= {"scores": said.scores}
        arrays |= {} if floats.values is None else {"values": floats.values}
    more = {
        "static": static,
        "sample": sample,
        "rasters": [asdict(raster) for raster in pictures.rasters(seen)],
        "judge": rule,
        "timing": timing,
        "boundary": boundary,
        "trace": trace,
        **(of or {}),
    }
    return Part(
        {name: np.asarray(found) for name, found in arrays.items()},
        of_run("compare", engine.name, first, last, len(x), chunk, shard[1], **more),
    )


COUNTED = ("events", "magnitude", "active", "wraps", "clips")


def _sums(chip: ChipObserver) -> dict[str, Array]:
    """What a chip's observer counted, by names of `Part.arrays`."""
    counts = chip.counts
    found: dict[str, Any] = {"sum:samples": counts.samples, **chip.times.arrays("model")}
    for end, loads in chip.ends.items():
        found |= loads.times.arrays(end)
    for name in COUNTED:
        found |= {f"sum:{name}/{population}": count for population, count in getattr(counts, name).items()}
    traced = _trace(chip)
    found["sum:steps"] = np.stack(
        [traced[f"trace/{name}"].sum(axis=0) for name in ("model", "generation", "reception")]
    )
    waited = np.searchsorted(chip.wiring.cores, traced["trace/core"]).T
    found["sum:waited"] = np.stack([np.bincount(at, minlength=len(chip.wiring.cores)) for at in waited])
    return {name: np.asarray(array) for name, array in found.items()}


def _trace(chip: ChipObserver) -> dict[str, Array]:
    """Picoseconds of every step of the stream of every sample, int64 (samples, T), and the core that is waited for."""
    none = np.zeros((3, 0, chip.artifact.network.steps), np.int64)
    generation, reception, core = np.concatenate([none, *chip.loads.steps], axis=1)
    barrier = np.full_like(generation, chip.loads.sync)
    model = np.maximum(generation, reception) + barrier
    if chip.events is not None:
        model = np.concatenate([none[0], *chip.events.steps])
    named = {"model": model, "generation": generation, "reception": reception, "barrier": barrier}
    return {f"trace/{name}": part for name, part in named.items()} | {"trace/core": chip.wiring.cores[core]}


def _require_sums(artifact: Artifact, wiring: Wiring, part: Part) -> None:
    """Raises DataError 'bad-part' where a part holds other arrays or inputs than a count of this artifact makes."""
    samples = part.of["last"] - part.of["first"]
    wanted: dict[str, tuple[Any, ...]] = {
        name: array.shape for name, array in _sums(ChipObserver(artifact, wiring, part.of["timing"])).items()
    }
    wanted |= {f"sum:floats/{name}": (artifact.reference[name].size,) for name in FloatCounts(artifact).wanted}
    wanted |= dict.fromkeys(("predictions", "float_predictions"), (samples,))
    require_arrays(part, wanted)
    require_inputs(part, (p.name for p in artifact.network.inputs))


def finish(artifact: Artifact, part: Part) -> Comparison:
    """The tree of all samples; every mean is made here, from integers."""
    network, arrays, wiring = artifact.network, part.arrays, wire(artifact)
    require_system(artifact.target, part.of["boundary"])
    _require_sums(artifact, wiring, part)
    samples = int(arrays["sum:samples"])
    found = {name: part.under(f"sum:{name}") for name in COUNTED}
    single = ({name: int(n) for name, n in found[kind].items()} for kind in ("active", "wraps", "clips"))
    counts = Counts(samples, found["events"], found["magnitude"], *single)
    judge_ = judge(arrays.get("y"), samples, _outputs(artifact), part.of["judge"])
    size = network[network.readout.population].size
    measured = Measured(
        artifact=artifact,
        engine=part.of["engine"],
        timing=part.of["timing"],
        wiring=wiring,
        counts=counts,
        times=Times.of(arrays, "model"),
        ends={end: Times.of(arrays, end) for end in ("low", "likely", "high")},
        boundary=part.of["boundary"],
        steps=(arrays["sum:steps"], arrays["sum:waited"]),
        total=tally(artifact, wiring, counts),
        float_events=part.under("sum:floats"),
        float_predictions=arrays["float_predictions"],
        predictions=arrays["predictions"],
        judge=judge_,
        values=(arrays.get("values"), values(network.readout, arrays["scores"], size, network.steps))
        if judge_.kind == VALUES
        else None,
        static=part.of["static"],
        sample=part.of["sample"],
        rasters=tuple(_raster(**raster) for raster in part.of["rasters"]),
    )
    return comparison(measured)


def _outputs(artifact: Artifact) -> int:
    readout = artifact.network.readout
    return readout.groups or artifact.network[readout.population].size


def _raster(name: str, neurons: list[int], events: list[list[int]], float_: list[list[int]] | None) -> Raster:
    ours, theirs = (None if pairs is None else tuple((a, b) for a, b in pairs) for pairs in (events, float_))
    return Raster(name, tuple(neurons), ours or (), theirs)


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
        floats.run(float_run, part)
        encoded = encode(part, artifact.inputs, artifact.network.steps)
        static.update({name: array.shape[1] == 1 or array.strides[1] == 0 for name, array in encoded.items()})
        yield encoded
        if progress is not None:
            progress(min(first + size, len(x)), len(x))
