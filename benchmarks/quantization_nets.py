"""Four small networks that docs/quantization.md is measured on, trained in minutes; none is shipped or tuned for chips.

`python benchmarks/quantization_nets.py FOLDER [NAME ...]` writes NAME.nir, NAME_calibration.npz (training samples, in
the order of their classes) and NAME_test.npz. Their data are drawn here with a seed (table, series), Fashion-MNIST
(images) and N-MNIST (events, `../shared/data`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snnhw.zoo.data import load_fashion_mnist
from snnhw.zoo.event_data import SUBSET, frames_by_number

CALIBRATION = 256
SLOPE = 25.0
RESET = {"dt": 1.0, "reset": "subtract", "reset_timing": "same_step", "threshold": "ge", "multispike": 1, "v_min": None}
SEMANTICS = {**RESET, "integrator": "euler", "current_order": "same_step", "v_init": 0.0, "time_layout": "NTC"}
"""Of all four, as `--semantics` takes it with `--dialect nir`."""

Data = tuple[Tensor, Tensor, Tensor, Tensor]
"""Samples (n, T, ...) and labels (n,) to train with, then those to test with."""


class Spike(torch.autograd.Function):
    """1 where v >= threshold; backward a fast sigmoid."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, over: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(over)
        return (over >= 0).to(over.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (over,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient / (1 + SLOPE * over.abs()) ** 2  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Synapses and leaky neurons that lose a threshold of 1 with each spike.

    u = u_keep u + W x + R s; v = v_keep v + u; both decays are trained where `trained`.
    """

    def __init__(
        self, synapses: nn.Module, v_keep: float, u_keep: float = 0.0, recurrent: int = 0, trained: bool = False
    ):
        super().__init__()
        self.synapses = synapses
        self.feedback = nn.Linear(recurrent, recurrent, bias=False) if recurrent else None
        self.v_logit = nn.Parameter(torch.logit(torch.tensor(v_keep)), requires_grad=trained)
        self.u_keep = u_keep

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (n, T, ...) of values (n, T, ...)."""
        n, steps = x.shape[:2]
        driven = self.synapses(x.flatten(0, 1)).unflatten(0, (n, steps))
        keep, u, v, s, found = self.v_logit.sigmoid(), 0.0, torch.zeros(()), torch.zeros_like(driven[:, 0]), []
        for t in range(steps):
            u = self.u_keep * u + driven[:, t] + (self.feedback(s) if self.feedback is not None else 0.0)
            v = keep * v + u
            s = Spike.apply(v - 1.0)
            v = v - s
            found.append(s)
        return torch.stack(found, 1)


def written(model: nn.Sequential, shape: tuple[int, ...]) -> nir.NIRGraph:
    """The network in NIR: one step is 1 second, gains are 1 after the decays' own."""
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array(shape)})}
    edges, last = [], "input"

    def add(name: str, node: nir.NIRNode) -> None:
        nonlocal last
        nodes[name] = node
        edges.append((last, name))
        last = name

    x = torch.zeros(1, 1, *shape)
    for i, layer in enumerate(model):
        assert isinstance(layer, Layer)
        parts = layer.synapses if isinstance(layer.synapses, nn.Sequential) else [layer.synapses]
        for part in parts:
            add(f"{type(part).__name__.lower()}{i}", _node(part, x))
        y = layer(x)
        keep, ones = layer.v_logit.sigmoid().item(), np.ones(y.shape[2:])
        more = {"tau_mem" if layer.u_keep else "tau": ones / (1 - keep), "r": ones / (1 - keep)}
        more |= {"v_leak": 0 * ones, "v_threshold": ones, "v_reset": 0 * ones}
        if layer.u_keep:
            more |= {"tau_syn": ones / (1 - layer.u_keep), "w_in": ones / (1 - layer.u_keep)}
        add(f"n{i}", nir.CubaLIF(**more) if layer.u_keep else nir.LIF(**more))
        if layer.feedback is not None:
            nodes[f"r{i}"] = nir.Linear(layer.feedback.weight.detach().numpy())
            edges += [(f"n{i}", f"r{i}"), (f"r{i}", f"n{i}")]
        x = y
    add("output", nir.Output({"output": np.array(x.shape[2:])}))
    return nir.NIRGraph(nodes, edges)


def _node(part: nn.Module, x: Tensor) -> nir.NIRNode:
    match part:
        case nn.Linear():
            return nir.Affine(part.weight.detach().numpy(), part.bias.detach().numpy())
        case nn.Conv2d():
            numbers = (part.stride, part.padding, part.dilation, part.groups)
            return nir.Conv2d(tuple(x.shape[-2:]), part.weight.detach().numpy(), *numbers, part.bias.detach().numpy())
        case nn.Flatten():
            return nir.Flatten({"input": np.array(x.shape[2:])}, 0, -1)
    raise TypeError(part)


def table(rng: np.random.Generator) -> Data:
    """26 classes of 16 numbers, each class three clouds that overlap with others, at every one of 12 steps."""
    centres, mixed = rng.normal(size=(26, 3, 16)), rng.normal(size=(16, 16)) / 4
    y = rng.integers(0, 26, 20000)
    x = centres[y, rng.integers(0, 3, len(y))] + 0.62 * rng.normal(size=(len(y), 16)) @ (np.eye(16) + mixed)
    x = np.clip(x / 3, -1, 1)
    return _divided(np.repeat(x[:, None], 12, 1), y, 16000)


def series(rng: np.random.Generator) -> Data:
    """9 classes of 12 channels over 29 steps: two tones each, of a class's own pace, phase and place, in noise."""
    paces, places = rng.uniform(0.15, 0.9, (9, 2)), rng.normal(size=(9, 2, 12))
    y = rng.integers(0, 9, 8000)
    phase = rng.uniform(0, 1.5, (len(y), 2, 1))
    tones = np.sin(paces[y][:, :, None] * rng.uniform(0.9, 1.1, (len(y), 1, 1)) * np.arange(29) + phase)
    x = np.einsum("nkt,nkc->ntc", tones, places[y]) + 1.9 * rng.normal(size=(len(y), 29, 12))
    return _divided(np.clip(x / 4, -1, 1), y, 6000)


def images(rng: np.random.Generator) -> Data:
    """Fashion-MNIST, the pixels at every one of 6 steps."""
    (x, y), (x_test, y_test) = load_fashion_mnist("train"), load_fashion_mnist("test")
    some = rng.permutation(len(x))[:16000]
    parts = [np.repeat((part / 255).astype(np.float32)[:, None], 6, 1) for part in (x[some], x_test)]
    return *map(torch.from_numpy, (parts[0], y[some])), *map(torch.from_numpy, (parts[1], y_test))  # type: ignore[return-value]


def events(rng: np.random.Generator) -> Data:
    """N-MNIST, counts of events in 8 frames, two by two pixels as one."""
    raw = np.load(SUBSET)
    t, xyp, ends = raw["t"], raw["xyp"], raw["start"]
    kinds = [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "<i1")]
    frames = []
    for first, end in pairwise(ends):
        found = np.zeros(end - first, kinds)
        found["t"], code = t[first:end], xyp[first:end]
        found["x"], found["y"], found["p"] = code & 63, code >> 6 & 63, code >> 12
        frames.append(frames_by_number(found, 8, (34, 34)).reshape(8, 2, 17, 2, 17, 2).sum((3, 5)))
    x = np.stack(frames).astype(np.float32)
    order = rng.permutation(len(x))
    return _divided(x[order], raw["y"].astype(np.int64)[order], 700)


def _divided(x: NDArray[np.float64], y: NDArray[np.int64], train: int) -> Data:
    found, labels = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)
    return found[:train], labels[:train], found[train:], labels[train:]


@dataclass(frozen=True)
class Recipe:
    """How one network is made.

    Args:
        passes: over the training samples.
    """

    data: Callable[[np.random.Generator], Data]
    model: Callable[[], nn.Sequential]
    passes: int
    rate: float = 2e-3


def _conv(pre: int, post: int, size: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    return nn.Conv2d(pre, post, size, stride, padding)


RECIPES = {
    "table": Recipe(
        table,
        lambda: nn.Sequential(
            Layer(nn.Linear(16, 128), 0.9), Layer(nn.Linear(128, 128), 0.9), Layer(nn.Linear(128, 26), 0.9)
        ),
        12,
    ),
    "series": Recipe(
        series,
        lambda: nn.Sequential(Layer(nn.Linear(12, 64), 0.8, 0.7, recurrent=64), Layer(nn.Linear(64, 9), 0.8, 0.7)),
        14,
    ),
    "images": Recipe(
        images,
        lambda: nn.Sequential(
            Layer(_conv(1, 12, 5, 2, 2), 0.5),
            Layer(_conv(12, 24, 3, 2, 1), 0.5),
            Layer(nn.Sequential(nn.Flatten(), nn.Linear(1176, 96)), 0.5),
            Layer(nn.Linear(96, 10), 0.5),
        ),
        8,
        3e-3,
    ),
    "events": Recipe(
        events,
        lambda: nn.Sequential(
            Layer(_conv(2, 8, 3, 1), 0.6, trained=True),
            Layer(_conv(8, 16, 3, 2), 0.6, trained=True),
            Layer(nn.Sequential(nn.Flatten(), nn.Linear(784, 64)), 0.6, trained=True),
            Layer(nn.Linear(64, 10), 0.6, trained=True),
        ),
        20,
        4e-3,
    ),
}


def trained(recipe: Recipe) -> tuple[nn.Sequential, Data]:
    """The network after its passes; prints accuracy on test samples and rates as it goes."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    x, y, x_test, y_test = data = recipe.data(np.random.default_rng(0))
    model = recipe.model()
    for layer in model:  # torch's small weights hardly reach a threshold of 1
        for part in layer.synapses.modules():
            if isinstance(part, (nn.Linear, nn.Conv2d)):
                part.weight.data *= 2.0
    optimiser = torch.optim.Adam(model.parameters(), recipe.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.passes)
    for epoch in range(recipe.passes):
        for rows in torch.randperm(len(x)).split(128):
            loss = nn.functional.cross_entropy(4 * model(x[rows]).mean(1), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            right = [model(a).sum(1).argmax(1) == b for a, b in zip(x_test.split(500), y_test.split(500), strict=True)]
        print(f"pass {epoch + 1}: loss {loss.item():.3f}, accuracy {torch.cat(right).float().mean():.4f}", flush=True)
    return model.eval(), data


def main(folder: Path, names: list[str]) -> None:
    """Train and write some of them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "semantics.json").write_text(json.dumps(SEMANTICS))
    for name in names or list(RECIPES):
        model, (x, y, x_test, y_test) = trained(RECIPES[name])
        nir.write(folder / f"{name}.nir", written(model, tuple(x.shape[2:])))
        for part, values, labels in (("calibration", x, y), ("test", x_test, y_test)):
            rows = torch.argsort(labels[:CALIBRATION], stable=True) if part == "calibration" else slice(None)
            np.savez(folder / f"{name}_{part}.npz", x=values[rows].numpy(), y=labels[rows].numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
