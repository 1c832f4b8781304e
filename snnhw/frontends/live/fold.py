"""Steps laid over each other: from what each node reads at each step to a graph whose edges have lags.

A lag of 1 is a value of the step before. Steps must do the same, but for what does not exist yet at the first of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import OUT
from snnhw.frontends.live.reader import Node, Reader
from snnhw.frontends.live.values import INPUT, STATIC, WHOLE, Step, Sum, Term
from snnhw.frontends.own import LinearNode

Edges = Counter[tuple[str, int]]
"""(source, lag) -> how often it is summed."""


@dataclass(frozen=True)
class Folded:
    """A recurrent graph.

    Args:
        nodes: by name; those that the output depends on.
        edges: name -> what it reads.
        ends: what the output sums, all with lag 0.
        read: leaf -> OUT or MEMBRANE.
        reduced: '' or how the run summed its output up over time.
    """

    nodes: dict[str, Node]
    edges: dict[str, Edges]
    ends: Edges
    read: dict[str, str]
    reduced: str


def fold(reader: Reader, output: Sum, steps: int, more: bool = False) -> Folded:
    """The graph of a run of `steps` steps; raises SourceError where steps differ.

    Args:
        more: the network runs longer: what reaches back to the first step may go on growing.
    """
    ends, reduced = _ends(output, steps)
    shift = {name: int(-1 in node.calls) for name, node in reader.nodes.items()}
    nodes: dict[str, Node] = {}
    edges: dict[str, Edges] = {}
    read: dict[str, set[str]] = {}
    waiting = [(term.node, term.port) for term in ends]
    while waiting:
        name, port = waiting.pop()
        if name == INPUT:
            continue
        read.setdefault(name, set()).add(port)
        if name in nodes:
            continue
        nodes[name] = reader.nodes[name]
        edges[name], ports = _edges(name, nodes[name], steps, shift)
        oldest = max((lag for _, lag in edges[name]), default=0)
        if more and oldest >= steps - 1 > 0:
            raise differ(
                name, f"it reads values of {oldest} steps before", f"values of at most {steps - 2} steps before"
            )
        waiting += ports
    both = sorted(name for name, ports in read.items() if len(ports) > 1)
    if both:
        raise SourceError(
            "membrane-and-spikes",
            "the network reads both the spikes and the membrane of a layer",
            where=", ".join(both),
            limit="its spikes, or, of a layer that never resets, its membrane",
            hint="return the spikes only",
        )
    order = {name: node for name, node in reader.nodes.items() if name in nodes}
    ports_of = {name: next(iter(found)) for name, found in read.items()}
    return Folded(order, edges, Counter((term.node, 0) for term in ends), ports_of, reduced)


def _ends(output: Sum, steps: int) -> tuple[list[Term], str]:
    """What the output shows at each step, and how it is summed up over them."""
    if not output.terms:
        raise SourceError("no-value", "what forward returns does not depend on the input", where="forward")
    loose = [term for term in output.terms if isinstance(term.step, int)]
    if not loose:
        return list(output.terms), output.reduced
    found: dict[tuple[str, str], list[int]] = {}
    for term in loose:
        found.setdefault((term.node, term.port), []).append(int(term.step))
    if len(loose) < len(output.terms) or any(sorted(at) != list(range(steps)) for at in found.values()):
        raise SourceError(
            "not-all-steps",
            "forward returns some steps of a value, not all of them",
            where=", ".join(sorted({term.node for term in loose})),
            needed=f"steps {sorted(next(iter(found.values())))}",
            limit=f"all {steps} steps, stacked or summed",
            hint="collect the output at each step",
        )
    return [Term(node, WHOLE, port) for node, port in found], "sum"


def _edges(name: str, node: Node, steps: int, shift: dict[str, int]) -> tuple[Edges, list[tuple[str, str]]]:
    """What a node reads, and the ports of that; the last step says it, the others must agree."""
    calls = {_moved(step, shift[name]): terms for step, terms in node.calls.items()}
    if not set(calls) <= {WHOLE, STATIC} and set(calls) != set(range(steps)):
        raise differ(name, f"it runs at the steps {sorted(map(str, calls))}", f"all of 0 to {steps - 1}")
    found = {step: _relative(step, terms, shift) for step, terms in calls.items()}
    last = found[max(found, key=lambda step: step if isinstance(step, int) else steps)]
    for step, edges in found.items():
        there = Counter({edge: n for edge, n in last.items() if not isinstance(step, int) or edge[1] <= step})
        if edges != there:
            raise differ(name, f"it reads {_told(edges)} at step {step}", f"{_told(there)}, as at the last step")
    if any(lag < 0 for _, lag in last):
        raise differ(name, "it reads values of a later step", "values of this step and before")
    final = list(calls.values())[-1]
    return last, [(term.node, term.port) for term in final]


def _moved(step: Step, by: int) -> Step:
    return step + by if isinstance(step, int) else step


def _relative(step: Step, terms: tuple[Term, ...], shift: dict[str, int]) -> Edges:
    """Terms by how many steps late they are."""
    edges: Edges = Counter()
    for term in terms:
        at = _moved(term.step, shift.get(term.node, 0))
        edges[term.node, step - at if isinstance(step, int) and isinstance(at, int) else 0] += 1
    return edges


def _told(edges: Edges) -> str:
    return " + ".join(f"{node}[t-{lag}]" if lag else node for node, lag in sorted(edges)) or "nothing"


def differ(name: str, needed: str, limit: str) -> SourceError:
    """The refusal of a run whose steps do not do the same."""
    return SourceError(
        "steps-differ",
        "the steps of a run do not do the same",
        where=name,
        needed=needed,
        limit=limit,
        hint="treat all steps alike in forward",
    )


def norms_folded(folded: Folded) -> Folded:
    """Factors and biases per channel go into the convolution or linear layer before them that feeds nothing else."""
    nodes, edges, ends = dict(folded.nodes), dict(folded.edges), folded.ends
    for name in list(folded.nodes):
        norm = nodes[name].node
        ((only, lag), count), *more = edges[name].items() or [(("", 0), 0)]
        before = nodes[only].node if only in nodes else None
        readers = [post for post, pres in edges.items() if any(pre == only for pre, _ in pres)]
        if more or lag or count != 1 or len(readers) != 1 or (only, 0) in ends or folded.read.get(only) != OUT:
            continue
        merged = _merged(before, norm)
        if merged is None:
            continue
        nodes[only] = Node(nodes[name].shape, merged)
        edges = {post: _renamed(pres, name, only) for post, pres in edges.items() if post != name}
        ends = _renamed(ends, name, only)
        del nodes[name]
    return Folded(nodes, edges, ends, folded.read, folded.reduced)


def _renamed(edges: Edges, old: str, new: str) -> Edges:
    return Counter({((new if pre == old else pre), lag): count for (pre, lag), count in edges.items()})


def _merged(before: nir.NIRNode | None, norm: nir.NIRNode) -> nir.NIRNode | None:
    """norm behind before, as one node."""
    gain_bias = _per_channel(norm)
    if gain_bias is not None and isinstance(before, LinearNode):
        return before.scaled(*gain_bias, "BatchNorm")
    if gain_bias is None or not isinstance(before, (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)):
        return None
    gain, bias = gain_bias
    weight = before.weight * gain.reshape(-1, *[1] * (before.weight.ndim - 1))
    total = bias + gain * (0.0 if isinstance(before, nir.Linear) else before.bias)
    if isinstance(before, nir.Linear) and not total.any():
        return nir.Linear(weight)
    if isinstance(before, (nir.Affine, nir.Linear)):
        return nir.Affine(weight, total)
    return type(before)(
        before.input_shape, weight, before.stride, before.padding, before.dilation, before.groups, total
    )


def _per_channel(norm: nir.NIRNode) -> tuple[np.ndarray, np.ndarray] | None:
    """(gain, bias) of a node that `operations.channelwise` made; None of others."""
    if isinstance(norm, nir.Conv2d):
        moves = np.any(np.asarray(norm.stride) != 1) or np.any(norm.padding)
        if moves or norm.weight.shape[1:] != (1, 1, 1) or norm.groups != len(norm.weight):
            return None
        return norm.weight[:, 0, 0, 0], np.asarray(norm.bias)
    if isinstance(norm, nir.Affine) and norm.weight.shape[0] == norm.weight.shape[1]:
        gain = np.diagonal(norm.weight)
        return (gain, np.asarray(norm.bias)) if (np.diag(gain) == norm.weight).all() else None
    return (np.asarray(norm.scale), np.zeros(len(norm.scale))) if _flat_scale(norm) else None


def _flat_scale(norm: nir.NIRNode) -> bool:
    return isinstance(norm, nir.Scale) and np.ndim(norm.scale) == 1
