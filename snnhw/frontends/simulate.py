"""Runs a NIR graph in float64, layer by layer: the yardstick of the import check and of lowering.

Linear nodes are torch functions of (B, ...); several edges into a node sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snnhw.encoding import taken
from snnhw.errors import SourceError
from snnhw.evaluate import fire, kept_membrane, late, membrane, undecided
from snnhw.frontends.dynamics import delays_input, lag_of, membrane_offset, neuron_model
from snnhw.frontends.graph import (
    FILTERS,
    LINEAR,
    NEURONS,
    READOUTS,
    filter_of,
    flow,
    input_parts,
    is_readout,
    predecessors,
)
from snnhw.frontends.own import LinearNode, MaxNode
from snnhw.network import Array, FloatNeuron
from snnhw.neurons.cuba_lif import Cells
from snnhw.operators.base import pair
from snnhw.semantics import Semantics


def linear(node: nir.NIRNode, x: Tensor, where: str) -> Tensor:
    """One linear node (with its bias) on a batch (B, *input shape), float64."""
    try:
        return _linear(node, x)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        raise SourceError(
            "bad-shape", f"the node does not take its input: {error}", where=where, needed=tuple(x.shape[1:])
        ) from None


def _linear(node: Any, x: Tensor) -> Tensor:
    match node:
        case nir.Conv1d():
            one = (_one_axis(node.stride), _padding(node), _one_axis(node.dilation), int(node.groups))
            return functional.conv1d(x, _tensor(node.weight), _tensor(node.bias), *one)
        case nir.Conv2d():
            return functional.conv2d(
                x,
                _tensor(node.weight),
                _tensor(node.bias),
                pair(node.stride),
                _padding(node),
                pair(node.dilation),
                int(node.groups),
            )
        case nir.Affine():
            return functional.linear(x, _tensor(node.weight), _tensor(node.bias))
        case nir.Linear():
            return functional.linear(x, _tensor(node.weight))
        case nir.AvgPool2d():
            return functional.avg_pool2d(x, pair(node.kernel_size), pair(node.stride), pair(node.padding))
        case nir.SumPool2d():
            kernel = pair(node.kernel_size)
            pooled = functional.avg_pool2d(x, kernel, pair(node.stride), pair(node.padding))
            return pooled * (kernel[0] * kernel[1])
        case nir.Flatten():
            return flatten(node, x)
        case nir.Scale():
            scale = _tensor(node.scale)
            if np.broadcast_shapes(tuple(scale.shape), tuple(x.shape[1:])) != tuple(x.shape[1:]):
                raise ValueError(f"its scale has the shape {tuple(scale.shape)}")
            return x * scale
        case LinearNode() | MaxNode():
            return node.run(x)
        case nir.Delay():
            return x  # the shift in time is taken where time is known
        case _:
            raise TypeError(type(node).__name__)


def flatten(node: nir.Flatten, x: Tensor) -> Tensor:
    """NIR counts dimensions without the batch."""
    dims = x.dim() - 1
    start, end = (int(d) + 1 if d >= 0 else int(d) + dims + 1 for d in (node.start_dim, node.end_dim))
    return x.flatten(start, end)


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(np.asarray(value, np.float64))


def _one_axis(value: Any) -> int:
    return int(np.asarray(value).ravel()[0])


def _padding(node: nir.Conv1d | nir.Conv2d) -> Any:
    if isinstance(node.padding, str):
        return node.padding
    return _one_axis(node.padding) if isinstance(node, nir.Conv1d) else pair(node.padding)


def run(graph: nir.NIRGraph, semantics: Semantics, x: Array) -> dict[str, Array]:
    """What `walk` gives, by node name."""
    return dict(walk(graph, semantics, x))


Note = Callable[[str, Array, Array, Array | None], None]
"""Told of each linear and spiking node: its name, input and output (B, T, ...), its membranes before it fires."""


def walk(
    graph: nir.NIRGraph, semantics: Semantics, x: Array, kept: bool = False, note: Note | None = None
) -> Iterator[tuple[str, Array]]:
    """Spikes of every neuron node and the values at the outputs, each (B, T, ...), behind what they read.

    Values are held until their last reader has run.

    Args:
        x: real input, shape (B, T, *input shape), or (B, T, n) flat where there are several inputs.
        kept: an output that one spiking node feeds shows the membranes that it keeps, not its spikes.
    """
    runner = _Runner(graph, semantics, x, kept=kept, note=note)
    place = {name: i for i, group in enumerate(runner.flow.groups) for name in group}
    last = dict(place)
    for pre, post in graph.edges:
        last[pre] = max(last[pre], place[post])
    for i, group in enumerate(runner.flow.groups):
        if len(group) == 1 and group[0] not in runner.before[group[0]]:
            runner.over_time(group[0])
        else:
            runner.step_by_step(group)
        for name in group:
            if isinstance(graph.nodes[name], (*NEURONS, nir.Output)) or is_readout(graph, name):
                yield name, runner.values[name]
        for name in [name for name in runner.values if last[name] <= i]:
            del runner.values[name]


def membranes(graph: nir.NIRGraph, semantics: Semantics, x: Array, name: str) -> tuple[FloatNeuron, Array]:
    """A neuron node's model, and its membranes (B, T, ...) before each spike decision."""
    runner = _Runner(graph, semantics, x, watched=name)
    for group in runner.flow.groups:
        if len(group) == 1 and group[0] not in runner.before[group[0]]:
            runner.over_time(group[0])
        else:
            runner.step_by_step(group)
        if name in group:
            break
    return runner.model(name)[0], np.stack(runner.seen, 1)


class _Runner:
    """Values (B, T, ...) of the nodes computed so far, and the membranes of one that is watched."""

    def __init__(
        self,
        graph: nir.NIRGraph,
        semantics: Semantics,
        x: Array,
        watched: str = "",
        kept: bool = False,
        note: Note | None = None,
    ) -> None:
        self.graph, self.semantics, self.x, self.watched, self.note = graph, semantics, x, watched, note
        self.seen: list[Array] = []
        self.before, self.flow, self.inputs = predecessors(graph), flow(graph), input_parts(graph)
        self.values: dict[str, Array] = {}
        ends = [self.before[name] for name, node in graph.nodes.items() if isinstance(node, nir.Output)] if kept else []
        self.keeping = {
            pre for pres in ends for pre in pres if len(pres) == 1 and isinstance(graph.nodes[pre], NEURONS)
        }
        self.kept: dict[str, Array] = {}

    def model(self, name: str) -> tuple[FloatNeuron, Array, int]:
        """Neuron of a node with state, gain of its input, and steps by which the input is late."""
        node, rule = self.graph.nodes[name], self.semantics.at(name)
        front = filter_of(self.graph, name)
        before = self.graph.nodes[front] if front else None
        neuron, gain = neuron_model(node, rule, before)
        return neuron, gain, int(delays_input(node, rule, before))

    def over_time(self, name: str) -> None:
        """One node for all steps."""
        node = self.graph.nodes[name]
        if isinstance(node, nir.Input):
            self.values[name] = taken(np.asarray(self.x, np.float64), *self.inputs[name])
            return
        total = sum_of(name, [torch.from_numpy(np.ascontiguousarray(self.values[pre])) for pre in self.before[name]])
        if isinstance(node, nir.Delay):
            self.values[name] = late(total.numpy(), lag_of(name, node, self.semantics))
        elif isinstance(node, LINEAR):
            out = linear(node, total.flatten(0, 1), name)
            self.values[name] = out.reshape(*self.x.shape[:2], *out.shape[1:]).numpy()
            if self.note is not None:
                self.note(name, total.numpy(), self.values[name], None)
        elif isinstance(node, NEURONS) or is_readout(self.graph, name):
            neuron, gain, wait = self.model(name)
            current = late(total.numpy(), wait) * gain
            run_over = membrane if isinstance(node, READOUTS) else fire
            self.values[name] = run_over(neuron, current)
            if self.note is not None:
                before = self.values[name] if run_over is membrane else undecided(neuron, current)
                self.note(name, total.numpy(), self.values[name], before)
            if name == self.watched:
                self.seen = list(undecided(neuron, current).swapaxes(0, 1))
            if name in self.keeping:
                self._keep(name, kept_membrane(neuron, current))
        else:  # an output, or a filter, which is part of the neuron behind it
            shown = [self.kept[pre] for pre in self.before[name] if pre in self.kept and isinstance(node, nir.Output)]
            self.values[name] = shown[0] if shown else total.numpy()

    def _keep(self, name: str, membranes: Array) -> None:
        self.kept[name] = membranes + membrane_offset(self.graph.nodes[name], self.semantics.at(name))

    def step_by_step(self, group: tuple[str, ...]) -> None:
        """The nodes of a loop; what feeds back is of the step before, and what biases alone give at the first step."""
        nodes = {name: self.graph.nodes[name] for name in group}
        models = {name: self.model(name) for name, node in nodes.items() if isinstance(node, NEURONS)}
        cells: dict[str, Cells] = {}
        history: dict[str, list[Tensor]] = {name: [] for name in group}
        arrived: dict[str, list[Array]] = {name: [] for name in models}
        kept: dict[str, list[Array]] = {name: [] for name in models if name in self.keeping}
        sums: dict[str, list[Array]] = {name: [] for name in group if self.note is not None}
        seen: dict[str, list[Array]] = {name: [] for name in models if self.note is not None}
        resting = self._resting(group)
        for t in range(self.x.shape[1]):
            for name in group:
                parts = [self._part(pre, name, t, history, resting) for pre in self.before[name]]
                total = sum_of(name, parts)
                history[name].append(self._step(name, total, t, models, cells, arrived))
                if name in kept:
                    kept[name].append(cells[name].v)
                if name in sums:
                    sums[name].append(total.numpy())
                if name in seen:
                    seen[name].append(cells[name].before)
        for name, membranes in kept.items():
            self._keep(name, np.stack(membranes, 1))
        within = {pre for pre, post in self.graph.edges if (pre, post) not in self.flow.feedback}
        for name, totals in sums.items():
            assert self.note is not None
            before = np.stack(seen[name], 1) if name in seen else None
            returns = int(name in nodes.keys() - models.keys() - within)  # only read a step later: computed then
            self.note(name, late(np.stack(totals, 1), returns), torch.stack(history[name], 1).numpy(), before)
        for name, node in nodes.items():
            lag = lag_of(name, node, self.semantics) if isinstance(node, nir.Delay) else 0
            self.values[name] = late(torch.stack(history[name], 1).numpy(), lag)

    def _resting(self, group: tuple[str, ...]) -> dict[str, Tensor]:
        """Values (B, ...) of a loop's nodes while its neurons are silent: what feeds back into the first step."""
        found: dict[str, Tensor] = {}
        while len(found) < len(group):  # a node that only reads the loop's Delay waits for its shape
            for name in group:
                inner = [found[pre] for pre in self.before[name] if pre in found]
                outer = [torch.zeros_like(self._first(pre)) for pre in self.before[name] if pre not in group]
                if inner or outer:
                    found[name] = self._at_rest(name, sum_of(name, inner + outer))
        return found

    def _at_rest(self, name: str, total: Tensor) -> Tensor:
        node = self.graph.nodes[name]
        late = isinstance(node, nir.Delay) and lag_of(name, node, self.semantics) > 0
        if isinstance(node, NEURONS) or late:
            return torch.zeros_like(total)
        return linear(node, total, name) if isinstance(node, LINEAR) else total

    def _first(self, name: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.values[name][:, 0]))

    def _part(
        self, pre: str, post: str, t: int, history: Mapping[str, list[Tensor]], resting: Mapping[str, Tensor]
    ) -> Tensor:
        """What one edge brings at a step."""
        if pre not in history:
            return torch.from_numpy(np.ascontiguousarray(self.values[pre][:, t]))
        if (pre, post) in self.flow.feedback:
            return history[pre][t - 1] if t else resting[pre]
        node = self.graph.nodes[pre]
        if isinstance(node, nir.Delay):
            lag = lag_of(pre, node, self.semantics)
            if lag:
                return history[pre][t - lag] if t >= lag else torch.zeros_like(resting[pre])
        return history[pre][t]

    def _step(
        self,
        name: str,
        total: Tensor,
        t: int,
        models: Mapping[str, tuple[FloatNeuron, Array, int]],
        cells: dict[str, Cells],
        arrived: dict[str, list[Array]],
    ) -> Tensor:
        node = self.graph.nodes[name]
        if name in models:
            neuron, gain, wait = models[name]
            arrived[name].append(total.numpy() * gain)
            now = arrived[name][t - wait] if t >= wait else np.zeros_like(arrived[name][0])
            cell = cells.setdefault(name, neuron.cells(now.shape, now.dtype))
            spikes = cell.step(now)
            if name == self.watched:
                self.seen.append(cell.before)
            return torch.from_numpy(spikes)
        return total if isinstance(node, (nir.Delay, *FILTERS)) else linear(node, total, name)


def sum_of(name: str, parts: list[Tensor]) -> Tensor:
    """Several edges into a node sum; raises SourceError when their shapes differ."""
    if len({tuple(part.shape[1:]) for part in parts}) > 1:
        shapes = ", ".join(str(tuple(part.shape[1:])) for part in parts)
        raise SourceError("bad-shape", f"the inputs of the node have different shapes: {shapes}", where=name)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
