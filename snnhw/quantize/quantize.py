"""Network[float] to Network[int]: post-training quantisation, threshold aware, each integer with its rationale."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from snnhw.cautions import Caution
from snnhw.encoding import InputSpec
from snnhw.errors import QuantizeError
from snnhw.evaluate import shows_membrane
from snnhw.fixed import WRAP_ONCE
from snnhw.machine import Machine
from snnhw.network import (
    Array,
    FloatNeuron,
    IntNeuron,
    Kind,
    Level,
    LinearOp,
    Network,
    Population,
    Projection,
    Readout,
    verify,
)
from snnhw.operators.candidate import Candidate
from snnhw.quantize.activity import Activity, Split, calibration_samples, split
from snnhw.quantize.bounds import Bound, arriving_range, bound
from snnhw.quantize.flags import Rows, clipped_bias, neuron_flags, weight_flags
from snnhw.quantize.formats import Formats, formats_into, formats_of, round_weights
from snnhw.quantize.grid import kept_scale
from snnhw.quantize.inputs import (
    HostLayer,
    current_max,
    host_spec,
    input_reason,
    input_spec,
    move_to_host,
    with_payload,
)
from snnhw.quantize.maxima import Lifted, Relays, require_one_step, without_relays
from snnhw.quantize.moments import Moments, moments_into
from snnhw.quantize.neuron import (
    Made,
    bias_limit,
    fits,
    forgets_or_keeps,
    largest_bias,
    make_neuron,
    refuse_unsupported,
    residue_free,
)
from snnhw.quantize.resets import reset_reasons, without_soft_reset
from snnhw.quantize.rounding import compensated
from snnhw.quantize.scale import (
    ALIKE,
    Scale,
    Trial,
    choose,
    exponents,
    largest_scale,
    largest_weights,
    least_exponents,
    whole_scale,
    worst,
)
from snnhw.quantize.spikes import most_spikes, with_proven_limit
from snnhw.quantize.widths import WeightBits, bits_of_arrays
from snnhw.rationale import Effect, Reason, rounded
from snnhw.readout import real_scale
from snnhw.semantics import Deployment

NOTHING = 1e-6
"""Mean currents below this part of a weight unit are left as they are: exact weights keep their bias."""

HEAD_ROOM = 16
"""Membranes can reach so many thresholds before its bits are full, or small weights get no unit of their own."""

PEAK_MARGIN = 2.0
"""Head room of accumulators over the largest value calibration data reached."""


ONE_TURN = 2.9
"""Accumulators' currents keep below this times 2**(bits - 1) where they wrap once: 3 less what rounding adds."""

ACCUMULATOR_WEIGHT = 32
"""An accumulator's largest weight keeps this many units, negative exponents included, even where its range is then not
proven (engines count)."""


@dataclass(frozen=True)
class Quantized:
    """What quantisation makes.

    Args:
        network: integers.
        reference: the float network they stand for (with inputs as the chip gets them).
        split: which calibration samples were used, and which kept apart; None where integers were there already.
        cautions: what rounding did to parameters that a person must know.
        scales: population -> weight units per real unit, of a shape that broadcasts to it.
    """

    network: Network[IntNeuron]
    reference: Network[FloatNeuron]
    inputs: tuple[InputSpec, ...]
    rationale: tuple[Reason, ...]
    bounds: tuple[Bound, ...]
    split: Split | None = None
    cautions: tuple[Caution, ...] = ()
    scales: Mapping[str, Array] = field(default_factory=dict)


def quantize(
    network: Network[FloatNeuron],
    target: Machine,
    deployment: Deployment,
    samples: Array | None,
    weight_bits: WeightBits = None,
    hard_reset: bool = False,
    labels: Array | None = None,
    reference: Network[FloatNeuron] | None = None,
) -> Quantized:
    """Quantise for a target.

    Args:
        samples: real calibration input (B, T, *input shape), or None: then scales come from the weights alone. Ranges
            of inputs are those of all of them; `activity.split` says which are used else.
        labels: their classes (B,), if known.
        weight_bits: bits of weights, of all or by layer; see `widths.bits_of_arrays`.
        hard_reset: reset to zero where the network subtracts its threshold and the target cannot; the float network
            it is compared with still subtracts, so that the loss shows.
        reference: the float network it is compared with, where it is not this one.

    Raises:
        QuantizeError: what the target's neurons or formats cannot hold, with layer, need and limit.
    """
    formats = formats_of(target)
    bits = bits_of_arrays(network, weight_bits, formats.weight_bits)
    chosen = None if samples is None else split(samples, labels, calibration_samples(network))
    specs = {p.name: input_spec(p, deployment, samples) for p in network.inputs}
    network = with_payload(network, specs)
    hardened = without_soft_reset(network, target) if hard_reset else network
    for population in hardened.computed:
        refuse_unsupported(population, target)
    activity = None if samples is None or chosen is None else Activity(network, _some(samples, chosen.used))
    placed, hosts = move_to_host(hardened, specs, formats)
    plain, relays = without_relays(placed)
    work = _Work(plain, target, bits, hosts, activity)
    for population in plain.populations:
        work.add(population)
        if population.name in relays:
            work.lift(population, relays[population.name], placed)
    result = work.network()
    verify(result)
    host_specs = tuple(
        host_spec(name, layer, network, work.scales[layer.projection.post], formats) for name, layer in hosts.items()
    )
    inputs = host_specs + tuple(specs[p.name] for p in placed.inputs if p.name in specs)
    forms = (*network.notes.reasons, *reset_reasons(network, hardened))
    rationale = (*map(input_reason, inputs), *forms, *work.rationale)
    compared = network if reference is None else with_payload(reference, specs)
    cautions, bounds = tuple(work.cautions), tuple(work.bounds)
    return Quantized(result, compared, inputs, rationale, bounds, chosen, cautions, work.scales)


def _some(real: Array, which: Array) -> Array:
    """Some samples; a static input stays a view."""
    return np.broadcast_to(real[which, :1], (len(which), *real.shape[1:])) if real.strides[1] == 0 else real[which]


def _gathered(keep: Level, steps: int) -> float:
    """What T steps of one unit come to in a state that keeps this part of itself."""
    most = float(np.max(keep))
    return float(steps) if most == 1.0 else (1.0 - most**steps) / (1.0 - most)


TINY = 1e-30
"""A largest weight is at least this, also on its scale: weights, and limits of scales, may be 0."""


class _Work:
    """Populations quantised so far."""

    def __init__(
        self,
        placed: Network[FloatNeuron],
        target: Machine,
        bits: Mapping[str, int],
        hosts: Mapping[str, HostLayer],
        activity: Activity | None,
    ) -> None:
        self.placed, self.target, self.wanted, self.hosts, self.activity = placed, target, bits, hosts, activity
        self.formats = formats_into(target, {})
        self.populations: list[Population[IntNeuron]] = []
        self.projections: list[Projection] = []
        self.weights: dict[str, Array] = {}
        self.layers: dict[str, tuple[str, ...]] = {}
        self.bits: dict[str, int] = {}
        self.factors: dict[str, Array] = {}
        self.moments: dict[LinearOp, Moments] = {}
        self.powers: defaultdict[LinearOp, int] = defaultdict(int)
        self.scales: dict[str, Array] = {}
        self.rationale: list[Reason] = []
        self.cautions: list[Caution] = []
        self.bounds: list[Bound] = []
        self.readout_scale = real_scale(placed.readout, placed.steps)

    def add(self, population: Population[FloatNeuron]) -> None:
        """Quantise one population and the projections into it."""
        if population.kind is Kind.INPUT:
            most = current_max(self.formats)
            payload = (-most, most) if population.name in self.hosts else population.payload
            shell: Population[Any] = replace(population, payload=payload)
            self.populations.append(shell)
            return
        if self.activity is not None:
            self.activity.advance(population.name)
        synapses = [q.op for q in self.placed.into(population.name) if not q.op.injects]
        self.formats = formats_into(self.target, {op: self.wanted[op.weight] for op in synapses})
        exact = population.kind is Kind.RELAY or self._counts(population)
        self.moments = {} if exact or self.activity is None else moments_into(self.placed, population, self.activity)
        whole = self._whole(population)
        constants = {op for op in synapses if op.weight in self.placed.constants}
        self.moments = {} if whole else {op: met for op, met in self.moments.items() if op not in constants}
        self.powers = defaultdict(int, {} if whole else exponents(self.placed, population, self.formats))
        if not whole:  # as large as can be until the scale is known, so that no scale is chosen for their sake
            self.powers.update(dict.fromkeys(constants, self.formats.numeric.weight_exp_max))
        scale = self._unit_scale() if exact else self._scale(population)
        scale = whole_scale(scale, self._unit()) if whole and not exact else scale
        while any(self.powers[op] > 0 for op in synapses if op not in constants) and self._cramped(population, scale):
            self.powers.update({op: max(self.powers[op] - 1, 0) for op in synapses if op not in constants})
            scale = self._scale(population)
        if not whole:
            self.powers |= least_exponents(self.placed, population, self.formats, scale.value, constants)
        self.scales[population.name] = np.asarray(scale.value)
        if not np.all(np.isfinite(scale.value) & (np.abs(scale.value) > TINY)):
            raise QuantizeError(
                "scale-range",
                "values are so large that nothing is left of the weights at the scale that holds them",
                where=population.name,
                needed=f"{float(np.min(np.abs(scale.value))):g} weight units per real unit",
                limit=f"{TINY:g} or more",
                hint="rescale the layer, or the calibration data: its weights and what it reaches are too far apart",
            )
        into = [self._projection(projection, population, scale) for projection in self.placed.into(population.name)]
        self.projections += into
        made, limit = self._neuron(self._with_mean_kept(population, into, scale), scale, exact)
        if not exact:
            self.cautions += self._flags(population, into, scale, made)
        self.rationale += made.with_note("scale", scale.kind, scale.text).reasons
        self.bounds.append(limit.on_a_turn())
        payload = (0, made.neuron.max_spikes)
        self.populations.append(replace(population, neuron=made.neuron, payload=payload))  # type: ignore[arg-type]
        if population.name == self.placed.readout.population and self.placed.readout.kind in ("mean", "membrane"):
            self.readout_scale /= float(scale.value) * (1 << made.neuron.act_shift)

    def lift(self, population: Population[FloatNeuron], relays: Relays, network: Network[FloatNeuron]) -> None:
        """Add the relays of a population's maxima, which follow from its integers.

        Args:
            network: with the relays.
        """
        require_one_step(self.formats, population.name)
        into = zip(self._so_far(population).into(population.name), self.placed.into(population.name), strict=True)
        found = Lifted(relays, tuple(into), network, self.weights, self.formats)
        self.projections += found.projections
        self.weights |= found.made
        self.bits |= dict.fromkeys(found.made, self.formats.weight_bits)
        for q in relays.projections:
            self.layers |= {name: network.names(q.op.weight) for name in found.made}
        made, bounds, reasons = found.populations(self._so_far(population))
        self.populations[-1:-1] = made
        self.bounds += bounds
        self.rationale += reasons

    def _cramped(self, population: Population[FloatNeuron], scale: Scale) -> bool:
        """Whether a membrane cannot reach HEAD_ROOM times its threshold or bias, even at the smallest shift."""
        n = population.model
        level = max(float(np.abs(n.threshold * scale.value).max()), float(np.abs(n.bias * scale.value).max()))
        return level * (1 << self.formats.act_shifts[-1]) * HEAD_ROOM > self.formats.v_max

    def _unit_scale(self) -> Scale:
        return Scale(np.asarray(float(self._unit())), "exact: relays and gates count spikes", Effect.EXACT)

    def _unit(self) -> int:
        """The smallest weight that every operator's format holds (steps are powers of two times one another)."""
        return max([self.formats.step, *(narrow.step for narrow in self.formats.narrower.values())])

    def _counts(self, population: Population[FloatNeuron]) -> bool:
        """Whether a gate only ever adds whole numbers of spikes, so that its integers are exact."""
        return population.kind is Kind.GATE and self._whole(population)

    def _whole(self, population: Population[FloatNeuron]) -> bool:
        """Whether all that arrives are whole numbers of spikes that fit a weight, and nothing leaks or biases them."""
        n = population.model
        projections = self.placed.into(population.name)
        if not projections:  # a constant: its bias is all that its membrane ever is
            return not np.any(n.v_keep) and bool((n.bias == np.rint(n.bias)).all())
        if n.bias.any() or not (forgets_or_keeps(n.v_keep) and forgets_or_keeps(n.u_keep)):
            return False
        if any(p.op.injects or self.placed[p.pre].payload_scale != 1.0 for p in projections):
            return False
        for op in (p.op for p in projections):
            w, own, unit = self.placed.array(op), self.formats.of(op), self._unit()
            if not ((w == np.rint(w)) & (w * unit >= own.low) & (w * unit <= own.high)).all():
                return False
        return True

    @np.errstate(over="ignore", invalid="ignore")  # a scale that vanishes is refused by name
    def _scale(self, population: Population[FloatNeuron]) -> Scale:
        n = population.model
        tied = any(map(np.any, n.levels.values()))
        hosted = [self.hosts[p.pre] for p in self.placed.into(population.name) if p.pre in self.hosts]
        readout = self.placed.readout
        one_unit = (population.name, "membrane") == (readout.population, readout.kind)  # its outputs are compared
        shared = not self.formats.numeric.vth_per_neuron or population.kind is Kind.ACCUMULATOR or tied or bool(hosted)
        shared = shared or one_unit
        largest = largest_weights(self.placed, population, shared, self.powers, self.formats)
        limit = bias_limit(worst(n.bias, population, largest.shape), self.formats.act_shifts[-1], self.formats)
        if hosted:
            limit = np.minimum(limit, current_max(self.formats) / max(sum(layer.largest for layer in hosted), 1e-30))
        if population.kind is Kind.ACCUMULATOR:
            limit = np.minimum(limit, self._accumulator_limit(population, float(largest.max())))
            room = self.formats.high / max(max(float(largest.max()), TINY) * float(limit), TINY)
            largest = largest * self._finer(population, room)
        trial = Trial(self.placed, population, self.moments, self.powers) if self.moments and not hosted else None
        if hosted and not largest.any():  # no synapses: the host's currents alone decide
            largest = np.asarray(self.formats.high / limit)
        limit = np.broadcast_to(np.minimum(limit, self._unclipped(population, shared)), largest.shape)
        chosen = choose(largest, population, self.formats, trial, limit)
        most = np.minimum(limit, largest_scale(population, self.formats, largest.shape))
        kept = kept_scale(self.placed, population, self.powers, self.formats, most)
        if not kept.any():
            return chosen
        text = f"{chosen.text}; {int((kept > 0).sum())} of {kept.size} keep the step that their weights have already"
        return replace(chosen, value=np.where(kept > 0, kept, chosen.value), text=text, kept=kept > 0)

    def _unclipped(self, population: Population[FloatNeuron], shared: bool) -> Array:
        """The scale above which weights would be clipped whose clipping no trial prices (identity shortcuts, say)."""
        unpriced = largest_weights(self.placed, population, shared, self.powers, self.formats, self.moments)
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(self.formats.high / unpriced)

    def _finer(self, population: Population[FloatNeuron], room: float) -> int:
        """Give an accumulator whose scale is limited smaller exponents: sums are then shifted, weights use their bits.

        Args:
            room: how many times its largest weight would fit into the format at that limit.

        Returns:
            By how much all exponents fell, as a factor of the weights.
        """
        synapses = [q.op for q in self.placed.into(population.name) if not q.op.injects]
        if any(isinstance(op, Candidate) for op in synapses):
            return 1  # a maximum is exact only while nothing of a sum is shifted out
        weights = [op for op in synapses if op.weight not in self.placed.constants]
        spare = min((self.powers[op] for op in weights), default=0) - self.formats.numeric.weight_exp_min
        fall = max(min(math.ceil(math.log2(max(room, 1.0)) - ALIKE), spare), 0)
        self.powers.update({op: self.powers[op] - fall for op in weights})
        return 1 << fall

    def _accumulator_limit(self, population: Population[FloatNeuron], largest: float) -> float:
        """Largest scale at which an accumulator stays inside its bits: twice what calibration reached, or, without
        calibration data, what any input could reach, so far as that leaves the weights enough units. A current that
        wraps once only must not have to twice, whatever comes."""
        n, finest, formats = population.model, 0.0, self.formats
        most = {p.name: p.payload for p in self.populations if p.kind is not Kind.INPUT}
        sent = tuple(replace(p, payload=most.get(p.name, p.payload)) for p in self.placed.populations)
        low, high = arriving_range(replace(self.placed, populations=sent), population)
        worst = max(np.abs(low).max(), np.abs(high).max()) * _gathered(n.u_keep, self.placed.steps)
        if self.activity is not None:
            seen = self.activity[population.name]
            if shows_membrane(self.placed, population):
                other = seen[:, 1:] - np.asarray(n.v_keep, seen.dtype) * seen[:, :-1]  # current and bias
            else:
                other = seen.cumsum(axis=1)
            peak = PEAK_MARGIN * float(max(np.abs(seen).max(), np.abs(other).max(initial=0.0)))
        else:
            bias = np.abs(np.broadcast_to(n.bias, population.shape)).max()
            peak = float(worst + bias) * _gathered(n.v_keep, self.placed.steps) + float(np.abs(n.v_init).max())
            finest = ACCUMULATOR_WEIGHT * 2.0**formats.numeric.weight_exp_min / max(largest, 1e-30)
        shift = formats.act_shifts[-1]
        limit = max(formats.state_max / (max(peak, 1e-30) * (1 << shift)), finest)
        if formats.widths.u.overflow != WRAP_ONCE:
            return limit
        return min(limit, ONE_TURN * (1 << (formats.numeric.u_bits - 1)) / (max(float(worst), 1e-30) * (1 << shift)))

    def _projection(self, projection: Projection, population: Population[FloatNeuron], scale: Scale) -> Projection:
        """Integer weights, stored once for all projections that share them and their scale."""
        op: Any = projection.op
        if op.injects:
            return projection
        payload = self.placed[projection.pre].payload_scale
        label = op.weight if payload == 1.0 else f"{op.weight}*{payload:g}"
        if population.kind is Kind.RELAY and not op.multiplies:  # one weight 1 for all that hand on
            label = f"{label}@{self._unit()}"
        factor = self._factor(projection, scale)
        if label in self.weights and not np.array_equal(self.factors[label], factor):
            label = f"{label}@{population.name}"
        if label not in self.weights:
            arrays = op.arrays(self.placed.weights)
            real = self._real(projection, factor)
            moments = self.moments.get(op)
            own = self.formats.of(op)
            integers = round_weights(real, 1.0, own) if moments is None else compensated(real, moments, own)
            self.weights |= {label: integers} | {label + part: array for part, array in arrays.items() if part}
            self.factors[label], self.layers[label] = factor, self.placed.names(op.weight)
            self.bits[label] = own.weight_bits
            self.rationale.append(
                self._weights_reason(population.name, label, real, integers, arrays[""], self.powers[op], own)
            )
        return replace(projection, op=replace(op, weight=label), weight_exp=self.powers[op])

    def _factor(self, projection: Projection, scale: Scale) -> Array:
        """Integer units of a projection's weights per real unit."""
        payload = self.placed[projection.pre].payload_scale
        return np.asarray(scale.value * payload * 2.0 ** -self.powers[projection.op])

    def _real(self, projection: Projection, factor: Array) -> Array:
        """A projection's weights in integer units, not yet rounded."""
        weights, pre, post = self.placed.between(projection)
        return projection.op.scaled(weights, factor, pre, post, projection.name)

    def _weights_reason(
        self, population: str, label: str, real: Array, integers: Array, source: Array, power: int, f: Formats
    ) -> Reason:
        clipped = int(((real > f.high + 0.5 * f.step) | (real < f.low - 0.5 * f.step)).sum())
        how = "round(weight * scale)" if self.activity is None else "weight * scale, rounded so that errors make up"
        return Reason(
            population=population,
            parameter=f"weights {label}",
            integer=f"{integers.min()} to {integers.max()}",
            real=f"{source.min():.6g} to {source.max():.6g}",
            kind=rounded(integers, real),
            text=f"{how}, multiples of {f.step}; {clipped} of {integers.size} clipped"
            + (f"; in units of 2**{power}: small weights reach the same neurons" if power else ""),
        )

    def _flags(
        self, population: Population[FloatNeuron], into: list[Projection], scale: Scale, made: Made
    ) -> Iterator[Caution]:
        """What a person must know of a population's integers (`flags.py`)."""
        unit = scale.value * (1 << made.neuron.act_shift)
        yield from neuron_flags(population, made.neuron, unit, made.reason("vth").kind, self.formats)
        arrays: list[Rows] = []
        result = self._so_far(population)
        for have, want in zip(into, self.placed.into(population.name), strict=True):
            if want.op.injects:
                continue
            real, integers = self._real(want, self._factor(want, scale)), result.array(have.op)
            own, layer = self.formats.of(want.op), " + ".join(self.placed.names(want.op.weight))
            if want.op.weight in self.placed.constants:
                clipped = np.abs(real) > own.high + own.step
                if clipped.any():
                    over = float(np.abs(real).max()) / own.high
                    yield clipped_bias(population.name, layer, int(clipped.sum()), clipped.size, over)
                continue
            per = len(integers) if integers.ndim and len(integers) == prod(want.op.rows(population.shape)) else 1
            found = Rows(layer, own.weight_bits, real.reshape(per, -1), integers.reshape(per, -1), own.high)
            if not any(found.layer == other.layer for other in arrays):
                arrays.append(found)
        arrays = arrays if scale.value.size > 1 else [rows.joined() for rows in arrays]
        levels = {"threshold": population.model.threshold, "bias": population.model.bias}
        largest = {name: float(np.max(np.abs(level))) for name, level in levels.items()}
        name = max(largest, key=largest.__getitem__)
        cause = (
            f"its {name} of {largest[name]:.4g}" if population.kind is not Kind.ACCUMULATOR else "the membrane's bits"
        )
        yield from weight_flags(population.name, arrays, cause)

    def _with_mean_kept(
        self, population: Population[FloatNeuron], into: list[Projection], scale: Scale
    ) -> Population[FloatNeuron]:
        """The population with a bias that takes the mean of what rounding the weights changed."""
        n = population.model
        if not self.moments or np.any(n.u_keep):
            return population
        change: Array = np.zeros(())
        result = self._so_far(population)
        seen: set[LinearOp] = set()
        for have, want in zip(into, self.placed.into(population.name), strict=True):
            if want.op not in self.moments or want.op in seen:
                continue
            seen.add(want.op)
            real = self._real(want, self._factor(want, scale))
            lost = (real - result.array(have.op)).reshape(len(real), -1) @ self.moments[want.op].mean
            lost = lost * 2.0**have.weight_exp
            change = change + lost.reshape(want.op.rows(population.shape))
        change = np.where(np.abs(change) < NOTHING, 0.0, change) / scale.value
        most = largest_bias(self.formats) / (scale.value * (1 << self.formats.act_shifts[-1]))
        return replace(population, neuron=replace(n, bias=np.clip(n.bias + change, -most, most)))

    def _neuron(self, population: Population[FloatNeuron], scale: Scale, exact: bool) -> tuple[Any, Bound]:
        """The integer neuron at the largest shift that interval analysis proves, else at the smallest."""
        shifts = self.formats.act_shifts
        if exact:
            shifts = shifts[-1:]
        network, most = self._so_far(population), self._most(population)
        low, high = arriving_range(network, network[population.name])
        even = not any(p.op.injects for p in self.placed.into(population.name))
        made = limit = None
        for shift in shifts:
            if shift != shifts[-1] and not fits(population.model, scale.value, shift, self.formats):
                continue
            made = make_neuron(population, scale.value, shift, self.formats, even, exact, most, scale.kept)
            limit = bound(
                population.name, population.kind, made.neuron, low, high, self.placed.steps, self.formats.widths
            )
            if limit.proven:
                break
        assert made is not None
        assert limit is not None
        if population.kind is not Kind.ACCUMULATOR:
            made = with_proven_limit(made, population, limit, most)
            made = replace(made, neuron=made.neuron.bounded(limit.spikes))
        reached = max(-limit.v_low, limit.v_high)
        spiking = population.kind is not Kind.ACCUMULATOR
        kept = self.formats.decay_one - self.formats.dv_max
        forgets = kept > 0 and bool(np.all(made.neuron.dv == self.formats.dv_max))
        if spiking and forgets and reached >= residue_free(self.formats):
            stays = f"approximate: |v| can reach {reached}, of which {kept}/{self.formats.decay_one} stays"
            made = made.with_note("vth", Effect.APPROXIMATE, stays)
        return made, limit

    def _most(self, population: Population[FloatNeuron]) -> int:
        """Spikes that a population may send in one step, before its bounds are known."""
        values = None if self.activity is None else self.activity.get(population.name)
        return most_spikes(self.placed, population, self.formats, values)

    def _so_far(self, population: Population[FloatNeuron]) -> Network[IntNeuron]:
        """Just enough of the integer network to bound what arrives at a population: feedback at its limit."""
        there = {p.name for p in self.populations}
        pres = (self.placed[q.pre] for q in self.placed.into(population.name))
        missing = {p.name: p for p in (*pres, population) if p.name not in there}
        shells: list[Population[Any]] = [
            replace(p, neuron=None, kind=Kind.INPUT, payload=(0, self._most(p))) for p in missing.values()
        ]
        readout, projections = Readout("rate", population.name), tuple(self.projections)
        return Network((*self.populations, *shells), projections, self.weights, self.placed.steps, readout)

    def network(self) -> Network[IntNeuron]:
        """The whole integer network."""
        readout = replace(self.placed.readout, scale=self.readout_scale)
        return Network(
            tuple(self.populations),
            tuple(self.projections),
            self.weights,
            self.placed.steps,
            readout,
            layers=self.layers,
            bits=self.bits,
        )
