"""Running a user's module: all steps at once, one step a call, or one sample that it shows itself T times."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import Adapter
from snnhw.frontends.live.recorder import Event, LeafCall, Recorder, device_of, leaves, path_of, untouched
from snnhw.frontends.live.values import LEAD, STATIC, TIME_LAST
from snnhw.network import Array


@dataclass(frozen=True)
class Run:
    """A recorded run: tensors of the calls, their results, and what happened.

    Args:
        starts: how many events were before each call.
        found: what functions at some sites gave.
        unseen: tensors of unknown origin, and where they were used.
    """

    inputs: list[Tensor]
    results: list[Any]
    events: list[Event]
    starts: list[int]
    found: Mapping[int, list[Tensor]] = field(default_factory=dict)
    unseen: Sequence[tuple[str, Tensor]] = ()


@dataclass(frozen=True)
class Closed:
    """An adapter without the neurons that are opened."""

    of: Adapter
    opened: frozenset[int]

    def claims(self, layer: nn.Module) -> bool:
        """The adapter's other leaves."""
        return id(layer) not in self.opened and self.of.claims(layer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)


@dataclass(frozen=True)
class Subject:
    """A user's module with the adapters of its leaves.

    Args:
        own: the module is a copy of ours: nothing in it needs to be as before after a run.
        steps: T, for a forward that asks for it.
        opened: ids of neurons that are read like a neuron of one's own, by what they compute.
    """

    module: nn.Module
    known: Sequence[Adapter]
    own: bool = False
    steps: int | None = None
    opened: frozenset[int] = frozenset()

    @property
    def adapters(self) -> Sequence[Adapter]:
        """Of leaves: of all neurons but those that are opened."""
        return [Closed(adapter, self.opened) for adapter in self.known] if self.opened else self.known

    def asked(self) -> tuple[dict[str, int], list[str]]:
        """What forward takes beside its input: T by its name, and the names of states."""
        names = list(inspect.signature(self.module.forward).parameters.values())[1:]
        plain = [one for one in names if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        counts = [one for one in plain if _STEPS.fullmatch(one.name)]
        if self.steps is None and any(one.default is one.empty for one in counts):
            raise SourceError(
                "needs-steps",
                "forward asks for the number of steps, and nothing says it",
                where=type(self.module).__name__,
                needed=counts[0].name,
                hint="give steps=T",
            )
        told = {} if self.steps is None else {one.name: self.steps for one in counts}
        return told, [one.name for one in plain if one not in counts]

    @property
    def threads(self) -> bool:
        """Whether the module takes and returns its state."""
        return any(adapter.threads(self.module) for adapter in self.adapters)

    def run(
        self, inputs: Sequence[Tensor], values: bool = False, shapes: bool = False, sites: Collection[int] = ()
    ) -> Run:
        """One run from the start of a sample, one tensor a call; the module is as before afterwards.

        Args:
            values: record what leaves sent, and nothing else.
            sites: of functions whose results are recorded with them.
            shapes: inputs are on the meta device, see `Recorder`.
        """
        recorder = Recorder(self.adapters, values, shapes, sites)
        device, dtype = device_of(self.module)
        placed = [part.to(None if shapes else device, dtype, copy=True) for part in inputs]
        results, starts, state = [], [], None
        asked, states = ({}, []) if self.threads else self.asked()
        with torch.no_grad() if self.own else untouched(self.module):
            for _, layer, adapter in leaves(self.module, self.known):
                adapter.reset(layer)
            with recorder.watching(self.module):
                recorder.known(placed)
                for tensor in placed:
                    starts.append(len(recorder.events))
                    result = self.run_recorded(tensor, *([] if state is None else [state]), **asked)
                    if self.threads:
                        result, state = result
                    elif len(placed) > 1:
                        result, handed = _handed(result, states)
                        asked |= handed
                    results.append(result)
        return Run(placed, results, recorder.events, starts, recorder.found, recorder.unseen)

    def run_recorded(self, *inputs: Any, **more: Any) -> Any:
        """One call; sites of functions are told from here on."""
        return self.module(*inputs, **more)


_STEPS = re.compile(r"(num_?|n_?|nb_)?(time_?|sim_?)?(steps?|window)|timesteps?|T", re.IGNORECASE)


def _handed(result: Any, names: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The output of a step, and its states as forward takes them at the next one: (out, state, ...) or (out, (...))."""
    if not names or not isinstance(result, (tuple, list)) or len(result) < 2:
        return result, {}
    first, *rest = result
    if len(names) > 1 and len(rest) == 1 and isinstance(rest[0], (tuple, list)):
        rest = list(rest[0])
    if len(names) == 1 and len(rest) > 1:
        rest = [tuple(rest)]
    return (first, dict(zip(names, rest, strict=True))) if len(rest) == len(names) else (result, {})


def calls_of(x: Array, axes: str) -> list[Tensor]:
    """The tensors of the calls for samples (B, T, ...).

    Args:
        axes: 'TN', 'NT', '(TN)', '(NT)': one call with all steps; 'N': one call a step; 'static': one call with what is
            the same at each step, and the module loops; TIME_LAST: one call with time behind the features.
    """
    samples = torch.from_numpy(np.ascontiguousarray(x))
    if axes == TIME_LAST:
        return [samples.movedim(1, -1).contiguous()]
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
    if axes == TIME_LAST:
        return np.moveaxis(values, -1, 1)
    return values.swapaxes(0, 1) if axes in ("TN", "(TN)") else values


@dataclass(frozen=True)
class Decided:
    """Where a run shows the spikes of a neuron that forward writes out.

    Args:
        calls: site and turn of its comparison at each recorded step; one, where that is over all steps.
        axes: of what it gives.
        inverted: it gives 1 where there is no spike.
    """

    calls: tuple[tuple[int, int], ...]
    axes: str
    inverted: bool

    def spikes(self, found: Mapping[int, list[Tensor]], steps: int) -> Array:
        """(B, T, ...)."""
        calls = list(self.calls if self.axes != "N" else self.calls[:steps])
        while len(calls) < steps and self.axes == "N":  # only the first steps were recorded
            (_, before), (site, last) = calls[-2:]
            calls.append((site, 2 * last - before))
        given = [found[site][turn].double() for site, turn in calls]
        values = (
            samples_first(torch.stack(given, 1), "NT", steps)
            if self.axes == "N"
            else samples_first(given[0], self.axes, steps)
        )
        return 1.0 - values if self.inverted else values


def sent(events: Sequence[Event], read: Mapping[str, str], steps: int) -> dict[str, Array]:
    """What the network reads of each leaf, (B, T, ...), by the leaf's path."""
    found: dict[str, list[tuple[str, Tensor]]] = {}
    for event in events:
        if isinstance(event, LeafCall) and event.call.axes in LEAD and path_of(event) in read and event.values:
            value = event.values[read[path_of(event)]]
            found.setdefault(path_of(event), []).append((event.call.axes, value))
    return {path: _over_time(calls, steps) for path, calls in found.items()}


def _over_time(calls: list[tuple[str, Tensor]], steps: int) -> Array:
    axes, first = calls[0]
    if axes != "N":
        return samples_first(first, axes, steps)
    return samples_first(torch.stack([out for _, out in calls], 1), "NT", steps)
