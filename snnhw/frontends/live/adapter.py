"""What snnhw must know of a framework's neurons: the protocol between the recorder and one adapter per framework.

A leaf is a module whose inside is not read: the adapter says which tensors went in and out, and which NIR nodes give
the same values. Everything else (convolutions, BatchNorm, containers, wrappers) is read from the torch functions that
it calls, so no framework needs code for it. No framework is imported: leaves are told by the names of their classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any, Protocol

import nir
import numpy as np
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.graph import LINEAR
from snnhw.network import Array, Comparison

Shape = tuple[int, ...]

OUT, MEMBRANE = "out", "membrane"
"""What a network can read of a leaf: what it sends (spikes, or a filter's current), or its membrane."""


@dataclass(frozen=True)
class Other:
    """A tensor that shows one step of what a leaf sends or of its membrane, or all of them as one.

    Args:
        step: which; from the end where negative; None: all, over time, or as one by `over`.
        over: 'max' or 'mean'.
    """

    tensor: Tensor
    port: str
    step: int | None = None
    over: str = ""


@dataclass(frozen=True)
class Call:
    """One run of a leaf, as the tensors that it was given and that it gave.

    Args:
        current: the input.
        out: what it sends: spikes, or the values of a filter.
        axes: the axes before the features, of `current` and of `out`: 'N' (one step), 'TN', 'NT', or '(TN)', '(NT)' for
            one axis that holds both; '' where it has no state and takes them as they come.
        states: tensors that it was handed as its state (of the step before); none where it keeps its state itself.
        membrane: its membrane, where it gives that: a readout may show it.
        kept: further state tensors that it gave back.
        steps: T, where the layer knows it and its axes do not show it.
        handed: a call without states starts anew: the layer keeps none itself.
        keeps: `membrane` is what a neuron that spikes has left after its reset.
        others: further tensors that show something of it.
        hidden: nobody sees `out`, which has no values: `others` show it as one value over time.
    """

    current: Tensor
    out: Tensor
    axes: str
    states: tuple[Tensor, ...] = ()
    membrane: Tensor | None = None
    kept: tuple[Tensor, ...] = ()
    steps: int | None = None
    handed: bool = False
    keeps: bool = False
    others: tuple[Other, ...] = ()
    hidden: bool = False


GIVEN = "<"
"""Among what a part reads: what the leaf is given."""


@dataclass(frozen=True)
class Part:
    """One NIR node of a leaf.

    Args:
        node: its parameters have the shape of its neurons. It means what snnhw/semantics.py says, which is for the
            adapter to bring about by the choice of tau, r, w_in, v_leak and of the fields of `semantics`.
        reads: the parts whose outputs it sums, and by how many steps each is late.
        semantics: fields of `Semantics` that are not as in `PLAIN`; none for a node without state.
    """

    node: nir.NIRNode
    reads: tuple[tuple[str, int], ...] = ((GIVEN, 0),)
    semantics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """A leaf as NIR nodes.

    Args:
        parts: by what follows the leaf's name in theirs, e.g. '' and '.w_rec'.
        ends: the parts whose outputs are summed where the leaf is read.
    """

    parts: Mapping[str, Part]
    ends: tuple[str, ...] = ("",)

    @property
    def sent(self) -> list[nir.NIRNode]:
        """The nodes that are read of it."""
        return [self.parts[end].node for end in self.ends]


def cell_of(
    node: nir.NIRNode,
    semantics: Mapping[str, Any] | None = None,
    recurrent: nir.NIRNode | None = None,
    before: Sequence[nir.NIRNode] = (),
    late: tuple[Array, float] | None = None,
) -> Cell:
    """A leaf that is one node: y = node(x behind the `before` nodes + recurrent(y of the step before)).

    Args:
        semantics: of the node, and of filters before it.
        recurrent: Affine, Linear, Conv2d or Scale from the node's spikes to its own input, or None; its bias acts at
            every step.
        before: nodes between the leaf's input and `node`, first to last (a recurrent cell's input weights).
        late: input of every step but the first, of the neurons' shape (one axis), and dt; or None. It comes from a
            gate that is always open, a step late.
    """
    parts: dict[str, Part] = {}
    last = GIVEN
    for number, one in enumerate(before):
        parts[f".in{number}"] = Part(one, ((last, 0),), {} if isinstance(one, LINEAR) else semantics or {})
        last = f".in{number}"
    reads = [(last, 0)]
    if recurrent is not None:
        reads.append((".w_rec", 0))
        parts[".w_rec"] = Part(recurrent, (("", 1),))
    if late is not None:
        value, dt = late
        reads.append((".late", 0))
        parts[".always"] = Part(nir.Affine(np.zeros((1, len(value))), np.ones(1)))
        parts[".clock"] = Part(nir.Threshold(np.full(1, 0.5)), ((".always", 0),))
        parts[".hold"] = Part(nir.Delay(np.full(1, dt)), ((".clock", 0),))
        parts[".late"] = Part(nir.Linear(value[:, None]), ((".hold", 0),))
    parts[""] = Part(node, tuple(reads), semantics or {})
    return Cell(parts)


class Adapter(Protocol):
    """One framework."""

    name: str
    """As its users write it, e.g. 'snnTorch'."""

    def claims(self, layer: nn.Module) -> bool:
        """Whether a module is a leaf of this framework; also of one that `cell` refuses by name."""

    def keeps_time(self, layer: nn.Module) -> bool:
        """Whether the leaf takes all steps in one call (multi-step), as opposed to one step a call."""

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """What one run of a leaf was given and gave; runs right behind it."""

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """The leaf as NIR nodes.

        Args:
            shape: of its output, without batch and time.
            read: OUT, or MEMBRANE where only its membrane is read (an LI or CubaLI, if it never resets).
            dt: seconds per step to write the parameters in.
            where: its path, for messages.

        Raises:
            SourceError: what cannot be said in NIR and Semantics, by name.
        """

    def reset(self, layer: nn.Module) -> None:
        """Back to the state that a sample starts in (nothing to do where states are handed over)."""

    def threads(self, module: nn.Module) -> bool:
        """Whether the user's whole module is called as `output, state = module(x, state)`, step by step."""


def is_class(layer: nn.Module, package: str, *names: str) -> bool:
    """Whether a module's class, or one that it inherits from, is one of these of that top-level package."""
    return any(c.__name__ in names and c.__module__.split(".")[0] == package for c in type(layer).__mro__)


def class_of(layer: nn.Module, package: str) -> str:
    """Name of the nearest class of that package among a module's own and those it inherits from."""
    return next(
        (c.__name__ for c in type(layer).__mro__ if c.__module__.split(".")[0] == package), type(layer).__name__
    )


def given(layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """What a call gave, in the order of forward's own parameters; the input is the first of them."""
    signature = inspect.signature(layer.forward)
    found: list[Any] = []
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found += value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            found += value.values()
        else:
            found.append(value)
    return found


def require_own_code(layer: nn.Module, package: str, framework: str, where: str) -> None:
    """Refuse a neuron of which the user's class, or the object itself, defines a method of the framework's anew.

    Subclasses that only set parameters are what they inherit from; others may compute anything.
    """
    kinds = type(layer).__mro__
    own = [c for c in kinds if c.__module__.split(".")[0] == package]
    methods = {name for c in own for name, value in vars(c).items() if isinstance(value, _METHODS)}
    for name in sorted(methods - _HARMLESS):
        if name.startswith("__") and name != "__call__":
            continue
        first = next(c for c in kinds if name in vars(c))
        if first not in own or isinstance(vars(layer).get(name), (FunctionType, MethodType)):
            what = f"{type(layer).__name__} has a {name} of its own: its equation is not known"
            raise refused(layer, framework, where, what, f"{own[0].__name__} as it is, with the change outside of it")


_METHODS = (FunctionType, property, staticmethod, classmethod)
_HARMLESS = {"extra_repr", "train", "eval"}


def comparison_of(fire: Callable[[Tensor], Tensor], layer: nn.Module, framework: str, where: str) -> Comparison:
    """How a spike function decides, from what it gives below, at and above a threshold of 0."""
    near = torch.tensor([1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 10.0]).repeat_interleave(8)
    x = torch.cat([-near, torch.zeros(8), near])
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = torch.as_tensor(fire(x)).double()
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError):
        found = torch.full_like(x, torch.nan).double()
    for comparison, wanted in ((Comparison.GT, x > 0), (Comparison.GE, x >= 0)):
        if torch.equal(found, wanted.double()):
            return comparison
    what = "its spike function gives other values than 0 below and 1 above the threshold"
    raise refused(
        layer, framework, where, what, "a surrogate gradient of the framework that spikes in the forward pass"
    )


def tensors(value: Any) -> list[Tensor]:
    """All tensors inside nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [t for part in value for t in tensors(part)] if isinstance(value, (tuple, list)) else []


def array(value: Any, shape: Shape, where: str) -> Array:
    """A parameter (number or tensor) for every neuron of a shape, float64; leading axes of length 1 are the batch's."""
    found = np.asarray(value.detach().cpu().double().numpy() if isinstance(value, Tensor) else value, np.float64)
    while found.ndim > len(shape) and found.shape[0] == 1:
        found = found[0]
    try:
        return np.broadcast_to(found, shape).copy()
    except ValueError:
        raise SourceError(
            "bad-shape",
            "a neuron parameter does not fit the neurons",
            where=where,
            needed=shape,
            limit=f"got {found.shape}",
        ) from None


def refused(
    layer: nn.Module, framework: str, where: str, what: str, hint: str, limit: Sequence[str] = ()
) -> SourceError:
    """The refusal of a leaf, or of an option of it."""
    return SourceError(
        "unsupported-neuron",
        f"{framework}: {what}",
        where=where,
        needed=type(layer).__name__,
        limit=", ".join(limit) or None,
        hint=hint,
    )
