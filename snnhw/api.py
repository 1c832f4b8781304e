"""snnhw in Python: load, compile, run, compare. The command line is a thin wrapper over these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from snnhw.artifact import Artifact, load
from snnhw.comparison.build import compare as compare_runs
from snnhw.comparison.tree import Comparison
from snnhw.encoding import data_hash, encode, real_steps
from snnhw.engines.choose import integer_engine
from snnhw.engines.floating import FloatEngine
from snnhw.engines.observe import Predictions, Recorder
from snnhw.engines.replayed import check_replay
from snnhw.errors import DataError, SourceError
from snnhw.frontends import load_model
from snnhw.frontends.check import Check, check_import, require_equal, run_graph
from snnhw.frontends.checkpoint import DEFAULT
from snnhw.frontends.graph import validate
from snnhw.frontends.live_module import load_module
from snnhw.frontends.options import SourceOptions, refuse_unused
from snnhw.frontends.source import IntegerSource, Source
from snnhw.limits import samples_at_once
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import SUMS, lower, lower_for
from snnhw.lowering.sums import Sums
from snnhw.mapping.place import place
from snnhw.network import Array, FloatNeuron, Network
from snnhw.quantize.activity import CALIBRATION_SAMPLES, calibration_samples
from snnhw.quantize.bounds import arriving_range, bound
from snnhw.quantize.quantize import Quantized, quantize
from snnhw.quantize.spikes import require_lossless
from snnhw.quantize.verbatim import lowered, verbatim
from snnhw.semantics import Deployment, Semantics
from snnhw.target import Target, load_target

CHECK_SAMPLES = 2
"""Samples on which stages are compared; every layer, neuron and step of each is."""

CHECK_VALUES = 1 << 25
"""Spiking decisions (neurons x steps) a sample from which on stages are compared on one sample only."""

AGREEMENT_VALUES = 1 << 31
"""Neuron updates spent on comparing predictions of the float and the integer network on calibration samples."""

CHUNK = 32
"""Samples in memory at once."""

Stage = Callable[[str], None]
"""Told the name of each stage of a compilation as it begins."""


def compile(
    source: str | Path | Source | IntegerSource | nn.Module,
    example_input: Tensor | Array | None = None,
    *,
    target: str | Target,
    steps: int | None = None,
    calibrate: Array | None = None,
    weight_bits: int | None = None,
    deployment: Deployment | None = None,
    semantics: Semantics = DEFAULT,
    sums: str = Sums.CHEAPEST,
    hard_reset: bool = False,
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
        target: a shipped target's name, a path to a .toml file, or a Target.
        calibrate: training samples (B, ...) for the scale search; without them those inside the checkpoint or the
            example are used, and without any the scales come from the weights alone.
        weight_bits: bits of a weight, sign included; the target's own number if None.
        deployment: for a live module: T, encoding and readout; told from the example input if None.
        hard_reset: reset to zero where the network subtracts its threshold and the target cannot.
        sums: how sums of spikes (SEW ADD) reach their readers: 'cheapest', 'summands' or 'relays'; same integers.

    Raises:
        SnnhwError: with code, place, need, limit and hint.
    """
    chip = load_target(target) if isinstance(target, str) else target
    stage("import")
    imported = _imported(source, example_input, steps, deployment, semantics, options, calibrate)
    if isinstance(imported, IntegerSource):
        return _verbatim(imported, chip, calibrate, {"--weight-bits": weight_bits, "--hard-reset": hard_reset}, stage)
    validate(imported.graph)
    stage("lower")
    network = lower_for(imported, chip, sums)
    samples = calibrate if calibrate is not None else imported.calibration
    real = None if samples is None else real_input(samples, imported.deployment)
    stage("check")
    checks = stage_checks(imported, network, real)
    stage("quantise")
    quantized = quantize(network, chip, imported.deployment, real, weight_bits, hard_reset)
    if samples is not None:
        checks.append(_integer_check(quantized, imported.deployment, samples))
    stage("map")
    return _artifact(imported, chip, quantized, checks, samples)


def _verbatim(
    imported: IntegerSource, chip: Target, samples: Array | None, flags: Mapping[str, Any], stage: Stage
) -> Artifact:
    """An artifact of integers that are there already: nothing is quantised."""
    idle = [name for name, value in flags.items() if value]
    if idle:
        raise SourceError(
            "unused-flag",
            "the network is integers already: they are taken as they are",
            where=str(imported.origin["file"]),
            needed=", ".join(idle),
            hint="leave it out",
        )
    stage("lower")
    network = lowered(imported, chip)
    stage("quantise")
    quantized = verbatim(imported, network, chip)
    stage("check")
    checks = [require_equal(check_replay(imported, quantized, samples))]
    if samples is not None:
        checks.append(_integer_check(quantized, imported.deployment, samples))
    stage("map")
    return _artifact(imported, chip, quantized, checks, samples)


def _lowered(imported: Source | IntegerSource, chip: Target, sums: str) -> Network[FloatNeuron]:
    """The float network of any source, as a target can hold it."""
    return lowered(imported, chip) if isinstance(imported, IntegerSource) else lower_for(imported, chip, sums)


def _artifact(
    imported: Source | IntegerSource, chip: Target, quantized: Quantized, checks: list[Check], samples: Array | None
) -> Artifact:
    """The placed network with everything that is known of it."""
    mapping = place(quantized.network, chip)
    calibration: dict[str, Any] | None = None
    if samples is not None:
        used, wanted = calibration_samples(quantized.reference), min(len(samples), CALIBRATION_SAMPLES)
        calibration = {"sha256": data_hash(samples), "samples": len(samples)}
        calibration |= {"used": used} if used < wanted else {}
    return Artifact(
        source=dict(imported.origin),
        target=chip,
        network=quantized.network,
        reference=quantized.reference,
        deployment=imported.deployment,
        inputs=quantized.inputs,
        mapping=mapping,
        rationale=quantized.rationale,
        bounds=tuple(b.to_dict() for b in quantized.bounds),
        checks=tuple(c.to_dict() for c in checks),
        calibration=calibration,
        semantics=asdict(imported.semantics),
    )


def _imported(
    source: Any,
    example: Any,
    steps: int | None,
    deployment: Deployment | None,
    semantics: Semantics,
    options: SourceOptions | None,
    samples: Array | None,
) -> Source | IntegerSource:
    if not isinstance(source, nn.Module):
        return _read(source, options, samples)
    refuse_unused(set(options.given if options else ()), type(source).__name__, "nothing: a module says itself")
    return load_module(source, example, steps=steps, deployment=deployment, semantics=semantics)


def _read(
    source: Source | IntegerSource | str | Path, options: SourceOptions | None, samples: Array | None = None
) -> Source | IntegerSource:
    """A file with its options; what is imported already takes none."""
    if not isinstance(source, (Source, IntegerSource)):
        return load_model(source, options, samples)
    refuse_unused(set(options.given if options else ()), "an imported source", "nothing: it was read already")
    return source


def real_input(samples: Array, deployment: Deployment) -> Array:
    """Samples as the float network reads them, (B, T, *input shape)."""
    return real_steps(samples, deployment.input_shape, deployment.encoding, deployment.steps, deployment.seed)


def stage_checks(source: Source, network: Network[FloatNeuron], real: Array | None) -> list[Check]:
    """Source = NIR = lowered, spike for spike, on calibration samples or, without any, on random input."""
    if real is None:
        shape = (CHECK_SAMPLES, source.deployment.steps, *source.deployment.input_shape)
        real = np.random.default_rng(0).random(shape)
        if source.deployment.encoding != "direct":
            real = (real < 0.3).astype(np.float64)
        if source.replay is not None:
            real = np.concatenate([source.replay.example[:1], source.replay.like(real)])
    decisions = source.deployment.steps * sum(p.size for p in network.computed)
    x = real[: 1 if decisions > CHECK_VALUES else CHECK_SAMPLES]
    graph = run_graph(source, x)
    imported = require_equal(check_import(source, x, graph), source)
    checks = (imported, check_lowering(source, network, x, graph))
    large = f"one sample only: {decisions:,} neurons x steps" if decisions > CHECK_VALUES else ""
    return [_noted(require_equal(check), large) for check in checks]


def _noted(check: Check, note: str) -> Check:
    return replace(check, detail="; ".join(part for part in (check.detail, note) if part)) if check.samples else check


def _integer_check(quantized: Quantized, deployment: Deployment, samples: Array) -> Check:
    """Prediction agreement of the integer network with the float one on calibration samples; never a refusal."""
    network = quantized.network
    values = network.steps * sum(p.size for p in network.computed)
    part = samples[: max(1, min(2 * CHUNK, AGREEMENT_VALUES // values))]
    said, floats = Predictions(network), FloatEngine(quantized.reference, deployment, "float32")
    at_once = samples_at_once(network.steps * max(p.size for p in network.populations), len(part))
    chunks = [part[first : first + at_once] for first in range(0, len(part), at_once)]
    integers = (encode(chunk, quantized.inputs, network.steps) for chunk in chunks)
    integer_engine("fast").run(_Bare(network), integers, [said])  # type: ignore[arg-type]
    expected = np.concatenate([floats.predict(chunk) for chunk in chunks])
    agree = int((expected == said.predictions).sum())
    detail = f"{agree} of {len(part)} calibration predictions agree"
    return Check("float ~ integer", len(part), len(part), len(part) - agree, detail, measured=True)


class _Bare:
    """Just enough of an artifact for an engine."""

    def __init__(self, network: Any) -> None:
        self.network = network


def with_input(artifact: Artifact, encoding: str | None, steps: int | None, seed: int | None) -> Artifact:
    """The artifact with another encoding, T or seed of its input."""
    changes: dict[str, Any] = {}
    changes |= {} if encoding is None else {"encoding": encoding}
    changes |= {} if seed is None else {"seed": seed}
    if steps is not None:
        if steps < 1:
            raise DataError("bad-steps", "a sample has at least one step", needed=steps, limit=1)
        artifact = _with_steps(artifact, steps)
    inputs = tuple(replace(spec, **changes) for spec in artifact.inputs)
    return replace(artifact, inputs=inputs, deployment=replace(artifact.deployment, **changes))


def _with_steps(artifact: Artifact, steps: int) -> Artifact:
    """Another T: what was proven for the old one is proven anew, and the mean is over the new one."""
    network = artifact.network
    scale = network.readout.scale * (network.steps / steps if network.readout.kind == "mean" else 1.0)
    network = replace(network, steps=steps, readout=replace(network.readout, scale=scale))
    bounds = [bound(p.name, p.kind, p.model, *arriving_range(network, p), steps) for p in network.computed]
    require_lossless(network, artifact.rationale, bounds)
    return replace(
        artifact,
        network=network,
        reference=replace(artifact.reference, steps=steps),
        deployment=replace(artifact.deployment, steps=steps),
        bounds=tuple(b.to_dict() for b in bounds),
    )


def run(
    artifact: Artifact | str | Path,
    x: Array,
    engine: str = "fast",
    *,
    record: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Array]:
    """Run an artifact.

    Args:
        x: samples (B, ...) as the user has them.
        engine: 'fast', 'reference', 'lava' or 'onnx'.
        record: None, 'spikes', or 'state' (spikes, u and v).

    Returns:
        `output` (samples, T, outputs...), `counts` (its sum over T), `predictions`, `saturations` (how often u wrapped
        or v was clipped at 24 bit), and `spikes/NAME`, `u/NAME`,
        `v/NAME` (samples, T, neurons...) as asked for.
    """
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    recorder = Recorder(compiled.network, spikes=record is not None, state=record == "state")
    integer_engine(engine).run(compiled, _chunks(compiled, x, progress), [recorder])
    return recorder.arrays()


def _chunks(artifact: Artifact, x: Array, progress: Callable[[int, int], None] | None) -> Iterator[Mapping[str, Array]]:
    size = samples_at_once(artifact.steps * max(p.size for p in artifact.network.populations), CHUNK)
    for first in range(0, len(x), size):
        yield encode(x[first : first + size], artifact.inputs, artifact.steps)
        if progress is not None:
            progress(min(first + size, len(x)), len(x))


def run_float(
    source: Source | IntegerSource | str | Path | nn.Module,
    x: Array,
    example_input: Tensor | Array | None = None,
    *,
    record: bool = False,
    steps: int | None = None,
    deployment: Deployment | None = None,
    options: SourceOptions | None = None,
) -> dict[str, Array]:
    """Run a source's lowered float network in float64; keys are those of `run`, arguments those of `compile`."""
    if isinstance(source, nn.Module):
        source = load_module(source, example_input, steps=steps, deployment=deployment)
    imported = _read(source, replace(options or SourceOptions(), data=x.shape))
    if isinstance(imported, IntegerSource):
        network = imported.reference
    else:
        network = lower(imported.graph, imported.semantics, imported.deployment, max_delay=1 << 30)
    engine = FloatEngine(network, imported.deployment)
    parts = [engine.record(x[first : first + CHUNK], record) for first in range(0, len(x), CHUNK)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def compare(
    source: Source | IntegerSource | str | Path,
    artifact: Artifact | str | Path,
    x: Array,
    y: Array | None = None,
    *,
    engine: str = "fast",
    options: SourceOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Count both networks on the same samples; the float side runs in float32.

    Args:
        options: for a source that does not say itself; those the artifact was compiled with need not be said again.

    Raises:
        DataError: the artifact was compiled from another network than the source.
    """
    compiled = artifact if isinstance(artifact, Artifact) else load(artifact)
    imported = _read(source, replace(options or SourceOptions(), data=x.shape).remembering(compiled.source))
    deployment = replace(compiled.deployment, input_shape=imported.deployment.input_shape)
    network = _lowered(imported, compiled.target, compiled.reference.notes.get(SUMS, Sums.CHEAPEST))
    network = replace(network, steps=compiled.steps)
    odd = _odd_parts(compiled.reference, network)
    if odd:
        raise DataError(
            "different-networks",
            "the artifact was not compiled from this source",
            where=", ".join(odd[:3]),
            hint="compile the source again",
        )
    floats = FloatEngine(network, deployment, "float32")
    chunk = samples_at_once(compiled.steps * max(p.size for p in compiled.network.populations), CHUNK)
    return compare_runs(floats, compiled, x, y, integer_engine(engine), chunk=chunk, progress=progress)


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
    same_end = (one.readout.kind, one.readout.population) == (other.readout.kind, other.readout.population)
    ends = [] if same_end else ["readout"]
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
