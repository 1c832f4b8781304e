"""What a tensor of a recorded run stands for: sums of what nodes send, at which step, over which axes.

A value is symbolic where its numbers depend on the input; all other tensors are constants, and stay numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import OUT

INPUT, OUTPUT = "input", "output"
"""Names of the graph's ends."""

WHOLE, STATIC = "whole", "static"
"""Steps of a value that holds all of them, and of one that is the same at each."""

Step = int | str

LEAD = {"N": 1, "TN": 2, "NT": 2, "(TN)": 1, "(NT)": 1}
"""Axes before the features."""


@dataclass(frozen=True)
class Term:
    """What a node sends (or shows) at one step, or at all."""

    node: str
    step: Step
    port: str = OUT


@dataclass(frozen=True)
class Sum:
    """A sum of terms; without terms it is zero, the value of the step before the first.

    Args:
        axes: before the features, a key of LEAD; '' (zero): any.
        reduced: '' or how it was summed up over time: 'sum', 'mean'.
        factor: > 0, of a sum over time; which output is the largest does not depend on it.
    """

    terms: tuple[Term, ...]
    axes: str
    reduced: str = ""
    factor: float = 1.0

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
    return Sum(left.terms + right.terms, left.axes or right.axes, left.reduced, left.factor)


def stacked(parts: list[Sum], axes: str, where: str) -> Sum:
    """Values of single steps, one after another, as one value over time."""
    shapes = [Counter((term.node, term.port) for term in part.terms) for part in parts]
    late = min((term.step for term in parts[0].terms if isinstance(term.step, int)), default=0) if parts else 0
    as_is = late in (0, -1) and all(  # -1: what comes out is told from the state of the step before
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
    return Sum(tuple(whole), axes)


def at_step(value: Sum, step: int) -> Sum:
    """One step of a value over time."""
    terms = (replace(term, step=step if term.step == WHOLE else term.step) for term in value.terms)
    return Sum(tuple(terms), "N")


def refused_axes(where: str, what: str) -> SourceError:
    """The refusal of an operation that mixes up time, batch and features."""
    return SourceError(
        "time-axis",
        what,
        where=where,
        limit="(T, N, features) or (N, T, features), folded into one axis for layers without time",
        hint="keep time and batch in front, and treat the features only",
    )
