"""What a compilation consists of: imported -> lowered -> quantised -> mapped, each made when it is first asked for.

Every command and `snnhw.api` read their networks from here, so that all refuse the same things with the same words. A
stage is made once for each pipeline and checked as it is made: structure (`verify`) always, numbers before the next
stage begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from snnhw import files
from snnhw.artifact import Artifact, write_zip
from snnhw.cautions import SILENT, Caution, one_sample, silent_output
from snnhw.encoding import data_hash, encode, real_steps
from snnhw.engines.choose import integer_engine
from snnhw.engines.floating import FloatEngine
from snnhw.engines.observe import Busy, Predictions
from snnhw.engines.replayed import check_replay
from snnhw.errors import SourceError, TargetError
from snnhw.frontends import load_model
from snnhw.frontends.check import Check, check_import, require_equal, run_graph
from snnhw.frontends.checkpoint import DEFAULT
from snnhw.frontends.graph import validate
from snnhw.frontends.live_module import load_module
from snnhw.frontends.nir.file import nir_bytes
from snnhw.frontends.options import SourceOptions, refuse_unused
from snnhw.frontends.source import IntegerSource, Source
from snnhw.limits import CHUNK, samples_at_once
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower_for
from snnhw.lowering.pooled_spikes import POOL_AFTER_SPIKES, effects
from snnhw.lowering.sums import Sums
from snnhw.machine import Machine, load_target
from snnhw.mapping.choose import Aim
from snnhw.mapping.load import Load, Rates, stated
from snnhw.mapping.place import place, utilization
from snnhw.network import Array, FloatNeuron, Network
from snnhw.network_text import format_network
from snnhw.quantize.quantize import Quantized, quantize
from snnhw.quantize.verbatim import lowered as lowered_integers
from snnhw.quantize.verbatim import verbatim
from snnhw.quantize.widths import WeightBits
from snnhw.rationale import Effect
from snnhw.semantics import Deployment, Semantics

CHECK_SAMPLES = 4
"""Samples on which stages are compared; every layer, neuron and step of each is."""

CHECK_VALUES = 1 << 25
"""Spiking decisions (neurons x steps) a sample from which on stages are compared on one sample only."""

CHECK_STEPS = 1 << 12
"""Steps of a sample from which on stages are compared, and scales chosen, on its first steps only; predictions, which
are of whole samples, are then not compared."""

AGREEMENT_VALUES = 1 << 31
"""Neuron updates spent on comparing predictions of the float and the integer network on calibration samples."""

Stage = Callable[[str], None]
"""Told the name of each piece of work as it begins: import, lower, check, quantise, map."""


@dataclass(frozen=True)
class Options:
    """What a user says of a compilation besides its source and target.

    Args:
        calibrate: training samples (B, ...) for the scale search; without them those inside the source are used, and
            without any the scales come from the weights alone.
        labels: classes of the calibration samples (B,): these are then used in proportion.
        weight_bits: bits of a weight, sign included: a number (of all layers but the first and the last), or by layer:
            'conv1=8,fc=4,*=5' or a mapping (the first that matches counts); the target's own number if None.
        hard_reset: reset to zero where the network subtracts its threshold and the target cannot.
        sums: how sums of spikes (SEW ADD) reach their readers: 'cheapest', 'summands' or 'relays'.
        approximate: 'pool-after-spikes': a neuron that reads a maximum of currents comes before its max-pool; the float
            network that the integers are compared with keeps the maximum.
        source: of a file: what it does not say itself.
        example: of a live module: what its forward takes for one run.
        steps: of a live module that takes one step a call: T.
        deployment: of a live module: T, encoding and readout.
        semantics: of a live module of snnhw's own neurons.
        settings: other values of some numbers of the target, {"core.neurons": 512}.
        aim: of the placement: 'balanced', 'fewest-cores' or 'fastest'.
        rates: events of a neuron in a step, for the placement: a number, or by population: 'conv1=0.2,*=0.05' or a
            mapping; where None, what calibration samples show, else a stated rate.
        scale: how integers are scaled: 'calibrated' on the samples, if there are any, or by the 'weights' alone.
    """

    calibrate: Array | None = None
    weight_bits: WeightBits = None
    hard_reset: bool = False
    sums: str = Sums.CHEAPEST
    approximate: str = ""
    labels: Array | None = None
    source: SourceOptions | None = None
    example: Any = None
    steps: int | None = None
    deployment: Deployment | None = None
    semantics: Semantics | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    aim: str = Aim.BALANCED
    rates: Rates = None
    scale: str = "calibrated"

    @classmethod
    def remembered(cls, made: Artifact, source: SourceOptions) -> Options:
        """Those that an artifact shows it was compiled with; widths, samples and scales apart."""
        changed = {reason.parameter for reason in made.rationale if reason.kind is Effect.APPROXIMATE}
        return cls(
            source=source,
            sums=made.reference.notes.sums,
            hard_reset="reset" in changed,
            approximate=POOL_AFTER_SPIKES if "maximum" in changed else "",
            aim=made.mapping.choice["map"] if made.mapping.choice else Aim.BALANCED,
        )


_MADE = ("imported", "samples", "_real", "lowered", "_checked", "quantised", "_measured", "load", "mapped")
"""What a pipeline keeps, in the order of making."""

_FIRST_OF = {"target": "lowered", "weight_bits": "quantised", "scale": "quantised", "aim": "mapped"}
"""The first of it that depends on what `Pipeline.varied` changes."""


class Pipeline:
    """The stages of one source for one target; each is an attribute that is made on first use and kept.

    Attributes:
        checks: numeric checks made so far, in order.
        warnings: what stages found so far that a person must know; the source has its own.
    """

    def __init__(
        self,
        source: str | Path | Source | IntegerSource | nn.Module,
        target: str | Path | Machine | None = None,
        options: Options | None = None,
        progress: Stage = lambda name: None,
    ) -> None:
        """Nothing is read yet but the target.

        Args:
            target: a shipped target's name, a path to a .toml file, or a Machine; None for the first stage alone.
            progress: told the name of each piece of work as it begins.

        Raises:
            TargetError: there is no such target, or its file is wrong.
        """
        self.source, self.options, self.progress = source, options or Options(), progress
        chip = load_target(str(target)) if isinstance(target, (str, Path)) else target
        self.target = chip and chip.changed(self.options.settings)
        self.checks: list[Check] = []
        self.warnings: list[Caution] = []

    def varied(self, target: str | Path | None = None, **changes: Any) -> Pipeline:
        """The same source for another target or with other late options; what neither changes is not made again.

        Args:
            changes: `weight_bits`, `scale` or `aim` of Options.
        """
        changed = [_FIRST_OF[name] for name in (*changes, *(() if target is None else ("target",)))]
        kept = _MADE[: min(map(_MADE.index, changed), default=len(_MADE))]
        other = Pipeline(self.source, target or self.target, replace(self.options, **changes), self.progress)
        other.__dict__ |= {name: self.__dict__[name] for name in kept if name in self.__dict__}
        if "quantised" in kept:
            other.warnings = list(self.warnings)
        if "quantised" in kept or ("_checked" in kept and isinstance(self.__dict__.get("imported"), Source)):
            other.checks = list(self.checks)
        return other

    def at(self, stage: str) -> Any:
        """What a stage of STAGES makes; whatever `snnhw compile` refuses up to there is refused."""
        return self._checked if stage == "lowered" else getattr(self, stage)

    @cached_property
    def imported(self) -> Source | IntegerSource:
        """First stage. Raises SourceError: what cannot be read, or an option that says nothing of this source."""
        self.progress("import")
        found = self._read()
        if isinstance(found, IntegerSource):
            self._refuse_idle(found)
        else:
            validate(found.graph)
        return found

    def _read(self) -> Source | IntegerSource:
        """A module with its example, a file with its options; what is imported already takes neither."""
        said, given = self.options, set(self.options.source.given if self.options.source else ())
        if isinstance(self.source, nn.Module):
            refuse_unused(given, type(self.source).__name__, "nothing: a module says itself")
            return load_module(
                self.source,
                said.example,
                steps=said.steps,
                deployment=said.deployment,
                semantics=said.semantics or DEFAULT,
            )
        arguments = {"example_input": said.example, "steps": said.steps, "deployment": said.deployment}
        idle = [name for name, value in arguments.items() if value is not None]
        if idle:
            raise SourceError(
                "unused-argument",
                "an argument says something that only a live module asks",
                where=str(getattr(self.source, "origin", {}).get("file", self.source)),
                needed=", ".join(idle),
                hint="leave it out; what a file does not say itself are its options=",
            )
        if isinstance(self.source, (Source, IntegerSource)):
            refuse_unused(given, "an imported source", "nothing: it was read already")
            return self.source
        return load_model(self.source, said.source, said.calibrate)

    def _refuse_idle(self, source: IntegerSource) -> None:
        """How floats become integers is no question where there are integers."""
        said = {
            "--weight-bits": self.options.weight_bits is not None,
            "--hard-reset": self.options.hard_reset,
            "--sums": self.options.sums != Sums.CHEAPEST,
            "--approximate": bool(self.options.approximate),
        }
        if any(said.values()):
            raise SourceError(
                "unused-flag",
                "the network is integers already: they are taken as they are",
                where=str(source.origin["file"]),
                needed=", ".join(name for name, given in said.items() if given),
                hint="leave it out",
            )

    @property
    def chip(self) -> Machine:
        """The target; raises TargetError 'needs-target' where none was named."""
        if self.target is None:
            raise TargetError(
                "needs-target",
                "no target is named, and delays and sums depend on it",
                where="lowered",
                hint="name a target: see snnhw targets",
            )
        return self.target

    @cached_property
    def samples(self) -> Array | None:
        """Calibration samples (B, ...) as the user has them: given ones, else those inside the source, else None."""
        return self.imported.calibration if self.options.calibrate is None else self.options.calibrate

    @cached_property
    def _real(self) -> Array | None:
        if self.samples is None:
            return None
        said = self.imported.deployment
        if said.encoding != "latency" and self.samples.ndim == len(said.input_shape) + 1:
            said = replace(said, steps=min(said.steps, CHECK_STEPS))  # no more steps are made than are looked at
        return real_input(self.samples, said)[:, :CHECK_STEPS]

    @cached_property
    def lowered(self) -> Network[FloatNeuron]:
        """Second stage, its numbers not compared yet. Raises LoweringError: what the target cannot express."""
        source, chip = self.imported, self.chip
        self.progress("lower")
        if isinstance(source, IntegerSource):
            return lowered_integers(source, chip)
        return lower_for(source, chip, self.options.sums, self.options.approximate)

    @cached_property
    def exact(self) -> Network[FloatNeuron]:
        """What the second stage would be without the approximation that was asked for, whatever the target."""
        source = self.imported
        if not self.options.approximate or isinstance(source, IntegerSource):
            return self.lowered
        return lower_for(source, self.chip, self.options.sums, graded=True)

    @cached_property
    def _checked(self) -> Network[FloatNeuron]:
        """The second stage, source = NIR = lowered. (Integers are compared with their file as integers.)"""
        source, network = self.imported, self.lowered
        if isinstance(source, Source):
            self.progress("check")
            self.checks += stage_checks(source, self.exact, self._real)
        if network is not self.exact:
            self.warnings += effects(self.exact, network, self._real)
        return network

    @cached_property
    def quantised(self) -> Quantized:
        """Third stage. Raises QuantizeError: what the target's formats cannot hold; LoweringError: unequal stages."""
        source, network = self.imported, self._checked
        self.progress("quantise")
        if isinstance(source, Source):
            said = self.options
            real = self._real if said.scale == "calibrated" else None
            made = (network, self.chip, source.deployment, real, said.weight_bits, said.hard_reset)
            found = quantize(*made, labels=said.labels, reference=self.exact)
        else:
            found = verbatim(source, network, self.chip)
            self.progress("check")
            self.checks.append(require_equal(check_replay(source, found, self.chip, self.samples)))
        self.warnings += found.cautions
        if found.split is not None and len(found.split.used) == 1:
            self.warnings.append(one_sample())
        end = found.network.readout.population
        if any(bound.silent for bound in found.bounds if bound.population == end):
            self.warnings.append(silent_output(end, "for every input, proven by its bounds"))
        return found

    @cached_property
    def _measured(self) -> tuple[Check, bool, Load] | None:
        """What calibration samples show of the integer network; None without any, or where they are very long."""
        quantised = self.quantised
        if self.samples is None or quantised.network.steps > CHECK_STEPS:
            return None
        self.progress("check")
        return _integer_check(quantised, self.chip, self.imported.deployment, self.samples)

    @cached_property
    def load(self) -> Load:
        """How busy the network is, for its placement. Raises MappingError: rates of no population, or that are none."""
        if self.options.rates is not None:
            return stated(self.quantised.network, self.options.rates)
        return stated(self.quantised.network) if self._measured is None else self._measured[2]

    @cached_property
    def mapped(self) -> Artifact:
        """Last stage: the placed network. Raises MappingError: it does not fit."""
        source, quantised, samples = self.imported, self.quantised, self.samples
        load = self.load
        self.progress("map")
        mapping = place(quantised.network, self.chip, load, self.options.aim)
        checks = list(self.checks)
        if self._measured is not None:
            found, heard, _ = self._measured
            checks.append(found)
            readout = quantised.network.readout
            if not heard and readout.kind in ("rate", "first") and not any(w.code == SILENT for w in self.warnings):
                self.warnings.append(
                    silent_output(readout.population, f"0 spikes in {found.samples} calibration samples")
                )
        calibration: dict[str, Any] | None = None
        if samples is not None:
            calibration = {"sha256": data_hash(samples), "samples": len(samples)}
            if quantised.split is not None:
                calibration |= {"used": len(quantised.split.used), "apart": len(quantised.split.apart)}
        return Artifact(
            source=dict(source.origin),
            target=self.chip,
            network=quantised.network,
            reference=quantised.reference,
            deployment=source.deployment,
            inputs=quantised.inputs,
            mapping=mapping,
            rationale=quantised.rationale,
            bounds=tuple(b.to_dict() for b in quantised.bounds),
            checks=tuple(c.to_dict() for c in checks),
            calibration=calibration,
            semantics=asdict(source.semantics),
            warnings=(*source.warnings, *self.warnings),
            scales=quantised.scales,
        )

    def dump(self, stage: str, folder: str | Path) -> tuple[Path, ...]:
        """Write what a stage makes: STAGE.txt to read, and its arrays.

        Returns:
            Paths: beside the text STAGE.npz (`weights/NAME`, `POPULATION/PARAMETER`), of the first stage imported.nir
            where the source is a graph, of the last mapped.snnhw.

        Raises:
            DataError 'cannot-write': the folder cannot be made or written.
        """
        made, folder = self.at(stage), Path(folder)
        text, arrays = folder / f"{stage}.txt", folder / f"{stage}.npz"
        content: files.Content
        if isinstance(made, Source):
            arrays, said, content = arrays.with_suffix(".nir"), _graph_text(made), nir_bytes(made.nir_graph(), own=True)
        elif isinstance(made, Artifact):
            arrays, said = arrays.with_suffix(".snnhw"), _cores_text(made)
            content = lambda out: write_zip(made, out)  # noqa: E731 - a name for it would be longer
        else:
            network = {"imported": "reference", "quantised": "network"}.get(stage)
            found: Network[Any] = made if network is None else getattr(made, network)
            said, content = format_network(found), lambda out: np.savez(out, **_arrays(found))  # type: ignore[arg-type]
        files.make_folder(folder)
        files.write({text: said, arrays: content})
        return text, arrays


def _graph_text(source: Source) -> str:
    """Nodes with the shapes (or the one value) of their parameters, and edges."""
    d = source.deployment
    lines = [f"graph steps={d.steps} encoding={d.encoding} readout={d.readout}"]
    for name, node in source.graph.nodes.items():
        found = [(f.name, np.asarray(getattr(node, f.name))) for f in fields(node) if f.name not in _NO_PARAMETERS]
        said = [f"{key}={_few(v)}" for key, v in found if v.dtype != object]
        lines.append(f"  {type(node).__name__:<11} {' '.join([name, *said])}")
    return "\n".join([*lines, *(f"  {pre} -> {post}" for pre, post in sorted(source.graph.edges))]) + "\n"


_NO_PARAMETERS = ("input_type", "output_type", "metadata")


def _few(values: Array) -> str:
    return ",".join(map(str, values.ravel().tolist())) if values.size <= 4 else "x".join(map(str, values.shape))


def _cores_text(artifact: Artifact) -> str:
    lines = [f"mapping {artifact.target.name} cores={artifact.mapping.cores_used} chips={artifact.mapping.chips}"]
    for row in utilization(artifact.mapping, artifact.target):
        use = " ".join(f"{name}={r['used']}/{r['limit']}" for name, r in row["resources"].items())
        lines.append(f"  core {row['core']} (chip {row['chip']}) {', '.join(row['populations'])} {use}")
    return "\n".join(lines) + "\n"


def _arrays(network: Network[Any]) -> dict[str, Array]:
    """Weights and neuron parameters; names of rules (comparison, reset) are in the text."""
    found = {f"weights/{name}": array for name, array in network.weights.items()}
    for p in network.computed:
        values = ((f.name, getattr(p.model, f.name)) for f in fields(p.model))
        found |= {f"{p.name}/{name}": np.asarray(v) for name, v in values if not isinstance(v, str) and v is not None}
    return found


def real_input(samples: Array, deployment: Deployment) -> Array:
    """Samples as the float network reads them, (B, T, *input shape)."""
    return real_steps(samples, deployment.input_shape, deployment.encoding, deployment.steps, deployment.seed)


def stage_checks(source: Source, network: Network[FloatNeuron], real: Array | None) -> list[Check]:
    """Source = NIR = lowered, spike for spike, on calibration samples or, without any, on random input."""
    if real is None:
        shape = (CHECK_SAMPLES, min(source.deployment.steps, CHECK_STEPS), *source.deployment.input_shape)
        real = np.random.default_rng(0).random(shape)
        if source.deployment.encoding != "direct":
            real = (real < 0.3).astype(np.float64)
        if source.replay is not None:
            real = np.concatenate([source.replay.example[:1, :CHECK_STEPS], source.replay.like(real)])
    steps = source.deployment.steps
    decisions = min(steps, CHECK_STEPS) * sum(p.size for p in network.computed)
    x = real[: 1 if decisions > CHECK_VALUES else CHECK_SAMPLES]
    graph = run_graph(source, x)
    imported = require_equal(check_import(source, x, graph), source)
    checks = (imported, check_lowering(source, network, x, graph))
    notes = [f"one sample only: {decisions:,} neurons x steps"] if decisions > CHECK_VALUES else []
    notes += [f"the first {CHECK_STEPS} of {steps} steps only"] if steps > CHECK_STEPS else []
    return [_noted(require_equal(check), "; ".join(notes)) for check in checks]


def _noted(check: Check, note: str) -> Check:
    return replace(check, detail="; ".join(part for part in (check.detail, note) if part)) if check.samples else check


def _integer_check(
    quantized: Quantized, chip: Machine, deployment: Deployment, samples: Array
) -> tuple[Check, bool, Load]:
    """Prediction agreement of the integer network with the float one on the calibration samples that were kept apart,
    or on all where none were; never a refusal.

    Beside it whether the output showed anything at all, and how busy the network was.
    """
    network = quantized.network
    values = network.steps * sum(p.size for p in network.computed)
    apart = quantized.split is not None and len(quantized.split.apart) > 0
    part = samples[quantized.split.apart] if quantized.split is not None and apart else samples
    part = part[: max(1, min(2 * CHUNK, AGREEMENT_VALUES // values))]
    said, floats = Predictions(network), FloatEngine(quantized.reference, deployment, "float32")
    at_once = samples_at_once(network.steps * max(p.size for p in network.populations), len(part))
    chunks = [part[first : first + at_once] for first in range(0, len(part), at_once)]
    integers = (encode(chunk, quantized.inputs, network.steps) for chunk in chunks)
    busy = Busy(network)
    integer_engine("fast").run(network, chip, integers, [said, busy])
    expected = np.concatenate([floats.predict(chunk) for chunk in chunks])
    agree = int((expected == said.predictions).sum())
    detail = f"{agree} of {len(part)} calibration predictions agree" + (", of samples kept apart" if apart else "")
    return (
        Check("float ~ integer", len(part), len(part), len(part) - agree, detail, measured=True),
        said.heard,
        busy.load,
    )
