"""Network[float] to Network[int]: post-training quantisation, threshold aware, each integer with its rationale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnhw.encoding import InputSpec
from snnhw.evaluate import evaluate
from snnhw.fixed import STATE_MAX
from snnhw.linear import scale_rows
from snnhw.network import (
    Array,
    FloatNeuron,
    Inject,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    verify,
)
from snnhw.quantize.bounds import Bound, arriving_range, bound
from snnhw.quantize.formats import Formats, formats_of, round_weights
from snnhw.quantize.inputs import HostLayer, current_max, host_spec, input_spec, move_to_host, with_payload
from snnhw.quantize.neuron import bias_limit, make_neuron, refuse_unsupported
from snnhw.quantize.scale import Scale, Trial, choose, largest_weights, parts
from snnhw.semantics import Deployment
from snnhw.target import Target

CALIBRATION_SAMPLES = 64
"""Samples the scale search looks at; more change little and cost time."""

PEAK_MARGIN = 2.0
"""Head room of accumulators over the largest value calibration data reached."""


@dataclass(frozen=True)
class Quantized:
    """What quantisation makes.

    Args:
        network: integers.
        reference: the float network they stand for (with inputs as the chip gets them).
    """

    network: Network[IntNeuron]
    reference: Network[FloatNeuron]
    inputs: tuple[InputSpec, ...]
    rationale: tuple[dict[str, Any], ...]
    bounds: tuple[Bound, ...]


def quantize(
    network: Network[FloatNeuron],
    target: Target,
    deployment: Deployment,
    samples: Array | None,
    weight_bits: int | None = None,
) -> Quantized:
    """Quantise for a target.

    Args:
        samples: real calibration input (B, T, *input shape), or None: then scales come from the weights alone.

    Raises:
        QuantizeError: what the target's neurons or formats cannot hold, with layer, need and limit.
    """
    formats = formats_of(target, weight_bits)
    specs = {p.name: input_spec(p, deployment, samples) for p in network.inputs}
    network = with_payload(network, specs)
    for population in network.computed:
        refuse_unsupported(population, target)
    activity = None if samples is None else _activity(network, samples[:CALIBRATION_SAMPLES])
    placed, hosts = move_to_host(network, specs, formats)
    work = _Work(placed, network, formats, hosts, activity)
    for population in placed.populations:
        work.add(population)
    result = work.network()
    verify(result)
    host_specs = tuple(
        host_spec(name, layer, network, work.scales[layer.projection.post], formats) for name, layer in hosts.items()
    )
    inputs = host_specs + tuple(specs[p.name] for p in placed.inputs if p.name in specs)
    return Quantized(result, network, inputs, tuple(work.rationale), tuple(work.bounds))


def _activity(network: Network[FloatNeuron], samples: Array) -> dict[str, Array]:
    """Float activity on calibration samples; float32 is enough to choose scales."""
    static = samples.strides[1] == 0
    x = np.broadcast_to(samples[:, :1].astype(np.float32), samples.shape) if static else samples.astype(np.float32)
    return dict(evaluate(network, {p.name: x for p in network.inputs}))


class _Work:
    """Populations quantised so far."""

    def __init__(
        self,
        placed: Network[FloatNeuron],
        source: Network[FloatNeuron],
        formats: Formats,
        hosts: Mapping[str, HostLayer],
        activity: Mapping[str, Array] | None,
    ) -> None:
        self.placed, self.source, self.formats, self.hosts, self.activity = placed, source, formats, hosts, activity
        self.populations: list[Population[IntNeuron]] = []
        self.projections: list[Projection] = []
        self.weights: dict[str, Array] = {}
        self.scales: dict[str, Array] = {}
        self.rationale: list[dict[str, Any]] = []
        self.bounds: list[Bound] = []
        self.readout_scale = 1.0

    def add(self, population: Population[FloatNeuron]) -> None:
        """Quantise one population and the projections into it."""
        if population.kind is Kind.INPUT:
            payload = (
                (-current_max(self.formats), current_max(self.formats))
                if population.name in self.hosts
                else population.payload
            )
            shell: Population[Any] = replace(population, payload=payload, payload_scale=population.payload_scale)
            self.populations.append(shell)
            return
        scale = self._relay_scale() if population.kind is Kind.RELAY else self._scale(population)
        self.scales[population.name] = scale.value
        into = [self._projection(projection, population, scale) for projection in self.placed.into(population.name)]
        self.projections += into
        made, limit = self._neuron(population, scale)
        self.rationale += [
            {**row, "why": f"{row['why']}; {scale.why}"} if row["parameter"] == "scale" else row for row in made.rows
        ]
        self.bounds.append(limit)
        payload = (0, made.neuron.max_spikes)
        self.populations.append(replace(population, neuron=made.neuron, payload=payload))  # type: ignore[arg-type]
        if population.name == self.placed.readout.population and population.kind is Kind.ACCUMULATOR:
            self.readout_scale = 1.0 / (float(scale.value) * (1 << made.neuron.act_shift) * self.placed.steps)

    def _relay_scale(self) -> Scale:
        return Scale(np.asarray(float(self.formats.step)), "a relay needs one weight unit")

    def _scale(self, population: Population[FloatNeuron]) -> Scale:
        n = population.model
        tied = bool(n.v_init or n.v_reset or n.v_min)
        hosted = [self.hosts[p.pre] for p in self.placed.into(population.name) if p.pre in self.hosts]
        shared = not self.formats.per_neuron_threshold or population.kind is Kind.ACCUMULATOR or tied or bool(hosted)
        limit = bias_limit(n, self.formats.act_shifts[-1], self.formats)
        if hosted:
            limit = min(limit, current_max(self.formats) / max(sum(layer.largest for layer in hosted), 1e-30))
        if population.kind is Kind.ACCUMULATOR:
            limit = min(limit, self._accumulator_limit(population))
        largest = largest_weights(self.placed, population, shared)
        trial = None
        if self.activity is not None and not hosted:
            trial = Trial(self.source, self.activity, self.source[population.name])
        if hosted and not largest.any():  # no synapses: the host's currents alone decide
            largest = np.asarray(self.formats.largest / limit)
        return choose(largest, population, self.formats, trial, limit)

    def _accumulator_limit(self, population: Population[FloatNeuron]) -> float:
        """Largest scale at which a membrane that only ever adds stays inside 24 bit: twice what calibration reached,
        or, without calibration data, what any input could reach."""
        if self.activity is not None:
            driven = self.activity[population.name]
            peak = PEAK_MARGIN * float(max(np.abs(driven).max(), np.abs(driven.cumsum(axis=1)).max()))
        else:
            low, high = arriving_range(self.placed, population)
            bias = np.abs(np.broadcast_to(population.model.bias, population.shape)).max()
            peak = float(max(np.abs(low).max(), np.abs(high).max()) + bias) * self.placed.steps
        return STATE_MAX / (max(peak, 1e-30) * (1 << self.formats.act_shifts[-1]))

    def _projection(self, projection: Projection, population: Population[FloatNeuron], scale: Scale) -> Projection:
        """Integer weights, stored once for all projections that share them."""
        if isinstance(projection.op, Inject):
            return projection
        payload = self.placed[projection.pre].payload_scale
        label = projection.op.weight if payload == 1.0 else f"{projection.op.weight}*{payload:g}"
        if population.kind is Kind.RELAY:
            label = f"{label}@{self.formats.step}"
        if label not in self.weights:
            arrays = parts(self.placed, projection.op)
            real = scale_rows(projection.op, arrays, scale.value * payload, population.shape, projection.name)[""]
            integers = round_weights(real, 1.0, self.formats)
            self.weights[label] = integers
            structure = {label + part: array for part, array in arrays.items() if part}
            self.weights |= structure
            clipped = int((np.abs(real) > self.formats.largest + 0.5 * self.formats.step).sum())
            self.rationale.append(
                {
                    "population": population.name,
                    "parameter": f"weights {label}",
                    "integer": f"{integers.min()} to {integers.max()}",
                    "real": f"{arrays[''].min():.6g} to {arrays[''].max():.6g}",
                    "why": f"round(weight * scale), multiples of {self.formats.step}; "
                    f"{clipped} of {integers.size} clipped",
                }
            )
        return replace(projection, op=replace(projection.op, weight=label))

    def _neuron(self, population: Population[FloatNeuron], scale: Scale) -> tuple[Any, Bound]:
        """The integer neuron at the largest shift that interval analysis proves, else at the smallest."""
        shifts = self.formats.act_shifts
        if population.kind is Kind.RELAY and not self.formats.stock:
            shifts = shifts[-1:]
        network = self._so_far(population)
        low, high = arriving_range(network, network[population.name])
        made = limit = None
        for shift in shifts:
            if bias_limit(population.model, shift, self.formats) < float(scale.value.max()) and shift != shifts[-1]:
                continue
            made = make_neuron(population, scale.value, shift, self.formats)
            limit = bound(population.name, population.kind, made.neuron, low, high, self.placed.steps)
            if limit.proven:
                break
        assert made is not None
        assert limit is not None
        return made, limit

    def _so_far(self, population: Population[FloatNeuron]) -> Network[IntNeuron]:
        """Just enough of the integer network to bound what arrives at a population."""
        shell: Population[Any] = replace(population, neuron=None, kind=Kind.INPUT)
        readout = Readout("rate", population.name)
        return Network((*self.populations, shell), tuple(self.projections), self.weights, self.placed.steps, readout)

    def network(self) -> Network[IntNeuron]:
        """The whole integer network."""
        readout = replace(self.placed.readout, scale=self.readout_scale)
        return Network(tuple(self.populations), tuple(self.projections), self.weights, self.placed.steps, readout)
