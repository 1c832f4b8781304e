"""From what the output shows at every step to the scores that a prediction is judged by.

A `Rule` is a deployment's readout, as text: WHAT, WHAT-OVER or OVER, and steps in brackets: 'rate', 'membrane-last',
'max', 'sum[5:]'. What is shown: spikes (rate), the last linear layer (linear), membranes (membrane); over the steps:
their sum, mean, last or maximum. 'first' is the earliest spike. This is done on the host, after the chip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

import numpy as np

from snnhw.errors import SourceError
from snnhw.network import Array, Readout

OVERS = ("sum", "mean", "last", "max")
WORDS = ("rate", "first", "mean", "membrane", *OVERS)
FORMS = "rate, first, mean, membrane, sum, last, max, WHAT-OVER (as membrane-last), each with steps (as sum[5:])"
"""Said where a readout is none."""

Window = tuple[int | None, int | None]
"""Steps from, to (not included), as Python slices count them."""

WHOLE: Window = (None, None)
LAST: Window = (-1, None)

_WHATS = {"rate": "rate", "spikes": "rate", "linear": "mean", "membrane": "membrane"}
_TEXT = re.compile(r"(?:(\w+)-)?(\w+)(?:\[(-?\d+)?:(-?\d+)?\])?", re.ASCII)


@dataclass(frozen=True)
class Rule:
    """A readout.

    Args:
        shows: what each step of the output is: 'rate' (spikes), 'mean' (a linear layer), 'membrane'; '' where all fit.
        over: 'sum', 'mean', 'max' or 'first'.
        window: the steps that count; the last one alone is `LAST`.
    """

    shows: str
    over: str
    window: Window = WHOLE

    @property
    def text(self) -> str:
        """As `parse` reads it, in the shortest form."""
        last = self.window == LAST and self.over == "sum"
        over, steps = ("last", "") if last else (self.over, _steps(self.window))
        usual = {"rate": "sum", "mean": "mean", "membrane": "sum"}.get(self.shows)
        if over in ("first", usual):
            return ("first" if over == "first" else self.shows) + steps
        what = {"mean": "linear"}.get(self.shows, self.shows)
        return (f"{what}-{over}" if what else over) + steps


def _steps(window: Window) -> str:
    first, end = ("" if part is None else str(part) for part in window)
    return "" if window == WHOLE else f"[{first}:{end}]"


def parse(text: str) -> Rule | None:
    """The rule of a text; None where it is none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    what, word, *ends = match.groups()
    first, end = (None if part is None else int(part) for part in ends)
    window: Window = (first, end)
    if what is None and word in ("rate", "mean", "membrane"):
        return Rule(word, "mean" if word == "mean" else "sum", window)
    shows = _WHATS.get(what, "") if what is not None else ""
    if (what is not None and not shows) or (word == "first" and (shows or window != WHOLE)):
        return None
    if word == "first":
        return Rule("rate", "first")
    if word == "last":
        return Rule(shows, "sum", LAST) if window == WHOLE else None
    return Rule(shows, word, window) if word in OVERS else None


def rule_of(text: str) -> Rule:
    """The rule of a text that was checked before."""
    found = parse(text)
    if found is None:
        raise SourceError("bad-semantics", "no such readout", needed=repr(text), limit=FORMS)
    return found


def grouped(values: Array, groups: int, interleaved: bool = False) -> Array:
    """Sums (B, groups) of outputs (B, n): of neighbours, or of every groups-th output."""
    parts = values.reshape(len(values), -1, groups) if interleaved else values.reshape(len(values), groups, -1)
    return np.asarray(parts.sum(axis=1 if interleaved else 2))


def first_spikes(output: Array) -> Array:
    """Step of the first spike of outputs (samples, T, outputs…); T, or as many steps as were run, for silence."""
    ended = np.concatenate([output > 0, np.ones((len(output), 1, *output.shape[2:]), bool)], axis=1)
    return np.asarray(ended.argmax(axis=1))


def scores(readout: Readout, output: Array) -> Array:
    """What classes are judged by, (B, classes), of outputs (B, T, outputs...), in their own units.

    Sums or maxima over the steps that count, summed over the outputs of each group; the step of the first spike.
    """
    return Running(readout).add(output)


class Running:
    """The scores of samples whose steps come one after the other: what counts so far is held, not the steps.

    A window that counts from the end holds its steps; one that ends before the end (`[:-2]`) all of them.

    Attributes:
        steps: that were added.
        held: what counts of them, or None before the first that does.
    """

    def __init__(self, readout: Readout, steps: int = 0, held: Array | None = None) -> None:
        self.readout, self.steps, self.held = readout, steps, held

    def add(self, output: Array) -> Array:
        """The scores (B, classes) once further steps (B, k, outputs...) have been."""
        flat = output.reshape(*output.shape[:2], prod(output.shape[2:]))
        done, self.steps = self.steps, self.steps + flat.shape[1]
        groups = self.readout.groups or flat.shape[2]
        if self.readout.kind == "first":
            now = done + first_spikes(flat)
            self.held = now if self.held is None else np.where(self.held < done, self.held, now)
            return np.asarray(self.held.reshape(len(flat), groups, -1).min(axis=2))
        over = self._over(flat, done)
        if over is None:  # before the first step that counts
            over = np.zeros_like(flat, shape=(len(flat), flat.shape[2]))
        return over if groups == flat.shape[2] else grouped(over, groups, self.readout.interleaved)

    def _over(self, flat: Array, done: int) -> Array | None:
        """Sum or maximum of the steps that count so far, (B, outputs)."""
        first, end = self.readout.window
        if min(first or 0, end or 0) < 0:
            self.held = flat if self.held is None else np.concatenate([self.held, flat], axis=1)
            self.held = self.held[:, first:] if end is None else self.held
            return self._reduced(self.held[:, first:end])
        now = self._reduced(flat[:, max((first or 0) - done, 0) : None if end is None else max(end - done, 0)])
        if self.held is None or now is None:
            self.held = now if self.held is None else self.held
        else:
            self.held = np.maximum(self.held, now) if self.readout.over == "max" else self.held + now
        return self.held

    def _reduced(self, counted: Array) -> Array | None:
        if not counted.shape[1]:
            return None
        return np.asarray(counted.max(axis=1) if self.readout.over == "max" else counted.sum(axis=1))


def judged(readout: Readout, found: Array) -> Array:
    """Predicted classes int64 (B,) of scores (B, classes); ties go to the lowest class."""
    return np.asarray(found.argmin(axis=1) if readout.kind == "first" else found.argmax(axis=1), np.int64)


def values(readout: Readout, found: Array, outputs: int, steps: int, done: int | None = None) -> Array:
    """Scores (B, classes) in the source's own units, float64.

    Args:
        outputs: of the network.
        steps: T of the network.
        done: steps that the scores are of, if not all T.
    """
    real = found.astype(np.float64)
    if readout.kind == "first":
        return real
    planned, counted = (max(_counted(readout, n), 1) for n in (steps, steps if done is None else done))
    size = outputs // readout.groups if readout.groups else 1
    summed = 1 if readout.averages or readout.over == "max" else counted
    scale = readout.scale * (planned / counted if readout.averages else 1.0)
    return real * scale + readout.gain * readout.offset * size * summed


def real_scale(readout: Readout, steps: int) -> float:
    """Of a network in reals: what one unit of a score is in the source's units."""
    return readout.gain / (max(_counted(readout, steps), 1) if readout.averages else 1)


def _counted(readout: Readout, steps: int) -> int:
    return len(range(steps)[slice(*readout.window)])


def host_operations(readout: Readout, outputs: int, steps: int) -> int:
    """Additions and comparisons that the host makes for one sample, beside the choice of the class.

    Spikes, maxima and windows are gathered step by step; a sum in an accumulator is read once.
    """
    counted = _counted(readout, steps)
    on_chip = readout.kind == "mean" and readout.over != "max" and readout.window == WHOLE
    gathered = 0 if on_chip else max(counted - 1, 0) * outputs
    return gathered + (outputs - readout.groups if readout.groups else 0)


def require_fitting(readout: Readout, outputs: int, steps: int) -> None:
    """Raise SourceError where the outputs are no whole groups, or where no step counts."""
    if readout.groups and outputs % readout.groups:
        raise SourceError(
            "bad-population",
            "the outputs cannot be divided into so many groups of equal size",
            where=readout.population,
            needed=f"{readout.groups} groups",
            limit=f"{outputs} outputs",
            hint="give the number of classes, a divisor of the number of outputs",
        )
    if not _counted(readout, steps):
        raise SourceError(
            "bad-readout-steps",
            "none of the steps of a sample counts for the prediction",
            where=readout.population,
            needed=f"steps{_steps(readout.window)}",
            limit=f"{steps} steps",
            hint="read other steps, or give the sample more of them",
        )


def told(readout: Readout, outputs: int) -> str:
    """The rule in words, for reports: how outputs become scores."""
    what = {"rate": "spikes", "first": "first spikes", "mean": "values of the last layer", "membrane": "membranes"}
    if readout.kind == "first":
        text = "the earliest first spike"
    elif readout.window == LAST:
        text = f"{what[readout.kind]} of the last step"
    else:
        over = "mean" if readout.averages else readout.over or "sum"
        text = {"sum": "sum of ", "mean": "mean of ", "max": "maximum of "}[over] + what[readout.kind]
        text = "spike counts" if (over, readout.kind) == ("sum", "rate") else f"{text} over the steps"
        text += f" {_steps(readout.window)}" if readout.window != WHOLE else ""
    if readout.groups:
        text += f", summed over {readout.groups} groups of {outputs // readout.groups} outputs"
    return text
