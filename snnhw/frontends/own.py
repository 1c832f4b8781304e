# mypy: allow-subclassing-any
"""What NIR has no node for: linear layers (any operator with its arrays and a bias), neurons (any model of ours), and
the maximum of currents.

The rest of the front ends, lowering and the writer of NIR files know these kinds of node; which operators and neuron
models there are, and of which torch functions and modules they are made, stands with them (`snnhw/operators/`,
`snnhw/neurons/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.neurons import REGISTRY as NEURONS
from snnhw.operators import REGISTRY, Operator
from snnhw.operators.base import Array, Shape
from snnhw.operators.candidate import Pool

TYPE = "SnnhwLinear"
"""Name of the node in a NIR file; other readers do not know it."""


@dataclass(eq=False)
class LinearNode(nir.NIRNode):
    """y = op(x) + bias.

    Args:
        op: an operator whose `weight` is the empty string.
        arrays: by the endings of their names.
        bias: broadcasts to the output.
        before, after: shapes of input and output, without batch.
    """

    op: Operator
    arrays: Mapping[str, Array]
    bias: Array
    before: Shape
    after: Shape

    def __post_init__(self) -> None:
        if not self.op.fits(self.arrays, self.before, self.after):
            raise ValueError(f"{type(self.op).__name__} does not make {self.after} of {self.before}")
        np.broadcast_to(self.bias, self.after)
        self.input_type, self.output_type = {"input": np.array(self.before)}, {"output": np.array(self.after)}

    @property
    def weight(self) -> Array:
        """What `graph.validate` looks at."""
        return self.arrays[""]

    def run(self, x: Tensor) -> Tensor:
        """y (B, *after) of x (B, *before), float64; raises ValueError for another shape."""
        if tuple(x.shape[1:]) != self.before:
            raise ValueError(f"it takes {self.before}")
        weight = self.op.tensor(self.arrays, self.before, self.after, x.dtype)
        return self.op.product(weight, x, self.after) + torch.as_tensor(self.bias, dtype=x.dtype)

    def unbiased(self) -> LinearNode:
        """The same without its bias."""
        return replace(self, bias=np.zeros(()))

    def scaled(self, gain: Array, bias: Array, where: str) -> LinearNode:
        """gain * y + bias, both one number for each channel."""
        gain, bias = (x.reshape(-1, *(1 for _ in self.after[1:])) for x in (gain, bias))
        weight = self.op.scaled(self.arrays, gain, self.before, self.after, where)
        return replace(self, arrays={**self.arrays, "": weight}, bias=gain * self.bias + bias)

    @staticmethod
    def of_nir(node: Any) -> tuple[Operator, dict[str, Array]] | None:
        """The operator of such a node, as `Operator.of_nir` has it for the nodes of NIR."""
        return (node.op, dict(node.arrays)) if isinstance(node, LinearNode) else None

    def to_dict(self) -> dict[str, Any]:
        """What stands in a NIR file."""
        options = {f.name: getattr(self.op, f.name) for f in fields(self.op) if f.name != "weight"}  # type: ignore[arg-type]
        arrays = {part.strip("/") or "weight": np.atleast_1d(array) for part, array in self.arrays.items()}
        shapes = {"before": np.array(self.before), "after": np.array(self.after), "bias": np.atleast_1d(self.bias)}
        said = {"type": TYPE, "operator": type(self.op).__name__, "options": json.dumps(options, sort_keys=True)}
        return {**said, **shapes, **arrays, "metadata": dict(self.metadata)}


REQUIRED = ("operator", "options", "before", "after", "bias", "weight")
"""Fields of such a node in a file; structure comes beside them."""


def from_fields(found: Mapping[str, Any]) -> LinearNode:
    """A node of a file; raises ValueError or TypeError for what it cannot be."""
    kind: Any = REGISTRY.get(str(found["operator"]))
    if kind is None or kind.injects:
        raise ValueError(f"there is no operator {found['operator']!r}: known are {', '.join(sorted(REGISTRY))}")
    op = kind(weight="", **{key: _tuples(value) for key, value in json.loads(found["options"]).items()})
    before, after = (tuple(int(n) for n in np.ravel(found[key])) for key in ("before", "after"))
    arrays = {part: _number(found[part.strip("/") or "weight"]) for part in op.parts}
    return LinearNode(op, arrays, _number(found["bias"]), before, after)


def _number(value: Any) -> Array:
    """An array; HDF5 filters take no scalars, so that one number is written as an array of one."""
    array = np.asarray(value)
    return array.reshape(()) if array.shape == (1,) else array


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


MAX_TYPE = "SnnhwMaxPool"


@dataclass(eq=False)
class MaxNode(nir.NIRNode):
    """The largest value of every window, as torch.nn.MaxPool1d and MaxPool2d: of currents, in front of a neuron."""

    pool: Pool

    def __post_init__(self) -> None:
        self.input_type, self.output_type = {"input": None}, {"output": None}

    def run(self, x: Tensor) -> Tensor:
        """Of a batch (B, C, ...); raises RuntimeError for another shape."""
        from torch.nn import functional

        p = self.pool
        kind: Any = functional.max_pool1d if len(p.kernel) == 1 else functional.max_pool2d
        found: Tensor = kind(x, p.kernel, p.stride, p.padding, p.dilation, p.ceil)
        return found

    def to_dict(self) -> dict[str, Any]:
        """What stands in a NIR file."""
        return {"type": MAX_TYPE, "pool": json.dumps(asdict(self.pool)), "metadata": dict(self.metadata)}


def max_from_fields(found: Mapping[str, Any]) -> MaxNode:
    """A node of a file; raises ValueError or TypeError for what it cannot be."""
    said = json.loads(found["pool"])
    sizes = {key: tuple(int(n) for n in said[key]) for key in ("kernel", "stride", "padding", "dilation")}
    odd = [n < (key != "padding") for key, size in sizes.items() for n in size]
    if any(odd) or len({len(size) for size in sizes.values()}) > 1 or len(sizes["kernel"]) not in (1, 2):
        raise ValueError(f"these are no windows: {sizes}")
    return MaxNode(Pool(**sizes, ceil=bool(said["ceil"])))


NEURON_TYPE = "SnnhwNeuron"


@dataclass(eq=False)
class NeuronNode(nir.NIRNode):
    """Neurons of a model that NIR lacks.

    Args:
        model: its name in `snnhw.neurons.REGISTRY`.
        parameters: numbers of the neurons by name, each of the neurons' shape.
    """

    model: str
    parameters: Mapping[str, Array]

    def __post_init__(self) -> None:
        shape = np.array(np.broadcast_shapes(*(np.shape(x) for x in self.parameters.values())))
        self.input_type, self.output_type = {"input": shape}, {"output": shape}

    def to_dict(self) -> dict[str, Any]:
        """What stands in a NIR file."""
        arrays = {name: np.atleast_1d(x) for name, x in self.parameters.items()}
        return {"type": NEURON_TYPE, "model": self.model, **arrays, "metadata": dict(self.metadata)}


def neuron_from_fields(found: Mapping[str, Any]) -> NeuronNode:
    """A node of a file; raises ValueError for what it cannot be."""
    kind = NEURONS.get(str(found["model"]))
    if kind is None or not kind.reals.NODE:
        known = ", ".join(name for name, model in NEURONS.items() if model.reals.NODE) or "none"
        raise ValueError(f"there is no neuron model {found['model']!r}: known are {known}")
    wrong = sorted({*kind.reals.NODE, "model"} ^ set(found))
    if wrong:
        raise ValueError(f"{', '.join(wrong)} missing, or not of {kind.name}")
    return NeuronNode(kind.name, {name: np.asarray(found[name], np.float64) for name in kind.reals.NODE})


def kind_of(node: Any) -> str:
    """What a node is called in messages."""
    if isinstance(node, LinearNode):
        return type(node.op).__name__
    if isinstance(node, NeuronNode):
        return node.model
    return "the maximum of currents" if isinstance(node, MaxNode) else type(node).__name__


def require_nir(graph: nir.NIRGraph) -> None:
    """Refuse to write a node that other readers of NIR do not know."""
    for name, node in sorted(graph.nodes.items()):
        if isinstance(node, (LinearNode, NeuronNode, MaxNode)):
            raise SourceError(
                "cannot-say",
                f"NIR has no node for {kind_of(node)}",
                where=name,
                hint="give --with-own-nodes to write a node of snnhw's own, which other readers reject",
            )
