"""What element-wise operations of a step graph compute, as sums of products of few unknowns with known coefficients.

An unknown (`Atom`) is an input, a state, the output of a linear layer, or a spike: the truth of a comparison, 0 or 1.
A neuron written in any way (`mem * (1 - spk)`, `where(spk, 0, mem)`, `mem - spk * threshold`) has one form.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from snnhw.network import Array

Atom = tuple[str, str]
"""(kind, name): 'input', 'state', 'layer', 'spike' (this step's, a comparison), 'prev' (the step before's), 'floor'."""

Term = frozenset[Atom]
LOGICAL = ("spike", "prev")
CONSTANT: Term = frozenset()
MOST_TERMS = 64
MOST_VALUES = 1 << 24
TOLERANCE = 1e-6
"""Relative: constants of a file are float32, and what is folded from them once is folded again otherwise."""


class NotLinearError(Exception):
    """A product that no neuron has; the reader of the graph says where."""


@dataclass(frozen=True)
class Form:
    """Sum of coefficient * product of atoms.

    Args:
        terms: product -> coefficients, float64, that broadcast to the shape.
        shape: of the value in the graph, batch included.
    """

    terms: Mapping[Term, Array]
    shape: tuple[int, ...]

    def __add__(self, other: Form) -> Form:
        shape = _joined(self.shape, other.shape)
        terms = dict(self.terms)
        for term, value in other.terms.items():
            terms[term] = terms[term] + value if term in terms else value
        return _tidy(terms, shape)

    def __sub__(self, other: Form) -> Form:
        return self + other.times(np.array(-1.0))

    def __mul__(self, other: Form) -> Form:
        shape = _joined(self.shape, other.shape)
        terms: dict[Term, Array] = {}
        for (one, a), (two, b) in itertools.product(self.terms.items(), other.terms.items()):
            if any(kind not in LOGICAL for kind, _ in one & two):
                raise NotLinearError("the square of a value")
            value = a * b
            terms[one | two] = terms[one | two] + value if one | two in terms else value
        if len(terms) > MOST_TERMS:
            raise NotLinearError(f"a product of more than {MOST_TERMS} terms")
        return _tidy(terms, shape)

    def times(self, factor: Array) -> Form:
        """Multiplied by constants."""
        shape = _joined(self.shape, np.shape(factor))
        return _tidy({term: value * factor for term, value in self.terms.items()}, shape)

    @property
    def held(self) -> int:
        """Coefficients in memory."""
        return sum(value.size for value in self.terms.values())

    @property
    def constant(self) -> Array:
        """The coefficients of no atom."""
        return self.terms.get(CONSTANT, np.zeros(()))

    @property
    def atoms(self) -> frozenset[Atom]:
        """All unknowns."""
        return frozenset[Atom]().union(*self.terms)

    def of(self, atom: Atom) -> Array:
        """Coefficients of one atom alone."""
        return self.terms.get(frozenset([atom]), np.zeros(()))

    def where(self, atom: Atom, value: int) -> Form:
        """The form for an atom that is 0 or 1."""
        terms: dict[Term, Array] = {}
        for term, coefficient in self.terms.items():
            rest = term - {atom}
            if atom not in term or value:
                terms[rest] = terms[rest] + coefficient if rest in terms else coefficient
        return _tidy(terms, self.shape)

    def without(self, atom: Atom) -> Form:
        """Without the term of an atom alone."""
        return Form({t: v for t, v in self.terms.items() if t != frozenset([atom])}, self.shape)

    def renamed(self, rename: Callable[[Atom], Atom]) -> Form:
        """The same over other atoms."""
        terms: dict[Term, Array] = {}
        for term, value in self.terms.items():
            new = frozenset(map(rename, term))
            terms[new] = terms[new] + value if new in terms else value
        return _tidy(terms, self.shape)

    def only(self) -> Atom | None:
        """The atom that this is, if it is one and nothing else."""
        if len(self.terms) != 1:
            return None
        ((term, value),) = self.terms.items()
        return next(iter(term)) if len(term) == 1 and (value == 1).all() else None

    def equals(self, other: Form) -> bool:
        """Whether both are the same but for rounding of constants."""
        if self.shape != other.shape:
            return False
        rest = self - other
        return all(
            (np.abs(value) <= TOLERANCE * np.maximum(1.0, np.abs(self.terms.get(term, np.zeros(()))))).all()
            for term, value in rest.terms.items()
        )

    def is_constant(self) -> bool:
        """Whether nothing but rounding is left beside a constant."""
        return Form({t: v for t, v in self.terms.items() if t}, self.shape).equals(Form({}, self.shape))

    def logical(self) -> bool:
        """Whether it is 0 or 1 whatever its spikes are."""
        atoms = sorted(self.atoms)
        if any(kind not in LOGICAL for kind, _ in atoms) or len(atoms) > 6:
            return False
        for values in itertools.product((0, 1), repeat=len(atoms)):
            found = self
            for atom, value in zip(atoms, values, strict=True):
                found = found.where(atom, value)
            if not np.isin(found.constant, (0.0, 1.0)).all():
                return False
        return True


def _joined(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    shape = np.broadcast_shapes(one, other)
    if math.prod(shape) > MOST_VALUES:
        raise NotLinearError(f"more than {MOST_VALUES} values")
    return shape


def known(value: Array) -> Form:
    """A constant."""
    value = np.asarray(value, np.float64)
    return _tidy({CONSTANT: value}, value.shape)


def unknown(kind: str, name: str, shape: tuple[int, ...]) -> Form:
    """One atom."""
    return Form({frozenset([(kind, name)]): np.ones(())}, shape)


def _tidy(terms: dict[Term, Array], shape: tuple[int, ...]) -> Form:
    return Form({term: value for term, value in terms.items() if np.any(value)}, shape)
