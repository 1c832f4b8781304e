"""Integers that are there already (lava-dl `.net`) in a target's formats: stored differently where need be, never
changed. What a target cannot hold exactly is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from snnhw.encoding import InputSpec
from snnhw.errors import QuantizeError
from snnhw.frontends.source import IntegerSource
from snnhw.lowering.schedule import schedule
from snnhw.machine import Machine
from snnhw.network import (
    Array,
    FloatNeuron,
    Inject,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    verify,
    width,
)
from snnhw.quantize.bounds import arriving_range, bound
from snnhw.quantize.formats import Formats, formats_of
from snnhw.quantize.inputs import current_max, input_reason
from snnhw.quantize.quantize import Quantized
from snnhw.rationale import Effect, Reason
from snnhw.readout import real_scale

OTHERWISE = "use --target loihi2, or train with what the target has"


def lowered(source: IntegerSource, target: Machine) -> Network[FloatNeuron]:
    """The reference network with start steps and delays."""
    network = schedule(source.reference, target.numeric.delay_max)
    verify(network)
    return network


def verbatim(source: IntegerSource, network: Network[FloatNeuron], target: Machine) -> Quantized:
    """The source's integers in a target's formats.

    Args:
        network: `lowered` of the same source and target.

    Raises:
        QuantizeError: a weight, threshold, bias or neuron rule that the target does not have.
    """
    formats = formats_of(target)
    hosts = {spec.reads: spec for spec in source.inputs if spec.host is not None}
    network = _with_ranges(network, source.inputs)
    populations = tuple(_population(p, source.neurons, hosts, target, formats) for p in network.populations)
    weights: dict[str, Array] = {}
    reasons = [*map(input_reason, source.inputs), *source.rationale]
    projections = tuple(_projection(q, network, hosts, weights, reasons, target) for q in network.projections)
    factor = 1.0 / (1 << max(n.act_shift for n in source.neurons.values()))
    unit = factor if network.readout.kind in ("mean", "membrane") else 1.0
    readout = replace(network.readout, scale=unit * real_scale(network.readout, network.steps))
    bits = {
        q.op.weight: width(weights[q.op.weight], target.numeric.weight_exp_max - q.weight_exp)
        for q in projections
        if not q.op.injects
    }
    result: Network[IntNeuron] = Network(populations, projections, weights, network.steps, readout, bits=bits)
    verify(result)
    bounds = tuple(
        bound(p.name, p.kind, p.model, *arriving_range(result, p), result.steps, target.widths).on_a_turn()
        for p in result.computed
    )
    return Quantized(result, network, source.inputs, tuple(reasons), bounds)


def _with_ranges(network: Network[FloatNeuron], specs: tuple[InputSpec, ...]) -> Network[FloatNeuron]:
    """The reference with the ranges of its inputs; hosted ones enter as they are."""
    known = {spec.reads: spec for spec in specs}
    changed = tuple(
        replace(p, payload=(known[p.name].low, known[p.name].high), payload_scale=known[p.name].scale)
        if p.name in known
        else p
        for p in network.populations
    )
    return replace(network, populations=changed)


def _population(
    population: Population[FloatNeuron],
    neurons: Mapping[str, IntNeuron],
    hosts: Mapping[str, InputSpec],
    target: Machine,
    formats: Formats,
) -> Population[IntNeuron]:
    name = population.name
    if name in hosts:
        most = current_max(formats)
        host = hosts[name].host
        assert host is not None
        return Population(
            hosts[name].population, host.out_shape, Kind.INPUT, payload=(-min(most, -host.low), host.high)
        )
    if population.kind is Kind.INPUT:
        return Population(name, population.shape, Kind.INPUT, payload=population.payload)
    neuron = _with_decays(name, neurons[name], target)
    _require_neuron(name, neuron, population.kind, target, formats)
    return Population(name, population.shape, population.kind, neuron, population.start)


SOURCE_DECAY_BITS = 12
"""Decays of a .net file are in units of 1/4096."""


def _with_decays(name: str, n: IntNeuron, target: Machine) -> IntNeuron:
    """The same decays in the target's units."""
    more = target.numeric.decay_bits - SOURCE_DECAY_BITS
    if any((np.asarray(d) % (1 << max(-more, 0))).any() for d in (n.du, n.dv)):
        needed = f"du {n.du}, dv {n.dv} of {SOURCE_DECAY_BITS} bits"
        raise _refused(f"target {target.name} has no such decay", name, needed, f"{target.numeric.decay_bits} bits")
    return replace(n, du=n.du << more, dv=n.dv << more) if more > 0 else replace(n, du=n.du >> -more, dv=n.dv >> -more)


def _require_neuron(name: str, n: IntNeuron, kind: Kind, target: Machine, formats: Formats) -> None:
    """Refuse what the target's neuron does not have."""
    numeric = target.numeric
    shifts = tuple(str(shift) for shift in formats.act_shifts)
    rules: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("comparison", str(n.comparison), numeric.comparisons),
        ("act_shift", str(n.act_shift), shifts),
    )
    lacks = [(what, needed, ", ".join(offered)) for what, needed, offered in rules if needed not in offered]
    for what, needed, limit in (*lacks, *n.beyond(numeric, kind is Kind.NEURON)):
        raise _refused(f"target {target.name} has no such {what}", name, str(needed), str(limit))
    if kind is Kind.NEURON and np.max(n.dv) > formats.dv_max:
        raise _refused(
            f"target {target.name} has no membrane without memory", name, f"dv {n.dv}", f"dv {formats.dv_max}"
        )
    vth = int(np.max(n.vth))
    if kind is Kind.NEURON and (vth > formats.threshold_max or vth % formats.threshold_step):
        limit = f"multiples of {formats.threshold_step} up to {formats.threshold_max}"
        raise QuantizeError(
            "threshold-range", "a threshold does not fit its format", where=name, needed=vth, limit=limit
        )
    bias, most = np.asarray(n.bias), formats.bias_mantissa
    if not any(_mantissas(bias, exponent, most) for exponent in formats.bias_exponents):
        raise QuantizeError(
            "bias-range",
            "a bias does not fit its format",
            where=name,
            needed=int(np.abs(bias).max()),
            limit=f"mantissas up to {most}",
            hint=OTHERWISE,
        )


def _mantissas(bias: Array, exponent: int, most: int) -> bool:
    mantissa = bias >> exponent
    return bool(((mantissa << exponent) == bias).all() and np.abs(mantissa).max() <= most)


def _projection(
    projection: Projection,
    network: Network[FloatNeuron],
    hosts: Mapping[str, InputSpec],
    weights: dict[str, Array],
    reasons: list[Reason],
    target: Machine,
) -> Projection:
    """The projection over integer weights that the target can store, or the host's currents in its place."""
    if projection.pre in hosts:
        name = hosts[projection.pre].population
        return replace(projection, name=f"{name}->{projection.post}", pre=name, op=Inject())
    op: Any = projection.op
    logical = np.asarray(network.weights[op.weight]).astype(np.int64)
    stored, exponent = fitted(logical, target, projection.name)
    weights[op.weight] = stored.astype(np.int32)
    weights |= {op.weight + part: network.weights[op.weight + part] for part in op.parts if part}
    if exponent:
        why = f"the weight times 2**{-exponent}, sums times 2**{exponent}: {target.name}'s format, the same sums"
        text = f"{stored.min()} to {stored.max()}"
        real = f"{logical.min()} to {logical.max()}"
        reasons.append(Reason(projection.post, f"stored weights {op.weight}", text, real, Effect.EXACT, why))
    return replace(projection, weight_exp=exponent)


def fitted(weights: Array, target: Machine, where: str) -> tuple[Array, int]:
    """Stored weights and exponent with stored * 2**exponent = weights, the exponent nearest to 0.

    Raises:
        QuantizeError 'weight-range': no exponent of the target makes them fit.
    """
    low, high, step = target.numeric.weight_min, target.numeric.weight_max, target.numeric.weight_step
    exponents = range(target.numeric.weight_exp_min, target.numeric.weight_exp_max + 1)
    for exponent in sorted(exponents, key=lambda e: (abs(e), -e)):
        stored = weights >> exponent if exponent >= 0 else weights << -exponent
        whole = exponent <= 0 or bool(((stored << exponent) == weights).all())
        if whole and stored.min() >= low and stored.max() <= high and not (stored % step).any():
            return stored, exponent
    raise QuantizeError(
        "weight-range",
        "weights do not fit the target's format, and imported integers are not rounded",
        where=where,
        needed=f"{weights.min()} to {weights.max()}",
        limit=f"multiples of {step} from {low} to {high}, times a power of two",
        hint="train with fewer bits (slayer.utils.quantize, 8 bits)",
    )


def _refused(what: str, where: str, needed: str, limit: str) -> QuantizeError:
    return QuantizeError("unsupported-neuron", what, where=where, needed=needed, limit=limit, hint=OTHERWISE)
