"""What torch functions mean that move axes: time unrolled and stacked, batch and time folded, features flattened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.frontends.live.adapter import Shape
from snnhw.frontends.live.elementwise import assigned
from snnhw.frontends.live.operations import Rule, functions, given, own, require_square
from snnhw.frontends.live.reader import ENDINGS, Reader, name_of, refused_store, taken, unknown_operation, where_of
from snnhw.frontends.live.recorder import Function
from snnhw.frontends.live.values import (
    INPUT,
    LEAD,
    STATIC,
    TIME_LAST,
    Ending,
    Sum,
    added,
    at_step,
    over_time,
    refused_axes,
    time_of,
)
from snnhw.readout import WHOLE as ALL

FOLDED = {"TN": "(TN)", "NT": "(NT)"}
UNFOLDED = {folded: axes for axes, folded in FOLDED.items()}


def reshaped(reader: Reader, event: Function) -> Sum:
    """view, reshape, flatten, unflatten, squeeze, unsqueeze: told from the shapes before and after."""
    x = reader.sum_of(event.args[0], where_of(event))
    before, after = tuple(event.args[0].shape), tuple(event.result.shape)
    if not x.axes:
        return x
    if x.axes == TIME_LAST:
        if after[:1] != before[:1] or after[-1:] != before[-1:]:
            raise refused_axes(where_of(event), f"a tensor over {x.axes} of shape {before} becomes {after}")
        return _flattened(reader, event, x, before[1:-1], after[1:-1])
    if event.name in ("unsqueeze", "__getitem__") and x.axes == "N" and (x.label == STATIC or reader.written):
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
    own = (x.groups,) if x.groups else reader.shape_of(x.terms[0].node) if x.terms else tuple(before)
    if x.view is not None or x.reduced:
        return replace(x, view=None if tuple(after) == tuple(own) else (name_of(event), tuple(after)))
    ranges = ((start, end) for start in range(len(before)) for end in range(start + 1, len(before)))
    for start, end in ranges:
        if (*before[:start], prod(before[start : end + 1]), *before[end + 1 :]) == tuple(after):
            node = nir.Flatten({"input": np.array(before)}, start, -1 if end == len(before) - 1 else end)
            return reader.add(name_of(event), node, x, tuple(after))
    return replace(x, view=(name_of(event), tuple(after)))


def rearranged(reader: Reader, event: Function) -> Any:
    """Functions that put features to other places, by what they do to the features' numbers."""
    tensor = event.args[0]
    x = reader.seen(reader.sum_of(tensor, where_of(event)))
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
        found.append(reader.add(name, taken(part.numpy().astype(np.int64).ravel(), before, after), x, after))
    return found if several else found[0]


def indexed(reader: Reader, event: Function) -> Any:
    """x[t], x[:, t], x[..., t] and x.select: one step."""
    tensor = event.args[0]
    if event.name == "select":
        axis, index = int(given(event, 1, "dim")) % tensor.dim(), int(given(event, 2, "index"))
        key: tuple[Any, ...] = (*(slice(None),) * axis, index)
    else:
        key = event.args[1] if isinstance(event.args[1], tuple) else (event.args[1],)
    places = [i for i, part in enumerate(key) if isinstance(part, int)]
    axis = _axis_of(key, places[0], tensor.dim()) if places else -1
    stored = reader.collected(tensor, axis, key[places[0]] % tensor.shape[axis]) if len(places) == 1 else None
    x = stored or reader.sum_of(tensor, where_of(event))
    if stored is not None or not x.axes or all(part is Ellipsis or part == slice(None) for part in key):
        return x
    time = time_of(x.axes, tensor.dim())
    sliced = _over_time(key)
    if sliced is not None and sliced == time:
        return _windowed(reader, x, key[sliced], event)
    others = [part for i, part in enumerate(key) if i not in places]
    if len(places) != 1 or any(part is not Ellipsis and part != slice(None) for part in others) or axis != time:
        return _features(reader, event, x)
    steps, at = _steps_left(x, reader), key[places[0]]
    at -= _first_row(x, reader, event) and at >= 0
    if not -len(steps) <= at < len(steps) or (at < 0 <= key[places[0]]):
        raise _part(event, x)
    return at_step(x, steps[at])


def _first_row(x: Sum, reader: Reader, event: Function) -> bool:
    """Whether a row of what was there before the first step is ahead of the steps: `stack` has left it out."""
    time = time_of(x.axes, event.args[0].dim())
    return time is not None and event.args[0].shape[time] == len(_steps_left(x, reader)) + 1


def _axis_of(key: tuple[Any, ...], place: int, dims: int) -> int:
    """The axis that a part of an index is for."""
    before = next((i for i, part in enumerate(key) if part is Ellipsis), place)
    return place if before >= place else dims - len(key) + place


def _over_time(key: tuple[Any, ...]) -> int | None:
    """The axis of the one slice in an index that is none of all."""
    parts = [i for i, part in enumerate(key) if isinstance(part, slice) and part != slice(None)]
    rest = all(part is Ellipsis or isinstance(part, slice) for part in key)
    return parts[0] if len(parts) == 1 and rest and Ellipsis not in key[: parts[0]] else None


def _windowed(reader: Reader, x: Sum, part: slice, event: Function) -> Sum:
    """Some steps, one after another: as the slice counts them, so that it holds for another number of steps."""
    if part.step not in (None, 1) or x.window != ALL or any(term.node == INPUT for term in x.terms):
        raise _part(event, x)
    start, stop = part.start, part.stop
    if _first_row(x, reader, event):
        if not start or not -len(_steps_left(x, reader)) <= start:
            raise _part(event, x)
        start, stop = (at - 1 if at is not None and at > 0 else at for at in (start, stop))
    return replace(x, window=(start or None, stop))


def _steps_left(x: Sum, reader: Reader) -> range:
    return range(reader.steps or reader.recorded)[slice(*x.window)]


def unbound(reader: Reader, event: Function) -> list[Sum]:
    """x.unbind(time), for x_t in x."""
    x = reader.sum_of(event.args[0], where_of(event))
    axis = int(given(event, 1, "dim", 0)) % event.args[0].dim()
    if axis != time_of(x.axes, event.args[0].dim()):
        raise _part(event, x)
    return [at_step(x, step) for step in _steps_left(x, reader)[: len(event.result)]]


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
    axes = over_time(axis, event.result.dim())
    if axes is None:
        raise unknown_operation(event)
    one_more = len(parts) > 2 and len(parts) - 1 in (reader.steps, reader.recorded)
    if one_more and not parts[0].terms and not parts[1].terms:
        parts = parts[1:]  # what was there before the first step, which shows nothing yet either
    return reader.stacked(parts, axes, where_of(event))


def joined(reader: Reader, event: Function) -> Sum:
    """torch.cat of features or channels: the sum of what each part is at its own place, zero elsewhere."""
    tensors = list(given(event, 0, "tensors"))
    axis = int(given(event, 1, "dim", 0)) % event.result.dim()
    parts = [reader.sum_of(t, where_of(event)) for t in tensors]
    axes = next((part.axes for part in parts if part.axes), "N")
    single = all(isinstance(part.label, int) for part in parts)
    if single and axis == time_of(axes, event.result.dim()):
        reader.count_steps(len(parts), where_of(event))
        return reader.over_time([replace(part, axes="N") for part in parts], axes, where_of(event))
    if axis != LEAD[axes]:
        raise refused_axes(where_of(event), f"tensors over {axes} are joined along axis {axis}")
    shapes = [reader.features(tensor, axes) for tensor in tensors]
    if len(shapes[0]) > 3:
        raise unknown_operation(event)
    return side_by_side(reader, name_of(event), [replace(part, axes=axes) for part in parts], shapes, where_of(event))


def side_by_side(reader: Reader, name: str, parts: Sequence[Sum], shapes: Sequence[Shape], where: str) -> Sum:
    """Features or channels one behind the other: each part at its own place, zero elsewhere."""
    count, (_, *rest) = sum(shape[0] for shape in shapes), shapes[0]
    require_square(count, where)
    total, first = Sum((), parts[0].axes), 0
    for number, (part, (size, *_)) in enumerate(zip(parts, shapes, strict=True)):
        matrix, none = np.eye(count)[:, first : first + size], np.zeros(count)
        node = nir.Linear(matrix)
        if len(rest) == 2:
            node = nir.Conv2d(tuple(rest), matrix[:, :, None, None], (1, 1), (0, 0), (1, 1), 1, none)
        elif len(rest) == 1:
            node = nir.Conv1d(rest[0], matrix[:, :, None], 1, 0, 1, 1, none)
        place = reader.add(f"{name}.part{number}", node, part, (count, *rest))
        total, first = added(total, place, where), first + size
    return total


def repeated(reader: Reader, event: Function) -> Sum:
    """A static value given at every step: x.unsqueeze(0).repeat(T, 1, ...), expand."""
    x = reader.sum_of(event.args[0], where_of(event))
    before, after = tuple(event.args[0].shape), tuple(event.result.shape)
    if before == after:
        return x
    if x.label != STATIC or x.reduced or x.axes not in ("N", "TN", "NT"):
        raise unknown_operation(event)
    axes = "TN" if x.axes == "N" else x.axes
    at = time_of(axes, len(after)) or 0
    one = (1, *before) if x.axes == "N" else before
    if (*after[:at], *after[at + 1 :]) != (*one[:at], *one[at + 1 :]) or one[at] != 1:
        raise unknown_operation(event)
    reader.count_steps(after[at], where_of(event))
    return replace(x, axes=axes)


def moved(reader: Reader, event: Function) -> Any:
    """transpose, permute, movedim of time and batch."""
    x = reader.sum_of(event.args[0], where_of(event))
    order, dims = _order(event), event.args[0].dim()
    if order == list(range(dims)) or not x.axes:
        return x
    time, batch = time_of(x.axes, dims), int(x.axes == "TN")
    features = [axis for axis in order if axis not in (time, batch)]
    if time is not None and features == sorted(features):
        axes = over_time(order.index(time), dims)
        if axes is not None and order.index(batch) == int(axes == "TN"):
            return replace(x, axes=axes)
    if x.axes != TIME_LAST and order[: LEAD[x.axes]] == list(range(LEAD[x.axes])):
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
    lead, keeps, time = LEAD.get(x.axes, 1), given(event, 2, "keepdim", False), time_of(x.axes, len(shape))
    if time is not None and axes and axes <= {time, lead} and time in axes and not (keeps and x.view):
        count = shape[time]
        found = replace(x, axes="N", reduced=event.name, count=count)
        if event.name == "mean" and reader.steps == count - 1:  # a first zero that `stack` left out
            found = replace(found, factor=x.factor * (count - 1) / count)
        if axes == {time}:
            return found if not keeps else _kept(reader, event, found)
        return _votes(reader, event, found, shape[lead:], lead, keeps)
    if x.axes == TIME_LAST:
        raise refused_axes(where_of(event), f"the {event.name} over the axes {sorted(axes)} of a tensor over {x.axes}")
    if len(axes) == 1 and min(axes) >= lead and (x.view is not None or len(shape) == lead + 1):
        return _votes(reader, event, x, shape[lead:], min(axes), keeps)
    if x.reduced or len(shape) - lead != 3 or axes != {lead + 1, lead + 2}:
        raise refused_axes(where_of(event), f"the {event.name} over the axes {sorted(axes)} of a tensor over {x.axes}")
    kernel = np.array(shape[-2:])
    kind = nir.AvgPool2d if event.name == "mean" else nir.SumPool2d
    pooled = reader.add(name_of(event), kind(kernel, kernel, np.zeros(2, int)), x, (shape[lead], 1, 1))
    if given(event, 2, "keepdim", False):
        return pooled
    flat = nir.Flatten({"input": np.array((shape[lead], 1, 1))}, 0, -1)
    return reader.add(f"{name_of(event)}.flatten", flat, pooled, (shape[lead],))


def _kept(reader: Reader, event: Function, x: Sum) -> Sum:
    raise refused_axes(where_of(event), "a sum over time keeps its axis")


def _votes(reader: Reader, event: Function, x: Sum, seen: Shape, axis: int, keeps: bool) -> Sum:
    """The sum or mean over one axis of the features: of groups of outputs, mostly."""
    at = axis - LEAD.get("TN" if len(seen) + 2 == event.args[0].dim() else "N", 1)
    factor = 1.0 / seen[at] if event.name == "mean" else 1.0
    found = reader.voted(name_of(event), x, seen, at, factor)
    left = (*seen[:at], *([1] if keeps else []), *seen[at + 1 :])
    return replace(found, view=None if len(left) == 1 else (name_of(event), left))


def averaged(reader: Reader, event: Function) -> Any:
    """F.avg_pool1d over features as one channel, as in a VotingLayer: the mean of each group of neighbours."""
    x = reader.sum_of(event.args[0], where_of(event))
    lead = LEAD.get(x.axes, 1)
    seen = tuple(event.args[0].shape[lead:])
    size, stride = (_number(given(event, place, name)) for place, name in ((1, "kernel_size"), (2, "stride")))
    whole = len(seen) == 2 and seen[0] == 1 and stride in (size, None) and seen[1] % size == 0
    if x.view is None or not whole or _number(given(event, 3, "padding", 0)):
        return functions()["avg_pool1d"](reader, event)
    found = reader.voted(name_of(event), x, (seen[1] // size, size), 1, 1.0 / size)
    return replace(found, view=(name_of(event), (1, seen[1] // size)))


def _number(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value


def largest(reader: Reader, event: Function) -> Any:
    """max and amax over time; torch.max and torch.maximum of two values of single steps: the maximum in a loop."""
    other = given(event, 1, "other", None)
    if isinstance(other, Tensor) or event.name == "maximum":
        return _larger(reader, event, other)
    x = reader.sum_of(event.args[0], where_of(event))
    axes = _axes(event, event.args[0].dim())
    if len(axes) != 1:
        raise unknown_operation(event)
    time = time_of(x.axes, event.args[0].dim())
    if axes != {time} or given(event, 2, "keepdim", False):
        return ended(reader, event) if axes == {event.args[0].dim() - 1} else _not_over_time(event, x, axes)
    found = replace(x, axes="N", reduced="max", count=event.args[0].shape[time])
    return found if isinstance(event.result, Tensor) else [found, None]


def _not_over_time(event: Function, x: Sum, axes: set[int]) -> Any:
    raise refused_axes(where_of(event), f"the maximum over the axes {sorted(axes)} of a tensor over {x.axes}")


def _larger(reader: Reader, event: Function, other: Any) -> Sum:
    parts = [reader.sum_of(side, where_of(event)) for side in (event.args[0], other)]
    steps = [[(term.node, term.port, term.step) for term in part.terms] for part in parts]
    single = all(part.axes == "N" and part.reduced in ("", "max") and part.terms for part in parts)
    same = len({(node, port) for terms in steps for node, port, _ in terms}) == 1
    if not single or not same or any(isinstance(step, str) for terms in steps for *_, step in terms):
        raise refused_axes(where_of(event), "a maximum that is not over the steps of one layer's output")
    terms = tuple(dict.fromkeys((*parts[0].terms, *parts[1].terms)))
    return replace(parts[0], terms=terms, reduced="max")


def ended(reader: Reader, event: Function) -> Any:
    """softmax, log_softmax, sigmoid, tanh and argmax over the outputs: they change no decision, and are left out."""
    x = reader.sum_of(event.args[0], where_of(event))
    axis = given(event, 1, "dim", None)
    ending = Ending(event.name.removesuffix("_"), () if axis is None else (axis,))
    last = event.args[0].dim() - 1
    if ending.name not in ENDINGS and (axis is None or int(axis) % (last + 1) != last):
        raise refused_axes(where_of(event), f"{event.name} over another axis than the outputs")
    found = replace(x, ending=ending)
    return found if isinstance(event.result, Tensor) else [found] * len(event.result)


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
    parts = list(key) if isinstance(key, tuple) else [key]
    while len(parts) > 1 and (parts[-1] is Ellipsis or parts[-1] == slice(None)):
        parts.pop()
    *before, at = parts
    axis = _axis_of(tuple(parts), len(before), target.dim())
    whole = all(part is Ellipsis or part == slice(None) for part in before) and over_time(axis, target.dim())
    if not whole or not isinstance(at, int) or not isinstance(source, Tensor):
        raise unknown_operation(event)
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
    "avg_pool1d": averaged,
    **dict.fromkeys(("max", "amax", "maximum"), largest),
    **dict.fromkeys(("softmax", "log_softmax", "sigmoid", "sigmoid_", "tanh", "tanh_", "argmax"), ended),
    "__setitem__": stored,
}
