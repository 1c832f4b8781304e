"""Single steps of spiking networks as torch modules, written as people write them, and their ONNX exports."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnhw.network import Array
from snnhw.zoo import sequence
from snnhw.zoo.neurons import Neuron

Shape = tuple[int, ...]


def export(
    step: nn.Module,
    shapes: Sequence[Shape],
    path: Path,
    names: tuple[list[str], list[str]] | None = None,
    opset: int = 17,
) -> Path:
    """One step with inputs of these shapes (the first is no state), by the exporter that needs nothing but torch."""
    options: dict[str, Any] = {}
    if names is not None:
        axes = {name: {0: "n"} for side in names for name in side}
        options = {"input_names": names[0], "output_names": names[1], "dynamic_axes": axes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = tuple(torch.zeros(1, *shape) for shape in shapes)
        torch.onnx.export(step.eval(), args, str(path), dynamo=False, opset_version=opset, **options)
    return path


@torch.no_grad()
def outputs(step: nn.Module, shapes: Sequence[Shape], x: Array, shown: int = 1) -> list[Array]:
    """What forward(x, states...) -> (shown..., states...) gives over time, (B, T, ...) each; state is zero at first."""
    state = [torch.zeros(len(x), *shape) for shape in shapes[1:]]
    kept: list[list[Tensor]] = []
    for t in range(x.shape[1]):
        found = step(torch.tensor(x[:, t], dtype=torch.float32), *state)
        kept.append(list(found[:shown]))
        state = list(found[shown:])
    return [torch.stack(values, 1).numpy() for values in zip(*kept, strict=True)]


class Leaky(nn.Module):
    """snnTorch's Leaky: reset by subtraction, charged in the next step, from the membrane alone."""

    def __init__(self, beta: float | Tensor = 0.9, threshold: float | Tensor = 1.0) -> None:
        super().__init__()
        self.register_buffer("beta", torch.as_tensor(beta))
        self.register_buffer("threshold", torch.as_tensor(threshold))

    def forward(self, x: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        reset = ((mem - self.threshold) > 0).float()
        mem = torch.clamp(self.beta, 0, 1) * mem + x - reset * self.threshold
        return ((mem - self.threshold) > 0).float(), mem


class SoftSame(Leaky):
    """Reset by subtraction in the same step."""

    def forward(self, x: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        mem = self.beta * mem + x
        spk = (mem >= self.threshold).float()
        return spk, mem - spk * self.threshold


class SoftInside(Leaky):
    """What is left after the subtraction decays: the same, written into the next step."""

    def forward(self, x: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        reset = (mem > self.threshold).float()
        mem = self.beta * (mem - self.threshold * reset) + x
        return (mem > self.threshold).float(), mem


class Hard(nn.Module):
    """Reset to a value, by masks; the membrane rests there too."""

    def __init__(self, decay: float, threshold: float, v_reset: float) -> None:
        super().__init__()
        self.numbers = (decay, threshold, v_reset)

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        decay, threshold, v_reset = self.numbers
        h = v_reset + decay * (v - v_reset) + x / 2
        spk = torch.ge(h, threshold).to(x.dtype)
        return spk, h * (1.0 - spk) + v_reset * spk


class Stbp(nn.Module):
    """Wu et al. 2018: membrane and spikes are state, the reset is a factor of the next step."""

    def __init__(self, decay: float = 0.5, threshold: float = 0.6) -> None:
        super().__init__()
        self.decay, self.threshold = decay, threshold

    def forward(self, x: Tensor, mem: Tensor, spike: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mem = mem * self.decay * (1.0 - spike) + x
        spike = mem.gt(self.threshold).float()
        return spike, mem, spike


class Floored(nn.Module):
    """IF with a lower bound of the membrane."""

    def __init__(self, low: float) -> None:
        super().__init__()
        self.low = low

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        v = v + x
        spk = (v > 1.0).float()
        return spk, torch.clamp(v - spk, min=self.low)


class Synaptic(nn.Module):
    """A synaptic current before the membrane, seen in the same step or in the next."""

    def __init__(self, same_step: bool, alpha: float = 0.7, beta: float = 0.9, rest: float = 0.0) -> None:
        super().__init__()
        self.same_step, self.alpha, self.beta, self.rest = same_step, alpha, beta, rest

    def forward(self, x: Tensor, syn: Tensor, mem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        new = self.alpha * syn + x
        mem = self.beta * mem + 0.5 * (new if self.same_step else syn) + self.rest
        spk = mem > 1.0
        return spk.float(), new, torch.where(spk, torch.zeros_like(mem), mem)


class OfZoo(nn.Module):
    """A neuron of our zoo, one step of it."""

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.numbers = neuron.constants()

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h = sequence.charge(v, x, self.numbers)
        spiked = sequence.fire(h, self.numbers)
        return spiked.to(x.dtype), sequence.reset(h, spiked, self.numbers)


class Layer(nn.Module):
    """A linear layer before one neuron."""

    def __init__(self, neuron: nn.Module, inputs: int = 6, size: int = 8, scale: float = 1.5) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.linear, self.neuron, self.scale = nn.Linear(inputs, size), neuron, scale

    def forward(self, x: Tensor, *state: Tensor) -> Any:
        return self.neuron(self.scale * self.linear(x), *state)


class Recurrent(nn.Module):
    """Spikes of the step before through a layer with a bias, into the same neuron."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.inputs, self.back, self.neuron = nn.Linear(6, 8), nn.Linear(8, 8), SoftSame(0.8, 0.7)

    def forward(self, x: Tensor, mem: Tensor, spk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        spk, mem = self.neuron(self.inputs(x) + self.back(spk), mem)
        return spk, mem, spk


class Late(nn.Module):
    """The second layer reads the first one's spikes a step late."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.one, self.two = Layer(SoftSame(0.8, 0.5)), Layer(Hard(0.5, 0.3, 0.0), 8, 5)

    def forward(self, x: Tensor, m1: Tensor, spk: Tensor, m2: Tensor) -> tuple[Tensor, ...]:
        second, m2 = self.two(spk, m2)
        spk, m1 = self.one(x, m1)
        return second, m1, spk, m2


class Readout(nn.Module):
    """A membrane that leaks and never fires, or a linear layer alone."""

    def __init__(self, membrane: bool) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.layer, self.last, self.membrane = Layer(SoftSame(0.8, 0.5)), nn.Linear(8, 3), membrane

    def forward(self, x: Tensor, m1: Tensor, *last: Tensor) -> tuple[Tensor, ...]:
        spk, m1 = self.layer(x, m1)
        out = self.last(spk)
        if not self.membrane:
            return out, m1
        mem = 0.75 * last[0] + out
        return mem, m1, mem


class Normed(nn.Module):
    """BatchNorm between a linear layer and an IF neuron, which has no leak to hold a constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.linear, self.norm, self.neuron = nn.Linear(6, 8), nn.BatchNorm1d(8), SoftSame(1.0, 0.7)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr,operator]
            self.norm.running_var.uniform_(0.2, 0.6)  # type: ignore[union-attr,operator]
            self.norm.bias.uniform_(-0.2, 0.3)

    def forward(self, x: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        out: tuple[Tensor, Tensor] = self.neuron(self.norm(self.linear(x)), mem)
        return out


class Gate(nn.Module):
    """Spikes of two neurons, and both at once by a comparison without state; three outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Layer(SoftSame(0.8, 0.3)), Layer(Hard(0.8, 0.2, 0.0))

    def forward(self, x: Tensor, m1: Tensor, m2: Tensor) -> tuple[Tensor, ...]:
        a, m1 = self.one(x, m1)
        b, m2 = self.two(x, m2)
        return ((a + b) > 1.5).float(), a, m1, m2


class Blocks(nn.Module):
    """Convolution, BatchNorm, a residual sum, average and global pools, flatten, and three kinds of neurons."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.pool, self.head = nn.AvgPool2d(2), nn.Linear(4 * 4 * 4, 5)
        self.one, self.two, self.three = Leaky(0.9, 0.6), Hard(0.6, 0.3, -0.1), Synaptic(True)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr,operator]
            self.norm.running_var.uniform_(0.2, 0.6)  # type: ignore[union-attr,operator]
            self.norm.bias.uniform_(0, 0.3)

    def forward(self, x: Tensor, m1: Tensor, m2: Tensor, syn: Tensor, m3: Tensor) -> tuple[Tensor, ...]:
        a, m1 = self.one(self.norm(self.stem(x)), m1)
        b, m2 = self.two(2 * self.conv(a), m2)
        c, syn, m3 = self.three(3 * self.head(torch.flatten(self.pool(a + b), 1)), syn, m3)
        return c, m1, m2, syn, m3

    shapes = ((1, 8, 8), (4, 8, 8), (4, 8, 8), (5,), (5,))


def spikes(shape: Shape, steps: int = 12, samples: int = 5, rate: float = 0.5) -> Array:
    """Random input spikes (B, T, ...)."""
    return (np.random.default_rng(0).random((samples, steps, *shape)) < rate).astype(np.float64)
