"""Which neurons the arithmetic of a forward is: its values as forms over one step, cut where they go round.

A recorded run, laid over its steps, is one step of a network with values that come from the step before. Those that
lie on a loop are its states; everything else is written out in them (`forms`), and `recognise` tells the neurons.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.forms import CONSTANT, LOGICAL, Atom, Form, NotLinearError, known, unknown
from snnhw.frontends.graph import loops
from snnhw.frontends.live.adapter import OUT, Cell, Shape, cell_of
from snnhw.frontends.live.arithmetic import Compared, Equal, Floor, Op, Opaque, Product, Shift
from snnhw.frontends.live.equations import Membrane, silent, spiking
from snnhw.frontends.live.fold import Edges, Folded
from snnhw.frontends.live.operations import biased
from snnhw.frontends.live.reader import Node
from snnhw.frontends.recognise import Cell as Found
from snnhw.frontends.recognise import Compared as Comparison
from snnhw.frontends.recognise import Recognised, half, recognise, truth
from snnhw.network import Array, Reset, ResetTiming
from snnhw.network import Comparison as Rule
from snnhw.semantics import CurrentOrder

MOST_STATES = 3
"""Values of one loop that can be states at once."""

Forms = dict[str, Form]
Floors = dict[str, tuple[Form, float]]

END = "\0end"
"""The output, among what reads values."""


def neurons_found(folded: Folded, starts: Mapping[str, Array] = MappingProxyType({})) -> Folded:
    """A graph whose neurons are nodes; raises SourceError for arithmetic that is none of a neuron's.

    Args:
        starts: sum with a value of the step before -> what that was at the first step, if not zero.
    """
    if not any(isinstance(node.node, Op) for node in folded.nodes.values()):
        return folded
    step = _Step(folded)
    readers = {name: edges for name, edges in folded.edges.items() if name not in step.ops} | {END: folded.ends}
    read = {name: edges for name, edges in readers.items() if any(pre in step.ops for pre, _ in edges)}
    try:
        shown = {name: step.total(edges, 0) for name, edges in read.items()}
        states = {name: step.written(name, 0) for name in sorted(step.states)}
        comparisons, floors, states, shown = step.resolved(states, shown)
        found = _started(recognise(comparisons, floors, states, shown), step, starts)
    except NotLinearError as error:
        raise refused("forward", str(error)) from None
    except SourceError as error:
        if error.code != "not-a-neuron" or "step holds" not in error.message:
            raise
        raise refused(str(error.where), error.message.removeprefix("the step holds ")) from None
    return _Built(folded, step, found).folded()


def _started(found: Recognised, step: _Step, starts: Mapping[str, Array]) -> Recognised:
    """Neurons whose membranes do not start at zero."""
    cells = dict(found.cells)
    for name in sorted(starts.keys() & step.ops):
        form = step.written(name, 0)
        states = [atom for atom in form.atoms if atom[0] == "state"]
        coefficient = form.of(states[0]) if len(states) == 1 else np.zeros(())
        if np.any(coefficient == 0) or states[0][1] not in cells:
            raise refused(name, "a start value of more or less than one membrane")
        values = np.unique(np.round(_compact(starts[name]) / coefficient, 12))
        state, said = states[0][1], cells[states[0][1]].semantics
        if len(values) != 1 or said.get("v_init") not in (0.0, float(values[0])):
            raise refused(name, "start values that differ between the neurons of a layer")
        cells[state] = replace(cells[state], semantics={**said, "v_init": float(values[0])})
    return replace(found, cells=cells)


class _Step:
    """Values of one step as forms."""

    def __init__(self, folded: Folded) -> None:
        self.nodes, self.edges = folded.nodes, folded.edges
        self.ops = _arithmetic(folded)
        self.comparisons: dict[str, Comparison] = {}
        self.floors: dict[str, tuple[Form, float]] = {}
        self.states: set[str] = set()
        self.late: set[str] = set()
        """Comparisons of the membrane of the step before: their spikes are a step ahead of them."""
        self._known: dict[tuple[str, int], Form | None] = {}
        for loop in self._loops():
            self._cut(loop)

    def _loops(self) -> list[tuple[str, ...]]:
        """Values that need each other; spikes are known by name, so a loop through them is none."""
        inner = {name for name in self.ops if not isinstance(self.nodes[name].node, (Compared, Equal))}
        return loops({post: {pre for pre, _ in self.edges[post] if pre in inner} for post in inner})

    def _cut(self, loop: tuple[str, ...]) -> None:
        """The fewest values of the step before that all others of a loop can be told from."""
        late = {pre for post in loop for pre, lag in self.edges[post] if lag and pre in loop}
        order = sorted(late, key=lambda name: (_preference(self.nodes[name].node), name))
        for count in range(1, MOST_STATES + 1):
            for chosen in itertools.combinations(order, count):
                if self._cuts(loop, set(chosen)):
                    self.states |= set(chosen)
                    return
        raise refused(", ".join(order), f"{len(order)} values that go from step to step and depend on each other")

    def _cuts(self, loop: tuple[str, ...], chosen: set[str]) -> bool:
        """Whether every way round the loop passes a chosen value of the step before."""
        left = {
            post: {pre for pre, lag in self.edges[post] if pre in loop and not (lag and pre in chosen)} for post in loop
        }
        return not loops(left)

    def total(self, edges: Edges, lag: int) -> Form:
        """The sum of what edges bring."""
        found: Form | None = None
        for (name, more), count in edges.items():
            one = self.value(name, lag + more).times(np.array(float(count)))
            if more and not lag and one.constant.any():
                raise refused(name, "a number that is added from the second step on only")
            found = one if found is None else found + one
        assert found is not None
        return found

    def value(self, name: str, lag: int) -> Form:
        """A value of this step, or of so many steps before."""
        if name not in self.ops:
            shape = self.nodes[name].shape if name in self.nodes else ()
            return unknown(_late("layer", lag), name, (1, *shape))
        if lag and name in self.states:
            if lag > 1:
                raise refused(name, f"a state of {lag} steps before")
            return unknown("state", name, (1, *self.nodes[name].shape))
        return self.written(name, lag)

    def written(self, name: str, lag: int) -> Form:
        """A value by what it is made of."""
        key = (name, lag)
        if key not in self._known:
            self._known[key] = None
            self._known[key] = self._made(name, self.nodes[name].node, lag)
        found = self._known[key]
        assert found is not None, "forward runs in an order"
        return found

    def _made(self, name: str, node: Any, lag: int) -> Form:
        if lag and isinstance(node, (Compared, Equal)):
            return unknown(_late("spike", lag), name, (1, *self.nodes[name].shape))
        if isinstance(node, Product):
            lags = dict(self.edges[name].keys())
            return self.value(node.left, lag + lags[node.left]) * self.value(node.right, lag + lags[node.right])
        x = self.total(self.edges[name], lag)
        if isinstance(node, nir.Scale):
            return x.times(_compact(node.scale))
        if isinstance(node, Shift):
            return x + known(_compact(node.by))
        if isinstance(node, Compared):
            return self._compared(name, node, x)
        if isinstance(node, Equal):
            return _equal(name, x, np.asarray(node.to))
        if isinstance(node, Floor) and node.low <= 0 and x.logical():
            return x
        if isinstance(node, (Floor, Opaque)) and lag:
            raise refused(name, "a bounded value of the step before")
        if isinstance(node, Floor):
            self.floors[name] = (x, node.low)
            return unknown("floor", name, x.shape)
        return unknown("opaque", name, x.shape) if isinstance(node, Opaque) else x

    def resolved(self, states: Forms, shown: Forms) -> tuple[dict[str, Comparison], Floors, Forms, Forms]:
        """All forms, with spikes of steps before by the names of the comparisons that they are."""
        done: set[Atom] = set()
        while True:
            forms = [*states.values(), *shown.values(), *(c.form for c in self.comparisons.values())]
            forms += [form for form, _ in self.floors.values()]
            left = {atom for form in forms for atom in form.atoms if atom[0].startswith(("prev", "spike@"))} - done
            if not left:
                break
            for atom in left:
                self.value(atom[1], 0)
            done |= left
        became = {atom: self.value(atom[1], 0).renamed(partial(_of_kind, atom[0])) for atom in done}

        def of(form: Form) -> Form:
            for atom in form.atoms & became.keys():
                low, high = form.where(atom, 0), form.where(atom, 1)
                form = low + (high - low) * became[atom]
            return form

        self._map(of)
        states, shown = _each(of, states), _each(of, shown)
        for name in list(self.comparisons):
            state = self.comparisons[name].form.atoms
            if len(state) == 1 and next(iter(state))[0] == "state":
                states, shown = self._a_step_earlier(name, next(iter(state)), states, shown)
        return self.comparisons, self.floors, states, shown

    def _map(self, of: Callable[[Form], Form]) -> None:
        self.comparisons = {name: replace(found, form=of(found.form)) for name, found in self.comparisons.items()}
        self.floors = {name: (of(form), low) for name, (form, low) in self.floors.items()}

    def _a_step_earlier(self, name: str, state: Atom, states: Forms, shown: Forms) -> tuple[Forms, Forms]:
        """A comparison of the membrane of the step before is the spike that the neuron gave then."""
        found = self.comparisons[name]
        before = found.form.constant
        if np.any(before > 0 if found.strict else before >= 0):
            raise refused(name, "a membrane that is above its threshold before the first step")

        def earlier(to: str) -> Callable[[Form], Form]:
            return lambda form: form.renamed(
                lambda atom: (_EARLIER[atom[0]], to) if atom[1] == name and atom[0] in _EARLIER else atom
            )

        now = earlier(name)(states[state[1]]).times(found.form.of(state)) + known(before)
        same = name
        for other, comparison in self.comparisons.items():
            if other != name and comparison.strict == found.strict and earlier(name)(comparison.form).equals(now):
                same = other
        of = earlier(same)
        if same == name:
            self.comparisons[name] = replace(found, form=now)
            self.late.add(name)
        else:
            del self.comparisons[name]
        self._map(lambda form: form if form is now else of(form))
        return _each(of, states), _each(of, shown)

    def _compared(self, name: str, node: Compared, x: Form) -> Form:
        difference = (x - known(_compact(node.than))).times(np.array(float(node.sign)))
        told = half(difference, node.strict)
        if told is not None:
            return told
        if not difference.atoms:
            zero = np.asarray(difference.constant)
            return known((zero > 0 if node.strict else zero >= 0).astype(np.float64))
        if any(kind == "opaque" for kind, _ in difference.atoms):
            raise refused(name, f"a threshold on {self._opaque(difference)} of a value")
        return truth(self.comparisons, difference, node.strict, name, name, lambda where: where)

    def _opaque(self, form: Form) -> str:
        return next(str(self.nodes[name].node.does) for kind, name in form.atoms if kind == "opaque")

    def require_clear(self, form: Form, where: str) -> None:
        """Refuse what only could have cancelled out."""
        for kind, name in form.atoms:
            if kind == "opaque":
                raise refused(where, f"{self._opaque(form)} of a value")
            if kind == "floor":
                raise refused(where, f"the larger of a value and a number ({name})")


def _arithmetic(folded: Folded) -> set[str]:
    """Nodes that are a neuron's own, and factors between them."""
    found = {name for name, node in folded.nodes.items() if isinstance(node.node, Op)}
    scales = [name for name, node in folded.nodes.items() if isinstance(node.node, nir.Scale)]
    for _ in scales:
        more = {name for name in scales if any(pre in found for pre, _ in folded.edges[name])}
        if more <= found:
            break
        found |= more
    return found


def _preference(node: Any) -> int:
    """States that make a membrane's form a plain one come first."""
    if isinstance(node, nir.Scale):
        return 3 if (node.scale > 0).all() else 4
    return next((i for i, kind in enumerate((Floor, Product, Op)) if isinstance(node, kind)), 2)


def _each(of: Callable[[Form], Form], forms: Forms) -> Forms:
    return {name: of(form) for name, form in forms.items()}


def _of_kind(kind: str, atom: Atom) -> Atom:
    return kind, atom[1]


_EARLIER = {"spike": "prev", "prev": "spike@2"}
"""Kinds of spikes, and what they are a step earlier."""


def _late(kind: str, lag: int) -> str:
    """Kind of an atom of so many steps before."""
    return kind if not lag else "prev" if (kind, lag) == ("spike", 1) else f"{kind}@{lag}"


def _compact(values: Array) -> Array:
    """One number where all are the same, else with an axis for the batch."""
    values = np.asarray(values)
    if values.size and (values == values.reshape(-1)[0]).all():
        return np.asarray(values.reshape(-1)[0])
    return values[None]


def _equal(name: str, x: Form, to: Array) -> Form:
    """[spike == 1] is the spike, [spike == 0] the opposite."""
    if not x.logical() or not np.isin(to, (0, 1)).all() or (to != to.reshape(-1)[0]).any():
        raise refused(name, "a value is asked whether it is a number, or cast to a whole one")
    return x if to.reshape(-1)[0] else known(np.ones(())) - x


@dataclass(frozen=True)
class OwnCell:
    """The adapter of a neuron that was found."""

    name = "neurons of one's own"

    def cell(self, found: Found, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """Its NIR nodes."""

        def full(value: Array) -> Array:
            values: Array = np.broadcast_to(value, (1, *shape))[0].astype(np.float64)
            return values

        current = None if found.current_keep is None else full(found.current_keep)
        equation = Membrane(full(found.keep), full(found.gain), full(found.rest), current, None)
        if current is not None:
            equation = replace(equation, current_gain=np.ones(shape))
        said = {name: _RULES[name](value) if name in _RULES else value for name, value in found.semantics.items()}
        if found.spike is not None:
            said = {"multispike": 1, "current_order": CurrentOrder.SAME_STEP} | said
            node, before = spiking(equation, full(found.threshold), full(found.v_reset), dt, where)
            return cell_of(node, said, before=before)
        if (equation.keep == 1).all() and not equation.rest.any() and current is None:
            return cell_of(nir.I(equation.gain / dt), said)
        return cell_of(silent(equation, dt, where), said)


_RULES: dict[str, Any] = {
    "threshold": Rule,
    "reset": Reset,
    "reset_timing": ResetTiming,
    "current_order": CurrentOrder,
}


class _Built:
    """The graph with neurons in the places of their arithmetic."""

    def __init__(self, folded: Folded, step: _Step, found: Recognised) -> None:
        self.old, self.step, self.found = folded, step, found
        self.nodes = {name: node for name, node in folded.nodes.items() if name not in step.ops}
        self.edges = {name: edges for name, edges in folded.edges.items() if name in self.nodes}
        self.names: dict[str, str] = {}
        """Comparison or silent state -> its node."""

    def folded(self) -> Folded:
        """All nodes and edges."""
        wanted = {**{c.spike or state: c for state, c in self.found.cells.items()}, **self.found.gates}
        used = self._used(wanted)
        for key in used:
            self.names[key] = self._free(key.rsplit(".", 1)[0] if "." in key else "neuron")
        for key in used:
            self._neuron(self.names[key], key, wanted[key])
        ends = self.old.ends
        for name, form in self.found.shown.items():
            reads = self._reads(self._without_states(form), "output" if name == END else name)
            if name == END:
                ends = reads
            else:
                self.edges[name] = reads
        told = {
            self.names[key]: (self.step.comparisons[key].value, self.step.comparisons[key].inverted)
            for key in used
            if key in self.step.comparisons and key not in self.step.late
        }
        read = {name: self.old.read.get(name, OUT) for name in self.nodes}
        return replace(self.old, nodes=self.nodes, edges=self.edges, ends=ends, read=read, told=told)

    def _used(self, wanted: Mapping[str, Found]) -> list[str]:
        """What the output depends on, in order."""
        waiting = [self._without_states(form) for form in self.found.shown.values()]
        found: dict[str, None] = {}
        while waiting:
            for kind, name in sorted(waiting.pop().atoms):
                if kind.split("@")[0] in (*LOGICAL, "shown") and name not in found:
                    if name not in wanted:
                        raise refused(name, "a comparison that is no neuron's")
                    found[name] = None
                    waiting.append(wanted[name].inputs)
        order = list(self.step.comparisons) + list(self.found.new)
        return sorted(found, key=order.index)

    def _free(self, base: str) -> str:
        taken = {*self.nodes, *self.names.values()}
        return next(name for n in itertools.count(1) if (name := base if n == 1 else f"{base}.{n}") not in taken)

    def _neuron(self, name: str, key: str, cell: Found) -> None:
        shape = cell.shape[1:]
        inputs, rest = cell.inputs, cell.rest
        if key in self.found.gates:
            theta = np.broadcast_to(cell.threshold, cell.shape)[0].astype(np.float64)
            self.nodes[name] = Node(shape, nir.Threshold(theta))
        else:
            factor, inputs = _common(inputs)
            cell = replace(cell, gain=cell.gain * factor)
            if np.any(rest) and np.all(cell.keep == 1):  # nothing leaks towards it: it is added to what comes in
                inputs = inputs + known(rest / cell.gain)
                cell = replace(cell, rest=np.zeros(()))
            self.nodes[name] = Node(shape, layer=cell, adapter=OwnCell())
        self.edges[name] = self._reads(inputs, name)

    def _without_states(self, form: Form) -> Form:
        """Values of membranes that never fire, as what their nodes show."""
        for atom in sorted(form.atoms):
            if atom[0] != "state":
                continue
            if atom[1] not in self.found.cells or self.found.cells[atom[1]].spike is not None:
                raise refused(atom[1], "a membrane that fires is read")
            new = self.found.new[atom[1]]
            keep = new.of(atom)
            now = unknown("shown", atom[1], form.shape)
            late = form.without(atom) + unknown("shown@1", atom[1], form.shape).times(form.of(atom))
            if np.all(keep != 0):
                same = form - new.times(form.of(atom) / keep) + now.times(form.of(atom) / keep)
                same = Form({t: v for t, v in same.terms.items() if not _rounding(t, v, form)}, same.shape)
                form = same if len(same.terms) < len(late.terms) else late
            else:
                form = late
        return form

    def _reads(self, form: Form, post: str) -> Edges:
        """Edges that bring a form; factors, numbers and products of spikes become nodes."""
        self.step.require_clear(form, post)
        found: Edges = Counter()
        for term, value in form.terms.items():
            if term == CONSTANT:
                continue
            source, lag = self._source(next(iter(term))) if len(term) == 1 else (self._both(term, post, form.shape), 0)
            full = np.broadcast_to(value, form.shape)[0].astype(np.float64)
            if (full == 1).all():
                found[source, lag] += 1
                continue
            name = self._free(f"{post}.times.{source}")
            self.nodes[name] = Node(form.shape[1:], nir.Scale(full))
            self.edges[name] = Counter({(source, lag): 1})
            found[name, 0] += 1
        if form.constant.any():
            name = self._free(f"{post}.plus")
            full = np.broadcast_to(form.constant, form.shape)[0].astype(np.float64)
            self.nodes[name] = Node(form.shape[1:], biased(full, post))
            self.edges[name] = found
            found = Counter({(name, 0): 1})
        return found

    def _both(self, term: frozenset[Atom], post: str, shape: tuple[int, ...]) -> str:
        """The AND of spikes."""
        if any(kind not in LOGICAL for kind, _ in term):
            what = " times ".join(sorted(name for _, name in term))
            raise refused(post, f"a product of values that are not spikes: {what}")
        name = self._free(f"{post}.and")
        self.nodes[name] = Node(shape[1:], nir.Threshold(np.full(shape[1:], len(term) - 0.5)))
        self.edges[name] = Counter({self._source(atom): 1 for atom in term})
        return name

    def _source(self, atom: Atom) -> tuple[str, int]:
        kind, name = atom
        lag = 1 if kind == "prev" else int(kind.partition("@")[2] or 0)
        if kind.split("@")[0] == "layer":
            return name, lag
        return self.names[name], lag


def _rounding(term: frozenset[Atom], value: Array, form: Form) -> bool:
    """Whether a coefficient is what is left of two that are the same."""
    return bool((np.abs(value) <= 1e-9 * np.maximum(1.0, np.abs(form.terms.get(term, np.zeros(()))))).all())


def _common(inputs: Form) -> tuple[Array, Form]:
    """A factor that all inputs share, and the inputs without it."""
    values = [np.broadcast_to(value, inputs.shape) for term, value in inputs.terms.items() if term != CONSTANT]
    same = values and all(np.allclose(value, values[0], rtol=1e-12, atol=0) for value in values) and values[0].all()
    if not same or CONSTANT in inputs.terms:
        return np.ones(()), inputs
    return _compact(values[0][0]), Form({term: np.ones(()) for term in inputs.terms}, inputs.shape)


def refused(where: str, what: str) -> SourceError:
    """The refusal of arithmetic that is no neuron's."""
    return SourceError(
        "not-a-neuron",
        f"the arithmetic in forward is not that of a neuron that a core has: {what}",
        where=where,
        limit="v' = keep v + inputs + rest, a comparison with a threshold, reset to a constant or by the threshold",
        hint="docs/frontends.md shows forms that are read; or use a neuron of SpikingJelly or snnTorch",
    )
