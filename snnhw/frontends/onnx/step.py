"""One step of a spiking network in ONNX, node by node: linear layers become NIR nodes, all else becomes forms.

What the forms mean (which comparison is a neuron, how it resets) is told by `recognise`, once all nodes are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
import onnx
import torch
from torch import nn

from snnhw.errors import SourceError
from snnhw.frontends.convert import converted
from snnhw.frontends.forms import Atom, Form, NotLinearError, known, unknown
from snnhw.frontends.onnx.constants import Constants
from snnhw.frontends.onnx.file import DOMAINS, text
from snnhw.frontends.onnx.layers import LAYERS, attributes
from snnhw.frontends.recognise import Compared, half, truth
from snnhw.network import Array

LINEAR = sorted({*LAYERS} - {"Relu", "Clip", "BatchNormalization"})
NOTHING = ("Identity", "Dropout")
COMPARISONS = {"Greater": (1, True), "GreaterOrEqual": (1, False), "Less": (-1, True), "LessOrEqual": (-1, False)}
"""Sign of (first - second), and whether equality is left out."""

MOST_HELD = 1 << 26
"""Coefficients of all forms together."""

Builder = Callable[["StepReader", Any, list[Form], str], Form]


@dataclass
class StepReader:
    """Values by name as forms, comparisons, and the NIR nodes of linear layers with what they read."""

    constants: Constants
    values: dict[str, Form]
    comparisons: dict[str, Compared] = field(default_factory=dict)
    floors: dict[str, tuple[Form, float]] = field(default_factory=dict)
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[Atom, str]] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    held: int = 0
    reserved: set[str] = field(default_factory=lambda: {"input", "output"})

    def visit(self, node: Any, where: str) -> None:
        """One node, in the file's order."""
        if node.domain not in DOMAINS:
            raise unread(where, f"{text(node.domain)}.{text(node.op_type)}")
        if self.constants.compute(node, where):
            return
        given = [name for name in node.input if name]
        if node.op_type == "Shape":
            options = attributes(node)
            shape = np.array(self.form(given[0], where).shape, np.int64)
            self.constants.arrays[node.output[0]] = shape[options.get("start", 0) : options.get("end")]
            return
        build = OPERATIONS.get(node.op_type)
        if build is None:
            raise unread(where, text(node.op_type))
        plain = node.op_type in LINEAR or node.op_type in (*NOTHING, "BatchNormalization", "Clip")
        forms = [self.form(name, where) for name in (given[:1] if plain else given)]
        try:
            form = self.values[node.output[0]] = build(self, node, forms, where)
        except NotLinearError as error:
            raise unread(where, f"{text(node.op_type)}, {error},") from None
        except ValueError as error:  # shapes that do not broadcast
            raise SourceError("bad-shape", f"the ONNX node does not take its input: {error}", where=where) from None
        self.held += form.held
        if self.held > MOST_HELD:
            raise SourceError(
                "too-big",
                "the ONNX step computes with more numbers than any that is read here",
                where=where,
                needed=f"{self.held} coefficients up to this node",
                limit=f"{MOST_HELD} coefficients",
                hint="give neurons one parameter a layer or channel",
            )

    def form(self, name: str, where: str) -> Form:
        """A value, constant or not."""
        if name in self.values:
            return self.values[name]
        return known(self.constants.take(name, where))

    def compare(self, difference: Form, strict: bool, where: str, value: str) -> Form:
        """The truth of a comparison with 0; the same comparison is the same atom."""
        if difference.logical() or not difference.atoms:
            raise unread(where, "a comparison of what is known already")
        found = truth(self.comparisons, difference, strict, where, value, self.free)
        for name, comparison in self.comparisons.items():
            self.shapes[name] = comparison.form.shape
        return found

    def place(self, node: nir.NIRNode, sources: Form, where: str, shape: tuple[int, ...]) -> Form:
        """A NIR node behind what a form sums."""
        name = self.free(where)
        self.nodes[name], self.shapes[name] = node, shape
        self.connect(sources, name, where)
        return unknown("layer", name, shape)

    def connect(self, sources: Form, name: str, where: str) -> None:
        """Edges into a node; a coefficient other than 1 becomes a Scale."""
        if sources.constant.any():
            raise unread(where, "a constant added in front of a layer")
        for term, value in sources.terms.items():
            if len(term) != 1:
                raise unread(where, "a layer that reads a product of values")
            (atom,) = term
            if self.shapes.get(atom[1], sources.shape)[1:] != sources.shape[1:]:
                raise unread(where, "one value that is broadcast to several neurons")
            if (value == 1).all():
                self.edges.append((atom, name))
                continue
            scale = self.free(f"{name}.scale")
            self.nodes[scale] = nir.Scale(per_neuron(value, sources.shape, where))
            self.edges += [(atom, scale), (("layer", scale), name)]

    def free(self, where: str) -> str:
        """A node name that NIR takes and that is not there yet; a module's path where torch wrote one."""
        base = text(where).strip("/").replace("/", ".") or "node"
        name, count = base, 1
        while name in self.reserved:
            count += 1
            name = f"{base}_{count}"
        self.reserved.add(name)
        return name


def per_neuron(value: Array, shape: tuple[int, ...], where: str) -> Array:
    """Coefficients as an array of one sample's shape; the same for all samples of the batch."""
    full = np.broadcast_to(value, shape)
    if (full != full[:1]).any():
        raise unread(where, "a constant that differs between the samples of the batch")
    return np.array(full[0], np.float64)


def unread(where: str, what: str) -> SourceError:
    """The refusal of an operation in a step."""
    hint = "write the neuron with +, -, *, comparisons and where; layers with constant weights"
    if "MaxPool" in what:
        hint = "pool averages, or sums"
    return SourceError(
        "unknown-operation",
        f"the ONNX operation {what} is not read in a step of a spiking network",
        where=where,
        limit=", ".join(sorted({*OPERATIONS})),
        hint=hint,
    )


def _linear(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    x = forms[0]
    held = [reader.constants.take(name, where) if name else None for name in node.input[1:]]
    try:
        layer = LAYERS[node.op_type](attributes(node), held, torch.zeros(x.shape), where)
        for part in layer if isinstance(layer, nn.Sequential) else [layer]:
            shape = _trial(part, x.shape)
            x = reader.place(converted(part, x.shape[1:], where), x, where, shape)
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:  # sizes that do not fit
        raise SourceError("bad-shape", f"the ONNX node does not take its input: {error}", where=where) from None
    return x


@torch.no_grad()
def _trial(layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(layer.eval()(torch.zeros(shape)).shape)


def _batch_norm(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    """g x + b with the statistics of training (Ioffe, Szegedy 2015)."""
    options, x = attributes(node), forms[0]
    if options.get("training_mode", 0) or len(x.shape) < 2:
        raise unread(where, "BatchNormalization in training mode")
    gamma, beta, mean, variance = (np.asarray(reader.constants.take(n, where), np.float64) for n in node.input[1:5])
    inside = variance + float(options.get("epsilon", 1e-5))
    if (inside <= 0).any():
        raise SourceError("bad-parameter", "a running variance is negative", where=where, limit="var >= 0")
    g = gamma / np.sqrt(inside)
    channel = (-1, *[1] * (len(x.shape) - 2))
    return x.times(g.reshape(channel)) + known((beta - g * mean).reshape(channel))


def _skip(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    if (
        node.op_type == "Dropout"
        and len(node.input) > 2
        and node.input[2]
        and reader.constants.take(node.input[2], where)
    ):
        raise unread(where, "Dropout in training mode")
    return forms[0]


def _cast(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    if attributes(node)["to"] not in floats and not forms[0].logical():
        raise unread(where, "Cast that rounds values")
    return forms[0]


def _sum(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    total = forms[0]
    for form in forms[1:]:
        total = total + form
    return total


def _div(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    over, under = forms
    if under.atoms or not under.constant.all():
        raise unread(where, "Div by other than constants")
    return over.times(1.0 / under.constant)


def _where(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    chosen, one, other = forms
    return chosen * one + (known(np.ones(())) - chosen) * other


def _compared(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    sign, strict = COMPARISONS[node.op_type]
    difference = (forms[0] - forms[1]).times(np.array(float(sign)))
    known_truth = half(difference, strict)
    if known_truth is not None:
        return known_truth
    return reader.compare(difference, strict, where, node.output[0])


def _not(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    return known(np.ones(())) - forms[0]


def _and(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    return forms[0] * forms[1]


def _max(reader: StepReader, node: Any, forms: list[Form], where: str) -> Form:
    """max(v, constant), of a membrane; also Relu and Clip from below."""
    low: Array = np.zeros(())
    if node.op_type == "Clip":
        options = attributes(node)
        bounds = [reader.constants.take(n, where) if n else None for n in node.input[1:]] or [
            options.get("min"), options.get("max")
        ]  # fmt: skip
        high = bounds[1] if len(bounds) > 1 else None
        if bounds[0] is None or (high is not None and float(np.max(high)) < np.finfo(np.float32).max):
            raise unread(where, "Clip from above")
        low = np.asarray(bounds[0], np.float64)
    elif node.op_type == "Max":
        constants = [form for form in forms if not form.atoms]
        if len(forms) != 2 or len(constants) != 1:
            raise unread(where, "Max of other than a value and a constant")
        low, forms = constants[0].constant, [form for form in forms if form.atoms]
    if (low != low.ravel()[0]).any():
        raise unread(where, "a lower bound that differs between neurons")
    name = reader.free(where)
    reader.floors[name] = (forms[0], float(low.ravel()[0]))
    return unknown("floor", name, forms[0].shape)


OPERATIONS: dict[str, Builder] = {
    **dict.fromkeys(LINEAR, _linear),
    **dict.fromkeys(NOTHING, _skip),
    **dict.fromkeys(COMPARISONS, _compared),
    **dict.fromkeys(("Relu", "Max", "Clip"), _max),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Add": _sum,
    "Sum": _sum,
    "Sub": lambda reader, node, forms, where: forms[0] - forms[1],
    "Neg": lambda reader, node, forms, where: forms[0].times(np.array(-1.0)),
    "Mul": lambda reader, node, forms, where: forms[0] * forms[1],
    "Div": _div,
    "Where": _where,
    "Not": _not,
    "And": _and,
}
