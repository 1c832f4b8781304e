"""Running a user's module: all steps at once, one step a call, or one sample that it shows itself T times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnhw.frontends.live.adapter import Adapter
from snnhw.frontends.live.recorder import Event, LeafCall, Recorder, device_of, leaves, path_of, untouched
from snnhw.frontends.live.values import LEAD, STATIC
from snnhw.network import Array


@dataclass(frozen=True)
class Run:
    """A recorded run: tensors of the calls, their results, and what happened."""

    inputs: list[Tensor]
    results: list[Any]
    events: list[Event]


@dataclass(frozen=True)
class Subject:
    """A user's module with the adapters of its leaves.

    Args:
        own: the module is a copy of ours: nothing in it needs to be as before after a run.
    """

    module: nn.Module
    adapters: Sequence[Adapter]
    own: bool = False

    @property
    def threads(self) -> bool:
        """Whether the module takes and returns its state."""
        return any(adapter.threads(self.module) for adapter in self.adapters)

    def run(self, inputs: Sequence[Tensor], values: bool = False, shapes: bool = False) -> Run:
        """One run from the start of a sample, one tensor a call; the module is as before afterwards.

        Args:
            values: record what leaves sent, and nothing else.
            shapes: inputs are on the meta device, see `Recorder`.
        """
        recorder = Recorder(self.adapters, values, shapes)
        device, dtype = device_of(self.module)
        placed = [part.to(None if shapes else device, dtype, copy=True) for part in inputs]
        results, state = [], None
        with torch.no_grad() if self.own else untouched(self.module):
            for _, layer, adapter in leaves(self.module, self.adapters):
                adapter.reset(layer)
            with recorder.watching(self.module):
                for tensor in placed:
                    result = self.module(tensor) if state is None else self.module(tensor, state)
                    if self.threads:
                        result, state = result
                    results.append(result)
        return Run(placed, results, recorder.events)


def calls_of(x: Array, axes: str) -> list[Tensor]:
    """The tensors of the calls for samples (B, T, ...).

    Args:
        axes: 'TN', 'NT', '(TN)', '(NT)': one call with all steps; 'N': one call a step; 'static': one call with what is
            the same at each step, and the module loops.
    """
    samples = torch.from_numpy(np.ascontiguousarray(x))
    if axes == STATIC:
        return [samples[:, 0]]
    if axes == "N":
        return list(samples.unbind(1))
    ordered = samples.transpose(0, 1) if axes in ("TN", "(TN)") else samples
    return [(ordered.flatten(0, 1) if axes.startswith("(") else ordered).contiguous()]


def samples_first(tensor: Tensor, axes: str, steps: int) -> Array:
    """Values over time as (B, T, ...)."""
    if axes.startswith("("):
        batch = len(tensor) // steps
        lead = (steps, batch) if axes == "(TN)" else (batch, steps)
        tensor = tensor.reshape(*lead, *tensor.shape[1:])
    values: Array = tensor.detach().cpu().numpy()
    return values.swapaxes(0, 1) if axes in ("TN", "(TN)") else values


def sent(events: Sequence[Event], read: Mapping[str, str], steps: int) -> dict[str, Array]:
    """What the network reads of each leaf, (B, T, ...), by the leaf's path."""
    found: dict[str, list[tuple[str, Tensor]]] = {}
    for event in events:
        if isinstance(event, LeafCall) and event.call.axes in LEAD and path_of(event) in read:
            value = event.values[read[path_of(event)]]
            found.setdefault(path_of(event), []).append((event.call.axes, value))
    return {path: _over_time(calls, steps) for path, calls in found.items()}


def _over_time(calls: list[tuple[str, Tensor]], steps: int) -> Array:
    axes, first = calls[0]
    if axes != "N":
        return samples_first(first, axes, steps)
    return samples_first(torch.stack([out for _, out in calls], 1), "NT", steps)
