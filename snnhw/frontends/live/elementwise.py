"""Rules of forwards that compare values: neurons written out, by the torch functions that they call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.frontends.live import operations
from snnhw.frontends.live.arithmetic import Compared, Equal, Floor, Op, Opaque, Product, Side
from snnhw.frontends.live.operations import given, scaled, shifted, spread
from snnhw.frontends.live.reader import ENDINGS, Reader, name_of, unknown_operation, where_of
from snnhw.frontends.live.recorder import Function
from snnhw.frontends.live.values import Ending, Inverted, Sum, added, refused_axes
from snnhw.network import Array

GREATER = {"gt": (1, True), "ge": (1, False), "lt": (-1, True), "le": (-1, False)}
"""Sign of (value - number), and whether equality is left out."""


def value_of(reader: Reader, event: Function, thing: Any) -> Sum | Array:
    """A sum, or numbers."""
    value = reader.value(thing)
    if isinstance(value, Inverted):
        return opposite(reader, event, value.of)
    return operations.numbers(thing) if value is None else reader.sum_of(thing, where_of(event))


def product(reader: Reader, event: Function, left: Sum | Array, right: Sum | Array) -> Sum | Array:
    """left * right."""
    if not isinstance(left, Sum) or not isinstance(right, Sum):
        if isinstance(left, Sum):
            return scaled(reader, event, left, right)
        return scaled(reader, event, right, left) if isinstance(right, Sum) else left * right
    if not left.terms or not right.terms:
        return Sum((), left.axes or right.axes)
    if left.axes and right.axes and left.axes != right.axes:
        raise refused_axes(where_of(event), f"values over {left.axes} and over {right.axes} are multiplied")
    if left.reduced or right.reduced:
        raise refused_axes(where_of(event), "sums over time are multiplied or pooled")
    shape = reader.features(event.result, left.axes or right.axes)
    sides = [
        reader.add(f"{name_of(event)}.{side}", Side(), x, reader.shape_of(x.terms[0].node))
        for side, x in (("left", left), ("right", right))
    ]
    both = added(sides[0], sides[1], where_of(event))
    return reader.add(name_of(event), Product(sides[0].terms[0].node, sides[1].terms[0].node), both, shape)


def total(reader: Reader, event: Function, left: Sum | Array, right: Sum | Array) -> Sum | Array:
    """left + right."""
    if isinstance(left, Sum) and isinstance(right, Sum):
        return reader.joined(event, left, right)
    if not isinstance(left, Sum) and not isinstance(right, Sum):
        return left + right
    found: Sum | Array = shifted(reader, event, *((left, right) if isinstance(left, Sum) else (right, left)))
    return found


def chosen(reader: Reader, event: Function, which: Sum | Array, one: Sum | Array, other: Sum | Array) -> Sum | Array:
    """`one` where `which` is 1, `other` where it is 0."""
    rest = product(reader, event, which, negative(reader, event, other))
    return total(reader, event, total(reader, event, product(reader, event, which, one), rest), other)


def negative(reader: Reader, event: Function, x: Sum | Array) -> Sum | Array:
    """-x."""
    return scaled(reader, event, x, -1.0) if isinstance(x, Sum) else -x


def compared(reader: Reader, event: Function, name: str, left: Any, right: Any) -> Sum:
    """left > right and its kin."""
    sign, strict = GREATER[name]
    one, other = (value_of(reader, event, side) for side in (left, right))
    if not isinstance(one, Sum):
        one, other, sign = other, one, -sign
    assert isinstance(one, Sum)
    if isinstance(other, Sum):
        difference = total(reader, event, one, negative(reader, event, other))
        assert isinstance(difference, Sum)
        one, other = difference, np.zeros(())
    return decided(reader, event, Compared(sign, strict, spread(reader, event, one, other)), one)


def decided(reader: Reader, event: Function, node: Op, x: Sum) -> Sum:
    """A comparison of x, whose result is noted for the check against the module's own."""
    found = reader.add(name_of(event), node, x, reader.features(event.result, x.axes))
    reader.decided.setdefault(found.terms[0].node, {})[found.terms[0].step] = (event.site, reader.turn, x.axes)
    return found


def _comparison(name: str) -> operations.Rule:
    return lambda reader, event: compared(reader, event, name, given(event, 0, "input"), given(event, 1, "other"))


def heaviside(reader: Reader, event: Function) -> Sum:
    """torch.heaviside: at zero it is what it is told."""
    at_zero = operations.numbers(given(event, 1, "values"))
    if not np.isin(at_zero, (0.0, 1.0)).all() or (at_zero != at_zero.reshape(-1)[0]).any():
        raise unknown_operation(event)
    return compared(reader, event, "ge" if at_zero.reshape(-1)[0] else "gt", given(event, 0, "input"), 0.0)


def equal(reader: Reader, event: Function) -> Sum | Array:
    """spike == 1, spike == 0."""
    one, other = (value_of(reader, event, given(event, place, "")) for place in (0, 1))
    x, number = (one, other) if isinstance(one, Sum) else (other, one)
    if not isinstance(x, Sum) or isinstance(number, Sum):
        raise unknown_operation(event)
    node = Equal(spread(reader, event, x, number))
    return reader.add(name_of(event), node, x, reader.features(event.result, x.axes))


def unequal(reader: Reader, event: Function) -> Sum | Array:
    """spike != 0."""
    return opposite(reader, event, equal(reader, event))


def opposite(reader: Reader, event: Function, x: Sum | Array) -> Sum | Array:
    """1 - x."""
    return total(reader, event, negative(reader, event, x), np.ones(()))


def whole(reader: Reader, event: Function) -> Any:
    """Casts to whole numbers and to fewer digits: of spikes nothing, else refused once it is known what they cast."""
    x, before, after = reader.value(event.args[0]), event.args[0].dtype, event.result.dtype
    changes = before.is_floating_point and (
        not after.is_floating_point or torch.finfo(after).eps > torch.finfo(before).eps
    )
    if not changes or not isinstance(x, Sum):
        return x
    zero = reader.add(name_of(event), Equal(np.zeros(())), x, reader.features(event.result, x.axes))
    return opposite(reader, event, zero)


def where(reader: Reader, event: Function) -> Sum | Array:
    """torch.where(condition, a, b)."""
    which, one, other = (given(event, place, name) for place, name in enumerate(("condition", "input", "other")))
    if event.args[0].dtype is not torch.bool or other is None:
        raise unknown_operation(event)
    return chosen(reader, event, *(value_of(reader, event, part) for part in (which, one, other)))


def filled(reader: Reader, event: Function) -> Sum | Array:
    """x.masked_fill(mask, number)."""
    x, which, number = (given(event, place, name) for place, name in enumerate(("input", "mask", "value")))
    return chosen(reader, event, *(value_of(reader, event, part) for part in (which, number, x)))


def assigned(reader: Reader, event: Function) -> Sum | Array:
    """x[mask] = number, of x's own shape."""
    target, which, source = event.args
    if isinstance(source, Tensor) and source.shape not in ((), (1,), target.shape):
        raise unknown_operation(event)
    seen = replace(event, result=target)
    return chosen(reader, seen, *(value_of(reader, seen, part) for part in (which, source, target)))


def inverse(reader: Reader, event: Function) -> Sum | Array:
    """~spikes."""
    if event.args[0].dtype is not torch.bool:
        raise unknown_operation(event)
    return opposite(reader, event, value_of(reader, event, event.args[0]))


def both(reader: Reader, event: Function) -> Sum | Array:
    """a & b of spikes."""
    return product(reader, event, *(value_of(reader, event, given(event, place, "other")) for place in (0, 1)))


def either(reader: Reader, event: Function) -> Sum | Array:
    """a | b of spikes."""
    one, other = (value_of(reader, event, given(event, place, "other")) for place in (0, 1))
    twice = negative(reader, event, product(reader, event, one, other))
    return total(reader, event, total(reader, event, one, other), twice)


def times(reader: Reader, event: Function) -> Any:
    """a * b where one of them is a neuron's own arithmetic; else what `operations` says."""
    sides = [given(event, place, name) for place, name in enumerate(("input", "other"))]
    if not any(map(reader.computed, sides)) or None in map(reader.value, sides):
        return operations.times(reader, event)
    return product(reader, event, *(value_of(reader, event, side) for side in sides))


def plus(reader: Reader, event: Function) -> Any:
    """a + b, a + alpha b."""
    if given(event, 2, "alpha", 1) == 1:
        return operations.plus(reader, event)
    one, other = (value_of(reader, event, given(event, place, name)) for place, name in enumerate(("input", "other")))
    return total(reader, event, one, product(reader, event, other, np.asarray(float(event.kwargs["alpha"]))))


def minus(reader: Reader, event: Function) -> Any:
    """a - b, 1 - a."""
    sides = [given(event, place, name) for place, name in enumerate(("input", "other"))]
    if not any(map(reader.computed, sides)) or given(event, 2, "alpha", 1) != 1:
        return operations.minus(reader, event)
    left, right = reversed(sides) if event.name in ("__rsub__", "rsub") else sides
    right = negative(reader, event, value_of(reader, event, right))
    return total(reader, event, value_of(reader, event, left), right)


def floored(reader: Reader, event: Function) -> Any:
    """max(x, number): clamp from below, relu, maximum."""
    x = reader.sum_of(given(event, 0, "input"), where_of(event))
    if event.name in ("relu", "relu_"):
        with suppress(SourceError):
            return operations.rectified(reader, event)
        low: Any = 0.0
    elif event.name in ("clamp_min", "clamp_min_", "maximum", "max"):
        low = given(event, 1, "min")
    else:
        low = given(event, 1, "min")
        if given(event, 2, "max") is not None:
            raise unknown_operation(event)
    if low is None or reader.value(low) is not None or operations.numbers(low).size != 1:
        raise unknown_operation(event)
    node = Floor(float(operations.numbers(low).reshape(-1)[0]))
    return reader.add(name_of(event), node, x, reader.features(event.result, x.axes))


def mixed(reader: Reader, event: Function) -> Sum | Array:
    """torch.lerp(a, b, w) = a + w (b - a); addcmul(a, b, c) = a + value b c."""
    one, two, three = (value_of(reader, event, given(event, place, "")) for place in range(3))
    if event.name.startswith("lerp"):
        two = total(reader, event, two, negative(reader, event, one))
    grown = product(reader, event, two, three)
    factor = np.asarray(float(event.kwargs.get("value", 1.0)))
    return total(reader, event, one, product(reader, event, grown, factor))


def replaced(reader: Reader, event: Function) -> Sum | Array:
    """x.copy_(y)."""
    return value_of(reader, event, event.args[1])


def constant(reader: Reader, event: Function) -> None:
    """ones_like, full_like: numbers, whatever the shape is of."""


def soft(reader: Reader, event: Function) -> Sum:
    """A function of single values that is none of a core's."""
    x, name = reader.sum_of(given(event, 0, "input"), where_of(event)), event.name.removesuffix("_")
    if x.reduced and name in ENDINGS:
        return replace(x, ending=Ending(name))
    return reader.add(name_of(event), Opaque(name), x, reader.features(event.result, x.axes))


def _named(*names: str, rule: Callable[[Reader, Function], Any]) -> dict[str, operations.Rule]:
    return {f"{name}{end}": rule for name in names for end in ("", "_")}


ELEMENTWISE: dict[str, operations.Rule] = {
    **_named("add", rule=plus),
    **_named("mul", "multiply", rule=times),
    **dict.fromkeys(("__mul__", "__rmul__", "__imul__"), times),
    **_named("sub", "subtract", rule=minus),
    **dict.fromkeys(("__sub__", "__rsub__", "rsub", "__isub__"), minus),
    **{
        name: _comparison(short)
        for short, long in (("gt", "greater"), ("ge", "greater_equal"), ("lt", "less"), ("le", "less_equal"))
        for name in (short, f"{short}_", f"__{short}__", long)
    },
    **_named("heaviside", rule=heaviside),
    **dict.fromkeys(("eq", "__eq__"), equal),
    **dict.fromkeys(("ne", "__ne__", "not_equal"), unequal),
    **dict.fromkeys(("bool", "int", "long", "short", "to", "type", "type_as", "float", "double", "half"), whole),
    "where": where,
    **_named("masked_fill", rule=filled),
    **dict.fromkeys(("logical_not", "bitwise_not", "__invert__"), inverse),
    **dict.fromkeys(("logical_and", "bitwise_and", "__and__", "__rand__"), both),
    **dict.fromkeys(("logical_or", "bitwise_or", "__or__", "__ror__"), either),
    **_named("relu", "clamp", "clip", "clamp_min", rule=floored),
    "maximum": floored,
    **_named("lerp", "addcmul", rule=mixed),
    "copy_": replaced,
    **dict.fromkeys(("ones_like", "full_like", "new_ones", "new_full"), constant),
    **_named("sigmoid", "tanh", "exp", "erf", "atan", "arctan", "hardtanh", "square", "pow", "abs", rule=soft),
}
"""Rules of forwards that compare values: neurons written out."""

COMPARING = {name for name, rule in ELEMENTWISE.items() if getattr(rule, "__name__", "") == "<lambda>"} | {
    "heaviside",
    "heaviside_",
}
"""Functions that make spikes."""
