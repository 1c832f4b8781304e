"""The 45 nm AC/MAC convention for the float network and its dense ANN twin. Constants: `convention_45nm.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.encoding import InputSpec
from snnhw.machine import Constant
from snnhw.network import Array, Kind, LinearOp, Network, Projection
from snnhw.neurons.relu import FloatRelu
from snnhw.operators.base import Ints
from snnhw.operators.candidate import Candidate, Lift


@dataclass(frozen=True)
class Convention:
    """Constants of the convention: an accumulate and a multiply-accumulate."""

    label: str
    ac: Constant
    mac: Constant

    def joules(self, acs: float, macs: float) -> float:
        """Energy of some operations."""
        return acs * float(self.ac.si()) + macs * float(self.mac.si())


@cache
def convention() -> Convention:
    """The shipped constants."""
    text = (resources.files("snnhw.chip") / "convention_45nm.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    return Convention(data["label"], Constant(**data["ac"]), Constant(**data["mac"]))


@dataclass(frozen=True)
class Operations:
    """Mean accumulates and multiply-accumulates per sample."""

    acs: float
    macs: float


def ann_macs(artifact: Artifact) -> int:
    """Multiply-accumulates of one forward pass of the ANN of the same topology.

    Lowering counts them on the layers as the source has them, padding included. A network without that note (made by
    hand) is counted by its stored synapses, border aware: projections into one population that share operator and
    weights count once (the ANN adds their inputs first).
    One-to-one projections are additions and relays are delays: neither is a multiply-accumulate. Counted on the
    float network, where a first layer that the host computes is still a layer.
    """
    network = artifact.reference
    if network.notes.ann_macs is not None:
        return network.notes.ann_macs
    seen: set[tuple[str, LinearOp]] = set()
    total = 0
    for q in network.projections:
        if (q.post, q.op) in seen or not _multiplies(network, q):
            continue
        seen.add((q.post, q.op))
        total += _dense(network, q)
    return total


def _multiplies(network: Network[Any], projection: Projection) -> bool:
    return projection.op.multiplies and network[projection.post].kind is not Kind.RELAY


def _dense(network: Network[Any], q: Projection) -> int:
    return int(_fan_out(network, q).sum())


def _fan_out(network: Network[Any], q: Projection) -> Ints:
    """Synapses that an event reaches in the source's network, which has a maximum's convolution whole."""
    weights, pre, post = network.between(q)
    if isinstance(q.op, Candidate):
        return q.op.plain.fan_out(weights, pre, q.op.plain.shape(weights, pre))
    return q.op.fan_out(weights, pre, post)


def host_macs(spec: InputSpec) -> int:
    """Multiply-accumulates the host does for one input array (0 without a host-computed layer)."""
    host = spec.host
    if host is None:
        return 0
    return int(host.op.fan_out(host.weights, spec.shape, host.out_shape).sum())


def float_operations(artifact: Artifact, events: Mapping[str, Array], samples: int, static: bool) -> Operations:
    """Operations of the float spiking network, mean per sample.

    ACs: every event of a binary population times the stored synapses it reaches. MACs: the dense layer behind an
    analog input (directly encoded values), once a sample where the input is the same at every step, else once a
    step; and every graded event times its synapses. Relays are the chip's way to hand on spikes, not the network's:
    their readers are charged for the spikes that a relay adds up, so that no mapping choice changes the figure.

    Args:
        events: population -> non-zero values of every neuron, summed over samples and steps; all spiking or
            relaying populations of `artifact.reference`, and its inputs unless they are directly encoded.
        static: whether inputs are the same at every step.
    """
    network = artifact.reference
    analog = {p.name for p in network.inputs} if artifact.deployment.encoding == "direct" else set()
    handed = _handed_on(artifact, events)
    acs = macs = 0.0
    for q in network.projections:
        if network[q.post].kind is Kind.RELAY or isinstance(q.op, Lift):
            continue
        if q.pre in analog:
            macs += _dense(network, q) * (1 if static else network.steps) * samples
            continue
        reached = _fan_out(network, q).ravel()
        plain, graded = handed[q.pre].reshape(2, -1) @ reached
        acs, macs = acs + float(plain), macs + float(graded)
    return Operations(acs / samples, macs / samples)


def _handed_on(artifact: Artifact, events: Mapping[str, Array]) -> dict[str, Array]:
    """Plain and graded events by population, float64 (2, ...); a relay stands for the events that it adds up."""
    network = artifact.reference
    found: dict[str, Array] = {}
    for p in network.populations:
        if p.neuron is not None and isinstance(p.model, FloatRelu):
            continue  # differences of currents, which the source never sends
        if p.kind is Kind.RELAY:
            found[p.name] = np.sum([_passed(network, q, found[q.pre]) for q in network.into(p.name)], axis=0)
        elif p.name in events:
            sent = np.asarray(events[p.name], np.float64)
            silent = np.zeros_like(sent)
            found[p.name] = np.stack((sent, silent) if _binary(artifact, p.name) else (silent, sent))
    return found


def _passed(network: Network[Any], q: Projection, events: Array) -> Array:
    """Sums over a projection, in float64: whole numbers below 2**53 stay exact."""
    import torch

    pre, post = network[q.pre].shape, network[q.post].shape
    weight = q.op.tensor(network.weights, pre, post, torch.float64)
    return np.asarray(q.op.product(weight, torch.from_numpy(events.reshape(2, *pre)), post).numpy())


def _binary(artifact: Artifact, name: str) -> bool:
    """Whether events carry nothing but 1, by the declared payload of the integer network.

    An input that the integer network lacks is read by layers on the host: the range of its values is in their specs.
    """
    found = artifact.network.by_name.get(name)
    ranges = [found.payload] if found else [(s.low, s.high) for s in artifact.inputs if s.host is not None]
    return all(low >= 0 and high <= 1 for low, high in ranges)
