"""What a tensor of a recorded run stands for: sums of what nodes send, at which step, over which axes.

A value is symbolic where its numbers depend on the input; all other tensors are constants, and stay numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import OUT
from snnhw.readout import WHOLE as ALL
from snnhw.readout import Window

INPUT, OUTPUT = "input", "output"
"""Names of the graph's ends."""

WHOLE, STATIC = "whole", "static"
"""Steps of a value that holds all of them, and of one that is the same at each."""

Step = int | str

TIME_LAST = "N*T"
"""Axes of values whose time comes behind the features."""

LEAD = {"N": 1, "TN": 2, "NT": 2, "(TN)": 1, "(NT)": 1, TIME_LAST: 1}
"""Axes before the features."""


def time_of(axes: str, dims: int) -> int | None:
    """Which axis is time, of values that have one of its own."""
    return {"TN": 0, "NT": 1, TIME_LAST: dims - 1}.get(axes)


def over_time(axis: int, dims: int) -> str | None:
    """Axes of values whose time is an axis; None where it is among the features."""
    return ("TN", "NT")[axis] if axis < 2 else TIME_LAST if axis == dims - 1 else None


@dataclass(frozen=True)
class Term:
    """What a node sends (or shows) at one step, or at all."""

    node: str
    step: Step
    port: str = OUT


@dataclass(frozen=True)
class Ending:
    """A function without parameters behind the last layer, with its arguments but the first."""

    name: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Sum:
    """A sum of terms; without terms it is zero, the value of the step before the first.

    Args:
        axes: before the features, a key of LEAD; '' (zero): any.
        reduced: '' or how it was made one value over time: 'sum', 'mean', 'max'.
        factor: > 0, of a value that was reduced.
        window: the steps that are left of a value over time, or that were reduced.
        count: how many steps were reduced.
        groups: of a value that was reduced, whose outputs were summed in so many groups then; 0: they were not.
        interleaved: of the groups, see `semantics.Deployment`.
        view: a name, and other axes than its nodes' in which its features are seen: a node of its own, if more than a
            sum over one of them comes next.
        ending: a function that forward ends with, which changes no decision: nothing may come behind it.
    """

    terms: tuple[Term, ...]
    axes: str
    reduced: str = ""
    factor: float = 1.0
    window: Window = ALL
    count: int = 0
    groups: int = 0
    interleaved: bool = False
    view: tuple[str, tuple[int, ...]] | None = None
    ending: Ending | None = None

    @property
    def label(self) -> Step:
        """The step at which it is known: the latest of its terms'; -1 of zero."""
        steps = {term.step for term in self.terms}
        numbers = [step for step in steps if isinstance(step, int)]
        if WHOLE in steps:
            return WHOLE
        return max(numbers) if numbers else STATIC if steps else -1


@dataclass(frozen=True)
class Inverted:
    """1 - a."""

    of: Sum


@dataclass(frozen=True)
class State:
    """What a leaf keeps from one step to the next."""

    owner: str
    step: Step


@dataclass(frozen=True)
class Overwritten:
    """Memory that was changed through another tensor."""


@dataclass(frozen=True)
class Unfilled:
    """Memory whose steps are not all stored yet.

    Args:
        axis: over which steps are stored; None while nothing is.
    """

    axis: int | None = None


@dataclass(frozen=True)
class Refused:
    """What an operation gave that has no meaning as a network; it may be that nothing depends on it.

    Args:
        event: how many events came before.
    """

    error: SourceError
    event: int


Value = Sum | Inverted | State | Overwritten | Unfilled | Refused


def added(left: Sum, right: Sum, where: str) -> Sum:
    """The sum of two values with the same axes."""
    if left.reduced != right.reduced:
        raise refused_axes(where, "a sum over time is added to values of single steps")
    if left.axes and right.axes and left.axes != right.axes:
        raise refused_axes(where, f"values over {left.axes} and over {right.axes} are added")
    if left.factor != right.factor:
        raise refused_axes(where, "sums over time with different factors are added")
    if not left.terms or not right.terms:
        return left if left.terms else right
    if left.reduced == "max" or replace(left, terms=(), axes="") != replace(right, terms=(), axes=""):
        raise refused_axes(where, "values of different steps, or maxima over them, are added")
    return replace(left, terms=left.terms + right.terms, axes=left.axes or right.axes)


def stacked(parts: list[Sum], axes: str, where: str, first: int = 0, last: bool = True) -> Sum:
    """Values of single steps, one after another, as one value over time.

    Args:
        first: the step of the first part.
        last: whether the last part is of the last step.
    """
    shapes = [Counter((term.node, term.port) for term in part.terms) for part in parts]
    late = first or (min((t.step for t in parts[0].terms if isinstance(t.step, int)), default=0) if parts else 0)
    as_is = (first or late in (0, -1)) and all(  # -1: what comes out is told from the state of the step before
        term.step in (t + late, STATIC) and part.axes in ("N", "") and not part.reduced
        for t, part in enumerate(parts)
        for term in part.terms
    )
    if not parts or not as_is or any(shape != shapes[0] for shape in shapes):
        raise SourceError(
            "not-all-steps",
            "what is stacked over time is not the same value of the steps 0, 1, 2 and so on",
            where=where,
            needed="one entry per step, in order",
            hint="collect the same layer's output at each step",
        )
    whole = (replace(term, step=WHOLE if isinstance(term.step, int) else STATIC) for term in parts[0].terms)
    window = (first or None, None if last else first + len(parts))
    return replace(parts[0], terms=tuple(whole), axes=axes, window=window)


def at_step(value: Sum, step: int) -> Sum:
    """One step of a value over time."""
    terms = (replace(term, step=step if term.step == WHOLE else term.step) for term in value.terms)
    return replace(value, terms=tuple(terms), axes="N", window=ALL)


def refused_axes(where: str, what: str) -> SourceError:
    """The refusal of an operation that mixes up time, batch and features."""
    return SourceError(
        "time-axis",
        what,
        where=where,
        limit="(T, N, features) or (N, T, features), folded into one axis for layers without time",
        hint="keep time and batch in front, and treat the features only",
    )
