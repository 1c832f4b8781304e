"""Sums of spikes (SEW ADD): one projection per summand, or a relay that sends the sum as one graded spike.

Both give the same integers. k summands of N neurons cost every reader k N axons; a relay costs N neurons and the axons
of its members once, and every reader only N. A sum inside a longer sum is built once: relays feed relays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from snnhw.lowering.schedule import RELAY_WEIGHT, relay_model
from snnhw.network import Diagonal, FloatNeuron, Kind, LinearOp, Network, Population, Projection
from snnhw.rationale import Effect, Reason


class Sums(StrEnum):
    """How sums of spikes reach their readers."""

    CHEAPEST = "cheapest"
    SUMMANDS = "summands"  # one projection per summand
    RELAYS = "relays"  # graded relays, where the target has graded spikes


Members = frozenset[str]
"""Populations that a sum adds up; also what names a relay until it has a name."""


@dataclass(frozen=True)
class Plan:
    """Relays of one family of nested sums in the order in which they are built: what each adds up.

    Args:
        relays: a sum's members -> its parts: single populations, and at most one shorter sum.
        readers: a sum's members -> how many projections read it.
        size: neurons of each summand.
    """

    relays: dict[Members, tuple[Members, ...]]
    readers: dict[Members, int]
    size: int

    @property
    def summands_cost(self) -> int:
        """Axons of readers that take every summand."""
        return sum(len(members) * count for members, count in self.readers.items()) * self.size

    @property
    def relays_cost(self) -> int:
        """Axons of readers and relays, and the relays' neurons."""
        built = sum(len(parts) + 1 for parts in self.relays.values())
        return (sum(self.readers.values()) + built) * self.size


def share_sums(network: Network[FloatNeuron], payload: int, sums: Sums) -> Network[FloatNeuron]:
    """The network with graded relays where they are cheaper (or wished for); populations stay in topological order.

    Args:
        payload: largest value of a graded spike of the target; 1 where there are none.
    """
    order = {population.name: i for i, population in enumerate(network.populations)}
    readers = _readers(network)
    relays: dict[Members, tuple[Members, ...]] = {}
    rows = []
    for family in _families(list(readers)):
        plan = _plan(network, family, {members: len(readers[members]) for members in family})
        possible = max(map(len, family)) <= payload
        cheaper = plan.relays_cost < plan.summands_cost
        graded = possible and (sums is Sums.RELAYS or (sums is Sums.CHEAPEST and cheaper))
        rows.append(_reason(plan, order, graded, possible, sums))
        relays |= plan.relays if graded else {}
    notes = replace(network.notes, reasons=(*network.notes.reasons, *rows))
    rebuilt = _rebuilt(network, order, readers, relays) if relays else network
    return replace(rebuilt, notes=notes)


def _readers(network: Network[FloatNeuron]) -> dict[Members, list[list[Projection]]]:
    """Sums of at least two spiking populations of one shape -> the groups of projections that read them."""
    found: dict[Members, list[list[Projection]]] = defaultdict(list)
    loop = {name: names for names in network.components for name in names}
    for population in network.computed:
        groups: dict[tuple[LinearOp, int, tuple[int, ...]], list[Projection]] = defaultdict(list)
        for projection in network.into(population.name):
            pre = network[projection.pre]
            single = pre.kind in (Kind.NEURON, Kind.GATE) and pre.model.max_spikes == 1
            returns = pre.name in loop[population.name]  # a relay in a loop would cost a step that is not there
            if single and not returns and not projection.op.injects:
                groups[projection.op, projection.lag, pre.shape].append(projection)
        for group in groups.values():
            members = Members(projection.pre for projection in group)
            logic = population.kind is Kind.GATE and len(members) == 2  # AND, IAND: nothing to share
            if len(members) == len(group) > 1 and not logic:
                found[members].append(group)
    return dict(found)


def _families(sums: list[Members]) -> list[list[Members]]:
    """Sums that share members, shortest first; the order of first appearance else."""
    families: list[list[Members]] = []
    for members in sums:
        near = [family for family in families if any(members & other for other in family)]
        families = [family for family in families if family not in near]
        families.append([other for family in near for other in family] + [members])
    return [sorted(family, key=len) for family in families]


def _plan(network: Network[FloatNeuron], family: list[Members], readers: dict[Members, int]) -> Plan:
    relays: dict[Members, tuple[Members, ...]] = {}
    for members in family:
        inside = max((other for other in relays if other < members), key=len, default=Members())
        singles = tuple(Members((name,)) for name in sorted(members - inside))
        relays[members] = ((inside,) if inside else ()) + singles
    return Plan(relays, readers, network[next(iter(family[0]))].size)


def _reason(plan: Plan, order: Mapping[str, int], graded: bool, possible: bool, sums: Sums) -> Reason:
    longest = max(plan.relays, key=len)
    cost = f"{plan.relays_cost} axons and neurons with graded relays, {plan.summands_cost} with every summand"
    if not possible:
        cost = f"the target has no graded spikes up to {len(longest)}"
    elif sums is not Sums.CHEAPEST:
        cost = "as asked for; " + cost
    return Reason(
        population=max(longest, key=order.__getitem__),
        parameter="sum",
        integer="graded relays" if graded else "a projection per summand",
        real=f"sums of up to {len(longest)} spike trains, read {sum(plan.readers.values())} times",
        kind=Effect.CHOSEN,
        text=cost,
    )


def _rebuilt(
    network: Network[FloatNeuron],
    order: Mapping[str, int],
    readers: Mapping[Members, list[list[Projection]]],
    relays: Mapping[Members, tuple[Members, ...]],
) -> Network[FloatNeuron]:
    """The network with these relays behind their last members."""
    names: dict[Members, str] = {}
    behind: dict[str, list[Population[FloatNeuron]]] = defaultdict(list)
    made: list[Projection] = []
    for members, parts in relays.items():
        last = max(members, key=order.__getitem__)
        again = len(behind[last])
        name = f"{last}.sum" + (str(again + 1) if again else "")
        names[members] = name
        model = relay_model(len(members))
        behind[last].append(Population(name, network[last].shape, Kind.RELAY, model, payload=(0, len(members))))
        for part in parts:
            pre = names[part] if part in names else next(iter(part))
            made.append(Projection(f"{pre}->{name}", pre, name, Diagonal(RELAY_WEIGHT)))
    instead = {
        projection.name: replace(group[0], name=f"{names[members]}->{group[0].name}", pre=names[members])
        if projection is group[0]
        else None
        for members in relays
        for group in readers[members]
        for projection in group
    }
    kept = [instead.get(projection.name, projection) for projection in network.projections]
    populations = [p for head in network.populations for p in (head, *behind[head.name])]
    return replace(
        network,
        populations=tuple(populations),
        projections=(*(projection for projection in kept if projection is not None), *made),
        weights={**network.weights, RELAY_WEIGHT: np.ones(())},
    )
