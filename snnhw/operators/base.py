"""What a linear operator is: its synapses, and everything that follows from them.

A subclass must say `shape`, `fits` and `places`: which neurons it joins, and which number of its weight array each
synapse reads. Values, gradients, bounds, resources and torch's form then follow here, through a CSR matrix. A subclass
overrides what it knows a faster closed form for; both must give the same numbers (tests/unit/test_operators.py).

An operator is a small frozen dataclass that names its weight arrays; the arrays lie in a table (a network's `weights`,
or a few arrays by their `parts` where `weight` is the empty string). Zero weights are synapses: a chip stores and
charges them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from snnhw.errors import LoweringError

if TYPE_CHECKING:  # a process of the lava engine must not load torch: torch is imported where it is called
    from torch import Tensor
    from torch import dtype as Dtype

Shape = tuple[int, ...]
Array = NDArray[Any]
Ints = NDArray[np.int64]
Weights = Mapping[str, Array]
Words = Callable[[Ints], Ints]
"""Lengths of synapse lists -> bits of memory that each takes."""
Entries = Callable[[Ints], tuple[Ints, Ints]]
"""Sources that one axon may join -> (in-axons, slots of out-axons) of so many."""
Some = Callable[[Array, int], Array]
"""At most so many rows of an array."""

REGISTRY: dict[str, type[Operator]] = {}
"""Operators by the name of their class, which is how files tell them apart; a class enters when it is defined."""


class Operator:
    """y = W x, from the values of a pre population to those of a post population.

    Shapes `pre` and `post` are those of the populations, without batch; values are (B, *pre) and (B, *post).
    """

    weight: str
    parts: ClassVar[tuple[str, ...]] = ("",)
    """Endings of the names of the arrays: '' of the weights, others of what says where they are."""
    format: ClassVar[str | None] = "sparse"
    """Which of a target's prices of a synapse it pays: 'dense', 'conv', 'sparse'; None without synapses."""
    injects: ClassVar[bool] = False
    """Values pass as they are, without weights or synapses."""
    multiplies: ClassVar[bool] = True
    """Whether an ANN would multiply here; copies are no multiplications."""
    shares_axons: ClassVar[bool] = False
    """Whether sources that reach the same neurons may share an axon."""
    functions: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Torch functions that it is made of, where NIR has no node: name -> arguments behind the input with defaults."""

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            REGISTRY[cls.__name__] = cls

    # -- what every operator says itself

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        """Shape of what it makes of a population of shape `pre`."""
        raise NotImplementedError

    def places(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        """Its synapses: CSR int64 (post size, pre size), the data places in the flattened weight array."""
        raise NotImplementedError

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        """Whether its arrays join populations of these shapes."""
        return self.shape(weights, pre) == post

    @property
    def text(self) -> str:
        """As `inspect` and golden texts show it: the class, the weights' name, the options."""
        options = "".join(f" {f.name}={getattr(self, f.name)}" for f in fields(self) if f.name != "weight")  # type: ignore[arg-type]
        return f"{type(self).__name__.lower()}[{self.weight}]{options}"

    @classmethod
    def of_torch(cls, call: Any, pre: Shape, where: str) -> tuple[Operator, dict[str, Array], Array]:
        """The operator of a call of one of its `functions`, with its arrays and a bias that broadcasts to its output.

        Args:
            call: the arguments as attributes.
            pre: shape of the input without batch.

        Raises:
            SourceError: options that it does not have, by name.
        """
        raise NotImplementedError

    @classmethod
    def of_nir(cls, node: Any) -> tuple[Operator, dict[str, Array]] | None:
        """A node of NIR, without its bias, as this operator with its arrays, if it is one."""
        return None

    def kernel(self, weights: Weights, pre: Shape) -> tuple[Array, Any, Any, Any, int] | None:
        """(weight, stride, padding, dilation, groups) of the convolution that it is on images, if it is one."""
        return None

    # -- arrays

    def arrays(self, weights: Weights) -> dict[str, Array]:
        """Its arrays by the ending of their names."""
        return {part: weights[self.weight + part] for part in self.parts}

    def values(self, weights: Weights) -> Array:
        """Its weights, int64 or float64."""
        return wide(weights[self.weight])

    def with_values(self, weights: Weights, values: Array) -> dict[str, Array]:
        """A table of its own arrays in which other numbers stand for the weights."""
        table = {self.weight + part: weights[self.weight + part] for part in self.parts}
        return table | {self.weight: values}

    def matrix(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        """The CSR matrix (post size, pre size), int64 or float64; synapses of weight zero are stored."""
        places = self.places(weights, pre, post)
        return _csr(self.values(weights).ravel()[places.data], places)

    def full(self, weights: Weights, pre: Shape, post: Shape) -> Array:
        """The same matrix with its zeros written out."""
        return np.asarray(self.matrix(weights, pre, post).toarray())

    # -- values

    def apply(self, weights: Weights, x: Array, post: Shape) -> Array:
        """y (B, *post), exact in int64 for integer weights and values, else float64."""
        flat = wide(x).reshape(len(x), -1)
        return np.asarray(self.matrix(weights, x.shape[1:], post) @ flat.T).T.reshape(len(x), *post)

    def adjoint(self, weights: Weights, y: Array, pre: Shape) -> Array:
        """The transposed operator: x (B, *pre) of y (B, *post)."""
        flat = wide(y).reshape(len(y), -1)
        return np.asarray(self.matrix(weights, pre, y.shape[1:]).T @ flat.T).T.reshape(len(y), *pre)

    def tensor(self, weights: Weights, pre: Shape, post: Shape, dtype: Dtype) -> Tensor | None:
        """What `product` multiplies by, in a float type of torch; None where it needs nothing."""
        import torch

        matrix = self.matrix(weights, pre, post)
        ends, columns = (torch.from_numpy(np.array(part, np.int64)) for part in (matrix.indptr, matrix.indices))
        values = torch.from_numpy(np.array(matrix.data)).to(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "sparse CSR is in beta state"; the results are compared
            return torch.sparse_csr_tensor(ends, columns, values, size=matrix.shape, check_invariants=True)

    def product(self, weight: Tensor | None, x: Tensor, post: Shape) -> Tensor:
        """y (B, *post) in torch, of x (B, *pre) in the type of `weight`.

        Where the user lets torch multiply float32 in fewer bits, the product is made in float64, which no such flag
        reaches, and given back as float32: integers up to 2**24 stay exact. The flags are read, not set: they belong to
        the whole process, and another thread may be training under them.
        """
        import torch

        if x.dtype is torch.float32 and not multiplies_in_float32():
            return self.forward(None if weight is None else weight.double(), x.double(), post).float()
        return self.forward(weight, x, post)

    def forward(self, weight: Tensor | None, x: Tensor, post: Shape) -> Tensor:
        """`product` as torch multiplies."""
        assert weight is not None
        return (weight @ x.flatten(1).T).T.reshape(-1, *post)

    # -- bounds and counts

    def reach(self, weights: Weights, low: float, high: float, pre: Shape, post: Shape) -> tuple[Array, Array]:
        """Interval arithmetic: smallest and largest y, each of shape `post`, of x in [low, high].

        Padding is a value inside the interval only if the interval holds 0, which all payloads do.
        """
        w = weights[self.weight]
        ends = tuple(np.full((1, *pre), end, np.int64 if w.dtype.kind in "iu" else np.float64) for end in (low, high))
        signs = (self.with_values(weights, np.minimum(w, 0)), self.with_values(weights, np.maximum(w, 0)))
        (low_n, low_p), (high_n, high_p) = ([self.apply(part, end, post)[0] for part in signs] for end in ends)
        return low_p + high_n, high_p + low_n

    def magnitude(self, weights: Weights, payload: int, pre: Shape, post: Shape) -> int:
        """Bound of every partial sum of |w| * |x| for |x| <= payload."""
        sizes = self.with_values(weights, np.abs(np.asarray(weights[self.weight], np.int64)))
        return int(self.reach(sizes, 0, payload, pre, post)[1].max(initial=0))

    def spread(self, weights: Weights, pre: Shape, post: Shape, boxes: Ints) -> tuple[Ints, Any]:
        """Synapses of pre neurons into disjoint boxes of the post population, zero weights included.

        Returns:
            The class of each pre neuron (pre size,), and how many synapses a neuron of each class has into each box,
            CSR int64 (classes, boxes).
        """
        places = self.places(weights, pre, post).tocoo()
        box = labels(post, boxes)[places.row]
        inside = box >= 0
        ends = places.col[inside], box[inside]
        return np.arange(prod(pre)), csr((np.ones(inside.sum(), np.int64), ends), (prod(pre), len(boxes)))

    def fan_out(self, weights: Weights, pre: Shape, post: Shape, *, nonzero: bool = False) -> Ints:
        """Synapses that one event of each pre neuron reaches, int64 of shape `pre`; border aware.

        Args:
            nonzero: without those of weight zero.
        """
        if not nonzero or (weights[self.weight] != 0).all():
            everything = np.array([[(0, n) for n in post]], np.int64)
            label, counts = self.spread(weights, pre, post, everything)
            return np.asarray(counts.toarray()[label, 0]).reshape(pre)
        marks = np.ones((1, *post))
        counted = self.adjoint(self.with_values(weights, (weights[self.weight] != 0).astype(np.float64)), marks, pre)
        return np.rint(counted).astype(np.int64).reshape(pre)

    def fan_in(self, weights: Weights, pre: Shape, post: Shape) -> int:
        """Most synapses into one post neuron."""
        return int(np.diff(self.places(weights, pre, post).indptr).max(initial=0))

    # -- rows: what reaches one post neuron

    def rows(self, post: Shape) -> Shape:
        """Shape that broadcasts to `post`: neurons that share weights lie on axes of length 1, so that one factor must
        do for them. Unless an operator knows better, one for all."""
        return (1,) * len(post)

    def row_largest(self, weights: Weights, pre: Shape, post: Shape) -> Array:
        """Largest |weight| into each post neuron, of a shape that broadcasts to `post`."""
        places = self.places(weights, pre, post)
        row = np.repeat(np.arange(prod(post)), np.diff(places.indptr))
        largest = np.zeros(prod(post))
        np.maximum.at(largest, row, np.abs(self.values(weights)).ravel()[places.data])
        return largest.reshape(post)

    def scaled(self, weights: Weights, factor: Array, pre: Shape, post: Shape, where: str) -> Array:
        """The weights with each post neuron's row multiplied by its factor.

        Args:
            factor: one number, or an array that broadcasts to `post`.

        Raises:
            LoweringError: neurons that share weights have different factors.
        """
        w = weights[self.weight]
        if factor.ndim == 0:
            return np.asarray(w * factor)
        places = self.places(weights, pre, post)
        wanted = np.repeat(np.broadcast_to(factor, post).ravel(), np.diff(places.indptr))
        each = np.ones(w.size)
        each[places.data] = wanted
        if (each[places.data] != wanted).any():
            raise shared_gain(where)
        return np.asarray(w * each.reshape(w.shape))

    @property
    def alike(self) -> bool:
        """Whether all rows of the weights (first axis) read alike, so that `patches` tells what."""
        return False

    def patches(self, weights: Weights, x: Array, most: int, some: Some) -> Array:
        """What single rows of the weights meet in values x (B, *pre): (at most `most`, columns of a row)."""
        raise NotImplementedError

    # -- resources

    def lists(
        self, weights: Weights, pre: Shape, post: Shape, boxes: Ints, words: Words, shared: bool
    ) -> tuple[Ints, Ints]:
        """(memory of the longest synapse list, memory of all lists) of each box of the post population.

        Args:
            shared: kernels are stored once, where the operator has any. Else each source neuron has a list of its
                synapses into the box.
        """
        places = self.places(weights, pre, post).tocoo()
        place = labels(post, boxes)[places.row]
        pairs, synapses = np.unique(places.col.astype(np.int64) * len(boxes) + place, return_counts=True)
        each = words(synapses.astype(np.int64))
        longest, total = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
        np.maximum.at(longest, pairs % len(boxes), each)
        np.add.at(total, pairs % len(boxes), each)
        return longest, total

    def axons(
        self, weights: Weights, pre: Shape, post: Shape, sources: Ints, destinations: Ints, entries: Entries
    ) -> tuple[Ints, Ints]:
        """(in-axons of every destination, slots of out-axons of every source), both grids of boxes.

        A source neuron needs an axon into each box that it has a synapse into.
        """
        places = self.places(weights, pre, post).tocoo()
        slices = labels(post, destinations)[places.row]
        pairs = np.unique(places.col.astype(np.int64) * len(destinations) + slices)
        source = labels(pre, sources)[pairs // len(destinations)]
        received = np.bincount(pairs % len(destinations), minlength=len(destinations))
        return received.astype(np.int64), np.bincount(source, minlength=len(sources)).astype(np.int64)

    def received(self, weights: Weights, pre: Shape, post: Shape, rates: Array) -> Array:
        """Synapses that events reach in each post neuron, float64 of shape `post`, of events of each pre neuron."""
        places = self.places(weights, pre, post)
        return np.asarray(_csr(np.ones(places.nnz), places) @ rates.ravel()).reshape(post)

    def traffic(self, weights: Weights, pre: Shape, post: Shape, boxes: Ints, rates: Array) -> tuple[Array, Ints]:
        """(events that reach each box of a grid of post, float64; boxes that each pre neuron reaches, of shape `pre`).

        Args:
            rates: events of each pre neuron.
        """
        places = self.places(weights, pre, post).tocoo()
        pairs = np.unique(places.col.astype(np.int64) * len(boxes) + labels(post, boxes)[places.row])
        source, place = np.divmod(pairs, len(boxes))
        arrived = np.bincount(place, weights=rates.ravel()[source], minlength=len(boxes))
        return arrived, np.bincount(source, minlength=prod(pre)).astype(np.int64).reshape(pre)

    def flows(
        self, weights: Weights, pre: Shape, post: Shape, sources: Ints, destinations: Ints, rates: Array
    ) -> Array:
        """Events of each source box that reach each destination box, float64 (sources, destinations)."""
        places = self.places(weights, pre, post).tocoo()
        pairs = np.unique(places.col.astype(np.int64) * len(destinations) + labels(post, destinations)[places.row])
        neuron, place = np.divmod(pairs, len(destinations))
        at = labels(pre, sources)[neuron] * len(destinations) + place
        found = np.bincount(at, weights=rates.ravel()[neuron], minlength=len(sources) * len(destinations))
        return found.reshape(len(sources), -1)


def pair(value: Any) -> tuple[int, int]:
    """One number for each of two axes, from one for both or one for each."""
    flat = np.ravel(value)
    return int(flat[0]), int(flat[-1])


def floats(tensor: Tensor) -> Array:
    """A tensor of torch as float64; a sparse one with its zeros."""
    return tensor.detach().cpu().to_dense().double().numpy()


def wide(x: Array) -> Array:
    """float64 or int64."""
    return x.astype(np.float64 if x.dtype.kind == "f" else np.int64, copy=False)


def multiplies_in_float32() -> bool:
    """Whether torch multiplies float32 on a CPU in float32: not under autocast, a precision flag or oneDNN's variable.

    Sources: torch.backends.mkldnn.{conv,matmul}.fp32_precision (they also show what the backend, `torch.backends`
    and torch.set_float32_matmul_precision say); oneDNN developer guide, "Primitive Attributes: floating-point math
    mode".
    """
    import torch

    modes = (os.environ.get(f"{maker}_DEFAULT_FPMATH_MODE") for maker in ("ONEDNN", "DNNL"))
    if torch.is_autocast_enabled("cpu") or any((mode or "STRICT").upper() != "STRICT" for mode in modes):
        return False
    onednn: Any = torch.backends.mkldnn
    if not hasattr(onednn, "conv"):  # torch before 2.9 has the one flag
        return torch.get_float32_matmul_precision() == "highest"
    return all(kind.fp32_precision in ("ieee", "none") for kind in (onednn.conv, onednn.matmul))


def csr(content: Any, shape: tuple[int, int] | None = None, dtype: Any = None) -> Any:
    """`scipy.sparse.csr_matrix`, whose import takes long and which runs of most networks do not need."""
    from scipy.sparse import csr_matrix

    return csr_matrix(content, shape=shape, dtype=dtype)


def _csr(values: Array, places: Any) -> Any:
    return csr((values, places.indices, places.indptr), places.shape)


def shared_gain(where: str) -> LoweringError:
    """The refusal of a factor per neuron where neurons share weights."""
    return LoweringError(
        "per-neuron-gain",
        "a factor that differs inside a channel cannot enter a convolution's weights",
        where=where,
        hint="use one time constant per channel",
    )


def sizes(boxes: Ints) -> Ints:
    """Neurons of each box: arrays (n, axes, 2) of (start, stop), a grid that partitions a population."""
    found: Ints = np.prod(boxes[:, :, 1] - boxes[:, :, 0], axis=1)
    return found


def box_sums(values: Array, boxes: Ints) -> Array:
    """Sums of values over boxes (n, axes, 2), float64."""
    running = np.asarray(values, np.float64)
    for axis in range(values.ndim):
        running = np.cumsum(running, axis=axis)
    running = np.pad(running, [(1, 0)] * values.ndim)
    total = np.zeros(len(boxes))
    for corner in range(1 << values.ndim):
        ends = [(corner >> axis) & 1 for axis in range(values.ndim)]
        sign = prod(1 if end else -1 for end in ends)
        total += sign * running[tuple(boxes[:, axis, end] for axis, end in enumerate(ends))]
    return total


def labels(shape: Shape, boxes: Ints) -> Ints:
    """Index of the box that holds each neuron, flattened; -1 of one that none holds."""
    found = np.full(shape, -1, np.int64)
    for number, box in enumerate(boxes):
        found[tuple(slice(start, stop) for start, stop in box)] = number
    return found.ravel()


def intervals(boxes: Ints, axis: int) -> tuple[Ints, Ints]:
    """(distinct intervals of a grid along one axis in ascending order, the index of each box's interval)."""
    _, first, index = np.unique(boxes[:, axis, 0], return_index=True, return_inverse=True)
    return boxes[first, axis], index.ravel()
