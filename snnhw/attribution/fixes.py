"""What would help: options of compile and changes of the source, each compiled and tried on samples kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.attribution.changes import clamp_bias, clamp_weights, split_outliers
from snnhw.attribution.harm import Harm, Seen, harm, healed
from snnhw.attribution.rank import Cause, float_seen
from snnhw.encoding import InputSpec, encode, real_steps
from snnhw.engines.base import Needs, Record
from snnhw.engines.choose import integer_engine
from snnhw.engines.observe import Predictions, output_needs
from snnhw.errors import SnnhwError
from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower_for
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Kind, Network, Reset
from snnhw.quantize.quantize import Quantized, quantize
from snnhw.readout import judged, values

WORTH = 0.05
"""Part of the harm that a later candidate must heal more than the best before it."""

ENOUGH = 0.8
"""Part of the harm with which nothing dearer is tried."""

HELPS = 0.2
"""Part of the harm below which a candidate is no remedy."""


@dataclass(frozen=True)
class Settings:
    """How the artifact is compiled anew.

    Args:
        bits: reference weight array's layer -> bits.
        hard_reset: as of `compile`.
        calibrate: samples as the user has them; None without any.
        labels: of these.
        given: whether these are the samples that the artifact was calibrated on.
    """

    bits: Mapping[str, int]
    hard_reset: bool
    calibrate: Array | None
    labels: Array | None
    given: bool


@dataclass(frozen=True)
class Fix:
    """Something that was tried.

    Args:
        option: options of compile; '' where none changes.
        change: of the source, in words; '' for none.
        harm: of what was compiled, on the samples kept apart, against the float network of the source as it was.
        healed: part of the artifact's harm that is gone.
        source: the changed source, if it was changed.
    """

    option: str
    change: str
    harm: Harm
    healed: float
    source: Source | None = None

    @property
    def said(self) -> str:
        """What to do."""
        return "; ".join(part for part in (self.change, self.option) if part) or "compile again, as it was compiled"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "option": self.option,
            "change": self.change,
            "healed": self.healed,
            "drift": self.harm.drift,
            "agreement": self.harm.agreement,
            "accuracy": self.harm.accuracy,
        }


class Trials:
    """Compiles candidates and compares them with the float network on samples that none of them was made from.

    Attributes:
        before: harm of the artifact as it is, on the samples kept apart.
    """

    def __init__(
        self, source: Source, artifact: Artifact, settings: Settings, x: Array, labels: Array | None, data: str
    ) -> None:
        """Args: x: samples kept apart; data: how messages call the samples that the user gave."""
        self.source, self.artifact, self.settings, self.x, self.labels = source, artifact, settings, x, labels
        self.data, self.floats = data, float_seen(artifact, x)
        self.before = self._harm(artifact.network, artifact.inputs)
        self.full = artifact.target.numeric.weight_bits
        self._tried: dict[str, Fix | None] = {}

    def best(self, cause: Cause) -> Fix | None:
        """The first candidate that is enough, or that nothing later is worth more than; None where none helps."""
        found: Fix | None = None
        for candidate in self._candidates(cause):
            if candidate is not None and candidate.healed > (HELPS if found is None else found.healed + WORTH):
                found = candidate
            if found is not None and found.healed >= ENOUGH:
                break
        return found

    def _candidates(self, cause: Cause) -> Iterator[Fix | None]:
        """What could help against a cause, the simplest first."""
        own = self.settings
        yield self._try("again", "" if own.given or own.calibrate is None else f"--calibrate {self.data}")
        if cause.swap.kind == "reset" and own.hard_reset:
            if str(Reset.SUBTRACT) in self.artifact.target.numeric.resets:
                yield self._try("soft", "without --hard-reset", hard=False)
            return
        layers = self._layers(cause)
        wider = {name: self.full if name in layers else bits for name, bits in own.bits.items()}
        if wider != dict(own.bits):
            yield self._try(f"bits {layers}", said_bits(wider), bits=wider)
        for name in layers:
            for make in (split_outliers, clamp_bias, clamp_weights):
                for change in make(self.source, name):
                    yield self._try(f"{make.__name__} {name}", "", change.source, change.said)
        every = dict.fromkeys(own.bits, self.full)
        if every not in (wider, dict(own.bits)):
            yield self._try("bits", said_bits(every), bits=every)
        if cause.swap.kind == "input" and own.calibrate is not None:
            yield from self._clipped_ranges()

    def _clipped_ranges(self) -> Iterator[Fix | None]:
        """Ranges of analog inputs without their outermost values."""
        assert self.settings.calibrate is not None
        for part in (0.1, 0.5):
            low, high = np.percentile(self.settings.calibrate, [part, 100 - part])
            clipped = np.clip(self.settings.calibrate, low, high)
            said = f"clip the samples of --calibrate to {low:.4g} to {high:.4g}: compiled inputs then clip there, too"
            yield self._try(f"clip {part}", "", None, said, calibrate=clipped)

    def _layers(self, cause: Cause) -> tuple[str, ...]:
        """Layers of the weights into the population that a cause is in, its own first."""
        network, reference = self.artifact.network, self.artifact.reference
        if cause.swap.array and cause.swap.kind != "bias":
            return network.names(cause.swap.array)
        arrays = [q.op.weight for q in reference.into(cause.swap.population) if q.op.parts]
        arrays = [array for array in arrays if array not in reference.constants]
        return tuple(dict.fromkeys(name for array in arrays for name in reference.names(array)))

    def _try(
        self,
        key: str,
        option: str,
        source: Source | None = None,
        change: str = "",
        *,
        bits: Mapping[str, int] | None = None,
        hard: bool | None = None,
        calibrate: Array | None = None,
    ) -> Fix | None:
        """Compile once with these differences; None where that is refused."""
        if key not in self._tried:
            try:
                made = self._compiled(source or self.source, bits, hard, calibrate)
                after = self._harm(made.network, made.inputs)
                self._tried[key] = Fix(option, change, after, healed(self.before, after), source)
            except SnnhwError:
                self._tried[key] = None
        return self._tried[key]

    def _compiled(
        self, source: Source, bits: Mapping[str, int] | None, hard: bool | None, calibrate: Array | None
    ) -> Quantized:
        own, deployment = self.settings, self.artifact.deployment
        network = lower_for(source, self.artifact.target, self.artifact.reference.notes.sums)
        samples = own.calibrate if calibrate is None else calibrate
        real = None
        if samples is not None:
            d = deployment
            real = real_steps(samples, d.input_shape, d.encoding, self.artifact.steps, d.seed)
        wanted = dict(own.bits if bits is None else bits)
        known = {name for array in network.stored for name in network.names(array)} - set(wanted)
        wanted |= {name: wanted.get(name.removesuffix(".large"), self.full) for name in known}
        constants = {name for array in network.constants for name in network.names(array)}
        wanted = {name: n for name, n in wanted.items() if name not in constants}
        hard_reset = own.hard_reset if hard is None else hard
        made = (network, self.artifact.target, deployment, real, wanted, hard_reset)
        return quantize(*made, labels=own.labels)

    def _harm(self, network: Network[IntNeuron], inputs: tuple[InputSpec, ...]) -> Harm:
        found = integers_seen(network, inputs, self.artifact.target, self.x)
        return harm(self.artifact.reference, self.floats, found, self.labels)


def settings_of(artifact: Artifact) -> tuple[dict[str, int], bool]:
    """Bits by layer, and whether resets are hard ones where the float network has soft ones."""
    network, reference = artifact.network, artifact.reference
    pairs = {(q.name, q.pre, q.post): q.op.weight for q in reference.projections if q.op.parts}
    bits: dict[str, int] = {}
    for q in network.projections:
        array = None if q.op.injects else pairs.get((q.name, q.pre, q.post))
        if array is not None and array not in reference.constants:
            bits |= dict.fromkeys(reference.names(array), network.bits[q.op.weight])
    hard = any(p.model.reset is not reference[p.name].model.reset for p in network.computed if p.kind is Kind.NEURON)
    return bits, hard


def said_bits(bits: Mapping[str, int]) -> str:
    """`--weight-bits` for these, as short as it can be said."""
    found = sorted(set(bits.values()))
    common = max(found, key=lambda n: sum(b == n for b in bits.values()))
    rest = [f"{name}={n}" for name, n in bits.items() if n != common]
    return f"--weight-bits {','.join([*rest, f'*={common}'])}"


class _Counted:
    """Spikes of every neuron over all samples, by spiking population."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.names = frozenset(p.name for p in network.populations if p.kind is Kind.NEURON)
        self.needs = Needs(self.names) | output_needs(network)
        self.found: dict[str, Array] = {}

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Add up one population of one chunk."""
        if population in self.names:
            spikes = record.get("spikes", population).sum(axis=(0, 1), dtype=np.float64)
            self.found[population] = self.found.get(population, 0.0) + spikes


def integers_seen(network: Network[IntNeuron], inputs: tuple[InputSpec, ...], target: Machine, x: Array) -> Seen:
    """What an integer network does on some samples, by the fast engine."""
    counted, said = _Counted(network), Predictions(network)
    integer_engine("fast").run(network, target, [encode(x, inputs, network.steps)], [counted, said])
    size = network[network.readout.population].size
    outputs = values(network.readout, said.scores, size, network.steps)
    return Seen(counted.found, outputs, judged(network.readout, said.scores))
