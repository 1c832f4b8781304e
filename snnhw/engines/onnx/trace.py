"""`snnhw/fixed.py` run on values of a graph: every operator becomes an ONNX node on int64.

Constants fold, and a node is only made when something reads it. Integer division in ONNX rounds towards zero and `Mod`
follows the divisor's sign, so that a floor is a division of numbers for which both are exact: multiples, or magnitudes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from snnhw.engines.onnx.graph import INT64, Graph, Value


class Traced:
    """An int64 value (or, with `truth`, a boolean one) that operators make further values of.

    Args:
        emit: makes its node, once, and gives the name of that.
        positive: never below zero.
        source: what this is a multiple of, and how often.
    """

    __array_ufunc__ = None  # arrays leave their operators to us

    def __init__(
        self, graph: Graph, emit: Callable[[], Value], truth: bool = False, positive: bool = False, source: Any = None
    ) -> None:
        self.graph, self.emit, self.truth, self.positive, self.source = graph, emit, truth, positive, source

    @cached_property
    def name(self) -> Value:
        """The value in the graph."""
        return self.emit()

    def op(self, kind: str, *inputs: Any, truth: bool = False, positive: bool = False, **attributes: Any) -> Traced:
        """A node over traced values and constants."""
        g = self.graph

        def emit() -> Value:
            return g.op(kind, *(x.name if isinstance(x, Traced) else g.int64(x) for x in inputs), **attributes)

        return Traced(g, emit, truth, positive)

    def __add__(self, y: Any) -> Traced:
        return self if _all(y, 0) else self.op("Add", self, y)

    def __sub__(self, y: Any) -> Traced:
        return self if _all(y, 0) else self.op("Sub", self, y)

    def __rsub__(self, x: Any) -> Traced:
        return self.op("Sub", x, self)

    def __mul__(self, y: Any) -> Any:
        if isinstance(y, Traced):
            truth, other = (self, y) if self.truth else (y, self)
            return self.op("Where", truth, other, 0) if truth.truth else self.op("Mul", self, y)
        if _all(y, 0):
            return 0
        if self.truth:
            return self.op("Cast", self, to=INT64) if _all(y, 1) else self.op("Where", self, y, 0)
        if _all(y, 1):
            return self
        times = self.op("Mul", self, y, positive=self.positive and bool(np.all(np.asarray(y) >= 0)))
        times.source = self, y
        return times

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> Traced:
        return self.op("Abs", self, positive=True)

    def __lshift__(self, bits: int) -> Any:
        return self * (1 << bits)

    def __rshift__(self, bits: int) -> Traced:
        if self.source is not None and _all(self.source[1], 1 << bits):
            return self.source[0]  # type: ignore[no-any-return]
        return self // (1 << bits)

    def __floordiv__(self, unit: Any) -> Traced:
        if _all(unit, 1):
            return self
        # a divisor of 0 would end the process
        unit = unit.op("Max", unit, 1) if isinstance(unit, Traced) else np.maximum(unit, 1)
        whole = self if self.positive else self - self.op("Mod", self, unit)
        return self.op("Div", whole, unit, positive=self.positive)

    def __gt__(self, y: Any) -> Traced:
        return self.op("Greater", self, y, truth=True)

    def __lt__(self, y: Any) -> Traced:
        return self.op("Less", self, y, truth=True)

    def __le__(self, y: Any) -> Traced:
        return self.op("LessOrEqual", self, y, truth=True)

    def __eq__(self, y: object) -> Any:
        return self.op("Equal", self, y, truth=True)

    def __ne__(self, y: object) -> Any:
        return self.op("Not", self == y, truth=True)

    __hash__ = None  # type: ignore[assignment]


def _all(x: Any, value: int) -> bool:
    return not isinstance(x, Traced) and bool(np.all(np.asarray(x) == value))
