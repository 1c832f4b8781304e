"""Which neurons the forms of one step are: decay, current, threshold, reset and its timing, told by algebra.

A membrane state v with the comparison s = [h > threshold] is a neuron if its new value is h for s = 0. For s = 1 it is
a constant (hard reset), h - threshold (soft reset), or h itself: then h of the next step has the reset in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.forms import CONSTANT, LOGICAL, Atom, Form, known, unknown
from snnhw.network import Array, Comparison, Reset, ResetTiming
from snnhw.semantics import CurrentOrder


@dataclass(frozen=True)
class Compared:
    """A truth [form > 0], or [form >= 0] where it is not strict.

    Args:
        where: place of the comparison.
        value: name of what it gives.
        inverted: whether that is the opposite.
    """

    form: Form
    strict: bool
    where: str
    value: str
    inverted: bool = False


@dataclass(frozen=True)
class Cell:
    """One neuron, or a membrane that never fires (no `spike`).

    v' = keep v + gain i' + rest with i' = current_keep i + input (no current: i' = input); coefficients broadcast to
    `shape`, batch included.
    """

    where: str
    shape: tuple[int, ...]
    inputs: Form
    keep: Array
    gain: Array
    rest: Array
    spike: str | None = None
    threshold: Array = field(default_factory=lambda: np.zeros(()))
    v_reset: Array = field(default_factory=lambda: np.zeros(()))
    current_keep: Array | None = None
    semantics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recognised:
    """What a step is made of.

    Args:
        cells: by membrane state.
        gates: comparisons of inputs with a threshold, without any state.
        shown: outputs as forms over spikes of this step and of the one before, and layers.
        new: new value of each membrane, to tell an output that shows one.
        renaming: of states that hold spikes: the spikes of the step before.
    """

    cells: dict[str, Cell]
    gates: dict[str, Cell]
    shown: dict[str, Form]
    new: dict[str, Form]
    renaming: Callable[[Atom], Atom]


def truth(
    comparisons: dict[str, Compared],
    difference: Form,
    strict: bool,
    where: str,
    value: str,
    free: Callable[[str], str],
    inverted: bool = False,
) -> Form:
    """[difference > 0], or >= where not strict: an atom of `comparisons`, the same one for the same comparison."""
    if _points_down(difference):  # [d > 0] = 1 - [-d >= 0]: spikes are where a membrane is above
        negative = difference.times(np.array(-1.0))
        return known(np.ones(())) - truth(comparisons, negative, not strict, where, value, free, not inverted)
    for name, other in comparisons.items():
        if other.strict == strict and other.form.shape == difference.shape and other.form.equals(difference):
            return unknown("spike", name, difference.shape)
    name = free(where)
    comparisons[name] = Compared(difference, strict, where, value, inverted)
    return unknown("spike", name, difference.shape)


def _points_down(difference: Form) -> bool:
    """Whether states count against a comparison (inputs, where it reads no state): `mem < threshold`."""
    terms = {term: value for term, value in difference.terms.items() if any(kind == "state" for kind, _ in term)}
    values = list((terms or {term: value for term, value in difference.terms.items() if term}).values())
    return all(bool((value <= 0).all()) for value in values)


def half(difference: Form, strict: bool) -> Form | None:
    """`spike > 0.5` is the spike, `spike < 1` what is no spike; None where no spike is compared with a number."""
    varying = difference - known(difference.constant)
    (atom, *more) = varying.atoms or [("", "")]
    if more or atom[0] not in LOGICAL:
        return None
    truths = []
    for value in (0, 1):
        found = difference.where(atom, value).constant
        truth_of = found > 0 if strict else found >= 0
        if np.any(truth_of) != np.all(truth_of):
            return None
        truths.append(float(np.all(truth_of)))
    spike = unknown(*atom, difference.shape).times(np.array(truths[1] - truths[0]))
    return spike + known(np.array(truths[0]))


def recognise(
    comparisons: Mapping[str, Compared],
    floors: Mapping[str, tuple[Form, float]],
    states: Mapping[str, Form],
    shown: Mapping[str, Form],
) -> Recognised:
    """All neurons of a step.

    Args:
        comparisons: by their atoms' names.
        floors: of atoms max(form, number), by their names.
        states: state -> its new value.
        shown: what else is read.

    Raises:
        SourceError: a state or comparison that is no neuron's, by name.
    """
    held = {name: _spike_of(form) for name, form in states.items()}
    spikes = {name: spike for name, spike in held.items() if spike is not None}
    forms = _Forms(comparisons, floors, states, spikes)
    cells: dict[str, Cell] = {}
    for name in forms.new:
        spike = forms.spike_of_membrane(name)
        if spike is not None:
            cells[name] = _spiking(forms, name, spike)
    used = {atom for cell in cells.values() for atom in cell.inputs.atoms}
    for name in forms.new:
        if name not in cells and ("state", name) not in used:
            cells[name] = _silent(forms, name)
    currents = {name for name in forms.new if name not in cells}
    whole = {name: _with_current(forms, cell, currents) for name, cell in cells.items()}
    fired = {cell.spike for cell in whole.values()}
    gates = {
        name: _gate(found) for name, found in forms.comparisons.items() if name not in fired and not _stateful(found)
    }
    outputs = {name: form.renamed(forms.renaming) for name, form in shown.items()}
    return Recognised(whole, gates, outputs, forms.new, forms.renaming)


def _stateful(comparison: Compared) -> bool:
    return any(kind in ("state", "floor") for kind, _ in comparison.form.atoms)


def _gate(comparison: Compared) -> Cell:
    """[inputs > threshold] without memory."""
    form = comparison.form
    inputs = Form({t: v for t, v in form.terms.items() if t != CONSTANT}, form.shape)
    if any(len(term) != 1 for term in inputs.terms) or not comparison.strict:
        raise _refused(comparison.where, "a comparison without memory that is not [weighted sum > threshold]")
    one = np.ones(())
    return Cell(comparison.where, form.shape, inputs, 0 * one, one, 0 * one, comparison.where, -form.constant)


def _spike_of(form: Form) -> str | None:
    atom = form.only()
    return atom[1] if atom is not None and atom[0] == "spike" else None


class _Forms:
    """The step's forms, with states that hold spikes read as spikes of the step before."""

    def __init__(
        self,
        comparisons: Mapping[str, Compared],
        floors: Mapping[str, tuple[Form, float]],
        states: Mapping[str, Form],
        spikes: Mapping[str, str],
    ) -> None:
        def rename(atom: Atom) -> Atom:
            return ("prev", spikes[atom[1]]) if atom[0] == "state" and atom[1] in spikes else atom

        self.comparisons = {
            name: replace(found, form=found.form.renamed(rename)) for name, found in comparisons.items()
        }
        self.floors: dict[str, float] = {}
        self.new: dict[str, Form] = {}
        for name, value in states.items():
            if name in spikes:
                continue
            form = value.renamed(rename)
            floor = form.only()
            if floor is not None and floor[0] == "floor":
                form, self.floors[name] = floors[floor[1]]
                form = form.renamed(rename)
            self.new[name] = form
        self.renaming = rename

    def spike_of_membrane(self, name: str) -> str | None:
        """The comparison of a membrane with a constant, if there is one."""
        found = [spike for spike in self.comparisons if self.threshold(name, spike) is not None]
        if len(found) > 1:
            raise _refused(name, f"a membrane that is compared more than once: {', '.join(found)}")
        return found[0] if found else None

    def threshold(self, name: str, spike: str) -> Array | None:
        """h - k d of a comparison [d > 0] with k > 0, where that is constant."""
        h = self.new[name].where(("spike", spike), 0)
        return threshold_in(h, self.comparisons[spike].form)

    def is_last_spike(self, other: str, name: str, spike: str, threshold: Array) -> bool:
        """Whether a comparison is the neuron's own, of the membrane of the step before."""
        one, mine = self.comparisons[other], self.comparisons[spike]
        if one.strict != mine.strict or one.form.atoms != {("state", name)}:
            return False
        v = Form({frozenset([("state", name)]): np.ones(())}, one.form.shape)
        found = threshold_in(v, one.form)
        return found is not None and np.allclose(found, threshold, rtol=1e-6)


def threshold_in(h: Form, d: Form) -> Array | None:
    """theta with d = (h - theta) / k for some k > 0, or None."""
    terms = [term for term in d.terms if term]
    if not terms or any(term not in h.terms for term in terms):
        return None
    term = terms[0]
    scaled, under = np.broadcast_arrays(h.terms[term], d.terms[term])
    if (under == 0).any() or (scaled / under <= 0).any():
        return None
    rest = h - d.times(scaled / under)
    return rest.constant if rest.is_constant() else None


def _spiking(forms: _Forms, name: str, spike: str) -> Cell:
    """A neuron with its reset; its synaptic current, if any, is still among its inputs."""
    comparison, new = forms.comparisons[spike], forms.new[name]
    atom, theta = ("spike", spike), forms.threshold(name, spike)
    assert theta is not None
    h, fired = new.where(atom, 0), new.where(atom, 1)
    timing, v_reset = ResetTiming.SAME_STEP, np.zeros(())
    if fired.equals(h):
        h, reset, timing, v_reset = _late_reset(forms, name, spike, h, theta)
    elif (h - fired).is_constant() and np.allclose((h - fired).constant, theta, rtol=1e-6):
        reset = Reset.SUBTRACT
    elif fired.is_constant():
        v_reset, reset = fired.constant, Reset.V_RESET
    else:
        raise _refused(comparison.where, "a reset that is neither to a constant nor by the threshold")
    reset = Reset.ZERO if reset is Reset.V_RESET and not np.any(v_reset) else reset
    semantics = {
        "threshold": str(Comparison.GT if comparison.strict else Comparison.GE),
        "reset": str(reset),
        "reset_timing": str(timing),
        "v_min": forms.floors.get(name),
        "v_init": 0.0,
    }
    return _cell(forms, name, h, spike=spike, threshold=theta, v_reset=v_reset, semantics=semantics)


def _late_reset(forms: _Forms, name: str, spike: str, h: Form, theta: Array) -> tuple[Form, Reset, ResetTiming, Array]:
    """The reset inside of the next h: that without it, kind, timing, and the value that is reset to."""
    mine = [a for a in h.atoms if a[0] == "spike" and forms.is_last_spike(a[1], name, spike, theta)]
    mine = mine or [a for a in h.atoms if a == ("prev", spike)]
    where = forms.comparisons[spike].where
    if len(mine) != 1:
        raise _refused(where, "a membrane that is not reset")
    if name in forms.floors:
        raise _refused(where, "a lower bound of a membrane that is reset in the next step")
    base, after = h.where(mine[0], 0), h.where(mine[0], 1)
    keep, lost = base.of(("state", name)), base - after
    if lost.is_constant() and np.allclose(lost.constant, theta, rtol=1e-6) and not np.allclose(keep, 1):
        return base, Reset.SUBTRACT, ResetTiming.NEXT_STEP, np.zeros(())
    if lost.is_constant() and np.allclose(lost.constant, keep * theta, rtol=1e-6):
        return base, Reset.SUBTRACT, ResetTiming.SAME_STEP, np.zeros(())
    kept = lost.without(("state", name))
    if kept.is_constant() and np.allclose(lost.of(("state", name)), keep) and np.all(keep != 0):
        return base, Reset.V_RESET, ResetTiming.SAME_STEP, -kept.constant / keep
    if lost.equals(base):
        raise _refused(where, "a reset that also drops what comes in at the step after a spike")
    raise _refused(where, "a reset in the next step that is neither of the membrane nor by the threshold")


def _silent(forms: _Forms, name: str) -> Cell:
    """A membrane that no comparison reads."""
    if name in forms.floors:
        raise _refused(name, "a lower bound of a state that never fires")
    return _cell(forms, name, forms.new[name], semantics={"v_init": 0.0})


def _cell(forms: _Forms, name: str, h: Form, **more: Any) -> Cell:
    """h = keep v + inputs + rest."""
    keep, rest = h.of(("state", name)), h.constant
    inputs = Form({t: v for t, v in h.without(("state", name)).terms.items() if t != CONSTANT}, h.shape)
    where = forms.comparisons[more["spike"]].where if "spike" in more else name
    for term in inputs.terms:
        if len(term) != 1 or next(iter(term))[0] == "floor":
            raise _refused(where, "a membrane that is not a weighted sum of its old value and its inputs")
    return Cell(where, h.shape, inputs, keep, np.ones(()), rest, **more)


def _with_current(forms: _Forms, cell: Cell, currents: set[str]) -> Cell:
    """A synaptic current among a cell's inputs: i' = a i + x read as k i' (same step) or k i (next step)."""
    mine = [atom for atom in sorted(cell.inputs.atoms) if atom[0] == "state"]
    if not mine:
        return cell
    if len(mine) > 1 or mine[0][1] not in currents:
        raise _refused(cell.where, f"a neuron that reads the states {', '.join(name for _, name in mine)}")
    (atom,) = mine
    new = forms.new[atom[1]]
    keep, factor = new.of(atom), cell.inputs.of(atom)
    inputs = Form({t: v for t, v in new.without(atom).terms.items() if t != CONSTANT}, new.shape)
    for term in inputs.terms:
        if len(term) != 1 or next(iter(term))[0] in ("floor", "state"):
            raise _refused(atom[1], "a synaptic current that is not a weighted sum of its old value and its inputs")
    if new.constant.any():
        raise _refused(atom[1], "a constant added to a synaptic current")
    if np.all(keep != 0) and cell.inputs.equals(new.times(factor / keep)):
        order, gain = CurrentOrder.SAME_STEP, factor / keep
    elif cell.inputs.without(atom).is_constant():
        order, gain = CurrentOrder.NEXT_STEP, factor
    else:
        raise _refused(cell.where, f"a membrane that reads more than its current {atom[1]}")
    semantics = {**cell.semantics, "current_order": str(order)}
    return replace(cell, inputs=inputs, gain=gain, current_keep=keep, semantics=semantics)


def _refused(where: str, what: str) -> SourceError:
    return SourceError(
        "not-a-neuron",
        f"the step holds {what}",
        where=where,
        limit="v' = keep v + inputs + rest, a comparison with a threshold, reset to a constant or by the threshold",
        hint="--state IN:OUT pairs states where names and order mislead; else write the neuron as one of docs/onnx.md",
    )
