"""Integer networks for mapping tests, built by hand with random weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnhw.network import Array, Conv, Dense, IntNeuron, Kind, LinearOp, Network, Population, Projection, Readout, Shape

LIF = IntNeuron(dv=0, vth=np.array(64), bias=np.array(0), du=4096)


@dataclass
class Builder:
    """Collects populations and projections; start steps follow from the longest path."""

    rng: np.random.Generator
    populations: list[Population[IntNeuron]] = field(default_factory=list)
    projections: list[tuple[str, str, LinearOp]] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def input(self, shape: Shape) -> str:
        self.populations.append(Population("in", shape, Kind.INPUT))
        return "in"

    def shape(self, name: str) -> Shape:
        return next(p.shape for p in self.populations if p.name == name)

    def weight(self, name: str, shape: Shape) -> str:
        self.weights[name] = self.rng.integers(-64, 64, shape).astype(np.int8)
        return name

    def conv(self, name: str, pres: list[str], channels: int, kernel: int = 3, stride: int = 1, **more: Any) -> str:
        """A population with one projection from each of `pres`, all with the same kernels."""
        before = self.shape(pres[0])
        groups, padding = more.get("groups", 1), more.get("padding", kernel // 2)
        dilation = more.get("dilation", 1)
        w = self.weight(f"w_{name}", (channels, before[0] // groups, kernel, kernel))
        op = Conv(w, (stride, stride), (padding, padding), (dilation, dilation), groups)
        shape = op.shape(self.weights, before)
        return self._add(name, pres, op, shape, Kind.NEURON)

    def dense(self, name: str, pres: list[str], n: int, kind: Kind = Kind.NEURON) -> str:
        w = self.weight(f"w_{name}", (n, int(np.prod(self.shape(pres[0])))))
        return self._add(name, pres, Dense(w), (n,), kind)

    def op(self, name: str, pres: list[str], op: LinearOp, shape: Shape) -> str:
        return self._add(name, pres, op, shape, Kind.NEURON)

    def _add(self, name: str, pres: list[str], op: LinearOp, shape: Shape, kind: Kind) -> str:
        start = 1 + max(p.start for p in self.populations if p.name in pres)
        self.populations.append(Population(name, shape, kind, LIF, start))
        self.projections += [(pre, name, op) for pre in pres]
        return name

    def build(self, steps: int = 4) -> Network[IntNeuron]:
        start = {p.name: p.start for p in self.populations}
        projections = tuple(
            Projection(f"{pre}->{post}", pre, post, op, max(1, start[post] - start[pre]))
            for pre, post, op in self.projections
        )
        readout = Readout("rate", self.populations[-1].name)
        return Network(tuple(self.populations), projections, self.weights, steps, readout)


def stbp() -> Network[IntNeuron]:
    """The STBP network after its pools were composed into the next layers; 28x28 spikes in, 10 classes."""
    b = Builder(np.random.default_rng(1))
    b.input((1, 28, 28))
    b.conv("conv1", ["in"], 32, 3)
    b.conv("conv2", ["conv1"], 32, 6, 2, padding=2)
    b.dense("fc1", ["conv2"], 128)
    b.dense("fc2", ["fc1"], 10)
    return b.build()


def sew(channels: tuple[int, ...] = (16, 32, 64), blocks: int = 2, size: int = 28) -> Network[IntNeuron]:
    """SEW ResNet with ADD: every reader of a sum gets one projection from each summand, all with one weight array."""
    b = Builder(np.random.default_rng(2))
    b.input((1, size, size))
    summands = [b.conv("stem", ["in"], channels[0])]
    width = channels[0]
    for stage, out in enumerate(channels):
        for block in range(blocks):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            first = b.conv(f"{name}.if1", summands, out, 3, stride)
            second = b.conv(f"{name}.if2", [first], out)
            if stride != 1 or width != out:
                summands = [b.conv(f"{name}.down", summands, out, 1, stride)]
            summands, width = [*summands, second], out
    b.dense("fc", summands, 10, Kind.ACCUMULATOR)
    return b.build()


def chain(sizes: tuple[int, ...], seed: int = 0) -> Network[IntNeuron]:
    """Dense layers one after another; the first size is the input's."""
    b = Builder(np.random.default_rng(seed))
    last = b.input((sizes[0],))
    for number, n in enumerate(sizes[1:], 1):
        last = b.dense(f"fc{number}", [last], n)
    return b.build()
