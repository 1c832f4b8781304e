"""Relays of a maximum of currents in integers: they follow from the neuron that they lift, and are exact.

The neuron is quantised as if it read the anchors alone, whose ranges are those of the maxima; so all its relays have
its scale, channel by channel, its integer weights, and units of one power of two. Nothing of them is rounded again: a
bias and the mean that rounding changed enter at the neuron only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from snnhw.errors import QuantizeError
from snnhw.lowering.maxima import MINUS, TURNED
from snnhw.network import Array, Comparison, FloatNeuron, IntNeuron, Kind, Network, Population, Projection
from snnhw.neurons.relu import FloatRelu
from snnhw.operators.candidate import Candidate, Lift
from snnhw.quantize.bounds import Bound, arriving_range, bound
from snnhw.quantize.formats import Formats
from snnhw.rationale import Effect, Reason

Integers = Network[IntNeuron]

STRAIGHT = ".straight"
"""Ending of the name of weights that reach the neuron turned, as the relays have them."""


@dataclass
class Relays:
    """What lifts one population's anchors, as lowering made it: relays in order, and all projections of theirs."""

    populations: list[Population[FloatNeuron]] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)


def without_relays(network: Network[FloatNeuron]) -> tuple[Network[FloatNeuron], dict[str, Relays]]:
    """The network whose neurons read anchors alone, and by neuron what lifts them to the maximum."""
    lifted: dict[str, str] = {}  # relay -> neuron
    for p in reversed(network.computed):
        if isinstance(p.model, FloatRelu):
            lifted[p.name] = next(lifted.get(q.post, q.post) for q in network.out_of(p.name))
    found: dict[str, Relays] = {}
    for p in network.populations:
        if p.name in lifted:
            found.setdefault(lifted[p.name], Relays()).populations.append(p)
    kept = []
    for q in network.projections:
        if q.post in lifted or q.pre in lifted:
            found[lifted.get(q.post, q.post)].projections.append(q)
        else:
            kept.append(q)
    populations = tuple(p for p in network.populations if p.name not in lifted)
    return replace(network, populations=populations, projections=tuple(kept)), found


def require_one_step(formats: Formats, where: str) -> None:
    """Refuse machines on which a difference cannot be handed on as it is."""
    n = formats.numeric
    if formats.step != 1 or str(Comparison.GE) not in n.comparisons or formats.dv_max < formats.decay_one:
        raise QuantizeError(
            "unsupported-neuron",
            "the target cannot hand on differences of currents as they are",
            where=where,
            needed="weights of 1, membranes without memory, and >=",
            limit=f"weights in steps of {formats.step}, {', '.join(n.comparisons)}",
            hint="put the neuron before the pool, or --approximate pool-after-spikes",
        )


@dataclass
class Lifted:
    """Integer relays of one neuron.

    Args:
        relays: in reals.
        anchors: what reaches the neuron, in integers, beside the same in reals.
        weights: of the integer network so far.
    """

    relays: Relays
    anchors: Sequence[tuple[Projection, Projection]]
    network: Network[FloatNeuron]
    weights: Mapping[str, Array]
    formats: Formats

    def __post_init__(self) -> None:
        self.unit = min(have.weight_exp for have, want in self.anchors if isinstance(want.op, Candidate))
        self.made: dict[str, Array] = {}
        self.projections = [self._projection(q) for q in self.relays.projections]

    def _projection(self, q: Projection) -> Projection:
        if isinstance(q.op, Lift):
            own = any(q.post == p.name for p in self.relays.populations)
            self.made[q.op.weight] = np.asarray(np.rint(self.network.array(q.op)), np.int32)
            return replace(q, weight_exp=0 if own else self.unit)
        assert isinstance(q.op, Candidate)
        source = q.op.weight.removesuffix(MINUS)
        have, turned = next(
            (have, want.op.weight.endswith(TURNED))
            for have, want in self.anchors
            if isinstance(want.op, Candidate) and want.op.weight.removesuffix(TURNED) == source and want.pre == q.pre
        )
        label = have.op.weight
        name, values = label, self.weights[label]
        if turned:
            straight, other = self.network.weights[source], self.network.weights[source + TURNED]
            same = (straight == other).reshape(len(other), -1).all(axis=1)
            name, values = label + STRAIGHT, values * np.where(same, 1, -1).reshape(-1, *(1 for _ in values.shape[1:]))
        if q.op.weight != source:
            name, values = label + MINUS, -values
        if name != label:
            self.made[name] = np.asarray(values, np.int32)
        return replace(q, op=replace(q.op, weight=name), weight_exp=have.weight_exp - self.unit)

    def populations(self, so_far: Integers) -> tuple[list[Population[IntNeuron]], list[Bound], list[Reason]]:
        """The relays, each with what it can send, and why none of it is lost.

        Raises:
            QuantizeError 'payload-range': a difference of currents may be more than an event can carry.
        """
        made: list[Population[IntNeuron]] = []
        bounds, reasons = [], []
        shift, one = self.formats.act_shifts[-1], self.formats.decay_one
        for p in self.relays.populations:
            known = replace(so_far, populations=(*so_far.populations, *made, _shell(p)))
            low, high = arriving_range(known, known[p.name])
            most = max(int(high.max()), 1)
            neuron = IntNeuron(
                dv=one,
                vth=np.asarray(1 << shift, np.int64),
                bias=np.asarray(0, np.int64),
                du=one,
                act_shift=shift,
                comparison=Comparison.GE,
                max_spikes=most,
            )
            limit = bound(p.name, Kind.RELAY, neuron, low, high, so_far.steps, self.formats.widths)
            if not limit.proven or most > self.formats.payload:
                raise QuantizeError(
                    "payload-range",
                    "a difference of currents may be more than an event can carry",
                    where=p.name,
                    needed=f"{most}",
                    limit=f"{min(self.formats.payload, self.formats.state_max >> shift)}",
                    hint="fewer bits for the layer in front (--weight-bits), or --approximate pool-after-spikes",
                )
            made.append(replace(p, neuron=neuron, payload=(0, most)))  # type: ignore[arg-type]
            bounds.append(limit)
            text = f"all that a difference of currents is proven to reach; sent as {most.bit_length()} bits"
            reasons.append(Reason(p.name, "max_spikes", most, "unlimited", Effect.LOSSLESS, text))
        return made, bounds, reasons


def _shell(p: Population[FloatNeuron]) -> Population[IntNeuron]:
    return replace(p, neuron=None, kind=Kind.INPUT)  # type: ignore[return-value]
