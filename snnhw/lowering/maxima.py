"""The maximum of currents in front of a neuron, as a tournament of relays: max(a, b) = a + relu(b - a).

Of every window one candidate, the anchor, reaches the neuron as a convolution would; a relay for each other candidate
adds by how much it is larger than the maximum so far. Windows of k candidates take k - 1 relays of the pool's output
and log2 k hops, rows after columns. A relay reads the convolution itself at two candidates, with W and with -W, and the
relays below it: currents cross no wire, and only what is positive is sent.

Candidates are counted from the first one inside the image (`Pool.candidates`), so that a relay whose later side has no
candidate there gets nothing, and sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from snnhw.errors import LoweringError
from snnhw.lowering.compose import Composed
from snnhw.lowering.schedule import RELAY_WEIGHT
from snnhw.network import Array, Conv, Dense, Diagonal, Kind, Population, Projection, Shape
from snnhw.neurons.relu import relu
from snnhw.operators.candidate import Candidate, Lift, Pool, Sizes
from snnhw.operators.conv1d import Conv1d
from snnhw.rationale import Effect, Reason

MINUS, TURNED = ".minus", ".turned"
"""Endings of the names of a convolution's weights: all of them negative, or those of some channels."""


@dataclass(frozen=True)
class Source:
    """One summand of the currents that a maximum is over.

    Args:
        pre: population.
        lag: steps by which it comes late.
        label: name of its weights.
        op: the convolution, which names them.
    """

    pre: str
    lag: int
    label: str
    op: Conv | Conv1d


@dataclass(frozen=True)
class _Side:
    """A maximum over some candidates: the first of them, how many along each axis, and the relays that lift it."""

    rank: Sizes
    span: Sizes
    relays: tuple[str, ...] = ()


@dataclass
class Tournament:
    """Populations and projections of the maxima into one population.

    Args:
        name: of that population.
        shape: of the pool's output.
        signs: of each channel behind the pool, (C, 1, ...): 1 or -1.
        lag: steps by which all of it comes late.
    """

    name: str
    shape: Shape
    pool: Pool
    sources: Sequence[Source]
    signs: Array
    lag: int = 0
    first: int = 1

    def __post_init__(self) -> None:
        self.populations: list[Population[Any]] = []
        self.projections: list[Projection] = []
        whole = self._over(0, tuple(0 for _ in self.pool.kernel))
        self._into(self.name, whole, TURNED if (self.signs < 0).any() else "", whole, self.lag)

    def _over(self, axis: int, rank: Sizes) -> _Side:
        """The maximum over one axis and all behind it, of the candidates of this rank along those before."""
        if axis == len(self.pool.kernel):
            return _Side(rank, tuple(1 for _ in rank))
        inner = [self._over(axis + 1, (*rank[:axis], at, *rank[axis + 1 :])) for at in range(self.pool.kernel[axis])]
        return self._joined(inner, axis)

    def _joined(self, sides: Sequence[_Side], axis: int) -> _Side:
        if len(sides) == 1:
            return sides[0]
        half = 1 << (len(sides) - 1).bit_length() - 1
        left, right = self._joined(sides[:half], axis), self._joined(sides[half:], axis)
        name = f"{self.name}.max{self.first + len(self.populations)}"
        self._into(name, right, "", right)
        self._into(name, left, MINUS, right)
        self.populations.append(Population(name, self.shape, Kind.RELAY, relu(), payload=(0, 1)))
        span = (*left.span[:axis], left.span[axis] + right.span[axis], *left.span[axis + 1 :])
        return _Side(left.rank, span, (*left.relays, name))

    def _into(self, post: str, side: _Side, ending: str, beside: _Side, lag: int = 0) -> None:
        """A maximum, or its negative, into a population, where there is a candidate of another side, too."""
        p = self.pool
        windows = (p.kernel, p.stride, p.padding, p.dilation, p.ceil)
        for source in self.sources:
            c, late = source.op, source.lag + lag
            common = (c.stride, c.padding, c.dilation, c.groups, windows)
            op = Candidate(source.label + ending, *common, side.rank, side.span, beside.rank)
            route = f"{source.pre}->{post} via {source.label}{ending}{list(side.rank)}"
            self.projections.append(
                Projection(route + (f" after {late}" if late else ""), source.pre, post, op, lag=late)
            )
        weight = self._signs if post == self.name else f"{RELAY_WEIGHT}{ending}"
        for relay in side.relays:
            self.projections.append(Projection(f"{relay}->{post}", relay, post, Lift(weight), lag=lag))

    @property
    def _signs(self) -> str:
        return f"{self.name}.signs{self.first}"

    def weights(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All weight arrays: of the convolutions by label, each positive, negative and turned, and those of relays."""
        found = {RELAY_WEIGHT: np.ones(()), RELAY_WEIGHT + MINUS: np.full((), -1.0), self._signs: self.signs}
        for label, w in arrays.items():
            found |= {label: w, label + MINUS: -w, label + TURNED: turned(w, self.signs)}
        used = {q.op.weight for q in self.projections}
        return {name: array for name, array in found.items() if name in used}

    @property
    def reason(self) -> Reason:
        """Its form, for `explain`."""
        hops = sum((n - 1).bit_length() for n in self.pool.kernel)
        windows = "x".join(map(str, self.pool.kernel))
        return Reason(
            population=self.name,
            parameter="maximum",
            integer=f"{len(self.populations)} relays of differences",
            real=f"the largest current of {windows} windows",
            kind=Effect.EXACT,
            text=f"exact for the quantised layer in front: max(a, b) = a + relu(b - a); {len(self.populations)} "
            f"populations of {prod(self.shape)} neurons and {hops} hops more",
        )


def turned(w: Array, signs: Array) -> Array:
    """A convolution's weights, (C, ...), by the sign of each channel, (C, 1, ...) or one number."""
    return w * (signs.reshape(-1, *(1 for _ in w.shape[1:])) if signs.ndim else signs)


def convolution(composed: Composed, shape: Shape, where: str) -> tuple[Conv | Conv1d, Array]:
    """What a maximum is over, as a convolution with its weights; values that pass as they are have kernels of 1.

    Args:
        shape: of what the pool takes, without batch.

    Raises:
        LoweringError: 'maximum-of' what is none.
    """
    op = composed.kind
    if isinstance(op, (Conv, Conv1d)):
        return op, composed.arrays[""]
    if isinstance(op, Diagonal) and len(shape) in (2, 3):
        w = np.broadcast_to(composed.arrays[""], (shape[0], *(1 for _ in shape[1:])))
        one = Conv("", groups=shape[0]) if len(shape) == 3 else Conv1d("", groups=shape[0])
        return one, np.array(w.reshape(shape[0], 1, *(1 for _ in shape[1:])))
    raise LoweringError(
        "maximum-of",
        "a maximum of what is no convolution cannot be made of relays",
        where=where,
        needed=type(op).__name__,
        limit="convolutions, of images or sequences, with BatchNorm, scales and average pools",
        hint="put the neuron before the pool, or --approximate pool-after-spikes",
    )


def gain_behind(composed: Composed, shape: Shape, post: Shape, where: str) -> Array:
    """The factor of each channel between a pool and its neuron, (C, 1, ...) or one number.

    Raises:
        LoweringError: 'behind-maximum': anything else is there.
    """
    op, w = composed.kind, composed.arrays[""]
    mixes = isinstance(op, (Conv, Conv1d)) and (w[0].size > 1 or op.groups != len(w))
    if shape != post or mixes or isinstance(op, Dense):
        raise _behind(where, f"{type(op).__name__} from {shape} to {post}")
    matrix = op.matrix(composed.arrays, shape, post)
    found = matrix.diagonal().reshape(shape[0], -1)
    if abs(matrix).sum() != np.abs(found).sum() or (found != found[:, :1]).any():
        raise _behind(where, "another map, or a factor for each neuron")
    return np.asarray(found[:, 0].reshape(-1, *(1 for _ in shape[1:])))


def _behind(where: str, what: str) -> LoweringError:
    return LoweringError(
        "behind-maximum",
        "between the maximum of currents and its neuron there is more than a factor and a bias for each channel",
        where=where,
        needed=what,
        limit="BatchNorm, or a factor of each channel",
        hint="put a neuron behind the pool",
    )


def require_candidates(pool: Pool, shape: Shape, where: str) -> None:
    """Every window of a pool over this shape has a value."""
    if any((pool.candidates(axis, n)[0] < 0).any() for axis, n in enumerate(shape[1:])):
        raise LoweringError(
            "maximum-of",
            "a window of a maximum lies in its padding whole",
            where=where,
            needed=shape,
            limit="windows that hold a value",
            hint="use less padding or dilation",
        )


def require_alike(constants: Mapping[int, Array], where: str) -> None:
    """Biases in front of a maximum are the same in a window, so that they may come behind it."""
    for found in constants.values():
        flat = found.reshape(len(found), -1)
        if (flat != flat[:, :1]).any():
            raise LoweringError(
                "maximum-of",
                "biases in front of a maximum differ inside of a channel",
                where=where,
                limit="one bias for each channel",
                hint="a layer behind a padded one spreads its bias unevenly: put a neuron between them",
            )
