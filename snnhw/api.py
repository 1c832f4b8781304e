"""snnhw in Python: load, compile, run, compare. The command line is a thin wrapper over these."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnhw.artifact import Artifact, load
from snnhw.effort import require_affordable, require_affordable_floats
from snnhw.encoding import encode, is_sequence
from snnhw.engines.choose import integer_engine
from snnhw.engines.observe import Recorder, output_needs, read_out
from snnhw.errors import DataError, SourceError
from snnhw.limits import CHUNK, samples_at_once
from snnhw.network import Array, FloatNeuron, Network
from snnhw.readout import real_scale, require_fitting
from snnhw.rows import Rows
from snnhw.semantics import MOST_STEPS

EXAMPLES = 4
"""Samples on which a live module is read again for a comparison."""

if TYPE_CHECKING:  # `run` reads an artifact and must not pay for the front ends, the compiler and reports
    from torch import Tensor, nn

    from snnhw.attribution.explanation import Explanation
    from snnhw.comparison.diff import Difference
    from snnhw.comparison.partial import Part
    from snnhw.frontends.options import SourceOptions
    from snnhw.frontends.source import IntegerSource, Source
    from snnhw.machine import Machine
    from snnhw.mapping.load import Rates
    from snnhw.pipeline import Pipeline, Stage
    from snnhw.quantize.widths import WeightBits
    from snnhw.report.objects import ComparisonReport
    from snnhw.semantics import Deployment, Semantics


def compile(
    source: str | Path | Source | IntegerSource | nn.Module,
    example_input: Tensor | Array | None = None,
    *,
    target: str | Path | Machine,
    set: Mapping[str, Any] | None = None,
    steps: int | None = None,
    calibrate: Array | None = None,
    labels: Array | None = None,
    weight_bits: WeightBits = None,
    deployment: Deployment | None = None,
    semantics: Semantics | None = None,
    sums: str = "cheapest",
    approximate: str = "",
    hard_reset: bool = False,
    map: str = "balanced",
    rates: Rates = None,
    options: SourceOptions | None = None,
    stage: Stage = lambda name: None,
) -> Artifact:
    """Compile a trained network for a chip.

    Args:
        source: a checkpoint (`options`: what it does not say itself), NIR file, ONNX file of a ReLU network (takes
            `options.steps` and `calibrate`), an imported `Source`, or a live module of SpikingJelly, snnTorch, sinabs,
            Norse, Rockpool or snnhw's own neurons. A ReLU module becomes a Source by `snnhw.convert`.
        example_input: for a live module: what its forward takes for one run; `load_module` says more.
        steps: for a live module that takes one step a call: T, where the example does not say it.
        target: a shipped target's name, a path to a .toml file, or a Machine.
        set: other values of some of its numbers, {"core.neurons": 512}; the artifact records them.
        calibrate: training samples (B, ...) for the scale search; without them those inside the checkpoint or the
            example are used, and without any the scales come from the weights alone.
        labels: their classes (B,), if known: each is then used in proportion.
        weight_bits: bits of a weight, sign included: a number (of all layers but the first and the last), or by layer:
            'conv1=8,fc=4,*=5' or a mapping (the first that matches counts); the target's own number if None.
        deployment: for a live module: T, encoding and readout; told from the example input if None.
        hard_reset: reset to zero where the network subtracts its threshold and the target cannot.
        sums: how sums of spikes (SEW ADD) reach their readers: 'cheapest', 'summands' or 'relays'; same integers.
        approximate: 'pool-after-spikes': a neuron that reads a maximum of currents comes before its max-pool.
        map: aim of the placement: 'balanced' (a short period for little more energy), 'fewest-cores' or 'fastest'.
        rates: events of a neuron in a step that it is placed for: a number, or by population: 'conv1=0.2,*=0.05' or a
            mapping; what calibration samples show if None.

    Raises:
        SnnhwError: with code, place, need, limit and hint.
    """
    from snnhw.pipeline import Options, Pipeline

    asked = Options(
        calibrate=None if calibrate is None else _plain(calibrate, "calibrate"),
        labels=None if labels is None else _plain(labels, "labels"),
        weight_bits=weight_bits,
        hard_reset=hard_reset,
        sums=sums,
        approximate=approximate,
        source=options,
        example=example_input,
        steps=steps,
        deployment=deployment,
        semantics=semantics,
        settings=set or {},
        aim=map,
        rates=rates,
    )
    return Pipeline(source, target, asked, stage).mapped


def _samples(x: Any) -> Any:
    """At least one sample, as `_plain` gives them."""
    x = _plain(x, "x")
    if not isinstance(x, Rows) and (np.ndim(x) == 0 or not len(x)):
        raise DataError(
            "no-samples", "there are no samples to run", where="x", needed="(samples, ...)", limit=f"got {np.shape(x)}"
        )
    return x


def _plain(values: Any, where: str) -> Any:
    """Samples or labels as a numpy array: of a torch tensor on any device, of lists, of an array; rows stay."""
    if isinstance(values, Rows):
        return values
    tensor = getattr(values, "detach", None)
    values = values if tensor is None else tensor().cpu().numpy()
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise DataError(
            "bad-shape",
            "samples or labels are no array of numbers",
            where=where,
            needed=str(error),
            limit="an array, a torch tensor, or nested lists of equal lengths",
        ) from None


def with_input(artifact: Artifact, encoding: str | None, steps: int | None, seed: int | None) -> Artifact:
    """The artifact with another encoding, T or seed of its input."""
    changes: dict[str, Any] = {}
    changes |= {} if encoding is None else {"encoding": encoding}
    changes |= {} if seed is None else {"seed": seed}
    if steps is not None:
        if not 1 <= steps < MOST_STEPS:
            raise DataError("bad-steps", "a sample has at least one step", needed=steps, limit="1 to 2^53")
        artifact = _with_steps(artifact, steps)
    inputs = tuple(replace(spec, **changes) for spec in artifact.inputs)
    return replace(artifact, inputs=inputs, deployment=replace(artifact.deployment, **changes))


def _with_steps(artifact: Artifact, steps: int) -> Artifact:
    """Another T: what was proven for the old one is proven anew, and the mean is over the new one."""
    from snnhw.quantize.bounds import arriving_range, bound
    from snnhw.quantize.spikes import require_lossless

    network = artifact.network
    before = network.readout
    require_fitting(before, network[before.population].size, steps)
    scale = before.scale * real_scale(before, steps) / real_scale(before, network.steps)
    network = replace(network, steps=steps, readout=replace(before, scale=scale))
    bounds = [
        bound(p.name, p.kind, p.model, *arriving_range(network, p), steps, artifact.target.widths).on_a_turn()
        for p in network.computed
    ]
    require_lossless(network, artifact.rationale, bounds)
    return replace(
        artifact,
        network=network,
        reference=replace(artifact.reference, steps=steps),
        deployment=replace(artifact.deployment, steps=steps),
        bounds=tuple(b.to_dict() for b in bounds),
    )


def batch_of(artifact: Artifact, memory: int | None = None) -> int:
    """Samples that are run at once."""
    return samples_at_once(artifact.steps * max(p.size for p in artifact.network.populations), CHUNK, memory)


def run(
    artifact: Artifact | str | Path,
    x: Array | Rows,
    engine: str = "fast",
    *,
    record: str | None = None,
    memory: int | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> dict[str, Array]:
    """Run an artifact.

    Args:
        x: samples (B, ...) as the user has them.
        engine: 'fast', 'reference', 'lava' or 'onnx'.
        record: None, 'spikes', or 'state' (spikes, u and v).
        memory: bytes that the process may hold: samples are run in batches that fit.
        force: run what would take longer than an hour, or over 80 % of the memory (`memory`, else what is free), too.
        batch: samples that are run at once, if not as many as fit.

    Returns:
        `output` (samples, T, outputs...), `counts` (its sum over T), `scores` (samples, classes: by the readout),
        `predictions`, `scale` (what a unit of the scores is in the source's), `values` (scores in the source's units),
        `saturations` (how often u wrapped or v was clipped at 24 bit), and `spikes/NAME`, `u/NAME`, `v/NAME`
        (samples, T, neurons...) as asked for.
    """
    x = _samples(x)
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    recorder = Recorder(compiled.network, spikes=record is not None, state=record == "state")
    is_sequence(x, compiled.inputs[0].sample_shape, compiled.steps)  # before any of them are read
    chosen, size = integer_engine(engine), batch or batch_of(compiled, memory)
    if not force:
        require_affordable(compiled, x, engine, chosen, recorder.needs, size, memory)
    chosen.run(compiled.network, compiled.target, _chunks(compiled, x, size, progress), [recorder])
    found = recorder.arrays()
    return found | read_out(compiled.network, found["output"])


def _chunks(
    artifact: Artifact, x: Array | Rows, size: int, progress: Callable[[int, int], None] | None
) -> Iterator[Mapping[str, Array]]:
    for first in range(0, len(x), size):
        yield encode(x[first : first + size], artifact.inputs, artifact.steps)
        if progress is not None:
            progress(min(first + size, len(x)), len(x))


def run_float(
    source: Source | IntegerSource | str | Path | nn.Module,
    x: Array | Rows,
    example_input: Tensor | Array | None = None,
    *,
    record: bool = False,
    steps: int | None = None,
    deployment: Deployment | None = None,
    options: SourceOptions | None = None,
    force: bool = False,
) -> dict[str, Array]:
    """Run a source's lowered float network in float64; keys as of `run`, arguments as of `compile` and `run`."""
    from torch import nn

    from snnhw.engines.floating import FloatEngine
    from snnhw.frontends.options import SourceOptions
    from snnhw.frontends.source import IntegerSource
    from snnhw.lowering.lower import lower
    from snnhw.pipeline import Options, Pipeline

    x = _samples(x)
    said = options if isinstance(source, nn.Module) else replace(options or SourceOptions(), data=x.shape)
    asked = Options(source=said, example=example_input, steps=steps, deployment=deployment)
    imported = Pipeline(source, options=asked).imported
    if isinstance(imported, IntegerSource):
        network = imported.reference
    else:
        network = lower(imported.graph, imported.semantics, imported.deployment, max_delay=1 << 30)
    is_sequence(x, imported.deployment.input_shape, imported.deployment.steps)
    if not force:
        require_affordable_floats(network, len(x), record)
    engine = FloatEngine(network, imported.deployment)
    parts = [engine.record(x[first : first + CHUNK], record) for first in range(0, len(x), CHUNK)]
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return found | read_out(engine.network, found["output"])


def compare(
    source: Source | IntegerSource | str | Path | nn.Module,
    artifact: Artifact | str | Path,
    x: Array | Rows,
    y: Array | None = None,
    *,
    engine: str = "fast",
    options: SourceOptions | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    judge: str | None = None,
    timing: str = "analytic",
    boundary: str = "core",
    sample: int = 0,
    force: bool = False,
) -> ComparisonReport:
    """Count both networks on the same samples; the float side runs in float32. Arguments are those of `count`."""
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    asked = {"engine": engine, "options": options, "memory": memory, "progress": progress, "judge": judge}
    asked |= {"force": force, "timing": timing, "boundary": boundary, "sample": sample}
    return merge(compiled, [count(source, compiled, x, y, **asked)])  # type: ignore[arg-type]


def diff(
    first: Any,
    second: Any,
    x: Array | None = None,
    *,
    engines: Sequence[str | None] = (None, None),
    record: str = "spikes",
    options: SourceOptions | None = None,
    force: bool = False,
) -> Difference | None:
    """Where two runs differ first; None where they agree.

    Args:
        first, second: each an artifact or its path, a source as of `compile` (run in floats), or a recorded run: its
            arrays, or the path of an .npz file.
        x: samples (B, ...), unless both are recorded.
        engines: of each side; None is 'fast' for artifacts.
        record: 'spikes', or 'state' (u and v, too) of artifacts.
        options, force: as of `run_float`.

    What only one side has (relays, inputs in other units, membranes that are read) is left out, unless both are
    recorded. Outputs in different units are compared in the source's.

    Raises:
        DataError: nothing in common, arrays of another shape, or no samples to run.
    """
    from snnhw.comparison.diff import diff as found

    given = [_loaded(side) for side in (first, second)]
    runs = [isinstance(side, Artifact) or not isinstance(side, Mapping) for side in given]
    if any(runs) and x is None:
        raise DataError("no-samples", "a network is run to be compared, on samples", where="x", hint="give --data")
    known = next((side.source for side in given if isinstance(side, Artifact)), {})
    how = (record, options, known, force)
    one, other = (_as_run(side, x, engine, *how) for side, engine in zip(given, engines, strict=True))
    order = next((list(side.network.by_name) for side in given if isinstance(side, Artifact)), None)
    return found(one, other, order, common=any(runs))


def _loaded(side: Any) -> Any:
    """An artifact, or the arrays of a recorded run, where a path names one."""
    from snnhw.data import load_recording

    kinds = {".snnhw": load, ".npz": load_recording}
    return kinds[Path(side).suffix](side) if isinstance(side, str | Path) and Path(side).suffix in kinds else side


def _as_run(
    side: Any,
    x: Any,
    engine: str | None,
    record: str,
    options: SourceOptions | None,
    known: Mapping[str, Any],
    force: bool,
) -> Mapping[str, Array]:
    """What one side does; inputs only where they are spikes, which are the same on both sides."""
    from snnhw.frontends.options import SourceOptions

    if isinstance(side, Mapping):
        return side
    if isinstance(side, Artifact):
        found = run(side, x, engine or "fast", record=record, force=force)
        units = [spec.population for spec in side.inputs if spec.scale != 1.0 or spec.host is not None]
        return {key: array for key, array in found.items() if key not in {f"spikes/{name}" for name in units}}
    said = None if hasattr(side, "parameters") else (options or SourceOptions()).remembering(known)
    return run_float(side, x, record=True, options=said, force=force)


def merge(artifact: Artifact | str | Path, parts: Sequence[Part]) -> ComparisonReport:
    """The comparison that one process would have made of the samples of all parts.

    Raises:
        DataError: parts of different runs, samples that are in two parts or in none.
    """
    from snnhw.comparison.build import finish
    from snnhw.comparison.partial import merged
    from snnhw.report.objects import ComparisonReport

    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    return ComparisonReport.of(finish(compiled, merged(parts)))


def count(
    source: Source | IntegerSource | str | Path | nn.Module,
    artifact: Artifact | str | Path,
    x: Array | Rows,
    y: Array | None = None,
    *,
    engine: str = "fast",
    options: SourceOptions | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    judge: str | None = None,
    batch: int | None = None,
    timing: str = "analytic",
    boundary: str = "core",
    sample: int = 0,
    trace: bool = False,
    shard: tuple[int, int] = (1, 1),
    of: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Part:
    """What both networks do on one shard of the samples, for `merge`.

    Args:
        x: all samples (B, ...), whatever the shard; of `rows.Rows` only its own are read.
            Arrays, tensors or lists, as y.
        y: classes, integers (B,); or what the outputs should be, floats (B, outputs...) (one output: (B,)).
        source: as of `compile`; a live module is read on some of the samples.
        options: for a source that does not say itself; those the artifact was compiled with need not be said again.
        judge: 'classes' or 'values'; None: as values where there is one output or y is real, else as classes.
        timing: model of the times: 'analytic', or 'event' for single messages on the mesh (docs/energy.md).
        boundary: what times and energies hold: cores in use ('core'), 'chip', or the host's part too ('board').
        sample: whose spikes, of both networks, the report draws.
        trace: keep the time of every step of every sample (arrays `trace/…` of the part).
        memory, batch, force: as of `run`.
        shard: I of N, from 1: whole batches, so that every sample is run in the batch that one process would run it in.
        of: what else tells that parts are of one run: hashes of the artifact and of the data.

    Raises:
        DataError: the artifact was compiled from another network than the source.
    """
    from snnhw.comparison.build import count as counted
    from snnhw.engines.floating import FloatEngine

    x, y = _plain(x, "x"), None if y is None else _plain(y, "y")
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    pipeline = _pipeline_like(source, compiled, x, options)
    network = _read_alike(pipeline.exact, compiled)
    deployment = replace(compiled.deployment, input_shape=pipeline.imported.deployment.input_shape)
    is_sequence(x, compiled.inputs[0].sample_shape, compiled.steps)
    chosen, size = integer_engine(engine), batch or batch_of(compiled, memory)
    if not force:
        samples, needs = ceil(len(x) / shard[1]), output_needs(compiled.network)
        require_affordable(compiled, x, engine, chosen, needs, size, memory, samples)
    floats = FloatEngine(network, deployment, "float32")
    more: dict[str, Any] = {"chunk": size, "progress": progress, "rule": judge, "timing": timing, "boundary": boundary}
    more |= {"sample": sample, "trace": trace, "shard": shard, "of": of}
    return counted(floats, compiled, x, y, chosen, **more)


def _pipeline(source: Any, compiled: Artifact, x: Array | Rows, options: SourceOptions | None) -> Pipeline:
    """Of the source that an artifact was compiled from, as it was read then."""
    from snnhw.frontends.options import SourceOptions
    from snnhw.pipeline import Options, Pipeline

    said = replace(options or SourceOptions(), data=x.shape).remembering(compiled.source)
    return Pipeline(source, compiled.target, Options.remembered(compiled, said))


def neurobench(
    report: ComparisonReport,
    source: Source | str | Path | nn.Module,
    artifact: Artifact | str | Path,
    x: Array | Rows,
    *,
    options: SourceOptions | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """NeuroBench's metrics of the float network, under the names of its harness, and of the integers (`quantized`).

    Args:
        report: what `compare` gave for the same source, artifact and samples.

    Raises:
        SourceError: 'no-float-network': a source that is integers already.
    """
    from torch import nn

    from snnhw.comparison.neurobench import float_metrics, report_metrics
    from snnhw.encoding import real_steps
    from snnhw.errors import SourceError
    from snnhw.frontends.source import IntegerSource

    x = _plain(x, "x")
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    imported = _pipeline(as_source(source, compiled, x), compiled, x, options).imported
    if isinstance(imported, IntegerSource):
        raise SourceError(
            "no-float-network",
            "NeuroBench's metrics are of a network in floats, and this source is integers already",
            where=str(imported.origin.get("file", "")),
        )
    said = replace(compiled.deployment, steps=compiled.steps, input_shape=imported.deployment.input_shape)
    size = batch_of(compiled, memory)

    def batches() -> Iterator[Array]:
        for first in range(0, len(x), size):
            yield real_steps(x[first : first + size], said.input_shape, said.encoding, said.steps, said.seed)
            if progress is not None:
                progress(min(first + size, len(x)), len(x))

    floats = float_metrics(imported, source if isinstance(source, nn.Module) else None, batches())
    return report_metrics(compiled, report, floats)


def why(
    source: Source | IntegerSource | str | Path | nn.Module,
    artifact: Artifact | str | Path,
    x: Array,
    y: Array | None = None,
    *,
    calibrate: Array | None = None,
    labels: Array | None = None,
    options: SourceOptions | None = None,
    data: str = "x",
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Which rounding makes the integers differ from the float network, the most harmful first, and what would help.

    Args:
        x, y: samples (B, ...) and classes (B,), if known: causes are told from some, fixes are tried on others.
        calibrate, labels: what the artifact was calibrated on, if it was not what the source holds itself.
        options: as of `count`.
        data: how the samples are called in a fix that calibrates on them.

    Raises:
        DataError: the artifact was compiled from another network, or there are too few samples.
        ArtifactError: the artifact does not know its scales.
    """
    from snnhw.attribution.explanation import explain
    from snnhw.encoding import ClippedInput, data_hash
    from snnhw.frontends.source import Source

    x, y = _plain(x, "x"), None if y is None else _plain(y, "y")
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    imported = _pipeline_like(source, compiled, x, options).imported
    if not isinstance(imported, Source):
        raise SourceError(
            "nothing-rounded",
            "the network is integers already: they are taken as they are",
            where=str(imported.origin.get("file", "")),
        )
    known = [imported.calibration if calibrate is None else _plain(calibrate, "calibrate")]
    hashes = [data_hash(samples) for samples in known if samples is not None]
    was = (compiled.calibration or {}).get("sha256")
    used = None if known[0] is None else (known[0], None if labels is None else _plain(labels, "labels"))
    more = {"calibrate": used, "given": hashes == [was], "data": data, "progress": progress}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippedInput)  # what clipping does is part of the answer
        return explain(imported, compiled, x, y, **more)  # type: ignore[arg-type]


def as_source(
    module: Source | IntegerSource | str | Path | nn.Module, compiled: Artifact, x: Array | Rows
) -> Source | IntegerSource | str | Path:
    """A live module as the artifact's source: the example is made of the samples, as the module took it then."""
    import torch

    if not isinstance(module, torch.nn.Module):
        return module
    from snnhw.frontends.live.runs import calls_of
    from snnhw.frontends.live.values import LEAD, STATIC
    from snnhw.frontends.live_module import load_module

    deployment = replace(compiled.deployment, steps=compiled.steps)
    axes = str(compiled.semantics.get("time_layout"))
    few = np.asarray(x[:EXAMPLES], np.float32)
    if few.ndim == len(deployment.input_shape) + 1:
        few = np.repeat(few[:, None], compiled.steps, 1)
    calls = calls_of(few, axes if axes in (*LEAD, STATIC) else "TN")
    example = torch.stack(calls) if axes == "N" else calls[0]
    return load_module(module, example, steps=compiled.steps, deployment=deployment)


def _pipeline_like(
    source: Source | IntegerSource | str | Path | nn.Module,
    compiled: Artifact,
    x: Array | Rows,
    options: SourceOptions | None,
) -> Pipeline:
    """The stages of an artifact's source; raises DataError where it is another network's."""
    pipeline = _pipeline(as_source(source, compiled, x), compiled, x, options)
    odd = _odd_parts(compiled.reference, _read_alike(pipeline.exact, compiled))
    if odd:
        raise DataError(
            "different-networks",
            "the artifact was not compiled from this source",
            where=", ".join(odd[:3]),
            hint="compile the source again",
        )
    return pipeline


def _read_alike(network: Network[FloatNeuron], compiled: Artifact) -> Network[FloatNeuron]:
    """A lowered network with the artifact's steps; the artifact says how both are read, if they end alike."""
    readout = compiled.reference.readout
    readout = readout if readout.population == network.readout.population else network.readout
    return replace(network, steps=compiled.steps, readout=readout)


def _odd_parts(one: Network[FloatNeuron], other: Network[FloatNeuron]) -> list[str]:
    """What tells two networks apart: populations, projections, readout, weight arrays, neuron models."""
    shapes = ({p.name: p.shape for p in n.computed} for n in (one, other))
    left, right = shapes
    if left != right:
        return sorted({name for name, _ in set(left.items()) ^ set(right.items())})
    names = sorted(set(one.weights) | set(other.weights))
    weights = [name for name in names if not _same(one.weights.get(name), other.weights.get(name))]
    routes = {(q.name, q.pre, q.post, q.op) for q in one.projections} ^ {
        (q.name, q.pre, q.post, q.op) for q in other.projections
    }
    ends = [] if replace(one.readout, scale=1.0) == replace(other.readout, scale=1.0) else ["readout"]
    models = [p.name for p in one.computed if not _same_model(p.model, other[p.name].model)]
    return sorted(route[0] for route in routes) + ends + weights + models


def _same_model(a: FloatNeuron, b: FloatNeuron) -> bool:
    """Whether two neuron models are the same, field by field."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]
    return all(_same(x, y) if isinstance(x, (np.ndarray, float)) else x == y for x, y in pairs)


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None or np.shape(a) != np.shape(b):
        return False
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))
