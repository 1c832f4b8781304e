"""A NIR graph in the numbers that one framework's importer turns into the same spikes.

An importer fixes reset, comparison and gain, and reads tau, r and thresholds in its own way (releases: snnTorch 1.0.0,
SpikingJelly 2.0.0, Norse 1.1.0, sinabs 3.1.3, Rockpool 3.1.0; read and run, tests/frontends/test_nir_out.py). What it
fixes otherwise than the network has it is refused by name. A gain is free: a membrane counted in other units, its
threshold with it, gives the same spikes. The file keeps its literal meaning, and our metadata say it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.export.pools import with_pools
from snnhw.export.walk import depth_first_edges, same_names
from snnhw.frontends.dynamics import neuron_model
from snnhw.frontends.graph import MEMBRANES, Edge, flow, predecessors, validate
from snnhw.frontends.nir.shapes import with_shapes
from snnhw.frontends.source import Source
from snnhw.network import Array, Comparison, FloatNeuron, Reset
from snnhw.neurons.decimals import tidy
from snnhw.semantics import PLAIN, UNLIMITED, Semantics, to_metadata

FOREVER = 1e30
"""Time constant, in steps, of a membrane without leak where the importer's IF neuron is not one."""


@dataclass(frozen=True)
class Numbers:
    """One neuron node in arrays of its shape: what a step keeps and adds; the membrane counts from its reset value."""

    keep: Array
    gain: Array
    rest: Array
    threshold: Array
    u_keep: Array | None

    @property
    def leak(self) -> Array:
        return 1.0 - self.keep


Write = Callable[[Numbers, float], tuple[nir.NIRNode, Array]]
"""(neuron, dt) -> the node, its threshold still in the network's units, and the gain that the importer gives it."""


@dataclass(frozen=True)
class Importer:
    """What one framework makes of a NIR file.

    Args:
        dt: seconds per step that it assumes.
        layers: node types without state that it reads, with how they must be written for it.
        neurons: node type -> how it is written; others are not read.
        same: parameters that must be one number per layer.
        sums: whether several edges into a layer are added.
        loops: whether an edge that closes a loop carries the spikes of the step before.
        depth_first: it computes a node where it first meets it.
        reset: 'zero' or 'subtract', in the same step.
        v_init: where it starts: 0 (the reset value), or 'v_leak', which it then reads.
        axes: of a population, at most.
        dts: node type -> dt by which its file says what the importer does, where it is another.
    """

    name: str
    dt: float
    integrator: str
    threshold: Comparison
    reset: Reset
    multispike: int
    layers: tuple[type[nir.NIRNode], ...]
    neurons: Mapping[type[nir.NIRNode], Write]
    same: tuple[str, ...] = ()
    sums: bool = False
    loops: bool = False
    depth_first: bool = False
    grouped: bool = True
    v_init: float | str = 0.0
    axes: int | None = None
    dts: Mapping[type[nir.NIRNode], float] | None = None


def for_importer(source: Source, name: str) -> Source:
    """The source with a graph that a framework's importer reads to the same spikes.

    Raises:
        SourceError: 'cannot-say', with the node and what the importer makes of it instead.
    """
    importer = IMPORTERS[name]
    _refuse_structure(source.graph, importer)
    nodes: dict[str, nir.NIRNode] = {}
    changes: dict[str, dict[str, Any]] = {}
    pool = next((kind for kind in (nir.AvgPool2d, nir.SumPool2d) if kind in importer.layers), None)
    whole = with_shapes(source.graph if pool is None else with_pools(source.graph, pool))
    for key, node in whole.nodes.items():
        if not isinstance(node, MEMBRANES):
            nodes[key] = _layer(key, node, importer)
            continue
        rule = source.semantics.at(key)
        nodes[key] = made = _neuron(key, node, rule, importer)
        own = (importer.dts or {}).get(type(made))
        changes |= {} if own is None else {key: {"dt": own}}
    fixed = {key: getattr(importer, key) for key in ("dt", "reset", "threshold", "multispike", "integrator", "v_init")}
    semantics = Semantics(**{**PLAIN, **fixed, "time_layout": source.semantics.time_layout, "nodes": changes})
    metadata = to_metadata(semantics, source.deployment)
    graph = nir.NIRGraph(nodes, _edges(source.graph, importer), metadata=metadata, type_check=False)
    validate(graph)
    return replace(source, graph=graph, semantics=semantics, module=None)


def _refuse_structure(graph: nir.NIRGraph, importer: Importer) -> None:
    way_back = flow(graph)
    for pre, post in sorted(way_back.feedback):
        if not importer.loops:
            raise _cannot(importer, post, "a loop", "networks without loops")
        biased = sorted(name for name in next(g for g in way_back.groups if pre in g) if _has_bias(graph.nodes[name]))
        if biased:  # it feeds zeros at the first step, where this bias acts too
            raise _cannot(importer, biased[0], "a bias inside a loop", "no bias at the first step")
    for name, before in predecessors(graph).items():
        if len(before) > 1 and (not importer.sums or isinstance(graph.nodes[name], nir.Output)):
            raise _cannot(importer, name, f"a sum of {len(before)} edges", "sums of branches")


def _edges(graph: nir.NIRGraph, importer: Importer) -> list[Edge]:
    """Edges in the order in which the importer computes a graph rightly."""
    twins = same_names(graph)
    if twins:
        raise _cannot(importer, twins[0], f"nodes that differ by dots only: {', '.join(twins)}", "'_' for '.'")
    if not importer.depth_first:
        return list(graph.edges)
    edges = depth_first_edges(graph)
    if isinstance(edges, str):
        raise _cannot(importer, edges, "branches that meet after layers of their own", "each node before its branches")
    return edges


def _has_bias(node: Any) -> bool:
    return bool(np.any(getattr(node, "bias", 0.0)))


def _layer(name: str, node: Any, importer: Importer) -> nir.NIRNode:
    if isinstance(node, (nir.Input, nir.Output)):
        return node
    if isinstance(node, nir.Linear) and nir.Affine in importer.layers and nir.Linear not in importer.layers:
        return nir.Affine(node.weight, np.zeros(len(node.weight), node.weight.dtype))
    if not isinstance(node, importer.layers):
        raise _cannot(importer, name, f"a node of type {type(node).__name__}", "such nodes")
    if isinstance(node, (nir.Conv1d, nir.Conv2d)) and int(node.groups) != 1 and not importer.grouped:
        raise _cannot(importer, name, f"{int(node.groups)} groups", "convolutions with groups")
    return node


def _neuron(name: str, node: Any, rule: Semantics, importer: Importer) -> nir.NIRNode:
    neuron, gain = neuron_model(node, rule)
    shape = node.v_threshold.shape
    if len(shape) > (importer.axes or len(shape)):
        raise _cannot(importer, name, f"neurons of shape {shape}", f"{importer.axes} axis")
    _refuse_rule(name, neuron, rule, importer, isinstance(node, nir.CubaLIF))

    def full(x: Any) -> Array:
        return np.array(np.broadcast_to(np.asarray(x, np.float64), shape))

    u_keep = full(neuron.u_keep) if isinstance(node, nir.CubaLIF) else None
    numbers = Numbers(full(neuron.v_keep), full(gain), full(neuron.bias), full(neuron.threshold), u_keep)
    write = importer.neurons.get(type(node))
    if write is None:
        raise _cannot(importer, name, f"a neuron of type {type(node).__name__}", "such neurons")
    if isinstance(node, nir.LIF) and not numbers.leak.any() and nir.IF in importer.neurons and not numbers.rest.any():
        write = importer.neurons[nir.IF]
    if (numbers.gain <= 0).any():
        raise _cannot(importer, name, "a gain that is not positive", "the sign of r")
    made: Any
    made, given = write(numbers, importer.dt)
    unit = given / numbers.gain
    made.v_threshold = _compared(tidy(numbers.threshold * unit), neuron.comparison, importer, name, rule)
    made.v_reset = np.zeros(shape)
    _rest(name, made, numbers, unit, full(neuron.v_init), importer)
    for key in importer.same:
        value = np.asarray(getattr(made, key, 0.0))
        if (value != value.ravel()[0]).any():
            raise _cannot(importer, name, f"a {key} of its own for every neuron", f"one {key} per layer only")
    return made


def _rest(name: str, made: Any, numbers: Numbers, unit: Array, v_init: Array, importer: Importer) -> None:
    """Sets v_leak, and refuses a rest or a start that the importer has elsewhere."""
    leaks = numbers.leak > 0
    v_leak = np.where(leaks, numbers.rest / np.where(leaks, numbers.leak, 1.0), 0.0)
    reads = importer.v_init == "v_leak" and isinstance(made, nir.LIF)
    if v_leak.any() and not reads:
        raise _cannot(importer, name, "a membrane that rests at another value than its reset", "rest = reset")
    if not np.allclose(v_init, v_leak, rtol=1e-12, atol=0.0):
        theirs = f"a start at {'rest' if reads else 'the reset value'}"
        raise _cannot(importer, name, "a membrane that starts elsewhere", theirs)
    if hasattr(made, "v_leak"):
        made.v_leak = tidy(v_leak * unit)


def _refuse_rule(name: str, neuron: FloatNeuron, rule: Semantics, importer: Importer, currents: bool) -> None:
    """What the importer fixes otherwise than this neuron has it."""
    soft = neuron.reset is Reset.SUBTRACT
    for holds, what, theirs in (
        (soft == (importer.reset is Reset.SUBTRACT), f"reset {rule.reset}", f"reset {importer.reset}"),
        (not rule.late, "a reset in the next step", "resets in the same step"),
        (rule.reset_timing != "prepaid", "snnTorch's reset_delay=False", "resets in the same step"),
        (neuron.max_spikes == importer.multispike or min(neuron.max_spikes, importer.multispike) > 1 << 15,
         f"{neuron.max_spikes} spikes a step at most", f"{importer.multispike} at most"),
        (neuron.v_min is None, "a lower clip of the membrane", "no lower clip"),
        (not currents or rule.current_order == "same_step", "currents of the step before", "currents of the same step"),
    ):  # fmt: skip
        if not holds:
            raise _cannot(importer, name, what, theirs)


def _compared(threshold: Array, own: Comparison, importer: Importer, name: str, rule: Semantics) -> Array:
    """v > a is v >= the next number after a, in float32, in which the frameworks compute."""
    if own is importer.threshold:
        return threshold
    if rule.reset is Reset.SUBTRACT:
        raise _cannot(importer, name, f"threshold {own} with a soft reset", f"threshold {importer.threshold}")
    toward = np.float32(np.inf if own is Comparison.GT else -np.inf)
    return np.asarray(np.nextafter(threshold.astype(np.float32), toward), np.float64)


def _cannot(importer: Importer, where: str, what: str, theirs: str) -> SourceError:
    return SourceError(
        "cannot-say",
        f"{importer.name}'s importer cannot be told {what}",
        where=where,
        needed=what,
        limit=f"{importer.name} reads: {theirs}",
        hint="export without --for, or for another framework",
    )


def _tau(leak: Array, dt: float) -> Array:
    return tidy(dt / np.maximum(leak, 1.0 / FOREVER))


def _exp_tau(leak: Array, dt: float) -> Array:
    return np.asarray(-dt / np.log1p(-np.clip(leak, 1.0 / FOREVER, 1 - 2.0**-53)))


def _blank(n: Numbers) -> dict[str, Array]:
    """Filled in by `_neuron`."""
    return {"v_threshold": n.threshold, "v_reset": np.zeros_like(n.keep)}


def _if_of(r: float) -> Write:
    return lambda n, dt: (nir.IF(r=np.full_like(n.keep, r), **_blank(n)), np.ones_like(n.keep))


def _whole_input(n: Numbers, dt: float) -> tuple[nir.NIRNode, Array]:
    """r = tau / dt: the input enters whole."""
    tau = _tau(n.leak, dt)
    return nir.LIF(tau=tau, r=tau / dt, v_leak=np.zeros_like(tau), **_blank(n)), np.ones_like(tau)


def _decayed_input(n: Numbers, dt: float) -> tuple[nir.NIRNode, Array]:
    """r = 1: the input enters times dt / tau."""
    tau = _tau(n.leak, dt)
    return nir.LIF(tau=tau, r=np.ones_like(tau), v_leak=np.zeros_like(tau), **_blank(n)), dt / tau


def _whole_currents(n: Numbers, dt: float) -> tuple[nir.NIRNode, Array]:
    """r = tau_mem / dt, w_in = tau_syn / dt."""
    assert n.u_keep is not None
    mem, syn = _tau(n.leak, dt), _tau(1.0 - n.u_keep, dt)
    parts = {"tau_mem": mem, "tau_syn": syn, "r": mem / dt, "w_in": syn / dt, "v_leak": np.zeros_like(mem)}
    return nir.CubaLIF(**parts, **_blank(n)), np.ones_like(mem)


def _sinabs_lif(n: Numbers, dt: float) -> tuple[nir.NIRNode, Array]:
    """exp(-1 / tau), the input whole: norm_input=False; it ignores r."""
    tau = _exp_tau(n.leak, dt)
    r = 1.0 / np.maximum(n.leak, 1.0 / FOREVER)
    return nir.LIF(tau=tau, r=r, v_leak=np.zeros_like(tau), **_blank(n)), np.ones_like(tau)


def _rockpool_cuba(n: Numbers, dt: float) -> tuple[nir.NIRNode, Array]:
    """i = b (i + x), v = a v + i, whose dt is tau_mem / (1 + r); it ignores w_in."""
    assert n.u_keep is not None
    mem, syn = _exp_tau(n.leak, dt), _exp_tau(1.0 - n.u_keep, dt)
    r = mem / dt - 1.0
    w_in = n.u_keep / (r * n.leak * (1.0 - n.u_keep))
    parts = {"tau_mem": mem, "tau_syn": syn, "r": r, "w_in": w_in, "v_leak": np.zeros_like(mem)}
    return nir.CubaLIF(**parts, **_blank(n)), n.u_keep


_MATRICES = (nir.Affine, nir.Linear)

IMPORTERS: dict[str, Importer] = {
    i.name: i
    for i in (
        Importer(
            "snntorch", 1e-4, "euler", Comparison.GT, Reset.ZERO, 1,
            (*_MATRICES, nir.Conv2d, nir.AvgPool2d, nir.Flatten),
            {nir.IF: _whole_input, nir.LIF: _whole_input, nir.CubaLIF: _whole_currents},
            same=("v_threshold",), sums=True,
        ),
        Importer(
            "spikingjelly", 1e-4, "euler", Comparison.GE, Reset.ZERO, 1,
            (*_MATRICES, nir.Conv1d, nir.Conv2d, nir.AvgPool2d, nir.Flatten),
            {nir.IF: _if_of(1e4), nir.LIF: _whole_input, nir.CubaLIF: _whole_currents},
            same=("v_threshold", "tau", "tau_mem", "tau_syn"), sums=True, loops=True, grouped=False,
        ),
        Importer(
            "norse", 1e-3, "euler", Comparison.GT, Reset.ZERO, 1,
            (*_MATRICES, nir.Conv2d, nir.Flatten, nir.SumPool2d),
            {nir.IF: _if_of(1.0), nir.LIF: _decayed_input, nir.CubaLIF: _whole_currents},
            sums=True, loops=True, depth_first=True, v_init="v_leak", dts={nir.IF: 1.0},
        ),
        Importer(
            "sinabs", 1.0, "exp", Comparison.GE, Reset.SUBTRACT, UNLIMITED,
            (nir.Affine, nir.Conv2d, nir.Flatten, nir.SumPool2d),
            {nir.IF: _sinabs_lif, nir.LIF: _sinabs_lif},
            axes=1, depth_first=True,
        ),
        Importer(
            "rockpool", 1e-3, "exp", Comparison.GE, Reset.SUBTRACT, 1 << 16, _MATRICES, {nir.CubaLIF: _rockpool_cuba},
            depth_first=True,
        ),
    )
}  # fmt: skip
"""Framework -> what it makes of a file. The dialect `nir` takes any graph: nothing is rewritten for it."""
