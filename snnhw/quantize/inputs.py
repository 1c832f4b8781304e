"""How samples enter the chip: spikes, graded spikes of quantised values, or currents that the host computes.

Chips without graded spikes cannot take pixels. There the layer behind the input is computed by the host, in integers
(`encoding.HostOp`), and enters as bias currents; a report prices it as MACs of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnhw.encoding import HostOp, InputSpec, taken
from snnhw.errors import QuantizeError
from snnhw.network import Array, FloatNeuron, Inject, Kind, Network, Population, Projection, Shape
from snnhw.quantize.formats import Formats
from snnhw.rationale import Effect, Reason
from snnhw.semantics import Deployment

PIXEL_MAX = 255
SIGNED_MAX = 127
EVENT_ROOM = 2
"""Event counts may be this many times those of the calibration data."""
HOST_SHIFT = 16
"""Fraction bits of the host's integer weights."""


def input_spec(population: Population[FloatNeuron], deployment: Deployment, samples: Array | None) -> InputSpec:
    """Range and unit of an input's values.

    Args:
        samples: real calibration input (B, T, ...), needed for analog input of unknown range.
    """
    part = population.part
    own = None if samples is None else taken(samples, part, population.shape)
    return replace(_range(population.name, population.shape, deployment, own), part=part)


def _range(name: str, shape: Shape, deployment: Deployment, samples: Array | None) -> InputSpec:
    if deployment.encoding in ("bernoulli", "latency"):
        return InputSpec(name, shape, deployment.encoding, seed=deployment.seed)
    if deployment.encoding == "spikes" and (samples is None or (samples == np.rint(samples)).all()):
        fewest, most = (0, 1) if samples is None else (min(int(samples.min()), 0), max(int(samples.max()), 1))
        room = 1 if (fewest, most) == (0, 1) else EVENT_ROOM
        return InputSpec(name, shape, deployment.encoding, 1.0, room * fewest, room * most)
    if deployment.encoding == "direct" and deployment.preprocessing == "uint8/255":
        return InputSpec(name, shape, "direct", 1.0 / PIXEL_MAX, 0, PIXEL_MAX)
    if samples is None:
        raise QuantizeError(
            "needs-calibration",
            "the range of the analog input is not known",
            where=name,
            hint="give training samples with --calibrate DATA.npz",
        )
    low, high = float(samples.min()), float(samples.max())
    if low >= 0:
        return InputSpec(name, shape, deployment.encoding, max(high, 1e-12) / PIXEL_MAX, 0, PIXEL_MAX, exact=False)
    scale = max(-low, high) / SIGNED_MAX
    return InputSpec(name, shape, deployment.encoding, scale, -SIGNED_MAX, SIGNED_MAX, exact=False)


@dataclass(frozen=True)
class HostLayer:
    """A linear layer taken off the chip: which input and projection it was, and the range of its real output."""

    spec: InputSpec
    projection: Projection
    largest: float


def with_payload(network: Network[FloatNeuron], specs: Mapping[str, InputSpec]) -> Network[FloatNeuron]:
    """The network with the payload of its inputs filled in."""
    changed = tuple(
        replace(p, payload=(specs[p.name].low, specs[p.name].high), payload_scale=specs[p.name].scale)
        if p.name in specs
        else p
        for p in network.populations
    )
    return replace(network, populations=changed)


def move_to_host(
    network: Network[FloatNeuron], specs: Mapping[str, InputSpec], formats: Formats
) -> tuple[Network[FloatNeuron], dict[str, HostLayer]]:
    """Replace projections out of graded inputs by injected currents where the target has no graded spikes.

    Returns the network and, by name of the new input population, the layer that the host computes for it.
    """
    lowest = -formats.payload if formats.numeric.payload_signed else 0
    graded = {name for name, spec in specs.items() if spec.high > formats.payload or spec.low < lowest}
    if not graded:
        return network, {}
    populations = [p for p in network.populations if p.name not in graded]
    projections, hosts = [], {}
    fresh: list[Population[FloatNeuron]] = []
    for projection in network.projections:
        if projection.pre not in graded:
            projections.append(projection)
            continue
        name = f"{projection.pre}@{projection.name.removeprefix(f'{projection.pre}->')}"
        pre, post = network[projection.pre], network[projection.post]
        hosts[name] = HostLayer(specs[pre.name], projection, _largest(network, projection, pre, post))
        fresh.append(Population(name, post.shape, Kind.INPUT, start=pre.start))
        projections.append(replace(projection, name=f"{name}->{post.name}", pre=name, op=Inject()))
    changed = replace(network, populations=(*fresh, *populations), projections=tuple(projections))
    return changed, hosts


def _largest(
    network: Network[FloatNeuron], projection: Projection, pre: Population[FloatNeuron], post: Population[FloatNeuron]
) -> float:
    low, high = (bound * pre.payload_scale for bound in pre.payload)
    bottom, top = projection.op.reach(network.weights, low, high, pre.shape, post.shape)
    return float(max(-bottom.min(), top.max()))


def host_spec(name: str, layer: HostLayer, network: Network[FloatNeuron], scale: Array, formats: Formats) -> InputSpec:
    """The input of a host-computed layer: its integer arithmetic at the scale of the population it feeds."""
    projection, spec = layer.projection, layer.spec
    arrays = projection.op.arrays(network.weights)
    fixed = {**arrays, "": np.rint(arrays[""] * (spec.scale * float(scale) * (1 << HOST_SHIFT))).astype(np.int64)}
    op: Any = projection.op if projection.op.injects else replace(projection.op, weight="")  # type: ignore[type-var]
    most = current_max(formats)
    shape = network[projection.post].shape
    half = np.asarray(1 << (HOST_SHIFT - 1), np.int64)
    host = HostOp(spec.population, op, fixed, half, HOST_SHIFT, shape, -most, most)
    return replace(spec, population=name, host=host)


def input_reason(spec: InputSpec) -> Reason:
    """Range and unit of an input's values."""
    beyond = "refused" if spec.exact else "clipped: the range is that of the calibration data"
    text = f"unit {spec.scale:.6g}; values beyond are {beyond}"
    if spec.host is not None:
        text += f"; the layer behind is computed by the host, weights of {spec.host.shift} fraction bits"
    real = f"{spec.low * spec.scale:.6g} to {spec.high * spec.scale:.6g}"
    kind = Effect.EXACT if spec.exact else Effect.ROUNDED
    return Reason(spec.population, "values", f"{spec.low} to {spec.high}", real, kind, text)


def current_max(formats: Formats) -> int:
    """Largest current a bias mantissa holds, in weight units."""
    return formats.bias_mantissa
