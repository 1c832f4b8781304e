"""Numeric checks between stages, and the first of them: source model and NIR graph give the same spikes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from snnhw.errors import LoweringError
from snnhw.frontends.simulate import run as run_graph
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.timed import FirstSpike

TOLERANCE = 1e-9
"""Relative tolerance of values that are not spikes (outputs of a last linear layer), in float64."""


@dataclass(frozen=True)
class Check:
    """Result of comparing two stages.

    Args:
        stage: e.g. 'source = NIR'.
        samples: samples compared; 0 when the check could not run.
        compared: spiking decisions compared.
        different: decisions that differ.
        detail: first difference, how many populations were silent, or why the check did not run.
        measured: a measurement, not a condition: differences are reported and refuse nothing.
    """

    stage: str
    samples: int
    compared: int
    different: int
    detail: str = ""
    measured: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        status = "failed" if self.different else "equal"
        status = "measured" if self.measured else status if self.samples else "skipped"
        return {
            "stage": self.stage,
            "status": status,
            "samples": self.samples,
            "compared": self.compared,
            "different": self.different,
            "detail": self.detail,
        }


def run_module(source: Source, x: Array) -> dict[str, Array]:
    """Spikes (B, T, ...) of every neuron module of a source and its output, by module path; x (B, T, ...)."""
    assert source.module is not None
    found: dict[str, Array] = {}
    hooks = []
    for name, layer in source.module.named_modules():
        if isinstance(layer, (Neuron, FirstSpike)):

            def note(_m: Any, _i: Any, out: torch.Tensor, name: str = name) -> None:
                found[name] = out.numpy().swapaxes(0, 1).copy()  # `out += x` may change it later

            hooks.append(layer.register_forward_hook(note))
    try:
        with torch.no_grad():
            sequence = torch.from_numpy(x.swapaxes(0, 1).copy())
            found["output"] = source.module(sequence).numpy().swapaxes(0, 1)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def check_import(source: Source, x: Array) -> Check:
    """The source module against its NIR graph; skipped where there is no module."""
    if source.module is None:
        return Check("source = NIR", 0, 0, 0, "the source is a graph: there is no module to run")
    return compared("source = NIR", run_module(source, x), run_graph(source.graph, source.semantics, x))


def require_equal(check: Check) -> Check:
    """Raise LoweringError when a check failed."""
    if check.different:
        raise LoweringError(
            "not-equal",
            f"two stages give different spikes ({check.stage})",
            where=check.detail,
            needed=f"{check.different} of {check.compared} decisions differ",
            limit=0,
            hint="this is a defect of snnhw: please report it with the model",
        )
    return check


def compared(stage: str, want: Mapping[str, Array], have: Mapping[str, Array]) -> Check:
    """Compare what both sides have under the names of `want`; a name that is missing counts as different."""
    total = different = 0
    first = ""
    samples = 0
    for name, values in want.items():
        total += values.size
        samples = values.shape[0]
        other = have.get(name)
        if other is None or other.shape != values.shape:
            different += values.size
            first = first or f"{name}: missing or of another shape"
            continue
        wrong = ~np.isclose(values, other, rtol=TOLERANCE, atol=TOLERANCE)
        different += int(wrong.sum())
        if wrong.any() and not first:
            first = f"{name}, index (sample, step, neuron...) {tuple(int(i) for i in np.argwhere(wrong)[0])}"
    quiet = sum(not values.any() for values in want.values())
    silent = f"{quiet} of {len(want)} populations silent on these samples" if quiet else ""
    return Check(stage, samples, total, different, first or silent)
