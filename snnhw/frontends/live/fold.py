"""Steps laid over each other: from what each node reads at each step to a graph whose edges have lags.

A lag of 1 is a value of the step before. Steps must do the same, but for what does not exist yet at the first of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import MEMBRANE, OUT
from snnhw.frontends.live.arithmetic import Product, Same, Side
from snnhw.frontends.live.reader import Node, Reader
from snnhw.frontends.live.runs import Decided
from snnhw.frontends.live.values import INPUT, STATIC, WHOLE, Ending, Step, Sum, Term
from snnhw.frontends.own import LinearNode
from snnhw.readout import LAST, Window
from snnhw.readout import WHOLE as ALL

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
        shown: how the run made its output of what the ends show at every step.
        told: neuron written out in forward -> the comparison that it was told from, and whether that is the opposite of
            its spikes.
        decided: neuron written out in forward -> where a run shows its spikes.
    """

    nodes: dict[str, Node]
    edges: dict[str, Edges]
    ends: Edges
    read: dict[str, str]
    shown: Shown
    told: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    decided: Mapping[str, Decided] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """What forward makes of the output's steps.

    Args:
        over: '' (it returns them) or 'sum', 'mean', 'max'.
        window: the steps that it takes.
        gain: factor > 0 of all of it.
        groups, interleaved: of a population code, see `semantics.Deployment`.
        kept: it shows membranes of neurons that spike.
        ending: the function it ends with, which is left out.
    """

    over: str = ""
    window: Window = ALL
    gain: float = 1.0
    groups: int = 0
    interleaved: bool = False
    kept: bool = False
    ending: Ending | None = None


def fold(reader: Reader, output: Sum, steps: int, more: bool = False) -> Folded:
    """The graph of a run of `steps` steps; raises SourceError where steps differ.

    Args:
        more: the network runs longer: what reaches back to the first step may go on growing.
    """
    ends, shown = _without_votes(*_ends(output, steps, reader), reader)
    laid = _Steps(reader.nodes, steps, ends)
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
        edges[name], ports = laid.edges(name)
        oldest = max((lag for _, lag in edges[name]), default=0)
        if more and oldest >= steps - 1 > 0:
            raise differ(
                name, f"it reads values of {oldest} steps before", f"values of at most {steps - 2} steps before"
            )
        waiting += ports
    both = sorted(name for name, ports in read.items() if len(ports) > 1)
    last = {term.node for term in ends if term.port == MEMBRANE}
    if both and (len(last) > 1 or len(ends) > 1 or set(both) != last):
        raise SourceError(
            "membrane-and-spikes",
            "the network reads both the spikes and the membrane of a layer",
            where=", ".join(both),
            limit="its spikes, or, of a layer that never resets, its membrane",
            hint="return the spikes only",
        )
    order = {name: node for name, node in reader.nodes.items() if name in nodes}
    ports_of = {name: next(iter(found)) for name, found in read.items()}
    kept = [name for name in last if name in both or _resets(name, nodes[name])]
    if kept and len(ends) == 1:
        ports_of |= dict.fromkeys(kept, OUT)
        shown = replace(shown, kept=True)
    return Folded(order, edges, Counter((term.node, 0) for term in ends), ports_of, shown)


def _resets(name: str, node: Node) -> bool:
    """Whether a leaf whose membrane is read spikes all the same, and its membrane is what it keeps of that."""
    try:
        node.cell(name, MEMBRANE)
    except SourceError as error:
        if error.code != "unsupported-neuron" or not node.keeps:
            raise
        return True
    return False


def _without_votes(ends: list[Term], shown: Shown, reader: Reader) -> tuple[list[Term], Shown]:
    """Sums of groups of outputs that come last are the host's: the network ends in front of them."""
    votes = reader.votes.get(ends[0].node)
    if len(ends) != 1 or votes is None or shown.over == "max" or shown.groups:
        return ends, shown
    calls = reader.nodes[ends[0].node].calls
    sources = {(term.node, term.port) for terms in calls.values() for term in terms}
    late = any(len(terms) != 1 or terms[0].step not in (step, STATIC) for step, terms in calls.items())
    if late or len(sources) != 1 or INPUT in next(iter(sources)):
        return ends, shown
    ((node, port),) = sources
    gain = shown.gain * votes.factor
    shown = replace(shown, groups=votes.groups, interleaved=votes.interleaved, gain=gain)
    return [Term(node, WHOLE, port)], shown


def _ends(output: Sum, steps: int, reader: Reader) -> tuple[list[Term], Shown]:
    """What the output shows at each step, and what is made of them."""
    shown = Shown(output.reduced, output.window, output.factor, output.groups, output.interleaved, False, output.ending)
    if not output.terms:
        raise SourceError("no-value", "what forward returns does not depend on the input", where="forward")
    loose = [term for term in output.terms if isinstance(term.step, int)]
    if not loose:
        return list(output.terms), shown
    found: dict[tuple[str, str], list[int]] = {}
    for term in loose:
        found.setdefault((term.node, term.port), []).append(int(term.step))
    whole = [list(range(start, start + steps)) for start in (0, -1)]
    if all(sorted(at) in whole for at in found.values()) and len(loose) == len(output.terms):
        return [Term(node, WHOLE, port) for node, port in found], replace(shown, over=shown.over or "sum")
    first, last = min(next(iter(found.values()))), max(next(iter(found.values())))
    gaps = any(sorted(at) != list(range(first, last + 1)) for at in found.values())
    once = any(name in reader.nodes and len(reader.nodes[name].calls) == 1 < steps for name, _ in found)
    if len(loose) < len(output.terms) or gaps or first < 0 or (first == last and (once or last < steps - 1)):
        raise SourceError(
            "not-all-steps",
            "forward returns some steps of a value, not all of them",
            where=", ".join(sorted({term.node for term in loose})),
            needed=f"steps {sorted(next(iter(found.values())))}",
            limit=f"all {steps} steps or one part of them, stacked or summed",
            hint="collect the output at each step",
        )
    window = LAST if first == last == steps - 1 else (first or None, None if last == steps - 1 else last + 1)
    return [Term(node, WHOLE, port) for node, port in found], replace(shown, over=shown.over or "sum", window=window)


class _Steps:
    """What nodes read at each step, told from the last step; the others must agree."""

    def __init__(self, nodes: Mapping[str, Node], steps: int, ends: Iterable[Term]) -> None:
        self.nodes, self.steps = nodes, steps
        self._used = self._reached(ends)
        self.shift = {name: int(-1 in self._terms(name)) for name in nodes}
        self.reads = cache(self._reads)

    def _reached(self, ends: Iterable[Term]) -> set[tuple[str, Step]]:
        """Calls that the output depends on."""
        waiting, found = list(ends), set[tuple[str, Step]]()
        while waiting:
            term = waiting.pop()
            calls = self.nodes[term.node].calls if term.node in self.nodes else {}
            steps = (
                [term.step]
                if term.step in calls
                else [s for s in calls if term.step == WHOLE or not isinstance(s, int)]
            )
            for step in steps:
                if (term.node, step) not in found:
                    found.add((term.node, step))
                    waiting += calls[step]
        return found

    def _terms(self, name: str) -> dict[Step, tuple[Term, ...]]:
        """What a node reads at each call that matters; all of a leaf's do."""
        node = self.nodes[name]
        calls = node.calls.items()
        return {step: terms for step, terms in calls if node.layer is not None or (name, step) in self._used}

    def edges(self, name: str) -> tuple[Edges, list[tuple[str, str]]]:
        """What a node reads, and the ports of that."""
        found = self.calls(name)
        numbers = sorted(step for step in found if isinstance(step, int))
        if not set(found) <= {WHOLE, STATIC}:
            needed = range(self.steps) if self.nodes[name].layer is not None else range(numbers[0], numbers[-1] + 1)
            if numbers != list(needed) or len(numbers) < len(found):
                raise differ(name, f"it runs at the steps {sorted(map(str, found))}", f"all of 0 to {self.steps - 1}")
        last = self.reads(name)
        for step, edges in found.items():
            there = self._then(last, step) if isinstance(step, int) else last
            if edges != there:
                raise differ(name, f"it reads {_told(edges)} at step {step}", f"{_told(there)}, as at the last step")
        if any(lag < 0 for _, lag in last):
            raise differ(name, "it reads values of a later step", "values of this step and before")
        final = self._terms(name)
        return last, [(term.node, term.port) for term in final[max(final, key=_order)]]

    def calls(self, name: str) -> dict[Step, Edges]:
        """Step -> what a node reads then."""
        moved = {_moved(step, self.shift[name]): terms for step, terms in self._terms(name).items()}
        return {step: _relative(step, terms, self.shift) for step, terms in moved.items()}

    def _reads(self, name: str) -> Edges:
        found = self.calls(name)
        return found[max(found, key=_order)]

    def _zero(self, name: str, step: int) -> bool:
        """Whether a node gives nothing at a step at which it was not called, because what it reads is not there yet."""
        node = self.nodes[name].node
        if isinstance(node, Product):
            return any(self._zero(side, step - lag) for side, lag in self.reads(name) if step not in self.calls(side))
        return isinstance(node, (nir.Scale, Side)) and not self._then(self.reads(name), step)

    def _then(self, edges: Edges, step: int) -> Edges:
        """What these edges bring at a step: nothing from before the first one, and a sum that was not made yet is
        what it would sum up."""
        found: Edges = Counter()
        for (name, lag), count in edges.items():
            node = self.nodes.get(name)
            first = 0
            if node is not None and node.layer is None:
                first = min((s + self.shift[name] for s in self._terms(name) if isinstance(s, int)), default=0)
                if isinstance(node.node, Same) and node.calls.get(step - lag - self.shift[name]) == ():
                    continue
            if node is None or step - lag >= first or step < lag:
                found[name, lag] += count if step >= lag else 0
                continue
            missing = self._then(self.reads(name), step - lag)
            if isinstance(node.node, Same):
                for (before, more), times in missing.items():
                    found[before, lag + more] += count * times
            elif not self._zero(name, step - lag):
                found[name, lag] += count
        return +found


def _order(step: Step) -> float:
    """Of steps; what is not of one comes last."""
    return step if isinstance(step, int) else float("inf")


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
    return replace(folded, nodes=nodes, edges=edges, ends=ends)


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
    if isinstance(norm, (nir.Conv1d, nir.Conv2d)):
        moves = np.any(np.asarray(norm.stride) != 1) or np.any(norm.padding)
        if moves or norm.weight[0].size != 1 or norm.groups != len(norm.weight):
            return None
        return norm.weight.reshape(-1), np.asarray(norm.bias)
    if isinstance(norm, nir.Affine) and norm.weight.shape[0] == norm.weight.shape[1]:
        gain = np.diagonal(norm.weight)
        return (gain, np.asarray(norm.bias)) if (np.diag(gain) == norm.weight).all() else None
    return (np.asarray(norm.scale), np.zeros(len(norm.scale))) if _flat_scale(norm) else None


def _flat_scale(norm: nir.NIRNode) -> bool:
    return isinstance(norm, nir.Scale) and np.ndim(norm.scale) == 1
