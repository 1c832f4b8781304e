"""Reading a NIR graph: order, loops, neighbours, and which nodes compute what."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from math import prod
from typing import Any, TypeVar

import nir
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from snnhw.errors import SourceError
from snnhw.frontends.own import LinearNode, MaxNode, NeuronNode
from snnhw.network import Array, Part, Shape
from snnhw.readout import Rule

MEMBRANES = (nir.IF, nir.LIF, nir.CubaLIF)
"""NIR's nodes with a membrane that fires."""

NEURONS = (*MEMBRANES, nir.Threshold, NeuronNode)
"""Nodes that spike; a Threshold has no memory: it is a gate."""

FILTERS = (nir.I, nir.LI)
"""Nodes that become the synaptic current of the one neuron they feed, or are read at an output."""

READOUTS = (*FILTERS, nir.CubaLI)
"""Nodes whose membrane an output shows."""

LINEAR = (
    nir.Affine,
    nir.Linear,
    nir.Conv1d,
    nir.Conv2d,
    nir.AvgPool2d,
    nir.SumPool2d,
    nir.Flatten,
    nir.Scale,
    nir.Delay,
    LinearNode,
    MaxNode,
)
"""Nodes without state between neurons; a Delay shifts in time, a MaxNode is the one that is not linear."""

KNOWN = (*NEURONS, *READOUTS, *LINEAR)
"""All nodes that are read, but Input and Output."""

Edge = tuple[str, str]
T = TypeVar("T", str, tuple[str, ...])


@dataclass(frozen=True)
class Flow:
    """The order in which nodes are computed within one step.

    Args:
        groups: node names, each after what it reads in the same step; the nodes of a loop are one group.
        feedback: edges that carry the value of the step before, without any Delay: a loop's way back.
    """

    groups: tuple[tuple[str, ...], ...]
    feedback: frozenset[Edge]

    @property
    def order(self) -> tuple[str, ...]:
        """All names."""
        return tuple(name for group in self.groups for name in group)


def predecessors(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """Node name -> names of the nodes whose outputs it sums, in a stable order."""
    found: dict[str, list[str]] = defaultdict(list)
    for pre, post in sorted(set(graph.edges)):
        found[post].append(pre)
    return {name: found.get(name, []) for name in graph.nodes}


def flow(graph: nir.NIRGraph) -> Flow:
    """Order and feedback of a graph; raises SourceError for loops that have no meaning.

    A loop goes back where it was entered: an edge into its one entry carries the spikes of the step before, unless a
    Delay of a step or more is on the way already.
    """
    before = {name: set(names) for name, names in predecessors(graph).items()}
    found = loops(before)
    _require_neurons(graph, before)
    cut = {
        (pre, post)
        for loop in found
        for post in loop
        for pre in before[post] & set(loop)
        if isinstance(graph.nodes[pre], nir.Delay) and (np.asarray(graph.nodes[pre].delay) > 0).all()
    }
    feedback = _feedback(_without(before, cut))
    within_step = _without(before, cut | feedback)
    group = {name: loop for loop in found for name in loop}
    entries = {name: group.get(name, (name,)) for name in before}
    between = {entries[name]: set[tuple[str, ...]]() for name in sorted(before)}
    for name, pres in before.items():
        between[entries[name]] |= {entries[pre] for pre in pres} - {entries[name]}
    place = {name: i for i, name in enumerate(_sorted(within_step))}
    groups = (tuple(sorted(names, key=place.__getitem__)) for names in _sorted(between))
    return Flow(tuple(groups), frozenset(feedback))


def _sorted(before: Mapping[T, Iterable[T]]) -> list[T]:
    """Stable: neither the order of sets nor that of edges shows."""
    return list(TopologicalSorter({name: sorted(before[name]) for name in sorted(before)}).static_order())


def _without(before: Mapping[str, set[str]], edges: Iterable[Edge]) -> dict[str, set[str]]:
    gone = set(edges)
    return {post: {pre for pre in pres if (pre, post) not in gone} for post, pres in before.items()}


def loops(before: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """Strongly connected nodes, of loops only, in a stable order (Tarjan 1972 by scipy)."""
    names = sorted(before)
    place = {name: i for i, name in enumerate(names)}
    edges = [(place[pre], place[post]) for post in names for pre in before[post]]
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    matrix = csr_matrix((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(matrix, connection="strong")
    members: dict[int, list[str]] = defaultdict(list)
    for name in names:
        members[int(label[place[name]])].append(name)
    return [tuple(group) for group in members.values() if len(group) > 1 or group[0] in before[group[0]]]


def _feedback(before: dict[str, set[str]]) -> set[Edge]:
    """Edges that lead back to the one node through which a loop is entered, loops inside of loops included."""
    found: set[Edge] = set()
    for loop in loops(before):
        inside = set(loop)
        entries = [name for name in loop if before[name] - inside]
        if len(entries) != 1:
            raise SourceError(
                "ambiguous-loop",
                f"a loop is entered at {len(entries)} nodes: which edge feeds back is not said"
                if entries
                else "nothing feeds a loop of nodes",
                where=", ".join(entries or loop),
                limit="one node with edges from outside the loop",
                hint="put a Delay node of one step on the edge that feeds back",
            )
        back = {(pre, entries[0]) for pre in before[entries[0]] & inside}
        rest = {name: (before[name] & inside) - {pre for pre, post in back if post == name} for name in loop}
        outer = {name: pres | ({_OUTSIDE} if before[name] - inside else set()) for name, pres in rest.items()}
        found |= back | _feedback_inside(outer)
    return found


_OUTSIDE = "\0outside"


def _feedback_inside(before: dict[str, set[str]]) -> set[Edge]:
    """Loops that are left when a loop's way back is gone; the outer loop's nodes are their outside."""
    return _feedback({**before, _OUTSIDE: set()})


def _require_neurons(graph: nir.NIRGraph, before: Mapping[str, set[str]]) -> None:
    """Every loop has a neuron in it."""
    stateless = {name for name in before if not isinstance(graph.nodes[name], NEURONS)}
    for loop in loops({name: before[name] & stateless for name in stateless}):
        raise SourceError(
            "loop-without-neuron",
            "a loop of nodes without a neuron in it has no defined value",
            where=" -> ".join(loop),
            limit="at least one of " + ", ".join(kind.__name__ for kind in NEURONS[:-1]) + " in every loop",
            hint="remove the feedback edge",
        )


def unknown_node(where: str, kind: str) -> SourceError:
    """The refusal of a node that we do not read."""
    return SourceError(
        "unknown-node",
        f"nodes of type {kind} are not supported",
        where=where,
        limit=", ".join(sorted(known.__name__ for known in KNOWN if known not in (LinearNode, NeuronNode, MaxNode))),
        hint="replace the node by supported ones",
    )


def validate(graph: nir.NIRGraph) -> None:
    """What `nir.read` does not check: known nodes, parameters that mean something, and every node on a way through."""
    for name, node in sorted(graph.nodes.items()):
        if not isinstance(node, (*KNOWN, nir.Input, nir.Output)):
            raise unknown_node(name, type(node).__name__)
        _finite(name, node)
        _parameters(name, node)
        if isinstance(node, (nir.Affine, nir.Conv1d, nir.Conv2d)) and np.shape(node.bias) != (len(node.weight),):
            raise SourceError(
                "bad-shape",
                "the bias has another length than the weight has rows",
                where=f"{name}.bias",
                needed=(len(node.weight),),
                limit=f"got {np.shape(node.bias)}",
            )
    for kind in (nir.Input, nir.Output):
        if not any(isinstance(node, kind) for node in graph.nodes.values()):
            raise SourceError(
                "inputs-outputs",
                f"the graph has no {kind.__name__} node",
                limit="at least one",
                hint="export the inputs and the outputs that are read",
            )
    _edges(graph)
    _membranes(graph)
    _reachable(graph)


def first(wrong: Array) -> str:
    """The first element of which it is true, as an index: '[3]', '[0, 2]'; '' where it is true of all or none."""
    return str([int(i) for i in np.argwhere(wrong)[0]]) if np.any(wrong) and not np.all(wrong) else ""


def not_positive(name: str, field: str, value: Array) -> SourceError:
    """The refusal of time constants of which one is zero or less."""
    return SourceError(
        "bad-parameter",
        "a time constant is not positive",
        where=f"{name}.{field}{first(value <= 0)}",
        limit=f"{field} > 0",
    )


def _parameters(name: str, node: nir.NIRNode) -> None:
    """Positive time constants, and thresholds that a reset membrane is below of."""
    for field in ("tau", "tau_syn", "tau_mem"):
        value = np.asarray(getattr(node, field, 1.0))
        if (value <= 0).any():
            raise not_positive(name, field, value)
    for field, values in node.parameters.items() if isinstance(node, NeuronNode) else ():
        _finite_values(name, field, values)
    if isinstance(node, MEMBRANES):
        below = np.asarray(node.v_threshold) < np.asarray(node.v_reset)
        if below.any():
            raise SourceError(
                "bad-parameter",
                "a threshold is below the value that the membrane is reset to",
                where=f"{name}.v_threshold{first(below)}",
                needed=f"{np.min(node.v_threshold):g}",
                limit=f"v_reset = {np.max(node.v_reset):g} or more",
                hint="such a neuron fires for ever: repair the checkpoint",
            )


def _reachable(graph: nir.NIRGraph) -> None:
    """Every node can be reached from an input and reaches an output."""
    pairs = sorted(set(graph.edges))
    for kind, edges, what in (
        (nir.Input, pairs, "no way leads from an input to the node"),
        (nir.Output, [(post, pre) for pre, post in pairs], "no way leads from the node to an output"),
    ):
        after: dict[str, list[str]] = defaultdict(list)
        for pre, post in edges:
            after[pre].append(post)
        found = {name for name, node in graph.nodes.items() if isinstance(node, kind)}
        new = list(found)
        while new:
            new = [post for pre in new for post in after[pre] if post not in found]
            found.update(new)
        lost = sorted(set(graph.nodes) - found)
        if lost:
            raise SourceError("unreachable", what, where=", ".join(lost), hint="remove the node, or connect it")


def filter_of(graph: nir.NIRGraph, name: str) -> str | None:
    """The synaptic filter in front of a neuron node, if there is one."""
    before = predecessors(graph)[name]
    return before[0] if len(before) == 1 and isinstance(graph.nodes[before[0]], FILTERS) else None


def input_parts(graph: nir.NIRGraph) -> dict[str, tuple[Part | None, Shape]]:
    """Input nodes with their shapes and, where there are several, their parts of a flat sample (in name order)."""
    shapes = {
        name: tuple(int(n) for n in np.asarray(node.input_type["input"]).ravel())
        for name, node in sorted(graph.nodes.items())
        if isinstance(node, nir.Input)
    }
    ends = list(itertools.accumulate((prod(shape) for shape in shapes.values()), initial=0))
    if len(shapes) == 1:
        return {name: (None, shape) for name, shape in shapes.items()}
    parts = zip(shapes.items(), itertools.pairwise(ends), strict=True)
    return {name: ((*part, ends[-1]), shape) for (name, shape), part in parts}


def outputs(graph: nir.NIRGraph) -> list[str]:
    """Names of the output nodes."""
    return sorted(name for name, node in graph.nodes.items() if isinstance(node, nir.Output))


def readout_of(graph: nir.NIRGraph, output: str | None = None) -> str:
    """What an output shows: 'rate' (spikes of one node), 'membrane' (of one node) or 'mean' (a linear layer).

    Args:
        output: the output's name; the first one if None.
    """
    ends = predecessors(graph)[output or outputs(graph)[0]]
    if len(ends) == 1 and isinstance(graph.nodes[ends[0]], NEURONS):
        return "rate"
    return "membrane" if len(ends) == 1 and isinstance(graph.nodes[ends[0]], READOUTS) else "mean"


def shows_fit(shows: str, rule: Rule) -> bool:
    """Whether a rule reads what an output shows (`readout_of`): neurons that spike have a membrane, too."""
    return rule.shows in ("", shows) or (shows, rule.shows) == ("rate", "membrane")


def is_readout(graph: nir.NIRGraph, name: str) -> bool:
    """Whether a node's membrane is what an output shows."""
    readers = [post for pre, post in graph.edges if pre == name]
    return isinstance(graph.nodes[name], READOUTS) and all(isinstance(graph.nodes[r], nir.Output) for r in readers)


def _membranes(graph: nir.NIRGraph) -> None:
    """Membranes and currents, which are no spikes, reach one neuron, as its current, or one output."""
    before = predecessors(graph)
    readers = Counter(pre for names in before.values() for pre in names)
    for name, names in before.items():
        for pre in names:
            node = graph.nodes[pre]
            if not isinstance(node, READOUTS):
                continue
            takes = (nir.IF, nir.LIF, nir.Threshold) if isinstance(node, FILTERS) else ()  # a CubaLIF has its own
            if len(names) > 1 or readers[pre] > 1 or not isinstance(graph.nodes[name], (*takes, nir.Output)):
                raise SourceError(
                    "filter-place",
                    f"a node of type {type(node).__name__} must feed one neuron or output and be its only input",
                    where=f"{pre} -> {name}",
                    limit=", ".join(kind.__name__ for kind in (*takes, nir.Output)),
                    hint="give every neuron its own filter, in front of all its inputs",
                )


_NUMBERS = (
    "weight",
    "bias",
    "tau",
    "tau_syn",
    "tau_mem",
    "r",
    "w_in",
    "v_leak",
    "v_reset",
    "v_threshold",
    "threshold",
    "scale",
    "delay",
)


def _finite(name: str, node: nir.NIRNode) -> None:
    for field in _NUMBERS:
        value = getattr(node, field, None)
        if value is not None:
            _finite_values(name, field, value)


def _finite_values(name: str, field: str, value: Any) -> None:
    bad = ~np.isfinite(np.asarray(value, np.float64))
    if bad.any():
        raise SourceError(
            "not-finite",
            f"{bad.sum()} values are NaN or infinite",
            where=f"{name}.{field}{first(bad)}",
            limit="finite numbers",
            hint="retrain or repair the checkpoint",
        )


def _edges(graph: nir.NIRGraph) -> None:
    before = predecessors(graph)
    for edge, count in Counter(graph.edges).items():
        if count > 1:
            raise SourceError(
                "bad-edge",
                f"the edge {edge[0]} -> {edge[1]} is there {count} times, which NIR does not define",
                where=edge[1],
                hint="multiply by a Scale node",
            )
    for pre, post in graph.edges:
        for end in (pre, post):
            if end not in graph.nodes:
                raise SourceError("bad-edge", f"the edge {pre} -> {post} names a node that does not exist", where=end)
    for name, node in graph.nodes.items():
        if not before[name] and not isinstance(node, nir.Input):
            raise SourceError(
                "no-input",
                "the node has no incoming edge",
                where=name,
                hint="exporters of other frameworks lose residual edges: compile the module or checkpoint instead",
            )
    read = {pre for pre, _ in graph.edges}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Output) == (name in read):
            what = "the output node feeds another node" if name in read else "nothing reads the node's output"
            raise SourceError("no-output", what, where=name, hint="remove the node, or connect it")
