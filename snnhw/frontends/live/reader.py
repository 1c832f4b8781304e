"""From a recorded run to nodes, and for every step what each of them reads.

A linear node is called at the latest step that it reads (`Sum.label`), a leaf at its own count of calls. Nodes of
functions are named after the module whose forward called them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from functools import reduce
from math import prod
from typing import Any

import nir
import numpy as np
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.frontends.graph import NEURONS
from snnhw.frontends.live.adapter import MEMBRANE, OUT, Call, Cell, Other, Part, Shape
from snnhw.frontends.live.arithmetic import Op, Opaque, Same, Shift
from snnhw.frontends.live.recorder import Event, Function, LeafCall, node_name, path_of
from snnhw.frontends.live.values import (
    INPUT,
    LEAD,
    STATIC,
    TIME_LAST,
    WHOLE,
    Ending,
    Inverted,
    Overwritten,
    Refused,
    State,
    Step,
    Sum,
    Term,
    Unfilled,
    Value,
    added,
    over_time,
    refused_axes,
    stacked,
)
from snnhw.frontends.own import LinearNode
from snnhw.network import Array
from snnhw.operators.sparse import Sparse
from snnhw.readout import LAST
from snnhw.readout import WHOLE as ALL


@dataclass(frozen=True)
class Votes:
    """Sums of groups of features, times a factor > 0."""

    groups: int
    interleaved: bool
    factor: float


@dataclass
class Node:
    """A node, and the terms it reads at each step.

    Args:
        node: of a function; None of a leaf, whose nodes depend on what is read of it.
        shape: of its output, without batch and time.
        keeps: a leaf's membrane is what it has left after its reset.
    """

    shape: Shape
    node: Any = None
    layer: Any = None
    adapter: Any = None
    calls: dict[Step, tuple[Term, ...]] = field(default_factory=dict)
    keeps: bool = False

    def cell(self, name: str, read: str = OUT, dt: float = 1.0) -> Cell:
        """The NIR nodes that it is."""
        if self.adapter is None or self.layer is None:
            return Cell({"": Part(self.node)})
        found: Cell = self.adapter.cell(self.layer, self.shape, read, dt, name)
        return found

    def sent(self, name: str) -> list[Any]:
        """The NIR nodes that are read of it."""
        return self.cell(name).sent


class Reader:
    """Gives every tensor of a run its value.

    Args:
        recorded: steps of the run.
        steps: T of values that hold all steps, if the input says it; else told by the first value over time.
        sites: how often functions ran at each site, if forward writes its neurons out, with comparisons.
        starts: how many events there were before each call, if a call is a step.
    """

    def __init__(
        self,
        recorded: int,
        steps: int | None = None,
        sites: Mapping[int, int] | None = None,
        starts: Sequence[int] = (),
    ) -> None:
        self.recorded = recorded
        self.nodes: dict[str, Node] = {}
        self.steps = steps
        self.events = 0
        self._values: dict[int, Value] = {}
        self._held: list[Tensor] = []
        self._parts: dict[int, dict[int, Sum]] = {}
        self.totals: dict[Sum, Sum] = {}
        """What is added up in a loop and scaled -> the sum over time that it is, should it be the output."""
        self.later: dict[Sum, Callable[[], Sum]] = {}
        """What is behind a sum made in a loop -> makes the same behind the sum over time, should it be the output."""
        self.votes: dict[str, Votes] = {}
        """Node that sums groups of features -> how."""
        self.shapes: dict[str, Shape] = {}
        self.sites, self.written, self.starts = sites or {}, sites is not None, starts
        self.decided: dict[str, dict[Step, tuple[int, int, str]]] = {}
        """Comparison -> at each step, its site, which run of that it is, and its axes."""
        self.turn = 0
        self._clock: int | None = None
        self._site = 0
        self._seen: Counter[int] = Counter()
        self._arithmetic: set[str] = set()
        self._places: dict[tuple[str, Step], list[str]] = {}
        self._numbers: Counter[str] = Counter()
        self._of_site: dict[tuple[str, int, Any], list[str]] = {}

    def give(self, tensor: Tensor, value: Value) -> None:
        """What a tensor stands for from now on."""
        self._values[id(tensor)] = value
        self._held.append(tensor)

    def value(self, thing: Any) -> Value | None:
        """The value of a tensor; None of a constant."""
        return self._values.get(id(thing)) if isinstance(thing, Tensor) else None

    def sum_of(self, thing: Any, where: str) -> Sum:
        """The value of a tensor that must be a sum of what nodes send; a constant that is zero is the empty sum."""
        value = self.value(thing)
        if isinstance(value, Sum):
            if value.ending is not None:
                raise SourceError(
                    "unknown-operation",
                    f"the operation {value.ending.name} in forward is followed by something: "
                    "only at the end can it be left out",
                    where=where,
                    limit="the last function of forward",
                    hint="compute on what comes before it, or leave it out",
                )
            return value
        if isinstance(value, Refused):
            self.events = value.event
            raise value.error
        if value is None and isinstance(thing, Tensor) and not bool(thing.any()):
            return Sum((), "")
        raise not_readable(where, value)

    def computed(self, thing: Any) -> bool:
        """Whether a value is a neuron's own arithmetic, or zero."""
        value = self.value(thing)
        value = value.of if isinstance(value, Inverted) else value
        return isinstance(value, Sum) and (not value.terms or any(t.node in self._arithmetic for t in value.terms))

    def read(self, event: Event, rules: Mapping[str, Callable[[Reader, Function], Any]]) -> None:
        """One event; raises SourceError for what has no meaning as a network, should anything depend on it."""
        self.events += 1
        if isinstance(event, LeafCall):
            self._site, self._clock = 0, None
            self._leaf(event)
            return
        self._site, self.turn = event.site, self._seen[event.site]
        self._seen[event.site] += 1
        if event.name in ZEROS and isinstance(event.result, Tensor):
            self.give(event.result, Sum((), ""))
            return
        if event.name in RANDOM and isinstance(event.result, Tensor):
            self.give(event.result, Refused(_random(event), self.events))
            return
        if event.name in EMPTIES and isinstance(event.result, Tensor):
            self.give(event.result, Unfilled())
            return
        parts = [*event.args, *event.kwargs.values()]
        inside = [t for part in parts for t in (part if isinstance(part, (list, tuple)) else [part])]
        known = [part for part in inside if self.value(part) is not None]
        if not known:
            return  # numbers made of numbers
        if event.name != "__setitem__" and all(p is event.written and self.value(p) == Unfilled() for p in known):
            self._filled(event)
            return
        rule = rules.get(event.name)
        self._clock = self._told_clock(event, known)
        static = self._now(known)
        try:
            if rule is None:
                raise unknown_operation(event)
            found = rule(self, event)
        except SourceError as error:
            before = [value for part in known if isinstance(value := self.value(part), Refused)]
            earlier = min(before, key=lambda value: value.error.code != "random", default=None)
            refused = earlier or Refused(error, self.events)
            if event.written is None and not _results(event.result):
                self.events = refused.event
                raise refused.error from None
            found = [refused for _ in _results(event.result)]
            if event.written is not None:
                self.give(event.written, refused)
        finally:
            self._values |= static
        if event.written is not None:
            self._forget_views(event.written)
        if event.name == "__setitem__":
            return
        for tensor, value in zip(_results(event.result), found if isinstance(found, list) else [found], strict=True):
            if isinstance(value, np.ndarray):
                self._values.pop(id(tensor), None)
            elif value is not None:
                self.give(tensor, value)

    def _told_clock(self, event: Function, known: list[Any]) -> int | None:
        """The turn of the loop over time that an event is in, of a forward that writes neurons out; None outside.

        A site that is come to k T times is in that loop; of an inner loop, or an outer one, what is read says which.
        """
        labels = [value.label for part in known if isinstance(value := self.value(part), Sum)]
        numbers = [label for label in labels if isinstance(label, int)]
        if not self.written or self.recorded < 2 or WHOLE in labels:
            return None
        if self.starts:
            return sum(self.events > start for start in self.starts) - 1
        count = self.sites.get(event.site, 0)
        if not count or count % self.recorded:
            return None
        latest = max(numbers, default=-1)
        turns = (self.turn // (count // self.recorded), self.turn % self.recorded)
        return next((turn for turn in turns if latest < 0 or latest in (turn, turn - 1)), None)

    def _now(self, known: list[Any]) -> dict[int, Value]:
        """In a loop over steps, what is the same at each of them is of the loop's step for one event.

        Returns what must be set again afterwards.
        """
        before: dict[int, Value] = {}
        now = self._clock
        for part in known if now is not None else []:
            value = self.value(part)
            if now is not None and isinstance(value, Sum) and value.label == STATIC and not value.reduced:
                before[id(part)] = value
                self._values[id(part)] = replace(value, terms=tuple(replace(term, step=now) for term in value.terms))
        return before

    def _filled(self, event: Function) -> None:
        """New memory was filled with numbers in place: zeros, or a constant."""
        if event.name == "zero_":
            self._values[id(event.written)] = Sum((), "")
        else:
            del self._values[id(event.written)]

    def _forget_views(self, written: Tensor) -> None:
        """Other tensors in the memory of one that was changed in place stand for nothing any more."""
        place = written.untyped_storage()._cdata
        for tensor in self._held:
            if tensor is not written and tensor.untyped_storage()._cdata == place:
                self._values[id(tensor)] = Overwritten()

    def _leaf(self, event: LeafCall) -> None:
        call, path = event.call, path_of(event)
        x = self.sum_of(call.current, path)
        if x.reduced:
            raise refused_axes(path, "a layer comes after a sum over time")
        if x.window != ALL:
            raise refused_axes(path, "a layer with state gets a part of the steps")
        x = self.seen(x)
        if not call.axes:
            shape = self.features(call.out, x.axes)
            (node,) = event.adapter.cell(event.layer, shape, OUT, 1.0, path).sent
            self.give(call.out, self.add(path, node, x, shape))
            return
        if x.axes and x.axes != call.axes:
            raise refused_axes(path, f"the layer takes {call.axes} and gets {x.axes}")
        known = self.nodes.setdefault(
            path, Node(self.features(call.out, call.axes), layer=event.layer, adapter=event.adapter)
        )
        if known.layer is None:
            raise SourceError(
                "duplicate-node",
                "two nodes would have the same name",
                where=path,
                hint="call no neuron like a torch function that forward uses",
            )
        step: Step = len(known.calls) if call.axes == "N" else WHOLE
        if step in known.calls or (isinstance(x.label, int) and isinstance(step, int) and x.label > step):
            raise SourceError(
                "called-again",
                "a layer with state is called more than once a step, or for another step",
                where=path,
                needed=f"call {len(known.calls) + 1} gets values of step {x.label}",
                limit="one call per step, in order",
                hint="give each place in the network a layer of its own",
            )
        self._require_own_state(event, path, step)
        known.calls[step], known.keeps = x.terms, call.keeps
        for tensor in call.kept:
            self.give(tensor, State(path, step))
        if call.membrane is not None:
            self.give(call.membrane, Sum((Term(path, step, MEMBRANE),), call.axes))
        self.give(call.out, Sum((Term(path, step),), call.axes))
        for other in call.others:
            self._other(path, call, other)

    def _other(self, path: str, call: Call, other: Other) -> None:
        """A tensor that shows one step of a leaf, or its maximum or mean over them."""
        count = int(call.out.shape[call.axes.index("T")])
        step: Step = WHOLE if other.step is None else other.step % count
        single = other.step is not None or bool(other.over)
        value = Sum((Term(path, step, other.port),), "N" if single else call.axes, other.over)
        self.give(other.tensor, replace(value, count=count if other.over else 0))

    def _require_own_state(self, event: LeafCall, path: str, step: Step) -> None:
        """States are zero at first, then what the same leaf gave a step before."""
        if event.call.handed and not event.call.states and step not in (0, WHOLE):
            raise SourceError(
                "foreign-state",
                "a layer that keeps no state itself is called without it: it starts anew at every step",
                where=path,
                needed=f"step {step}",
                hint="hand back the state that the layer returned",
            )
        for tensor in event.call.states:
            value = self.value(tensor)
            before = step - 1 if isinstance(step, int) else None
            own = (isinstance(value, State) and (value.owner, value.step) == (path, before)) or (
                isinstance(value, Sum) and [(t.node, t.step) for t in value.terms] == [(path, before)]
            )
            empty = isinstance(value, Sum) and not value.terms
            if own or (step in (0, WHOLE) and (value is None or empty) and id(tensor) in event.silent):
                continue
            raise SourceError(
                "foreign-state",
                "a layer gets a state that is neither zero at first nor its own of the step before",
                where=path,
                needed=f"step {step}",
                hint="start at zero, and hand back what the layer returned",
            )

    def shape_of(self, name: str) -> Shape:
        """Shape of what a node sends, without batch and time."""
        return self.shapes[INPUT] if name == INPUT else self.nodes[name].shape

    def _odd(self, term: Term) -> list[Any]:
        """Nodes behind a term that do not send spikes."""
        node = self.nodes.get(term.node)
        return [sent for sent in node.sent(term.node) if not isinstance(sent, NEURONS)] if node else [nir.Input]

    def spikes(self, value: Sum) -> bool:
        """Whether a value is spikes, or a sum of them."""
        return all(term.port == OUT and not self._odd(term) for term in value.terms)

    def require_spikes(self, where: str, value: Sum, what: str) -> None:
        """Gates take spikes (0 or 1) and sums of them."""
        for term in value.terms:
            node, odd = self.nodes.get(term.node), self._odd(term)
            if term.port != OUT or odd:
                raise SourceError(
                    "not-spikes",
                    f"{what} of values that are not spikes is not supported",
                    where=f"{where}: {term.node}",
                    needed=type(odd[0]).__name__ if node and odd else "Input" if odd else "a membrane",
                    limit="spikes of neurons, and sums of them",
                    hint="put the neuron before it, or use average pooling",
                )

    def over_time(self, parts: list[Sum], axes: str, where: str) -> Sum:
        """Values of single steps, one after another, as one value over time.

        A sum with what was a step before may not have been made at the first step: then it is what it would sum.
        """
        if self.written and len(parts) > 1 and len(parts[-1].terms) == 1:
            (last,) = parts[-1].terms
            node = self.nodes.get(last.node)
            if node is not None and isinstance(node.node, Same) and isinstance(last.step, int):
                for at, part in enumerate(parts, last.step - len(parts) + 1):
                    if at not in node.calls and not (part.terms and part.terms[0].node == last.node):
                        node.calls[at] = part.terms
                        parts[at - last.step - 1] = Sum((replace(last, step=at),), parts[-1].axes)
        return stacked(parts, axes, where)

    def stacked(self, parts: list[Sum], axes: str, where: str) -> Sum:
        """Values of single steps, one after another: all of them, or the first or last ones."""
        labels = [part.label for part in parts]
        first, last = (label if isinstance(label, int) else 0 for label in (labels[0], labels[-1]))
        some = len(parts) < self.recorded and labels == list(range(first, last + 1)) and first >= 0
        if some and (self.steps in (None, self.recorded)):
            return stacked(parts, axes, where, first, last == self.recorded - 1)
        self.count_steps(len(parts), where)
        return self.over_time(parts, axes, where)

    def count_steps(self, steps: int, where: str) -> None:
        """All values over time have the same number of steps."""
        if self.steps not in (None, steps):
            raise SourceError(
                "not-all-steps",
                "a tensor over time has another number of steps than the run",
                where=where,
                needed=steps,
                limit=self.steps,
                hint="collect every step",
            )
        self.steps = steps

    def collect(self, target: Tensor, axis: int, step: int, value: Sum, where: str) -> None:
        """target[step] = value, into new memory: a value over time when the last step is there, unusable before."""
        before = self.value(target)
        if before == Unfilled() or (isinstance(before, Sum) and not before.terms):
            self._parts[id(target)] = {}
        elif before != Unfilled(axis):
            raise refused_store(where)
        parts = self._parts[id(target)]
        parts[step] = value
        self.give(target, Unfilled(axis))
        if len(parts) == target.shape[axis]:
            self.count_steps(len(parts), where)
            order, axes = [parts[at] for at in range(len(parts))], over_time(axis, target.dim())
            assert axes is not None
            self._values[id(target)] = self.over_time(order, axes, where)

    def collected(self, thing: Any, axis: int, step: int) -> Sum | None:
        """A step that was stored already into new memory of which others still lack."""
        return self._parts[id(thing)].get(step) if self.value(thing) == Unfilled(axis) else None

    def started(self) -> dict[str, Array]:
        """Sums with what was a step before -> the number that stood for it at the first step, a start value."""
        found: dict[str, Array] = {}
        for (name, site, kind), places in self._of_site.items():
            late = [at for at in places if kind and kind[0] is Same and min(map(_number, self.nodes[at].calls)) == 1]
            shifts = self._of_site.get((name, site, (Shift, b"")), [])
            first = [at for at in shifts if set(self.nodes[at].calls) == {0}]
            if len(late) == len(first) == 1:
                self.nodes[late[0]].calls[0] = self.nodes[first[0]].calls[0]
                found[late[0]] = self.nodes[first[0]].node.by
                self._rename(first[0], late[0])
        return found

    def _rename(self, old: str, new: str) -> None:
        for node in self.nodes.values():
            for step, terms in node.calls.items():
                if any(term.node == old for term in terms):
                    renamed = (replace(term, node=new) if term.node == old else term for term in terms)
                    node.calls[step] = tuple(renamed)

    def looped(self, value: Sum) -> Sum | None:
        """A value that holds all steps, added up in a loop: a sum over time if it is the output. None of others."""
        value = self.expanded(value)
        found: dict[tuple[str, str], set[Step]] = {}
        for term in value.terms:
            found.setdefault((term.node, term.port), set()).add(term.step)
        everything = [set(range(first, self.recorded + first)) for first in (0, -1)]
        return value if self.recorded > 1 and found and all(at in everything for at in found.values()) else None

    def whole(self, value: Sum) -> Sum:
        """What a value of single steps is over time, should it be the output: a sum of a loop, or the last step."""
        if value.ending is not None:
            return replace(self.whole(replace(value, ending=None)), ending=value.ending)
        if value in self.totals:
            return self.totals[value]
        if value in self.later:
            return self.later[value]()
        parts = [replace(value, terms=(term,)) for term in value.terms]
        if len(parts) > 1 and all(part in self.later or part in self.totals for part in parts):
            with suppress(SourceError):
                return reduce(lambda one, other: added(one, other, "forward"), map(self.whole, parts))
        last_of = self.nodes.get(value.terms[0].node) if len(parts) == 1 else None
        if last_of is not None and isinstance(last_of.node, Opaque) and last_of.node.does in ENDINGS:
            found = replace(value, terms=last_of.calls[value.terms[0].step])
            return replace(self.whole(found), ending=Ending(last_of.node.does))
        if value.reduced or not value.terms:
            return value
        looped = self.looped(value)  # first: a count that a loop adds up is itself a value of the last step
        last = not looped and all(term.step == self.recorded - 1 and self._runs_on(term.node) for term in value.terms)
        if not last and looped is None:
            return value
        ports = dict.fromkeys((term.node, term.port) for term in (looped or value).terms)
        terms = tuple(Term(node, WHOLE, port) for node, port in ports)
        if last:
            return replace(value, terms=terms, reduced="sum", count=1, window=LAST)
        return replace(value, terms=terms, reduced="sum", count=self.recorded)

    def _runs_on(self, name: str) -> bool:
        """Whether a node is there at other steps than one, too."""
        calls = self.nodes[name].calls if name in self.nodes else {WHOLE: ()}
        return len(calls) > 1 or WHOLE in calls

    def expanded(self, value: Sum) -> Sum:
        """Sums of this step and of steps before as what they are sums of."""
        waiting, found = list(value.terms), list[Term]()
        while waiting:
            term = waiting.pop()
            node = self.nodes.get(term.node)
            if node is not None and isinstance(node.node, Same) and term.step in node.calls:
                waiting += node.calls[term.step]
            else:
                found.append(term)
        return replace(value, terms=tuple(reversed(found)))

    def joined(self, event: Function, left: Sum, right: Sum) -> Sum:
        """left + right; a value of its own where it goes on through steps, or is a neuron's: it must not grow."""
        if left.view != right.view:
            left, right = self.seen(left), self.seen(right)
        both = added(left, right, where_of(event))
        steps = {term.step for term in both.terms if isinstance(term.step, int)}
        within = self._clock is not None and both.terms
        own = within and (not left.terms or not right.terms or any(t.node in self._arithmetic for t in both.terms))
        if both.reduced or not self.written or not (own or len(steps) > 1):
            return both
        return self.add(name_of(event), Same(), both, self.features(event.result, both.axes))

    def features(self, tensor: Tensor, axes: str) -> Shape:
        """Shape without batch and time."""
        return tuple(int(n) for n in tensor.shape[LEAD.get(axes, 1) : -1 if axes == TIME_LAST else None])

    def place(self, event: Function, node: nir.NIRNode, x: Sum) -> Sum:
        """The value of a linear node that a function is, behind x."""
        assert isinstance(event.result, Tensor)
        return self.add(name_of(event), node, x, self.features(event.result, x.axes))

    def add(self, name: str, node: nir.NIRNode, x: Sum, shape: Shape) -> Sum:
        """The value of a node behind x, with its output's shape; equal nodes behind the same terms are one."""
        x = self.seen(x)
        if x.reduced:
            return self._behind(name, node, x, shape)
        found = self._added(name, node, x, shape)
        last = self.recorded > 1 and found.terms[0].step == self.recorded - 1
        if not isinstance(node, Op) and (last or x in self.totals or self.looped(x) is not None):
            self.later[found] = lambda: self._once_more(found, node, x, shape)
        return found

    def seen(self, x: Sum) -> Sum:
        """A value whose features are seen in other axes than its node's, as a node that has these."""
        if x.view is None:
            return x
        (name, after), plain = x.view, replace(x, view=None)
        before = (x.groups,) if x.groups else self.shape_of(x.terms[0].node)
        if tuple(before) == after:
            return plain
        return self.add(name, taken(np.arange(1, prod(before) + 1), before, after), plain, after)

    def _behind(self, name: str, node: nir.NIRNode, x: Sum, shape: Shape) -> Sum:
        """A linear node behind a sum or mean over time: the same at every step, and its bias once in all."""
        if x.reduced == "max" or x.groups:
            raise refused_axes(name, "a layer comes after a maximum over time, or after a sum over groups of outputs")
        times = x.factor * (x.count if x.reduced == "sum" else 1)
        over_time = replace(x, axes="TN", reduced="", factor=1.0, count=0)
        return replace(x, terms=self.add(name, bias_over(node, times), over_time, shape).terms)

    def _once_more(self, found: Sum, node: nir.NIRNode, x: Sum, shape: Shape) -> Sum:
        """A node that was called at the last step alone, behind what its input is over time."""
        name = found.terms[0].node
        if len(self.nodes[name].calls) > 1:
            return found
        del self.nodes[name]
        return self.add(name, node, self.whole(x), shape)

    def _added(self, name: str, node: nir.NIRNode, x: Sum, shape: Shape) -> Sum:
        label = x.label if self._clock is None or x.label == WHOLE else self._clock
        plain = not isinstance(node, (Op, nir.Scale)) or not self.written
        kind = (type(node), node.scale.tobytes() if isinstance(node, nir.Scale) else b"")
        own = self._of_site.setdefault((name, *((0, None) if plain else (self._site, kind))), [])
        there = self._places.setdefault((name, label), [])
        for place in there:
            known = self.nodes.get(place) or Node(())
            if (plain or place in own) and known.calls.get(label) == x.terms and same_node(known.node, node):
                return replace(x, terms=(Term(place, label),))
        place = next((place for place in own if place not in there), "")
        if not place:
            self._numbers[name] += 1
            place = _numbered(name, self._numbers[name])
            own.append(place)
        there.append(place)
        if isinstance(node, Op) or (
            isinstance(node, nir.Scale) and any(term.node in self._arithmetic for term in x.terms)
        ):
            self._arithmetic.add(place)
        known = self.nodes.setdefault(place, Node(shape, node))
        if known.shape != shape or not same_node(known.node, node):
            raise SourceError(
                "steps-differ",
                "the steps of a run do not do the same",
                where=place,
                needed=f"{type(node).__name__} to {shape}",
                limit=f"{type(known.node).__name__} to {known.shape} with the numbers of the step before",
                hint="treat all steps alike in forward",
            )
        known.calls[label] = x.terms
        return replace(x, terms=(Term(place, label),))

    def voted(self, name: str, x: Sum, seen: Shape, axis: int, factor: float) -> Sum:
        """x with its features, seen in a shape, summed over one axis and multiplied by a factor > 0.

        Of a value that was reduced it is what the host makes of the output; else a node, which the host takes over
        where it is the last.
        """
        left = (*seen[:axis], *seen[axis + 1 :])
        last, first = axis == len(seen) - 1, axis == 0
        view = (name, left) if len(left) != 1 else None
        if x.reduced and (last or first) and not x.groups:
            found = replace(x, groups=prod(left), interleaved=not last, factor=x.factor * factor)
            return replace(found, view=view)
        places = np.arange(prod(seen)).reshape(seen)
        matrix = np.zeros((prod(left), prod(seen)))
        for row, columns in enumerate(np.moveaxis(places, axis, -1).reshape(prod(left), seen[axis])):
            matrix[row, columns] = factor
        own = self.shape_of(x.terms[0].node)
        flat = replace(x, view=None)
        if len(own) > 1:
            flat = self.add(f"{name}.flatten", nir.Flatten({"input": np.array(own)}, 0, -1), flat, (prod(own),))
        found = self.add(name, nir.Linear(matrix), flat, (prod(left),))
        if last or first:
            self.votes[found.terms[0].node] = Votes(prod(left), not last, factor)
        return replace(found, view=view)


def taken(places: Array, before: Shape, after: Shape) -> LinearNode:
    """A node whose outputs are inputs, each by its place in the flat input, from 1; 0 is zero."""
    there = places > 0
    arrays = {"": np.ones(int(there.sum())), "/indices": places[there] - 1, "/indptr": np.append(0, np.cumsum(there))}
    return LinearNode(Sparse(""), arrays, np.zeros(()), tuple(before), tuple(after))


def bias_over(node: Any, times: float) -> Any:
    """A node whose bias is divided by a number."""
    if isinstance(node, Shift) and times != 1:
        moved = copy(node)
        moved.by = node.by / times
        return moved
    bias = getattr(node, "bias", None)
    if bias is None or times == 1 or not np.any(bias):
        return node
    if isinstance(node, LinearNode):
        return replace(node, bias=np.asarray(bias) / times)
    found = copy(node)
    found.bias = np.asarray(bias) / times
    return found


def _number(step: Step) -> int:
    return step if isinstance(step, int) else -1


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}.{number}"


def same_node(one: Any, other: Any) -> bool:
    """Whether two nodes are of one kind with equal parameters."""
    if type(one) is not type(other):
        return False
    pairs = ((vars(one)[key], vars(other).get(key)) for key in vars(one) if key not in _NOT_COMPARED)
    return all(a is b or _equal(a, b) for a, b in pairs)


def _equal(one: Any, other: Any) -> bool:
    """NaN is NaN here: that a parameter is one is said by name later."""
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    one, other = np.asarray(one), np.asarray(other)
    return np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f")


_NOT_COMPARED = ("input_type", "output_type", "metadata")


ZEROS = ("zeros", "zeros_like", "new_zeros")
"""Functions whose result is what a state or a spike train is before the first step."""

ENDINGS = ("sigmoid", "tanh")
"""Functions of single values that change no decision, should forward end with them."""

EMPTIES = ("empty", "empty_like", "new_empty")
"""Functions whose result steps are stored into."""


RANDOM = (
    *(
        "rand",
        "rand_like",
        "randn",
        "randn_like",
        "bernoulli",
        "bernoulli_",
        "poisson",
        "normal",
        "normal_",
        "uniform_",
    ),
    *("randint", "randint_like", "multinomial"),
)
"""Functions that draw numbers."""


def _random(event: Function) -> SourceError:
    return SourceError(
        "random",
        f"forward draws random numbers with {event.name}: no run is like the one before",
        where=where_of(event),
        hint="take the encoder out of forward and say --encode bernoulli, or Deployment(T, 'bernoulli', ...): both "
        "networks get the same spike trains",
    )


def name_of(event: Function) -> str:
    """Name of the node of a function: its module's path, and the function's name where the module does more."""
    if event.alone and event.path:
        return node_name(event.path)
    return f"{event.path}.{event.name}" if event.path else event.name


def where_of(event: Function) -> str:
    """Place of a function, for messages."""
    return f"{event.path or 'forward'}: {event.name}"


def unknown_operation(event: Function) -> SourceError:
    """The refusal of a torch function that a network cannot contain."""
    return SourceError(
        "unknown-operation",
        f"the operation {event.name} in forward is not supported",
        where=where_of(event),
        limit="convolution, linear, BatchNorm, pools, flatten, sums, products of spikes, stack, sum and mean over time",
        hint="express it by these, or keep it out of the module",
    )


def refused_store(where: str) -> SourceError:
    """The refusal of x[t] = y that does not collect steps."""
    return SourceError(
        "not-all-steps",
        "something is stored into a tensor that is not new, or is not one of its steps",
        where=where,
        limit="the steps of a tensor made by zeros or empty, one by one",
        hint="collect the steps in a list and stack them",
    )


def not_readable(where: str, value: Value | None) -> SourceError:
    """The refusal of a tensor where something a node sends was expected."""
    what = {
        Inverted: "1 - a is used other than as a factor of spikes",
        Overwritten: "a tensor is used that was changed in place through another one",
        Unfilled: "a tensor is used before all of its steps were stored",
        State: "the inner state of a layer is used as a value",
        type(None): "a tensor that does not come from the input is used as one",
    }[type(value)]
    return SourceError("no-value", what, where=where, limit="what layers give", hint="read the spikes")


def _results(result: Any) -> list[Tensor]:
    found = result if isinstance(result, (tuple, list)) else [result]
    return [part for part in found if isinstance(part, Tensor)]
