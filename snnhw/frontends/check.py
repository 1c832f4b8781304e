"""Numeric checks between stages, and the first of them: source model and NIR graph give the same spikes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import nir
import numpy as np
import torch

from snnhw.errors import LoweringError, SnnhwError
from snnhw.frontends.decisions import NEAR, close, compare_decisions
from snnhw.frontends.graph import NEURONS, READOUTS, flow, is_readout, readout_of
from snnhw.frontends.live.recorder import path_to
from snnhw.frontends.simulate import membranes, walk
from snnhw.frontends.source import Replay, Source
from snnhw.network import Array, FloatNeuron
from snnhw.readout import grouped, real_scale, rule_of, scores
from snnhw.semantics import readout_in
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.timed import FirstSpike

TOLERANCE = 1e-9
"""Relative tolerance of values that are not spikes (outputs of a last linear layer), in float64."""

MOST = 0.95
"""Share of the decisions that a check should reach before an excepted one ends a sample; below it the check says so."""

BYTE = 255

FORWARD_ERRORS = (
    SnnhwError,
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
)
"""What can come out of a user's forward."""

_MISSING = "{}: missing or of another shape"


@dataclass(frozen=True)
class Check:
    """Result of comparing two stages.

    Args:
        stage: e.g. 'source = NIR'.
        samples: samples compared; 0 when the check could not run.
        compared: spiking decisions compared.
        different: decisions that differ.
        detail: first difference, how many populations were silent, or why the check did not run.
        excepted: decisions so near the threshold that the rounding of another framework settles them.
        silent: populations without a spike.
        measured: a measurement, not a condition: differences are reported and refuse nothing.
    """

    stage: str
    samples: int
    compared: int
    different: int
    detail: str = ""
    measured: bool = False
    excepted: int = 0
    silent: int = 0

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
        } | ({"excepted": self.excepted} if self.excepted else {})


def narrow(values: Array) -> Array:
    """A copy of values as bytes where they are whole numbers up to 255 (spikes), else as they are."""
    small = values.astype(np.uint8) if values.size and values.min() >= 0 and values.max() <= BYTE else values
    return small if (small == values).all() else values


def run_module(source: Source, x: Array) -> dict[str, Array]:
    """Spikes (B, T, ...) of every neuron module of a source and its output, by module path; x (B, T, ...).

    Spikes are uint8: those of a large network are held until they have been compared.
    """
    assert source.module is not None
    found: dict[str, Array] = {}
    hooks = []
    for name, layer in source.module.named_modules():
        if isinstance(layer, (Neuron, FirstSpike)):

            def note(_m: Any, _i: Any, out: torch.Tensor, name: str = path_to(name, layer)) -> None:
                spikes = out.numpy().swapaxes(0, 1)
                held = narrow(spikes)
                found[name] = spikes.copy() if held is spikes else held  # `out += x` may change it later

            hooks.append(layer.register_forward_hook(note))
    try:
        with torch.no_grad():
            sequence = torch.from_numpy(x.swapaxes(0, 1).copy())
            out = source.module(sequence).numpy()
            ends = (node for node in source.graph.nodes.values() if isinstance(node, nir.Output))
            whole = out.ndim == 2 + np.size(next(ends).output_type["output"])  # or forward takes the mean over time
            found["output"] = out.swapaxes(0, 1) if whole else out
    finally:
        for hook in hooks:
            hook.remove()
    return found


def run_graph(source: Source, x: Array) -> dict[str, Array]:
    """Spikes (B, T, ...) of every neuron node of a source's graph and its output, by node name; spikes are uint8."""
    kept = _reads_membranes(source)
    return {name: narrow(values) for name, values in walk(source.graph, source.semantics, x, kept)}


def _reads_membranes(source: Source) -> bool:
    return rule_of((source.returns or source.deployment).readout).shows == "membrane"


def check_import(source: Source, x: Array, graph: Mapping[str, Array] | None = None) -> Check:
    """The source, in its own framework, against its NIR graph; skipped where it cannot run.

    Args:
        graph: what `run_graph` gave for x, if it is known already.
    """
    if source.replay is not None:
        return _against_framework(source, source.replay, x, run_graph(source, x) if graph is None else graph)
    if source.module is None:
        return Check("source = NIR", 0, 0, 0, "the source is a graph: there is no module to run")
    have = walk(source.graph, source.semantics, x) if graph is None else graph.items()
    want = run_module(source, x)
    ends = {pre for pre, post in source.graph.edges if isinstance(source.graph.nodes[post], nir.Output)}
    if _reads_membranes(source) and all(isinstance(source.graph.nodes[end], NEURONS) for end in ends):
        del want["output"]  # it returns their spikes, which are compared as theirs
    return compared("source = NIR", want, ((n, _reduced(v, want[n]) if n in want else v) for n, v in have))


def _against_framework(source: Source, replay: Replay, x: Array, have: Mapping[str, Array]) -> Check:
    """Spike for spike, decisions within rounding of the threshold excepted; other values within rounding."""
    try:
        want = dict(replay(x))
    except FORWARD_ERRORS as error:
        return Check("source = NIR", 0, 0, 0, f"the source cannot run: {type(error).__name__}: {error}")
    decides = getattr(replay, "output", {}) if getattr(replay, "decides", False) else {}
    decided = {name: want.pop(name) for name in decides if name in want}
    otherwise = {name: _decided_otherwise(source, have[name], classes) for name, classes in decided.items()}
    inner = [n for n in want if isinstance(source.graph.nodes[n], READOUTS) and not is_readout(source.graph, n)]
    want = {name: values for name, values in want.items() if name not in inner}  # currents of the neurons behind them
    have = {name: _shown(source, values, want[name]) if name in want else values for name, values in have.items()}
    lost = [name for name in want if name not in have or have[name].shape != want[name].shape]
    if lost:
        return Check("source = NIR", len(x), 1, 1, _MISSING.format(lost[0]))
    order = [name for name in flow(source.graph).order if name in want]
    spiking = {name: want[name] for name in order if isinstance(source.graph.nodes[name], NEURONS)}

    @cache
    def known(name: str) -> tuple[FloatNeuron, Array]:
        return membranes(source.graph, source.semantics, x, name)

    found = compare_decisions(spiking, have, order, known)
    whole = [sample for sample in range(len(x)) if sample not in found.cut]
    rest = {name: ~close(want[name][whole], have[name][whole]) for name in order if name not in spiking}
    rest |= {name: wrong[whole] for name, wrong in otherwise.items()}
    odd = [name for name, wrong in rest.items() if wrong.any()]
    first = found.first or (f"{odd[0]}, index (sample, step, neuron...) {_place(rest[odd[0]], whole)}" if odd else "")
    silent = sum(not values.any() for values in spiking.values())
    notes = [
        first,
        f"{found.excepted} decisions within {NEAR:g} of the threshold excepted" if found.excepted else "",
        f"only {found.compared} of {found.total} decisions compared" if found.compared < MOST * found.total else "",
        f"{silent} of {len(spiking)} populations silent on these samples" if silent else "",
    ]
    ends = {name for name, node in source.graph.nodes.items() if isinstance(node, nir.Output)}
    shown = {
        post for pre, post in source.graph.edges if pre in want and post in ends
    }  # counted as its neurons' already
    total = found.compared + sum(wrong.size for name, wrong in rest.items() if name not in shown)
    different = found.different + sum(int(wrong.sum()) for wrong in rest.values())
    detail = "; ".join(filter(None, notes))
    return Check("source = NIR", len(x), total, different, detail, excepted=found.excepted, silent=silent)


def _decided_otherwise(source: Source, values: Array, classes: Array) -> Array:
    """Samples whose class, as forward returns it, is not the best by the network's values (B, T, ...); ties are not."""
    shown = source.returns or source.deployment
    readout = readout_in(shown, readout_of(source.graph, source.deployment.output), "")
    found = scores(readout, values.astype(np.float64)).reshape(len(values), -1)
    if readout.kind == "first":
        found = -found
    best = found.max(axis=1)
    there = (classes >= 0) & (classes < found.shape[1])
    theirs = found[np.arange(len(found)), np.where(there, classes, 0)]
    return np.asarray(~there | (best - theirs > NEAR * (1 + np.abs(best))))


def _shown(source: Source, values: Array, like: Array) -> Array:
    """Values (B, T, ...) as the source shows them, by what is known of how it makes them."""
    if source.returns is None or source.replay is None or like.shape == values.shape:
        return _reduced(values, like)
    steps, ended = values.shape[1], getattr(source.replay, "ended", lambda found: found)
    readout = readout_in(source.returns, readout_of(source.graph, source.deployment.output), "")
    kept = values[:, slice(*readout.window)]
    if like.ndim > 1 and like.shape[1] == kept.shape[1] and like.size == kept.size:
        return np.asarray(ended(kept.reshape(like.shape)))
    if readout.groups and like.ndim > 1 and like.shape[1] == kept.shape[1]:
        each = grouped(kept.reshape(-1, kept[0, 0].size), readout.groups, readout.interleaved)
        return np.asarray(ended((each * readout.gain).reshape(like.shape)))
    found = scores(readout, values.astype(np.float64)) * real_scale(readout, steps)
    if found.size != like.size:
        return _reduced(values, like)
    shown = np.asarray(ended(found)).reshape(like.shape)
    alike = like[0].size == 1 or ended(found) is not found or bool(close(like, shown).all())
    return shown if alike else _reduced(values, like)


def _reduced(values: Array, like: Array) -> Array:
    """Values (B, T, ...) as the source shows them: where that is without time, their sum times the factor that fits.

    A positive factor changes no prediction: counts and means are one readout. None fits, if it would not be positive.
    """
    if like.ndim != values.ndim - 1:
        return values
    total = values.sum(1, dtype=np.float64)
    factor = float((total * like).sum()) / (float((total * total).sum()) or 1.0)
    return np.asarray(total * max(factor, 0.0))


def _place(wrong: Array, samples: list[int]) -> tuple[int, ...]:
    sample, *rest = (int(i) for i in np.argwhere(wrong)[0])
    return (samples[sample], *rest)


def require_equal(check: Check, source: Source | None = None) -> Check:
    """Raise LoweringError when a check failed.

    Args:
        source: of an import check: one that ran in its own framework may have caused the difference itself.
    """
    if check.different and source is not None and source.replay is not None:
        raise LoweringError(
            "not-equal",
            "the network that was read does not give the spikes of its source in its own framework",
            where=check.detail,
            needed=f"equal spikes in {check.compared} decisions",
            limit=f"{check.different} differ",
            hint="likely this layer, or what is before it: a state that is not handed on or is kept from call to call, "
            "a surrogate or threshold function that is not its framework's, numbers that forward draws or computes "
            "outside of torch; if it is none of these, report it with the model",
        )
    if check.different:
        raise LoweringError(
            "not-equal",
            f"two stages give different spikes ({check.stage})",
            where=check.detail,
            needed=f"equal spikes in {check.compared} decisions",
            limit=f"{check.different} differ",
            hint="this is a defect of snnhw: please report it with the model",
        )
    return check


def compared(stage: str, want: Mapping[str, Array], have: Iterable[tuple[str, Array]]) -> Check:
    """Compare what both sides have under the names of `want`; a name that is missing counts as different.

    Args:
        have: the other side's values by name, one after another: none of them is held.
    """
    wrong: dict[str, tuple[int, str]] = {}
    for name, values in have:
        if name in want:
            wrong[name] = _difference(name, want[name], values)
    for name, values in want.items():
        wrong.setdefault(name, (values.size, _MISSING.format(name)))
    total = sum(values.size for values in want.values())
    different = sum(count for count, _ in wrong.values())
    first = next((wrong[name][1] for name in want if wrong[name][0]), "")
    quiet = sum(not values.any() for values in want.values())
    silent = f"{quiet} of {len(want)} populations silent on these samples" if quiet else ""
    samples = max((len(values) for values in want.values()), default=0)
    return Check(stage, samples, total, different, first or silent)


def _difference(name: str, values: Array, other: Array) -> tuple[int, str]:
    """(how many decisions differ, where first)."""
    if other.shape != values.shape:
        return values.size, _MISSING.format(name)
    if np.array_equal(values, other):
        return 0, ""
    unequal = ~np.isclose(values, other, rtol=TOLERANCE, atol=TOLERANCE)
    if not unequal.any():
        return 0, ""
    at = tuple(int(i) for i in np.argwhere(unequal)[0])
    return int(unequal.sum()), f"{name}, index (sample, step, neuron...) {at}"
