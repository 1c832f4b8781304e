"""What torch functions mean for the values of a run: sums, factors, and linear nodes.

A rule takes the reader and the event and returns the value of the result (a list for several results).
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.frontends import convert
from snnhw.frontends.gates import OneMinus, max_pool, product
from snnhw.frontends.live.adapter import Shape
from snnhw.frontends.live.arithmetic import Shift
from snnhw.frontends.live.reader import Reader, name_of, unknown_operation, where_of
from snnhw.frontends.live.recorder import Function
from snnhw.frontends.live.values import LEAD, TIME_LAST, Inverted, Sum, Term, Value, added, refused_axes
from snnhw.frontends.own import LinearNode, MaxNode
from snnhw.network import Array
from snnhw.operators import REGISTRY, Operator

Rule = Callable[[Reader, Function], Any]


def given(event: Function, place: int, name: str, default: Any = None) -> Any:
    """An argument by its place or name."""
    return event.args[place] if len(event.args) > place else event.kwargs.get(name, default)


def same(reader: Reader, event: Function) -> Value | None:
    """Functions that change no value."""
    return reader.value(event.args[0])


def dropout(reader: Reader, event: Function) -> Value | None:
    """Nothing, unless forward insists on training."""
    if given(event, 2, "training", True) and given(event, 1, "p", 0.5) > 0:
        raise SourceError(
            "unsupported-option",
            "a function of forward is random or depends on the batch even in eval mode",
            where=where_of(event),
            needed="training=True",
            hint="pass training=self.training",
        )
    return reader.value(event.args[0])


def plus(reader: Reader, event: Function) -> Any:
    """a + b of values; a constant that is zero may be added."""
    left, right = given(event, 0, "input"), given(event, 1, "other")
    if given(event, 2, "alpha", 1) != 1:
        raise unknown_operation(event)
    values = [reader.value(side) for side in (left, right)]
    if None in values and not _zero(left if values[0] is None else right):
        return _shifted(
            reader, event, left if values[0] is not None else right, right if values[0] is not None else left
        )
    sums = [reader.sum_of(side, where_of(event)) for side in (left, right) if reader.value(side) is not None]
    _require_shape(reader, event, left, right)
    if len(sums) == 1:
        return sums[0]
    both, totals = reader.joined(event, sums[0], sums[1]), [reader.totals.get(x) for x in sums]
    if totals[0] is not None and totals[1] is not None and totals[0].factor == totals[1].factor:
        reader.totals[both] = added(totals[0], totals[1], where_of(event))
    return both


def minus(reader: Reader, event: Function) -> Any:
    """a - b, and 1 - a."""
    left, right = given(event, 0, "input"), given(event, 1, "other")
    if event.name in ("__rsub__", "rsub"):
        left, right = right, left
    if given(event, 2, "alpha", 1) != 1:
        raise unknown_operation(event)
    if isinstance(left, (int, float)) and left == 1:
        return Inverted(reader.sum_of(right, where_of(event)))
    if reader.value(right) is None:
        return reader.sum_of(left, where_of(event)) if _zero(right) else _shifted(reader, event, left, right, -1.0)
    negative = _scaled(reader, event, right, -1.0)
    if reader.value(left) is None:
        return shifted(reader, event, negative, numbers(left))
    return reader.joined(event, reader.sum_of(left, where_of(event)), negative)


def negative(reader: Reader, event: Function) -> Sum:
    """-a."""
    return _scaled(reader, event, event.args[0], -1.0)


def times(reader: Reader, event: Function) -> Sum:
    """a * constant; a * s and s * (1 - a) of spikes."""
    left, right = given(event, 0, "input"), given(event, 1, "other")
    values = [reader.value(left), reader.value(right)]
    if None not in values:
        return _product(reader, event, left, right)
    return _scaled(reader, event, *((left, right) if values[1] is None else (right, left)))


def divided(reader: Reader, event: Function) -> Sum:
    """a / constant."""
    left, right = given(event, 0, "input"), given(event, 1, "other")
    if reader.value(left) is None or reader.value(right) is not None or given(event, 2, "rounding_mode") is not None:
        raise unknown_operation(event)
    return _scaled(reader, event, left, 1.0 / numbers(right))


def layer(reader: Reader, event: Function) -> Sum:
    """A function of `convert.LAYERS`."""
    return _placed(reader, event, FUNCTIONS[event.name])


def _placed(reader: Reader, event: Function, entry: convert.Layer) -> Sum:
    x = _features_behind(reader, event, entry.batch)
    found = {
        name: given(event, place, name, default) for place, (name, default) in enumerate(entry.arguments.items(), 1)
    }
    if any(reader.value(argument) is not None for argument in found.values()):
        raise unknown_operation(event)
    node = entry.convert(SimpleNamespace(**found), _before(reader, event, x), where_of(event))
    return reader.place(event, node, x)


def own(reader: Reader, event: Function) -> Sum:
    """A function that an operator says it is made of."""
    kind = next(kind for kind in REGISTRY.values() if event.name in kind.functions)
    entry = convert.Layer(
        partial(_own_node, kind, reader.features(event.result, "N")), event.name, kind.functions[event.name]
    )
    return _placed(reader, event, entry)


def _own_node(kind: type[Operator], after: Shape, call: Any, before: Shape, where: str) -> LinearNode:
    op, arrays, bias = kind.of_torch(call, before, where)
    return LinearNode(op, arrays, bias, before, after)


def functions() -> dict[str, Rule]:
    """Every function that is read."""
    return {**{name: own for kind in REGISTRY.values() for name in kind.functions}, **LAYERS}


def matmul(reader: Reader, event: Function) -> Sum:
    """x @ W with a constant W."""
    x = _features_behind(reader, event, None)
    weight = _constant(reader, event, 1, "other")
    if weight is None or weight.dim() != 2:
        raise unknown_operation(event)
    layer = SimpleNamespace(weight=weight.t(), bias=None)
    return reader.place(event, convert.affine(_as(layer), _before(reader, event, x), where_of(event)), x)


def einsum(reader: Reader, event: Function) -> Sum:
    """torch.einsum of a value and constants that mixes its features, as 'btc,cd->btd'."""
    equation, *rest = event.args
    operands = list(rest[0]) if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest
    at = next(i for i, part in enumerate(operands) if reader.value(part) is not None)
    x = reader.sum_of(operands[at], where_of(event))
    missing = operands[at].dim() - len(equation.replace(" ", "").partition("->")[0].split(",")[at]) + 3
    axes = "".join(letter for letter in string.ascii_uppercase if letter not in equation)[:missing]
    read, _, shown = equation.replace(" ", "").replace("...", axes).partition("->")
    specs, lead, before = read.split(","), LEAD.get(x.axes, 1), reader.features(operands[at], x.axes)
    batch, features = specs[at][:lead], specs[at][lead:]
    others = [i for i in range(len(operands)) if i != at]
    mixed = any(reader.value(operands[i]) is not None or set(batch) & set(specs[i]) for i in others)
    if mixed or shown[:lead] != batch or (len(features), len(shown)) != (1, lead + 1):
        raise unknown_operation(event)
    specs[at] = batch[0] + features
    parts = [part.detach().double() if i != at else torch.eye(*before).double() for i, part in enumerate(operands)]
    matrix = torch.einsum(f"{','.join(specs)}->{batch[0]}{shown[lead:]}", *parts)
    return reader.place(event, nir.Linear(matrix.t().cpu().numpy().copy()), x)


def rectified(reader: Reader, event: Function) -> Value | None:
    """relu of spikes, which it leaves as they are."""
    x = reader.sum_of(given(event, 0, "input"), where_of(event))
    try:
        reader.require_spikes(where_of(event), x, "relu")
    except SourceError:
        raise unknown_operation(event) from None
    return x


def max_pooled(reader: Reader, event: Function) -> Sum:
    """F.max_pool1d and F.max_pool2d: an OR of spikes, a maximum of all else."""
    x = _features_behind(reader, event, 1)
    pool = SimpleNamespace(
        kernel_size=given(event, 1, "kernel_size"),
        stride=given(event, 2, "stride") or None,
        padding=given(event, 3, "padding", 0),
        dilation=given(event, 4, "dilation", 1),
        return_indices=given(event, 6, "return_indices", False),
        ceil_mode=given(event, 5, "ceil_mode", False),
    )
    where, before = where_of(event), _before(reader, event, x)
    windows = convert.max_windows(pool, len(before) - 1, where)
    if not reader.spikes(x):
        return reader.place(event, MaxNode(windows), x)
    adding = _Adding(reader, x.axes)
    sources, after = adding.names(x), reader.features(event.result, x.axes)
    return adding.value(max_pool(name_of(event), windows, sources, before, after, adding.add))


def batch_norm(reader: Reader, event: Function) -> Sum:
    """F.batch_norm with running statistics: y = g x + b per channel (folded into what is before it later)."""
    if given(event, 5, "training", False):
        raise SourceError(
            "unsupported-option",
            "a BatchNorm uses the statistics of the batch even in eval mode",
            where=where_of(event),
            hint="train with track_running_stats=True",
        )
    x = _features_behind(reader, event, 1)
    mean, variance, weight, bias = (
        _constant(reader, event, place, name)
        for place, name in enumerate(("running_mean", "running_var", "weight", "bias"), 1)
    )
    assert mean is not None
    channels = len(mean)
    norm = SimpleNamespace(
        running_mean=mean,
        running_var=variance,
        weight=torch.ones(channels) if weight is None else weight,
        bias=torch.zeros(channels) if bias is None else bias,
        affine=True,
        num_features=channels,
        eps=given(event, 7, "eps", 1e-5),
    )
    one = convert.fold_batchnorm(nir.Linear(np.ones((channels, 1))), norm, where_of(event))
    return reader.place(event, channelwise(one.weight[:, 0], one.bias, _before(reader, event, x), where_of(event)), x)


def channelwise(gain: Array, bias: Array, shape: Shape, where: str) -> nir.NIRNode:
    """y = gain x + bias per channel (the first axis): a diagonal matrix, or a convolution of one pixel per channel."""
    if len(shape) == 1:
        if not bias.any():
            return nir.Scale(gain)
        require_square(len(gain), where)
        return nir.Affine(weight=np.diag(gain), bias=bias)
    if len(shape) == 2:
        return nir.Conv1d(shape[1], gain.reshape(-1, 1, 1), 1, 0, 1, shape[0], bias)
    if len(shape) != 3:
        raise SourceError(
            "unsupported-option",
            "a factor or bias per channel is supported over (C), (C, L) and (C, H, W) only",
            where=where,
            needed=shape,
            hint="put it into the layer before",
        )
    weight = gain.reshape(-1, 1, 1, 1)
    size = (shape[1], shape[2])
    return nir.Conv2d(size, weight, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=shape[0], bias=bias)


MAX_SQUARE = 1 << 27
"""Entries of a matrix from features to features that is held for what is none in forward."""


def require_square(features: int, where: str) -> None:
    """Raises SourceError 'too-big' where a joining or a bias of flat features would take too large a matrix."""
    if features * features > MAX_SQUARE:
        raise SourceError(
            "too-big",
            "flat features are joined or shifted one by one, which takes a matrix that is too large",
            where=where,
            needed=f"{features} x {features}",
            limit=f"{MAX_SQUARE} entries",
            hint="put a linear layer or convolution before it, or keep the features as channels",
        )


class _Adding:
    """Nodes of gates.py, which knows sources by name only."""

    def __init__(self, reader: Reader, axes: str) -> None:
        self.reader, self.axes = reader, axes
        self.terms: dict[str, Term] = {}
        self.shapes: dict[str, Shape] = {}

    def names(self, value: Sum) -> list[str]:
        """Terms by a name each."""
        if value.reduced:
            raise refused_axes("forward", "sums over time are multiplied or pooled")
        value = self.reader.seen(value)
        found = []
        for term in value.terms:
            name = f"{term.node}\0{term.step}"
            self.terms[name] = term
            self.shapes[name] = self.reader.shape_of(term.node)
            found.append(name)
        return found

    def value(self, names: list[str]) -> Sum:
        """The sum of named terms."""
        return Sum(tuple(self.terms[name] for name in names), self.axes)

    def add(self, name: str, node: nir.NIRNode, sources: list[str], shape: Shape) -> list[str]:
        """One node."""
        return self.names(self.reader.add(name, node, self.value(sources), shape))


def _product(reader: Reader, event: Function, left: Any, right: Any) -> Sum:
    sides, axes = [], ""
    inverted = any(isinstance(reader.value(side), Inverted) for side in (left, right))
    adding = _Adding(reader, "")
    for side in (left, right):
        value = reader.value(side)
        x = value.of if isinstance(value, Inverted) else reader.sum_of(side, where_of(event))
        if axes and x.axes and axes != x.axes:
            raise refused_axes(where_of(event), f"values over {axes} and over {x.axes} are multiplied")
        axes = axes or x.axes
        reader.require_spikes(where_of(event), x, "a product")
        sides.append(OneMinus(tuple(adding.names(x))) if isinstance(value, Inverted) else adding.names(x))
    adding.axes = axes
    name = ".".join(part for part in (event.path, "iand" if inverted else "and") if part)
    return adding.value(product(name, sides[0], sides[1], adding.add, adding.shapes.__getitem__))


def _scaled(reader: Reader, event: Function, thing: Any, factor: Any) -> Sum:
    return scaled(reader, event, reader.sum_of(thing, where_of(event)), factor)


def scaled(reader: Reader, event: Function, x: Sum, factor: Any) -> Sum:
    """x * factor, one factor or one per channel or feature."""
    values = numbers(factor)
    if (values.size == 1 and (values == 1).all()) or not x.terms:
        return x
    factor = float(values.reshape(-1)[0]) if values.size == 1 else 0.0
    positive = bool(np.isfinite(factor)) and factor > 0
    if x.reduced and (values.size == 1 or x.reduced == "max" or x.groups):
        if not positive:
            raise refused_axes(where_of(event), "a sum over time is multiplied by more than a positive number")
        return replace(x, factor=x.factor * factor)
    shape = reader.features(event.result, x.axes)
    found = reader.add(name_of(event), nir.Scale(_broadcast(values, shape, event, x.axes)), x, shape)
    if values.size == 1 and not positive:
        reader.later.pop(found, None)  # as of sums over time: what is not positive turns decisions around
    total = reader.totals.get(x, None if reader.looped(x) is None else reader.whole(x))
    if total is not None and positive:
        reader.totals[found] = replace(total, factor=total.factor * factor)
    return found


def _shifted(reader: Reader, event: Function, thing: Any, constant: Any, sign: float = 1.0) -> Any:
    return shifted(reader, event, reader.sum_of(thing, where_of(event)), sign * numbers(constant))


def shifted(reader: Reader, event: Function, x: Sum, constant: Any) -> Any:
    """x + constant; numbers, if x is zero."""
    if not np.any(constant):
        return x
    if not x.terms and not reader.written:
        return np.asarray(constant)
    shape = reader.features(event.result, x.axes)
    values = _broadcast(np.asarray(constant), shape, event, x.axes)
    node = Shift(values) if reader.written else biased(values, where_of(event))
    return reader.add(name_of(event), node, x, shape)


def biased(values: Array, where: str) -> nir.NIRNode:
    """y = x + one number per channel."""
    flat = values.reshape(values.shape[0], -1)
    if (flat != flat[:, :1]).any():
        raise SourceError(
            "unsupported-option",
            "numbers that differ within a channel are added in front of a layer",
            where=where,
            needed=values.shape,
            limit="one number per channel",
            hint="put them into the layer before",
        )
    return channelwise(np.ones(len(flat)), flat[:, 0], values.shape, where)


def spread(reader: Reader, event: Function, x: Sum, constant: Array) -> Array:
    """Numbers for each feature of x."""
    return _broadcast(constant, reader.features(event.result, x.axes), event, x.axes)


def _broadcast(values: Array, shape: Shape, event: Function, axes: str) -> Array:
    if axes == TIME_LAST and values.size > 1:
        if values.shape[-1] != 1:
            raise refused_axes(where_of(event), "a constant differs between samples or steps")
        values = values[..., 0]
    lead = LEAD["N"] if event.result.dim() == len(shape) + 1 else LEAD["TN"]
    while values.ndim > len(shape):
        if (values != values[:1]).any() or values.ndim > len(shape) + lead:
            raise refused_axes(where_of(event), "a constant differs between samples or steps")
        values = values[0]
    return np.broadcast_to(values, shape).copy()


def numbers(constant: Any) -> Array:
    return constant.detach().double().cpu().numpy() if isinstance(constant, Tensor) else np.asarray(constant, float)


def _zero(constant: Any) -> bool:
    return not bool(np.any(numbers(constant)))


def _constant(reader: Reader, event: Function, place: int, name: str) -> Tensor | None:
    found = given(event, place, name)
    if reader.value(found) is not None:
        raise unknown_operation(event)
    return found if isinstance(found, Tensor) else None


def _features_behind(reader: Reader, event: Function, lead: int | None) -> Sum:
    """The value that a layer takes; its axes before the features must be as many as the layer takes for the batch."""
    x = reader.sum_of(given(event, 0, "input"), where_of(event))
    if lead is not None and x.axes and LEAD[x.axes] != lead:
        raise refused_axes(where_of(event), "the layer takes time for the batch and the batch for channels")
    return x


def _before(reader: Reader, event: Function, x: Sum) -> Shape:
    return reader.features(given(event, 0, "input"), x.axes)


def _require_shape(reader: Reader, event: Function, left: Any, right: Any) -> None:
    """Sums of values of different shapes would spread one of them; zeros may be spread."""
    values = [(side, reader.value(side)) for side in (left, right)]
    shapes = {tuple(side.shape) for side, value in values if isinstance(value, Sum) and value.terms}
    if len(shapes | {tuple(event.result.shape)} if shapes else shapes) > 1:
        raise SourceError(
            "bad-shape",
            "values of different shapes are added",
            where=where_of(event),
            needed=" and ".join(map(str, sorted(shapes))),
            hint="make both the same shape",
        )


def _as(layer: SimpleNamespace) -> Any:
    return layer


FUNCTIONS = {entry.function: entry for entry in convert.LAYERS.values() if entry.function}

LAYERS: dict[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, layer),
    "matmul": matmul,
    "mm": matmul,
    "einsum": einsum,
    **dict.fromkeys(("relu", "relu_"), rectified),
    "max_pool1d": max_pooled,
    "max_pool2d": max_pooled,
    "max_pool1d_with_indices": max_pooled,
    "max_pool2d_with_indices": max_pooled,
    "batch_norm": batch_norm,
    "dropout": dropout,
    "dropout1d": dropout,
    "dropout2d": dropout,
    "dropout3d": dropout,
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), plus),
    **dict.fromkeys(("sub", "sub_", "subtract", "__sub__", "__rsub__", "rsub", "__isub__"), minus),
    **dict.fromkeys(("mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"), times),
    **dict.fromkeys(("div", "div_", "divide", "true_divide", "__truediv__", "__itruediv__"), divided),
    **dict.fromkeys(("neg", "negative", "__neg__"), negative),
    **dict.fromkeys(
        ("contiguous", "clone", "detach", "detach_", "to", "float", "double", "requires_grad_", "cpu", "cuda", "data"),
        same,
    ),
}
