"""An integer network as the layers of a `.net` file; what netx cannot hold is refused with the layer's name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from snnhw.encoding import InputSpec
from snnhw.errors import ArtifactError
from snnhw.fixed import DECAY_ONE
from snnhw.network import (
    Array,
    Conv,
    Diagonal,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
)

SHIFT = 6
"""netx: synaptic sums, biases and thresholds are shifted by so much."""

VTH_MAX = (1 << 17) - 1
MANTISSA_MAX = (1 << 12) - 1
DELAY_MAX = 62
MAX_SYNAPSES = 1 << 26
"""Of a sparse operator that is written out as a matrix."""


@dataclass(frozen=True)
class NetLayer:
    """One layer: its type, and its datasets by path ('neuron/iDecay')."""

    kind: str
    fields: dict[str, Any]


def layers_of(network: Network[IntNeuron], inputs: tuple[InputSpec, ...]) -> list[NetLayer]:
    """All layers in order; raises ArtifactError 'netx-cannot' naming population, need and limit."""
    populations = network.populations
    if len(network.inputs) != 1 or populations[0].kind is not Kind.INPUT:
        raise cannot("the network has several inputs", network.readout.population, len(network.inputs), "1 input")
    if network.readout.population != populations[-1].name:
        raise cannot("the readout is not the last layer", network.readout.population, "", populations[-1].name)
    found: list[NetLayer] = []
    flat = False
    for before, population in itertools.pairwise(populations):
        feed, loop = _sources(network, before, population)
        if feed[0].op.injects:
            found.append(_hosted(population, inputs[0]))
            continue
        if not found:
            found.append(_plain_input(before))
        if isinstance(feed[0].op, Conv):
            if flat:
                raise cannot("a convolution reads a matrix layer", population.name, "an image", "neurons in a row")
            found.append(_conv(network, feed, population))
            continue
        if len(before.shape) > 1 and not flat:
            found.append(NetLayer("flatten", {"shape": [before.size, 1, 1]}))
        flat = True
        found.append(_dense(network, feed, loop, population))
    return found


def _sources(
    network: Network[IntNeuron], before: Population[IntNeuron], population: Population[IntNeuron]
) -> tuple[list[Projection], Projection | None]:
    """Projections out of the layer before, and the one out of the layer itself."""
    if population.kind not in (Kind.NEURON, Kind.ACCUMULATOR):
        raise cannot(f"a {population.kind} is no layer of netx", population.name, str(population.kind), "neurons")
    into = network.into(population.name)
    strangers = [q.pre for q in into if q.pre not in (before.name, population.name)]
    if strangers:
        what = "a layer reads others than the one before it (a residual)"
        raise cannot(what, population.name, ", ".join(strangers), f"netx is a chain: {before.name}")
    feed, loops = [q for q in into if q.pre == before.name], [q for q in into if q.pre == population.name]
    alone = any(q.op.injects or isinstance(q.op, Conv) for q in feed)
    if not feed or len({type(q.op) for q in feed}) > 1 or (len(feed) > 1 and alone):
        raise cannot("a layer reads the one before it in several ways", population.name, len(feed), "1 operator")
    if len(loops) > 1 or (loops and loops[0].lag != 1) or (loops and any(q.lag for q in feed)):
        raise cannot("feedback has a delay", population.name, max(q.lag for q in into), "1 step, no other delays")
    return feed, (loops[0] if loops else None)


def _plain_input(population: Population[IntNeuron]) -> NetLayer:
    if population.payload != (0, 1):
        low, high = population.payload
        raise cannot(
            "the input is graded", population.name, f"{low} to {high}", "plain spikes", "use --target loihi1-netx"
        )
    return NetLayer("input", {"shape": list(population.shape)})


def _hosted(population: Population[IntNeuron], spec: InputSpec) -> NetLayer:
    """A layer driven by bias currents: netx's input layer. Where it is more than weight * x + bias that the host
    computes, the layer takes the mantissas as they are (`netx.input_currents`)."""
    n = population.model
    if n.du != DECAY_ONE:
        what = "netx's input currents pass the synaptic filter by"
        raise cannot(what, population.name, f"du {n.du}", f"du {DECAY_ONE}")
    fields = {**_neuron(population), "shape": list(population.shape)}
    own = np.asarray(fields.pop("bias", 0))
    known = None if own.any() else _transform(spec)
    weight, shift = (1, 0) if known is None else known
    return NetLayer("input", {**fields, "weight": weight, "bias": shift})


def _transform(spec: InputSpec) -> tuple[int, int] | None:
    """weight and bias of `mantissa = round(weight * x + bias)`; None where the host computes more than that."""
    host = spec.host
    assert host is not None
    if not isinstance(host.op, Diagonal) or np.size(host.weights[host.op.weight]) != 1 or host.bias.size != 1:
        return None
    unit = 1 << host.shift
    weight = int(host.weights[host.op.weight].item()) / (spec.scale * unit)
    bias = (int(host.bias.item()) - unit // 2) / unit
    if weight != round(weight) or bias != round(bias):
        return None
    return round(weight), round(bias)


def _conv(network: Network[IntNeuron], feed: list[Projection], population: Population[IntNeuron]) -> NetLayer:
    (projection,) = feed
    op: Any = projection.op
    if projection.lag:
        raise cannot("a convolution has a delay, which netx drops", population.name, projection.lag, "none")
    weight = _logical(projection, network.weights[op.weight])
    window = {"stride": op.stride, "padding": op.padding, "dilation": op.dilation, "kernelSize": weight.shape[2:]}
    return NetLayer(
        "conv",
        {
            **_neuron(population),
            **{key: list(value) for key, value in window.items()},
            "shape": list(population.shape),
            "inChannels": weight.shape[1] * op.groups,
            "outChannels": weight.shape[0],
            "groups": op.groups,
            "weight": weight[..., None],
        },
    )


def _dense(
    network: Network[IntNeuron], feed: list[Projection], loop: Projection | None, population: Population[IntNeuron]
) -> NetLayer:
    weight, delay = _matrices(network, feed, population)
    shape = list(population.shape) if len(population.shape) in (1, 3) else [population.size]
    fields: dict[str, Any] = {"shape": shape, "weight": weight}
    fields |= {"inFeatures": weight.shape[1], "outFeatures": weight.shape[0]}
    if delay.any():
        fields["delay"] = delay
    if loop is not None:
        if loop.op.format != "dense":
            raise cannot("feedback is not a matrix", population.name, type(loop.op).__name__, "Dense")
        fields["weight_rec"] = _logical(loop, network.weights[loop.op.weight])
    _require_packable(
        np.concatenate([fields[key].ravel() for key in ("weight", "weight_rec") if key in fields]), population
    )
    if not _is_sum(population):
        fields |= _neuron(population)
        if "bias" in fields:
            mantissas = np.asarray(population.model.bias, np.int64) >> SHIFT
            fields["bias"] = np.broadcast_to(mantissas, population.shape).ravel()
    return NetLayer("dense" if loop is None else "dense_rec", fields)


def _matrices(
    network: Network[IntNeuron], feed: list[Projection], population: Population[IntNeuron]
) -> tuple[Array, Array]:
    """One (post, pre) matrix of weights and one of delays, of projections that each have one delay."""
    shape = (population.size, network[feed[0].pre].size)
    if prod(shape) > MAX_SYNAPSES:
        raise cannot("the layer is too large for a matrix", population.name, f"{prod(shape)} synapses", MAX_SYNAPSES)
    weight, delay, taken = (np.zeros(shape, kind) for kind in (np.int64, np.int32, bool))
    for projection in feed:
        here = _matrix(network, projection)
        if (here.astype(bool) & taken).any():
            raise cannot("a synapse has two delays", population.name, projection.lag, "1 delay a synapse")
        if projection.lag > DELAY_MAX:
            raise cannot("a delay is too long", population.name, projection.lag, DELAY_MAX)
        taken |= here.astype(bool)
        weight += here
        delay[here != 0] = projection.lag
    return weight, delay


def _matrix(network: Network[IntNeuron], projection: Projection) -> Array:
    return _logical(projection, projection.op.full(*network.between(projection)))


def _logical(projection: Projection, stored: Array) -> Array:
    """Weights as they act: exponents laid into them."""
    weights, exponent = np.asarray(stored).astype(np.int64), projection.weight_exp
    if exponent >= 0:
        return weights << exponent
    whole = weights >> -exponent
    if ((whole << -exponent) != weights).any():
        what = "the weight exponent cuts sums, which netx does not"
        raise cannot(what, projection.name, f"2**{exponent}", "weights that it divides")
    return whole


def _require_packable(weight: Array, population: Population[IntNeuron]) -> None:
    """Whether netx's optimize_weight_bits leaves the weights of a matrix as they are (it fails on all zeros)."""
    low, high = int(weight.min()), int(weight.max())
    limits = (0, 255) if low >= 0 else (-255, -1) if high < 0 else (-256, 254)
    odd = high == 0 and low < -128 and bool((weight & 1).any())
    if low < limits[0] or high > limits[1] or odd:
        what = "netx cannot pack these weights"
        raise cannot(what, population.name, f"{low} to {high}", f"{limits[0]} to {limits[1]}, even below -128 beside 0")
    if low == high == 0:
        raise cannot("netx cannot pack a matrix of zeros", population.name, "no synapse", "one that is not 0")


def _is_sum(population: Population[IntNeuron]) -> bool:
    """Whether a population only adds up what arrives: a layer without neurons in netx."""
    n = population.model
    return population.kind is Kind.ACCUMULATOR and _same(n.du, DECAY_ONE) and _same(n.dv, 0) and not np.any(n.bias)


def _same(values: Any, number: int) -> bool:
    return bool((np.asarray(values) == number).all())


def _neuron(population: Population[IntNeuron]) -> dict[str, Any]:
    """A CUBA neuron's datasets, and the bias."""
    n, name = population.model, population.name
    spiking = population.kind is Kind.NEURON
    _require_lif(population, spiking)
    vth = int(np.asarray(n.vth).flat[0]) if spiking else VTH_MAX << SHIFT
    if vth % (1 << SHIFT) or not 0 <= vth >> SHIFT <= VTH_MAX - spiking:
        raise cannot(
            "the threshold is not a mantissa times 64", name, vth, f"multiples of 64 below {VTH_MAX << SHIFT}", _LOIHI1
        )
    bias = np.asarray(n.bias, np.int64)
    if (bias % (1 << SHIFT)).any():
        worst = int(bias[bias % (1 << SHIFT) != 0].flat[0])
        raise cannot("netx multiplies bias mantissas by 64", name, worst, "multiples of 64", _NETX)
    if np.abs(bias >> SHIFT).max() > MANTISSA_MAX:
        raise cannot("a bias mantissa has more than 13 bit", name, int(np.abs(bias >> SHIFT).max()), MANTISSA_MAX)
    fields = {
        "neuron/type": "CUBA",
        "neuron/iDecay": int(np.asarray(n.du).flat[0]),
        "neuron/vDecay": int(np.asarray(n.dv).flat[0]),
        "neuron/vThMant": vth >> SHIFT,
        "neuron/refDelay": 1,
        "neuron/gradedSpike": False,
    }
    return fields | ({"bias": _spread(bias >> SHIFT, population)} if bias.any() else {})


def _spread(bias: Array, population: Population[IntNeuron]) -> Array:
    """One bias a channel, or one a neuron in netx's order (W, H, C)."""
    full = np.broadcast_to(bias, population.shape)
    if full.ndim == 1:
        return np.ascontiguousarray(full)
    if full.ndim == 3 and (full == full[:, :1, :1]).all():
        return np.ascontiguousarray(full[:, 0, 0])
    return np.ascontiguousarray(full.transpose(2, 1, 0)) if full.ndim == 3 else np.ascontiguousarray(full.ravel())


def _require_lif(population: Population[IntNeuron], spiking: bool) -> None:
    """Refuse what Lava's LIF does not have."""
    n = population.model
    wishes = (("model", n.MODEL, "cuba_lif"), *n.beyond_lif(spiking), ("act_shift", n.act_shift, SHIFT))
    for what, has, offered in wishes:
        if has != offered:
            raise cannot(f"netx's neurons have no such {what}", population.name, has, offered, _LOIHI1)
    for what, values in (("threshold", n.vth), ("du", n.du), ("dv", n.dv)):
        if np.ptp(np.asarray(values)) and (spiking or what != "threshold"):
            needed = f"{np.min(values)} to {np.max(values)}"
            raise cannot(f"netx's neurons have one {what} a layer", population.name, needed, "1 value", _LOIHI1)


_LOIHI1 = "compile for loihi1-netx, whose neurons and biases are those of netx"
_NETX = "compile for loihi1-netx, whose biases are such"


def cannot(what: str, where: str, needed: Any, limit: Any, hint: str | None = None) -> ArtifactError:
    """netx has no such thing."""
    return ArtifactError("netx-cannot", what, where=where, needed=needed, limit=limit, hint=hint)
