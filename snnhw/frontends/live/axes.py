"""What torch functions mean that move axes: time unrolled and stacked, batch and time folded, features flattened."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.frontends.live.adapter import Shape
from snnhw.frontends.live.elementwise import assigned
from snnhw.frontends.live.operations import Rule, given, own, require_square
from snnhw.frontends.live.reader import Reader, name_of, refused_store, unknown_operation, where_of
from snnhw.frontends.live.recorder import Function
from snnhw.frontends.live.values import LEAD, STATIC, Sum, added, at_step, refused_axes
from snnhw.frontends.own import LinearNode
from snnhw.network import Array
from snnhw.operators.sparse import Sparse

TIME = {"TN": 0, "NT": 1}
"""Which axis is time, of values that have one of its own."""

FOLDED = {"TN": "(TN)", "NT": "(NT)"}
UNFOLDED = {folded: axes for axes, folded in FOLDED.items()}


def reshaped(reader: Reader, event: Function) -> Sum:
    """view, reshape, flatten, unflatten, squeeze, unsqueeze: told from the shapes before and after."""
    x = reader.sum_of(event.args[0], where_of(event))
    before, after = tuple(event.args[0].shape), tuple(event.result.shape)
    if not x.axes or x.reduced:
        return x
    if event.name in ("unsqueeze", "__getitem__") and x.axes == "N" and x.label == STATIC:
        at = next((at for at in (0, 1) if after == (*before[:at], 1, *before[at:])), None)
        if at is not None:
            return replace(x, axes=("TN", "NT")[at])
    features = before[LEAD[x.axes] :]
    for axes, lead in _leads(x.axes, before, reader.steps):
        rest = after[len(lead) :]
        if after[: len(lead)] == lead and prod(rest) == prod(features):
            return _flattened(reader, event, replace(x, axes=axes), features, rest)
    raise refused_axes(where_of(event), f"a tensor over {x.axes} of shape {before} becomes {after}")


def _leads(axes: str, before: Shape, steps: int | None) -> list[tuple[str, Shape]]:
    """Axes that a value can have afterwards, and their sizes."""
    if axes in FOLDED:
        return [(axes, before[:2]), (FOLDED[axes], (before[0] * before[1],))]
    if axes in UNFOLDED and steps:
        batch = before[0] // steps
        open_lead = (steps, batch) if axes == "(TN)" else (batch, steps)
        return [(UNFOLDED[axes], open_lead), (axes, before[:1])]
    return [(axes, before[:1])]


def _flattened(reader: Reader, event: Function, x: Sum, before: Shape, after: Shape) -> Sum:
    """Features as they were, or some neighbouring axes as one."""
    if tuple(before) == tuple(after):
        return x
    ranges = ((start, end) for start in range(len(before)) for end in range(start + 1, len(before)))
    for start, end in ranges:
        if (*before[:start], prod(before[start : end + 1]), *before[end + 1 :]) == tuple(after):
            node = nir.Flatten({"input": np.array(before)}, start, -1 if end == len(before) - 1 else end)
            return reader.add(name_of(event), node, x, tuple(after))
    return reader.add(name_of(event), _taken(np.arange(1, prod(before) + 1), before, after), x, tuple(after))


def _taken(places: Array, before: Shape, after: Shape) -> LinearNode:
    """A node whose outputs are inputs, each by its place in the flat input, from 1; 0 is zero."""
    there = places > 0
    arrays = {"": np.ones(int(there.sum())), "/indices": places[there] - 1, "/indptr": np.append(0, np.cumsum(there))}
    return LinearNode(Sparse(""), arrays, np.zeros(()), tuple(before), tuple(after))


def rearranged(reader: Reader, event: Function) -> Any:
    """Functions that put features to other places, by what they do to the features' numbers."""
    tensor = event.args[0]
    x = reader.sum_of(tensor, where_of(event))
    lead = LEAD.get(x.axes, 1)
    before = tuple(int(n) for n in tensor.shape[lead:])
    numbers = torch.arange(1, prod(before) + 1, dtype=torch.float64).reshape((1,) * lead + before)
    try:
        moved = event.func(numbers, *event.args[1:], **event.kwargs)
    except (RuntimeError, IndexError, TypeError, ValueError):  # it moves samples or steps too
        raise unknown_operation(event) from None
    several = not isinstance(moved, Tensor)
    results = zip(moved, event.result, strict=True) if several else [(moved, event.result)]
    found = []
    for number, (part, result) in enumerate(results):
        after = tuple(int(n) for n in result.shape[lead:])
        if (
            part.shape[:lead] != (1,) * lead
            or tuple(part.shape[lead:]) != after
            or result.shape[:lead] != tensor.shape[:lead]
        ):
            raise unknown_operation(event)
        name = f"{name_of(event)}.{number}" if several else name_of(event)
        found.append(reader.add(name, _taken(part.numpy().astype(np.int64).ravel(), before, after), x, after))
    return found if several else found[0]


def indexed(reader: Reader, event: Function) -> Any:
    """x[t], x[:, t] and x.select: one step."""
    x = reader.sum_of(event.args[0], where_of(event))
    if event.name == "select":
        axis, index = int(given(event, 1, "dim")) % event.args[0].dim(), int(given(event, 2, "index"))
    else:
        key = event.args[1] if isinstance(event.args[1], tuple) else (event.args[1],)
        if all(part is Ellipsis or part == slice(None) for part in key):
            return x
        places = [i for i, part in enumerate(key) if isinstance(part, int)]
        others = [part for i, part in enumerate(key) if i not in places]
        if (
            len(places) != 1
            or any(part is not Ellipsis and part != slice(None) for part in others)
            or Ellipsis in key[:1]
        ):
            return _features(reader, event, x)
        axis, index = places[0], int(key[places[0]])
    if axis != TIME.get(x.axes):
        return _features(reader, event, x)
    return at_step(x, index % event.args[0].shape[axis])


def unbound(reader: Reader, event: Function) -> list[Sum]:
    """x.unbind(time), for x_t in x."""
    x = reader.sum_of(event.args[0], where_of(event))
    axis = int(given(event, 1, "dim", 0)) % event.args[0].dim()
    if axis != TIME.get(x.axes):
        raise _part(event, x)
    return [at_step(x, step) for step in range(len(event.result))]


def padded(reader: Reader, event: Function) -> Any:
    """F.pad: with zeros an operator's, with other features a rearrangement."""
    return own(reader, event) if given(event, 2, "mode", "constant") == "constant" else rearranged(reader, event)


def _features(reader: Reader, event: Function, x: Sum) -> Any:
    """A part of the features, of all samples and steps."""
    key = event.args[1] if len(event.args) > 1 else 0
    ahead = (key if isinstance(key, tuple) else (key,))[: LEAD.get(x.axes, 1)]
    ahead = ahead[: ahead.index(Ellipsis)] if Ellipsis in ahead else ahead
    if event.name != "__getitem__" or any(part != slice(None) for part in ahead):
        raise _part(event, x)
    return rearranged(reader, event)


def _part(event: Function, x: Sum) -> Exception:
    return refused_axes(where_of(event), f"a part of a tensor over {x.axes or 'nothing'} is taken that is no step")


def stack(reader: Reader, event: Function) -> Sum:
    """torch.stack of single steps."""
    tensors = list(given(event, 0, "tensors"))
    parts = [reader.sum_of(t, where_of(event)) for t in tensors]
    axis = int(given(event, 1, "dim", 0)) % event.result.dim()
    if axis > 1:
        raise unknown_operation(event)
    reader.count_steps(len(parts), where_of(event))
    return reader.over_time(parts, "TN" if axis == 0 else "NT", where_of(event))


def joined(reader: Reader, event: Function) -> Sum:
    """torch.cat of features or channels: the sum of what each part is at its own place, zero elsewhere."""
    tensors = list(given(event, 0, "tensors"))
    axis = int(given(event, 1, "dim", 0)) % event.result.dim()
    parts = [reader.sum_of(t, where_of(event)) for t in tensors]
    axes = next((part.axes for part in parts if part.axes), "N")
    if axis != LEAD[axes]:
        raise refused_axes(where_of(event), f"tensors over {axes} are joined along axis {axis}")
    shape = reader.features(event.result, axes)
    total, first = Sum((), axes), 0
    for number, (tensor, part) in enumerate(zip(tensors, parts, strict=True)):
        size = int(tensor.shape[axis])
        require_square(shape[0], where_of(event))
        matrix = np.eye(shape[0])[:, first : first + size]
        node = nir.Linear(matrix)
        if len(shape) == 3:
            pixel = matrix[:, :, None, None]
            node = nir.Conv2d(shape[1:], pixel, (1, 1), (0, 0), (1, 1), 1, np.zeros(shape[0]))
        elif len(shape) != 1:
            raise unknown_operation(event)
        place = reader.add(f"{name_of(event)}.part{number}", node, replace(part, axes=axes), shape)
        total, first = added(total, place, where_of(event)), first + size
    return total


def repeated(reader: Reader, event: Function) -> Sum:
    """A static value given at every step: x.unsqueeze(0).repeat(T, 1, ...), expand."""
    x = reader.sum_of(event.args[0], where_of(event))
    before, after = tuple(event.args[0].shape), tuple(event.result.shape)
    if before == after:
        return x
    if x.label != STATIC or x.reduced or x.axes not in ("N", *TIME):
        raise unknown_operation(event)
    axes = "TN" if x.axes == "N" else x.axes
    at = TIME[axes]
    one = (1, *before) if x.axes == "N" else before
    if (*after[:at], *after[at + 1 :]) != (*one[:at], *one[at + 1 :]) or one[at] != 1:
        raise unknown_operation(event)
    reader.count_steps(after[at], where_of(event))
    return replace(x, axes=axes)


def moved(reader: Reader, event: Function) -> Any:
    """transpose, permute, movedim of time and batch."""
    x = reader.sum_of(event.args[0], where_of(event))
    order = _order(event)
    if order[:2] == [1, 0] and order[2:] == list(range(2, len(order))) and x.axes in TIME:
        return replace(x, axes="NT" if x.axes == "TN" else "TN")
    if order == list(range(len(order))):
        return x
    if x.axes and order[: LEAD[x.axes]] == list(range(LEAD[x.axes])):
        return rearranged(reader, event)
    raise refused_axes(where_of(event), f"axes of a tensor over {x.axes} are moved to the order {order}")


def _order(event: Function) -> list[int]:
    """Which axis each axis of the result was."""
    dims = event.args[0].dim()
    order = list(range(dims))
    if event.name == "permute":
        axes = event.args[1] if isinstance(event.args[1], (tuple, list)) else event.args[1:]
        return [int(axis) % dims for axis in axes]
    one, other = (int(given(event, place, f"dim{place - 1}")) % dims for place in (1, 2))
    if event.name in ("movedim", "moveaxis"):
        order.insert(other, order.pop(one))
    else:
        order[one], order[other] = order[other], order[one]
    return order


def reduced(reader: Reader, event: Function) -> Sum:
    """sum and mean over time (of the output), or over all pixels."""
    x = reader.sum_of(event.args[0], where_of(event))
    shape = tuple(event.args[0].shape)
    axes = _axes(event, len(shape))
    if axes == {TIME.get(x.axes)}:
        return Sum(x.terms, "N", event.name)
    lead = LEAD.get(x.axes, 1)
    if x.reduced or len(shape) - lead != 3 or axes != {lead + 1, lead + 2}:
        raise refused_axes(where_of(event), f"the {event.name} over the axes {sorted(axes)} of a tensor over {x.axes}")
    kernel = np.array(shape[-2:])
    kind = nir.AvgPool2d if event.name == "mean" else nir.SumPool2d
    pooled = reader.add(name_of(event), kind(kernel, kernel, np.zeros(2, int)), x, (shape[lead], 1, 1))
    if given(event, 2, "keepdim", False):
        return pooled
    flat = nir.Flatten({"input": np.array((shape[lead], 1, 1))}, 0, -1)
    return reader.add(f"{name_of(event)}.flatten", flat, pooled, (shape[lead],))


def _axes(event: Function, dims: int) -> set[int]:
    found = given(event, 1, "dim", given(event, 1, "axis"))
    if found is None:
        return set(range(dims))
    return {int(axis) % dims for axis in (found if isinstance(found, (tuple, list)) else (found,))}


def stored(reader: Reader, event: Function) -> None:
    """out[t] = value, out[:, t] = value, into a new tensor."""
    target, key, source = event.args
    if isinstance(key, Tensor) and key.dtype is torch.bool and reader.written:
        found = assigned(reader, event)
        if isinstance(found, Sum):
            reader.give(target, found)
        return
    at = key[1] if isinstance(key, tuple) and len(key) == 2 and key[0] == slice(None) else key
    if not isinstance(at, int) or not isinstance(source, Tensor):
        raise unknown_operation(event)
    axis = 1 if isinstance(key, tuple) else 0
    if (*target.shape[:axis], *target.shape[axis + 1 :]) != tuple(source.shape):
        raise refused_store(where_of(event))
    reader.collect(target, axis, at % target.shape[axis], reader.sum_of(source, where_of(event)), where_of(event))


AXES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "view",
            "reshape",
            "flatten",
            "unflatten",
            "squeeze",
            "squeeze_",
            "unsqueeze",
            "view_as",
            "reshape_as",
            "ravel",
        ),
        reshaped,
    ),
    "__getitem__": indexed,
    "select": indexed,
    "unbind": unbound,
    "stack": stack,
    "cat": joined,
    "concat": joined,
    "repeat": repeated,
    "expand": repeated,
    "expand_as": repeated,
    **dict.fromkeys(
        (
            *(
                "pixel_shuffle",
                "pixel_unshuffle",
                "channel_shuffle",
                "flip",
                "fliplr",
                "roll",
                "narrow",
                "index_select",
            ),
            *("chunk", "split", "tensor_split", "repeat_interleave"),
        ),
        rearranged,
    ),
    "pad": padded,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis"), moved),
    "sum": reduced,
    "mean": reduced,
    "__setitem__": stored,
}
