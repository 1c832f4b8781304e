# mypy: allow-subclassing-any
"""What single values can be made of in a forward that writes its neurons out: nodes of a recorded run.

They stand until `recurrence` has found which neurons they are; NIR has none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import nir

from snnhw.network import Array


@dataclass(eq=False)
class Op(nir.NIRNode):
    """A function of single values."""


@dataclass(eq=False)
class Same(Op):
    """The sum of what it reads: a value that is made of values of this step and of steps before."""


@dataclass(eq=False)
class Shift(Op):
    """The sum of what it reads, plus numbers."""

    by: Array


@dataclass(eq=False)
class Compared(Op):
    """[sign (sum of what it reads - than) > 0], or >= where it is not strict."""

    sign: int
    strict: bool
    than: Array


@dataclass(eq=False)
class Equal(Op):
    """[sum of what it reads = to], which is known of spikes only."""

    to: Array


@dataclass(eq=False)
class Product(Op):
    """Left times right: it reads two nodes, which are named."""

    left: str
    right: str


@dataclass(eq=False)
class Side(Op):
    """A factor: the sum of what it reads."""


@dataclass(eq=False)
class Floor(Op):
    """max(sum of what it reads, low)."""

    low: float


@dataclass(eq=False)
class Opaque(Op):
    """A function that no core computes: it may only cancel out, as the soft half of a straight-through estimator."""

    does: str
