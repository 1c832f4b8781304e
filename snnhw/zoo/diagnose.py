"""Health of a network in training: dead and saturated neurons, and how far gradients reach back through the layers.

One probe batch goes forward and back in training mode. Nothing of the training changes: buffers (BatchNorm's running
statistics), the global random state, the mode and every ``.grad`` are as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from snnhw.zoo.neurons import Neuron
from snnhw.zoo.timed import FirstSpike, first_crossing, potentials, slopes

FAR = 1e3
"""A gradient that changes by more than this factor between first and last layer has vanished or exploded."""
MANY = 0.5
"""Share of a layer from which on its dead or saturated neurons are worth a warning."""


@dataclass(frozen=True)
class LayerHealth:
    """One spiking layer on one batch; a neuron is one place ``[C, H, W]`` of the layer, whatever the sample.

    Attributes:
        layer: the module's name.
        rate: spikes per neuron, step and sample.
        dead: share of neurons that never fire, in no sample and at no step.
        saturated: share of neurons that fire at every step of every sample.
        input_gradient: L2 norm of the loss's gradient at the layer's input currents ``[T, N, ...]``.
        weight_gradient: L2 norm at the weights that act between the spiking layers executed before and this one;
            None where there are none.
        flat: temporal codes only: share of the spikes at which the potential rises so slowly (ReL-PSP: so small a sum
            of causal weights) that the exact gradient explodes and is cut; None for other neurons.
    """

    layer: str
    rate: float
    dead: float
    saturated: float
    input_gradient: float
    weight_gradient: float | None
    flat: float | None = None


@dataclass(frozen=True)
class Health:
    """Spiking layers in order of execution."""

    layers: tuple[LayerHealth, ...]
    loss: float

    def ratios(self) -> tuple[float, ...]:
        """Input gradient of each layer over that of the next: below 1 it shrinks on its way back."""
        norms = [layer.input_gradient for layer in self.layers]
        return tuple(_over(a, b) for a, b in pairwise(norms))

    @property
    def reach(self) -> float:
        """Input gradient of the first layer over that of the last; nan where neither has one."""
        return _over(self.layers[0].input_gradient, self.layers[-1].input_gradient) if self.layers else math.nan

    @property
    def trend(self) -> str:
        """``vanishing``, ``exploding`` or ``steady``: ``reach`` against 1/1000 and 1000; ``absent`` where it is nan."""
        if math.isnan(self.reach):
            return "absent"
        if self.reach < 1 / FAR:
            return "vanishing"
        return "exploding" if self.reach > FAR else "steady"

    def warnings(self) -> tuple[str, ...]:
        """What a reader should look at, a line each."""
        if not self.layers:
            return ("the network has no spiking layers",)
        found = []
        for layer in self.layers:
            for what in ("dead", "saturated"):
                share = getattr(layer, what)
                if share >= MANY:
                    found.append(f"{layer.layer}: {share:.0%} of the neurons are {what}")
            if layer.flat is not None and layer.flat >= MANY:
                found.append(f"{layer.layer}: {layer.flat:.0%} of the spikes rise too slowly for their gradient")
        if self.trend == "absent":
            found.append("no gradient reaches the first and the last layer")
        elif self.trend != "steady":
            found.append(f"gradients are {self.trend}: first layer / last layer = {self.reach:.1e}")
        return tuple(found)

    def columns(self) -> dict[str, Any]:
        """Plain lists, one entry a layer: the form a checkpoint's history keeps."""
        rows = [asdict(layer) for layer in self.layers]
        return {"loss": self.loss, **{field.name: [row[field.name] for row in rows] for field in fields(LayerHealth)}}

    @classmethod
    def of_columns(cls, columns: dict[str, Any]) -> Health:
        """The inverse of ``columns``."""
        names = [field.name for field in fields(LayerHealth)]
        rows = zip(*(columns[name] for name in names), strict=True)
        return cls(tuple(LayerHealth(*row) for row in rows), columns["loss"])


def diagnose(model: nn.Module, x: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Health:
    """Health of every spiking layer for a batch ``x`` ``[T, N, ...]``; ``loss_of`` takes the model's output."""
    with _untouched(model), _watched(model) as visits, torch.enable_grad():
        loss = loss_of(model(x))
        inputs = [v.current for v in visits] + [p for v in visits for p in v.weights]
        reached = loss.requires_grad and bool(inputs)
        found = torch.autograd.grad(loss, inputs, allow_unused=True) if reached else [None] * len(inputs)
    norms = [0.0 if g is None else float(torch.linalg.vector_norm(g)) for g in found]
    of_weights = iter(norms[len(visits) :])
    layers = []
    for visit, gradient in zip(visits, norms, strict=False):
        squares = [next(of_weights) ** 2 for _ in visit.weights]
        layers.append(_layer(visit, gradient, sum(squares) ** 0.5 if squares else None))
    return Health(tuple(layers), float(loss.detach()))


@dataclass
class _Visit:
    """One run of a spiking layer: its input currents, its spikes, and the weights used since the layer before."""

    name: str
    neuron: nn.Module
    current: Tensor
    weights: list[nn.Parameter]
    spikes: Tensor


def _layer(visit: _Visit, gradient: float, weight_gradient: float | None) -> LayerHealth:
    fired = visit.spikes.flatten(0, 1) > 0
    return LayerHealth(
        layer=visit.name,
        rate=float(visit.spikes.mean()),
        dead=float((~fired.any(0)).double().mean()),
        saturated=float(fired.all(0).double().mean()),
        input_gradient=gradient,
        weight_gradient=weight_gradient,
        flat=_flat(visit.neuron, visit.current.detach()) if isinstance(visit.neuron, FirstSpike) else None,
    )


def _flat(neuron: FirstSpike, current: Tensor) -> float:
    c = neuron.constants
    v = potentials(current, c)
    at = first_crossing(v, c)
    fired = at < v.shape[0]
    cut = slopes(v, at.clamp(max=v.shape[0] - 1)) < c.slope_floor * c.threshold
    return float((cut & fired).sum() / fired.sum().clamp(min=1))


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[_Visit]]:
    """Notes every run of a spiking layer while the context is open."""
    visits: list[_Visit] = []
    waiting: list[nn.Parameter] = []

    def weighted(module: nn.Module, _: Any) -> None:
        waiting.extend(p for p in module.parameters(recurse=False) if p.requires_grad and p.ndim > 1)

    def before(name: str) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
        def hook(neuron: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
            x = given[0]
            current = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
            visits.append(_Visit(name, neuron, current, waiting.copy(), current))
            waiting.clear()
            return (current,)

        return hook

    def after(_: nn.Module, given: Any, spikes: Tensor) -> None:
        visits[-1].spikes = spikes.detach()

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, (Neuron, FirstSpike)):
            hooks += [module.register_forward_pre_hook(before(name)), module.register_forward_hook(after)]
        else:
            hooks.append(module.register_forward_pre_hook(weighted))
    try:
        yield visits
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Training mode inside; afterwards modes, buffers and the random state are those of before."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(devices=[]):
            model.train()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _over(a: float, b: float) -> float:
    if b > 0.0:
        return a / b
    return math.inf if a > 0.0 else math.nan
