"""From a recorded run to nodes, and for every step what each of them reads.

A linear node is called at the latest step that it reads (`Sum.label`), a leaf at its own count of calls. Nodes of
functions are named after the module whose forward called them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.graph import NEURONS
from snnhw.frontends.live.adapter import MEMBRANE, OUT, Adapter, Cell, Part, Shape
from snnhw.frontends.live.recorder import Event, Function, LeafCall, node_name, path_of
from snnhw.frontends.live.values import (
    INPUT,
    LEAD,
    WHOLE,
    Inverted,
    Overwritten,
    State,
    Step,
    Sum,
    Term,
    Unfilled,
    Value,
    refused_axes,
    stacked,
)


@dataclass
class Node:
    """A node, and the terms it reads at each step.

    Args:
        node: of a function; None of a leaf, whose nodes depend on what is read of it.
        shape: of its output, without batch and time.
    """

    shape: Shape
    node: Any = None
    layer: nn.Module | None = None
    adapter: Adapter | None = None
    calls: dict[Step, tuple[Term, ...]] = field(default_factory=dict)

    def cell(self, name: str, read: str = OUT, dt: float = 1.0) -> Cell:
        """The NIR nodes that it is."""
        if self.adapter is None or self.layer is None:
            return Cell({"": Part(self.node)})
        return self.adapter.cell(self.layer, self.shape, read, dt, name)

    def sent(self, name: str) -> list[Any]:
        """The NIR nodes that are read of it."""
        return self.cell(name).sent


class Reader:
    """Gives every tensor of a run its value.

    Args:
        recorded: steps of the run.
        steps: T of values that hold all steps, if the input says it; else told by the first value over time.
    """

    def __init__(self, recorded: int, steps: int | None = None) -> None:
        self.recorded = recorded
        self.nodes: dict[str, Node] = {}
        self.steps = steps
        self.events = 0
        self._values: dict[int, Value] = {}
        self._held: list[Tensor] = []
        self._parts: dict[int, dict[int, Sum]] = {}
        self.totals: dict[Sum, Sum] = {}
        """What is added up in a loop and scaled -> the sum over time that it is, should it be the output."""
        self.shapes: dict[str, Shape] = {}
        self._places: Counter[tuple[str, Step]] = Counter()

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
            return value
        if value is None and isinstance(thing, Tensor) and not bool(thing.any()):
            return Sum((), "")
        raise not_readable(where, value)

    def read(self, event: Event, rules: Mapping[str, Callable[[Reader, Function], Any]]) -> None:
        """One event; raises SourceError for what has no meaning as a network."""
        self.events += 1
        if isinstance(event, LeafCall):
            self._leaf(event)
            return
        if event.name in ZEROS and isinstance(event.result, Tensor):
            self.give(event.result, Sum((), ""))
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
        if rule is None:
            raise unknown_operation(event)
        found = rule(self, event)
        if event.written is not None:
            self._forget_views(event.written)
        if event.name == "__setitem__":
            return
        for tensor, value in zip(_results(event.result), found if isinstance(found, list) else [found], strict=True):
            if value is not None:
                self.give(tensor, value)

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
        known.calls[step] = x.terms
        for tensor in call.kept:
            self.give(tensor, State(path, step))
        if call.membrane is not None:
            self.give(call.membrane, Sum((Term(path, step, MEMBRANE),), call.axes))
        self.give(call.out, Sum((Term(path, step),), call.axes))

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

    def require_spikes(self, where: str, value: Sum, what: str) -> None:
        """Gates take spikes (0 or 1) and sums of them."""
        for term in value.terms:
            node = self.nodes.get(term.node)
            odd = [sent for sent in node.sent(term.node) if not isinstance(sent, NEURONS)] if node else [nir.Input]
            if term.port != OUT or odd:
                raise SourceError(
                    "not-spikes",
                    f"{what} of values that are not spikes is not supported",
                    where=f"{where}: {term.node}",
                    needed=type(odd[0]).__name__ if node and odd else "Input" if odd else "a membrane",
                    limit="spikes of neurons, and sums of them",
                    hint="put the neuron before it, or use average pooling",
                )

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
            order = [parts[at] for at in range(len(parts))]
            self._values[id(target)] = stacked(order, "TN" if axis == 0 else "NT", where)

    def looped(self, value: Sum) -> bool:
        """Whether a value holds all steps, as one added up in a loop: a sum over time if it is the output."""
        found: dict[tuple[str, str], set[Step]] = {}
        for term in value.terms:
            found.setdefault((term.node, term.port), set()).add(term.step)
        everything = set(range(self.recorded))
        return self.recorded > 1 and bool(found) and all(at == everything for at in found.values())

    def features(self, tensor: Tensor, axes: str) -> Shape:
        """Shape without batch and time."""
        return tuple(int(n) for n in tensor.shape[LEAD.get(axes, 1) :])

    def place(self, event: Function, node: nir.NIRNode, x: Sum) -> Sum:
        """The value of a linear node that a function is, behind x."""
        assert isinstance(event.result, Tensor)
        return self.add(name_of(event), node, x, self.features(event.result, x.axes))

    def add(self, name: str, node: nir.NIRNode, x: Sum, shape: Shape) -> Sum:
        """The value of a node behind x, with its output's shape; equal nodes behind the same terms are one."""
        if x.reduced:
            raise refused_axes(name, "a layer comes after a sum over time")
        label = x.label
        for number in range(1, self._places[name, label] + 1):
            place = _numbered(name, number)
            if self.nodes[place].calls.get(label) == x.terms and same_node(self.nodes[place].node, node):
                return Sum((Term(place, label),), x.axes)
        self._places[name, label] += 1
        place = _numbered(name, self._places[name, label])
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
        return Sum((Term(place, label),), x.axes)


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

EMPTIES = ("empty", "empty_like", "new_empty")
"""Functions whose result steps are stored into."""


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
    return [result] if isinstance(result, Tensor) else list(result) if isinstance(result, (tuple, list)) else []
