"""Which integers can be real numbers again: one kind of parameter of one layer at a time, at the same scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.attribution.reals import Values, Variant
from snnhw.encoding import real_steps, taken
from snnhw.network import Array, IntNeuron, Kind, Network, Population, Projection

KINDS = ("weight", "bias", "threshold", "decay", "reset", "input", "readout", "range")
"""weight: of synapses; readout: of those into the membranes that are read; range: where a state left its bits."""

CHANCE = 3.0
"""A bias that is off by so many times what rounding of the weights sends by chance is off itself."""


@dataclass(frozen=True)
class Swap:
    """One kind of parameter of one layer, as it was before it was rounded.

    Args:
        layer: the source's layers of a weight array, else the population.
        population: which it belongs to.
        array: the weight array, of weights and constants.
        said: what rounding did to it.
    """

    layer: str
    population: str
    kind: str
    variant: Variant
    said: str
    array: str = ""


def swaps(artifact: Artifact, base: Values, x: Array, overflows: Mapping[str, int]) -> Iterator[Swap]:
    """All swaps that change anything.

    Args:
        base: spikes of the integer network on the samples.
        x: samples as the user gives them.
        overflows: population -> how often its states left their range.
    """
    maker = _Swaps(artifact, base)
    for population in artifact.network.computed:
        if population.kind in (Kind.NEURON, Kind.ACCUMULATOR) and population.name in artifact.scales:
            yield from maker.of_population(population)
            if overflows.get(population.name):
                yield maker.unbounded(population, overflows[population.name])
    yield from maker.of_arrays()
    yield from maker.of_inputs(x)


class _Swaps:
    def __init__(self, artifact: Artifact, base: Values) -> None:
        self.artifact, self.base = artifact, base
        self.network, self.reference = artifact.network, artifact.reference
        self.pairs = {(q.name, q.pre, q.post): q for q in self.reference.projections}
        self.one = 1 << artifact.target.numeric.decay_bits

    # -- neurons

    def of_population(self, p: Population[IntNeuron]) -> Iterator[Swap]:
        """Threshold, decays, bias and reset of one population."""
        real, have, unit = self.reference[p.name].model, p.model, self._unit(p)
        if p.kind is Kind.NEURON:
            want = np.asarray(real.threshold * unit)
            if have.comparison is not real.comparison or _apart(have.vth, want):
                off = np.max(np.abs(have.vth - want) / np.maximum(np.abs(want), 1e-30))
                changed = replace(have, vth=want, comparison=real.comparison)
                yield self._changed(p, changed, "threshold", f"vth off by up to {off:.1%}")
            if have.reset is not real.reset or have.reset_timing is not real.reset_timing:
                soft: dict[str, Any] = {
                    "reset": real.reset,
                    "reset_timing": real.reset_timing,
                    "v_init": real.v_init * unit,
                }
                yield self._changed(p, replace(have, **soft), "reset", f"{have.reset} for {real.reset}")
        keeps = {"du": np.asarray(real.u_keep, np.float64), "dv": np.asarray(real.v_keep, np.float64)}
        if any(((keep > 0) & (keep < 1)).any() for keep in keeps.values()):
            lost = {name: self.one * (1.0 - keep) for name, keep in keeps.items()}
            said = ", ".join(
                f"{name} {_span(getattr(have, name))} for {_span(want)}"
                for name, want in lost.items()
                if _apart(getattr(have, name), want)
            )
            said = said or "membranes are rounded towards zero"
            yield self._changed(p, replace(have, **lost), "decay", said, unrounded={p.name})  # type: ignore[arg-type]
        kept, noise = self._kept(p)
        want = np.asarray(real.bias * unit) + kept
        want = np.where(np.abs(have.bias - want) > CHANCE * noise, want, have.bias)
        if _apart(have.bias, want):
            worst = float(np.max(np.abs(have.bias - want)))
            said = f"off by up to {worst:.4g} of {_size(want):.4g} membrane units"
            yield self._changed(p, replace(have, bias=want), "bias", said)

    def unbounded(self, p: Population[IntNeuron], times: int) -> Swap:
        """States without ends."""
        free = Variant(self.network, frozenset({p.name}), unbounded=frozenset({p.name}))
        return Swap(p.name, p.name, "range", free, f"states left their range {times} times")

    def _changed(
        self, p: Population[IntNeuron], neuron: IntNeuron, kind: str, said: str, unrounded: set[str] | None = None
    ) -> Swap:
        variant = Variant(_with(self.network, {p.name: neuron}), frozenset({p.name}), frozenset(unrounded or ()))
        return Swap(p.name, p.name, kind, variant, said)

    def _unit(self, p: Population[IntNeuron]) -> Array:
        return np.asarray(self.artifact.scales[p.name] * (1 << p.model.act_shift))

    def _kept(self, p: Population[IntNeuron]) -> tuple[Array, Array]:
        """The part of a bias that takes the mean of what rounding the weights changed, on these samples, and how much
        that would be by chance: calibration samples had other means."""
        total, noise = np.zeros(()), np.zeros(())
        if self._corrects(p):
            for q in self.network.into(p.name):
                if not q.op.injects and q.op.weight not in self.network.constants:
                    lost = self._real(q) - self.network.weights[q.op.weight]
                    total = total + self._mean(q, p, lost, 1)
                    noise = noise + self._mean(q, p, lost, 2)
        return total, np.sqrt(noise)

    def _corrects(self, p: Population[IntNeuron]) -> bool:
        """Whether its bias may have taken anything."""
        return bool(self.artifact.calibration) and not np.any(self.reference[p.name].model.u_keep)

    def _mean(self, q: Projection, p: Population[IntNeuron], lost: Array, power: int) -> Array:
        """Mean over samples and steps of what weights `lost` send, or of the squares; in membrane units."""
        mean = (self.base[q.pre].astype(np.float64) ** power).mean(axis=(0, 1))[None]
        sent = q.op.apply(q.op.with_values(self.network.weights, lost**power), mean, p.shape)[0]
        rows = q.op.rows(p.shape)  # neurons that share weights share their bias
        axes = tuple(a for a, n in enumerate(rows) if n == 1 and p.shape[a] > 1) if rows[0] > 1 else ()
        return np.asarray(sent.mean(axis=axes, keepdims=True) * 2.0 ** (power * (q.weight_exp + p.model.act_shift)))

    # -- weights

    def of_arrays(self) -> Iterator[Swap]:
        """Every weight array."""
        for array in self.network.stored:
            readers = [q for q in self.network.projections if not q.op.injects and q.op.weight == array]
            posts = [self.network[q.post] for q in readers]
            if posts[0].kind not in (Kind.NEURON, Kind.ACCUMULATOR) or posts[0].name not in self.artifact.scales:
                continue
            have, want = self.network.weights[array], self._real(readers[0])
            negative = any(q.weight_exp < 0 for q in readers)
            if not _apart(have, want) and not negative:
                continue
            constant = array in self.network.constants
            neurons = {} if constant else {p.name: self._plain(p, array) for p in posts}
            network = _with(self.network, neurons)
            network = replace(network, weights={**network.weights, array: want})
            posts_names = frozenset(p.name for p in posts)
            kind = "bias" if constant else "readout" if posts[0].kind is Kind.ACCUMULATOR else "weight"
            said = _rounding(np.asarray(have), want, self.network.bits.get(array))
            layer = " + ".join(self.network.names(array)) if not constant else posts[0].name
            yield Swap(layer, posts[0].name, kind, Variant(network, posts_names, frozenset({array})), said, array)

    def _plain(self, p: Population[IntNeuron], array: str) -> IntNeuron:
        """The neuron without what its bias took of this array's rounding."""
        if not self._corrects(p):
            return p.model
        bias: Array = np.asarray(p.model.bias, np.float64)
        for q in self.network.into(p.name):
            if not q.op.injects and q.op.weight == array:
                bias = bias - self._mean(q, p, self._real(q) - self.network.weights[array], 1)
        return replace(p.model, bias=bias)

    def _real(self, q: Projection) -> Array:
        """A projection's weights before they were rounded, in the integers' units."""
        source = self.pairs[q.name, q.pre, q.post]
        payload = self.reference[q.pre].payload_scale
        factor = np.asarray(self.artifact.scales[q.post] * payload * 2.0**-q.weight_exp)
        weights, pre, post = self.reference.between(source)
        return source.op.scaled(weights, factor, pre, post, q.name)

    # -- inputs

    def of_inputs(self, x: Array) -> Iterator[Swap]:
        """Values of analog inputs, and currents that the host computes."""
        for spec in self.artifact.inputs:
            real = real_steps(x, spec.sample_shape, spec.encoding, self.network.steps, spec.seed)
            values = taken(real, spec.part, self.reference[spec.reads].shape) / spec.scale
            if spec.host is not None:
                values = self._injected(spec.population, spec.reads, values * spec.scale)
            have = self.base[spec.population]
            if not _apart(have, values):
                continue
            worst = float(np.max(np.abs(have - values)))
            said = f"off by up to {worst:.3g} of {_size(np.asarray(have)):.4g} units; unit {spec.scale:.4g}"
            variant = Variant(self.network, inputs={spec.population: values})
            yield Swap(spec.population, spec.population, "input", variant, said)

    def _injected(self, population: str, reads: str, values: Array) -> Array:
        (injected,) = self.network.out_of(population)
        (source,) = (q for q in self.reference.into(injected.post) if q.pre == reads)
        folded = values.reshape(-1, *values.shape[2:])
        shape = self.reference[injected.post].shape
        sent = source.op.apply(self.reference.weights, folded, shape) * self.artifact.scales[injected.post]
        return np.asarray(sent.reshape(*values.shape[:2], *shape))


def _with(network: Network[IntNeuron], neurons: Mapping[str, IntNeuron]) -> Network[IntNeuron]:
    """The network with other neurons in some populations."""
    changed = (replace(p, neuron=neurons[p.name]) if p.name in neurons else p for p in network.populations)
    return replace(network, populations=tuple(changed))


def _apart(have: Any, want: Any) -> bool:
    return not np.allclose(have, want, rtol=1e-9, atol=1e-6)


def _size(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def _span(values: Any) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def levels(integers: Array) -> int:
    """How many different weights an array uses."""
    return int(np.unique(integers).size)


def snr_db(integers: Array, real: Array) -> float:
    """Signal to rounding noise of weights, in dB; infinite where they are exact."""
    noise = float(np.square(real - integers).sum())
    return float("inf") if noise == 0 else 10.0 * float(np.log10(max(float(np.square(real).sum()), 1e-300) / noise))


def _rounding(have: Array, want: Array, bits: int | None) -> str:
    used = f"{levels(have)} levels" + ("" if bits is None else f" at {bits} bits")
    return f"{used}, SNR {snr_db(have, want):.1f} dB"
