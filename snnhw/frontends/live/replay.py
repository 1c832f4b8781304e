"""The user's own module, run on any samples: what its layers sent and what it returned, to be compared with ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.frontends.live.output import Place, taken
from snnhw.frontends.live.runs import Decided, Subject, calls_of, samples_first, sent
from snnhw.frontends.live.values import STATIC, Ending
from snnhw.network import Array

DECISIONS = ("argmax", "max")
"""Endings whose numbers jump where two outputs are equal: what comes before them is compared."""


@dataclass(frozen=True)
class Replay:
    """Runs a module in its framework.

    Args:
        axes: how it takes its input (`runs.calls_of`).
        example: samples (B, T, ...) that it is known to take; it runs on as many at once.
        read: leaf -> OUT or MEMBRANE: what the network reads of it.
        output: node -> where its values over time are in what forward returns, and their axes; '' where they were
            summed up over time (or their mean was taken).
        decided: neuron that forward writes out -> where a run shows its spikes.
        ending: the function that forward ends with, which the network leaves out.
    """

    subject: Subject
    axes: str
    example: Array
    read: Mapping[str, str]
    output: Mapping[str, tuple[Place, str]]
    decided: Mapping[str, Decided] = field(default_factory=dict)
    ending: Ending | None = None

    @property
    def decides(self) -> bool:
        """Forward returns the class of each sample, (B,), and nothing that it was decided by."""
        return self.ending is not None and self.ending.name == "argmax" and not any(a for _, a in self.output.values())

    def like(self, x: Array) -> Array:
        """Samples (B, T, ...) as the module can run them: the same at every step, where it shows them itself."""
        return np.broadcast_to(x[:, :1], x.shape) if self.axes == STATIC else x

    def __call__(self, x: Array) -> dict[str, Array]:
        """What each leaf that is read sent, (B, T, ...), and the output (maybe B, ...), by node; x (B, T, ...)."""
        if self.axes == STATIC and (x != x[:, :1]).any():
            raise SourceError(
                "static-input",
                "the module shows one sample at every step itself: it cannot run on samples that change over time",
                where=type(self.subject.module).__name__,
                hint="give samples (B, ...) without a time axis",
            )
        size = len(self.example)
        parts = [self._run(x[first : first + size], size) for first in range(0, len(x), size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def ended(self, values: Array) -> Array:
        """Outputs (B, ...) of the network as forward shows them."""
        if self.ending is None:
            return values
        found = torch.from_numpy(np.ascontiguousarray(values))
        function = getattr(torch, self.ending.name)
        result: Array = function(found, *self.ending.args).numpy()
        return result

    def _run(self, x: Array, size: int) -> dict[str, Array]:
        """As many samples as the module was shown: its forward may count on their number."""
        filled = x if len(x) == size else np.concatenate([x, self.example[: size - len(x)]])
        sites = {site for decided in self.decided.values() for site, _ in decided.calls}
        run = self.subject.run(calls_of(filled, self.axes), values=True, sites=sites)
        found = sent(run.events, self.read, x.shape[1])
        found |= {name: decided.spikes(run.found, x.shape[1]) for name, decided in self.decided.items()}
        left_out = self.ending is not None and self.ending.name in DECISIONS
        for name, (place, axes) in self.output.items() if not left_out or self.decides else ():
            values = taken(run.results, place)
            assert isinstance(values, Tensor)
            if self.decides and values.shape != x.shape[:1]:
                continue
            found[name] = samples_first(values, axes, x.shape[1]) if axes else values.detach().cpu().numpy()
        return {name: values[: len(x)] for name, values in found.items()}
