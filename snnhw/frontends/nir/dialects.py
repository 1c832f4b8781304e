"""A foreign NIR graph in our literal meaning: the same steps, with node parameters chosen for `Semantics`.

Every exporter uses tau, r and w_in in its own way (`dialect_rules`). Here they become the numbers of one step, and
those the parameters that mean this step in `Semantics`: lam = dt / tau or 1 - exp(-dt / tau), r = gain / lam.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.graph import MEMBRANES, READOUTS, first, flow, not_positive, predecessors
from snnhw.frontends.nir.fields import timed, untimed
from snnhw.frontends.nir.rules import CLOSE, TABLE, Dialect, MisfitError, Step
from snnhw.frontends.options import NIR_DIALECTS
from snnhw.network import Array, Reset, ResetTiming
from snnhw.semantics import Semantics

FOREVER = 1e30
"""Time constant, in steps, of a neuron that forgets nothing among others that do: 1 - 1/FOREVER is 1."""

STATEFUL = (*MEMBRANES, *READOUTS)


@dataclass(frozen=True)
class Translated:
    """A graph in literal meaning.

    Args:
        fields: of Semantics, `nodes` included.
        notes: what the dialect added that neither the file nor the user said: name -> (value, why).
    """

    graph: nir.NIRGraph
    fields: dict[str, Any]
    notes: dict[str, tuple[Any, str]] = field(default_factory=dict)


def translate(graph: nir.NIRGraph, name: str, said: Mapping[str, Any], where: str) -> Translated:
    """Read a graph as one framework's exporter wrote it.

    Args:
        name: of the dialect.
        said: fields of Semantics that the user gave; they overrule the dialect's.
        where: file name, for messages.

    Raises:
        SourceError: 'dialect-contradicts' (node and field named), 'lost-edge', 'needs-dt', 'bad-parameter'.
    """
    dialect = TABLE[name]
    if dialect.single_way:
        _refuse_losses(graph, dialect)
    integrator = said.get("integrator", dialect.fields["integrator"])
    if dialect.rules and integrator != dialect.fields["integrator"]:
        raise SourceError(
            "dialect-contradicts",
            f"the integrator is part of the dialect {name}",
            where=where,
            needed=f"integrator {integrator}",
            limit=f"integrator {dialect.fields['integrator']}",
            hint="leave it out, or read the file literally: --dialect nir",
        )
    if dialect.fields["reset_timing"] == "next_step":
        _require_said_timing(graph, dialect, said)
    told = _told_dt(graph, dialect)
    dt, notes = _dt(graph, dialect, told, said, where)
    changes: dict[str, dict[str, Any]] = {}
    nodes: dict[str, nir.NIRNode] = {}
    for key, node in graph.nodes.items():
        nodes[key] = _node(key, node, dialect, dt, said, integrator, graph)
        own = dialect.nodes.get(type(node), {})
        if own:
            changes[key] = {name: value for name, value in own.items() if name not in said}
    for key, given in said.get("nodes", {}).items():
        changes[key] = {**changes.get(key, {}), **given}
    fields = {**dialect.fields, **said, "dt": dt, "nodes": {key: row for key, row in changes.items() if row}}
    fields = timed(fields, {"reset": fields["reset"], **said})
    silent = _unsaid(dialect, said)
    if silent:
        notes["unsaid"] = (silent, f"{name}'s default, which its files do not say")
    return Translated(nir.NIRGraph(nodes, list(graph.edges), metadata={}, type_check=False), fields, notes)


def as_computed(semantics: Semantics, dialect: str) -> Semantics:
    """Where snnTorch's subtraction is said to be in the same step, what it then does (`snnhw/neurons/prepaid.py`)."""
    if dialect != "snntorch":
        return semantics

    def timing(rule: Semantics) -> ResetTiming:
        early = rule.reset is Reset.SUBTRACT and rule.reset_timing is ResetTiming.SAME_STEP
        return ResetTiming.PREPAID if early else rule.reset_timing

    usual = timing(semantics)
    nodes = {key: dict(row) for key, row in semantics.nodes.items()}
    for key, row in nodes.items():
        own = timing(semantics.at(key))
        if own != row.get("reset_timing", usual):
            row["reset_timing"] = own
    return replace(semantics, reset_timing=usual, nodes=nodes)


def _unsaid(dialect: Dialect, said: Mapping[str, Any]) -> str:
    """Defaults that nobody overruled, in words; a hard reset has no delay."""
    overruled = set(timed(dict(said), said))
    return ", ".join(words for words, name in dialect.unsaid if name not in overruled)


def _require_said_timing(graph: nir.NIRGraph, dialect: Dialect, said: Mapping[str, Any]) -> None:
    """snnTorch's zero with a delay loses the whole next step of Synaptic, RLeaky, RSynaptic, input included."""
    rows = {name: {**said, **said.get("nodes", {}).get(name, {})} for name in graph.nodes}
    hard = {name: row for name, row in rows.items() if untimed(row)}
    loops = _loops(graph) if hard else set()
    for name, row in hard.items():
        node = graph.nodes[name]
        if isinstance(node, nir.CubaLIF) or (isinstance(node, nir.LIF) and name in loops):
            raise SourceError(
                "dialect-contradicts",
                f"{dialect.name}'s reset to zero with its delay drops the input of the step after a spike",
                where=name,
                needed=f"reset {row['reset']}, reset_timing not said",
                limit="a synaptic current or a recurrent layer needs reset_delay=False",
                hint='where it was trained so, say it: --semantics FILE.json with {"reset_timing": "same_step", ...}',
            )


def _loops(graph: nir.NIRGraph) -> set[str]:
    """Nodes of loops."""
    before = predecessors(graph)
    return {name for group in flow(graph).groups for name in group if len(group) > 1 or name in before[name]}


def fitting(graph: nir.NIRGraph) -> list[str]:
    """Dialects other than the literal one whose relations between parameters hold in a graph."""
    if not any(isinstance(node, STATEFUL) for node in graph.nodes.values()):
        return []
    found = []
    for name in NIR_DIALECTS:
        try:
            if TABLE[name].rules and _round(translate(graph, name, {}, "").fields["dt"]):
                found.append(name)
        except SourceError:
            continue
    return found


def _round(dt: float) -> bool:
    """Whether somebody can have chosen this dt: three digits. One neuron's r and tau imply some dt in any dialect."""
    return bool(np.isclose(dt, float(f"{dt:.3g}"), rtol=CLOSE, atol=0.0))


def _refuse_losses(graph: nir.NIRGraph, dialect: Dialect) -> None:
    """What the legacy tracer leaves of a residual sum: a second input, or a second way to the output."""
    inputs = sorted(name for name, node in graph.nodes.items() if isinstance(node, nir.Input))
    for name, node in graph.nodes.items():
        ends = [pre for pre, post in graph.edges if post == name]
        open_end = isinstance(node, nir.Output) and len(ends) > 1
        if open_end or (isinstance(node, nir.Input) and len(inputs) > 1 and name == inputs[-1]):
            raise SourceError(
                "lost-edge",
                f"{dialect.name}'s exporter loses the edges of sums (residual connections), and this graph shows it",
                where=name,
                needed=f"{len(ends)} edges into an output"
                if open_end
                else f"{len(inputs)} inputs: {', '.join(inputs)}",
                limit="one input, and one edge into the output",
                hint="compile the module instead of the file: snnhw.compile(module, example_input, target=...)",
            )


def _told_dt(graph: nir.NIRGraph, dialect: Dialect) -> float | None:
    """The dt that all parameters of the file imply together, in six digits; None where they imply none."""
    found = [values.ravel() for node in graph.nodes.values() if (values := dialect.tells_dt(node)) is not None]
    if not found:
        return None
    return float(f"{np.median(np.concatenate(found)):.6g}")


def _dt(
    graph: nir.NIRGraph, dialect: Dialect, told: float | None, said: Mapping[str, Any], where: str
) -> tuple[float, dict[str, tuple[Any, str]]]:
    if "dt" in said:
        dt = said["dt"]
        if told is not None and not np.isclose(dt, told, rtol=CLOSE, atol=0.0):
            raise SourceError(
                "dialect-contradicts",
                f"dt is not the one that the file's parameters imply in the dialect {dialect.name}",
                where=where,
                needed=f"dt = {dt:g}",
                limit=f"dt = {told:g}",
                hint="leave dt out",
            )
        return float(dt), {}
    if told is not None:
        return told, {"dt": (told, "told from r and tau")}
    if dialect.dt is not None:
        return dialect.dt, {"dt": (dialect.dt, f"{dialect.name}'s default, which its files do not say")}
    if not any(isinstance(node, (*STATEFUL, nir.Delay)) for node in graph.nodes.values()):
        return 1.0, {}
    raise SourceError(
        "needs-dt",
        "read literally, a NIR file needs the seconds of a step",
        where=where,
        needed="dt",
        hint='give --semantics FILE.json with {"dt": SECONDS}',
    )


def _node(
    name: str,
    node: Any,
    dialect: Dialect,
    dt: float,
    said: Mapping[str, Any],
    integrator: str,
    graph: nir.NIRGraph,
) -> nir.NIRNode:
    if not isinstance(node, STATEFUL):
        return node
    _require_numbers(name, node)
    if not dialect.rules:
        if integrator == "euler":
            _refuse_long_steps(name, node, dt, dialect)
        return node
    rule = dialect.rules.get(type(node))
    if rule is None:
        raise SourceError(
            "dialect-contradicts",
            f"{dialect.name}'s exporter writes no nodes of type {type(node).__name__}",
            where=name,
            limit=", ".join(sorted(kind.__name__ for kind in dialect.rules)),
            hint="read it with the dialect of the framework that wrote it, or literally: --dialect nir",
        )
    if dialect.fields["integrator"] == "euler":
        _refuse_long_steps(name, node, dt, dialect)
    try:
        step = rule(node, dt)
    except MisfitError as misfit:
        raise _contradiction(name, node, dialect, dt, *misfit.args) from None
    return literal(node, step, dt, integrator)


def _require_numbers(name: str, node: Any) -> None:
    """Time constants are positive before anything is divided by them; NaN is named by `validate`, as of any node."""
    for key in ("tau", "tau_syn", "tau_mem"):
        value = np.asarray(getattr(node, key, 1.0))
        if (value <= 0).any():
            raise not_positive(name, key, value)
    for key in ("tau", "tau_syn", "tau_mem", "r", "w_in"):
        bad = np.isnan(np.asarray(getattr(node, key, 1.0), np.float64))
        if bad.any():
            raise SourceError(
                "not-finite",
                f"{bad.sum()} values are NaN or infinite",
                where=f"{name}.{key}{first(bad)}",
                needed="finite numbers",
                hint="retrain or repair the checkpoint",
            )


def _refuse_long_steps(name: str, node: Any, dt: float, dialect: Dialect) -> None:
    """dt / tau > 1: a membrane that changes sign at every step; Norse 1.1.0 writes tau times dt."""
    for key in ("tau", "tau_mem", "tau_syn"):
        value = getattr(node, key, None)
        if value is None or not (dt / np.asarray(value, np.float64) > 1 + CLOSE).any():
            continue
        shortest = float(np.min(value))
        hint = 'give the dt of training: --semantics FILE.json with {"dt": SECONDS}'
        if dialect.name == "norse":
            hint = (
                "Norse 1.1.0 writes tau times dt: export with norse.torch.to_nir(net, x, dt=1.0), or read this file "
                f'with --semantics FILE.json and {{"dt": {dt * dt:g}}}'
            )
        raise SourceError(
            "bad-parameter",
            "a step is longer than a time constant",
            where=f"{name}.{key}{first(dt / np.asarray(value, np.float64) > 1 + CLOSE)}",
            needed=f"{key} = {shortest:g} s, dt = {dt:g} s",
            limit="dt / tau <= 1",
            hint=hint,
        )


def _contradiction(name: str, node: Any, dialect: Dialect, dt: float, parameter: str, relation: str) -> SourceError:
    value = np.asarray(getattr(node, parameter), np.float64)
    rows = f"{value.min():g}" if value.min() == value.max() else f"{value.min():g} to {value.max():g}"
    others = [d for d in NIR_DIALECTS if d != dialect.name and TABLE[d].rules and _fits(node, TABLE[d])]
    return SourceError(
        "dialect-contradicts",
        f"the node's parameters are not as {dialect.name} writes them",
        where=f"{name}.{parameter}",
        needed=f"{parameter} = {rows}",
        limit=f"{relation}, with dt = {dt:g}",
        hint=f"this node is as {', '.join(others)} writes it" if others else "read it literally: --dialect nir",
    )


def _fits(node: Any, dialect: Dialect) -> bool:
    told = dialect.tells_dt(node)
    rule = dialect.rules.get(type(node))
    try:
        if rule is None or dialect.dt is None:
            return False
        dt = dialect.dt if told is None else float(np.median(told))
        rule(node, dt)
        return _round(dt)
    except MisfitError:
        return False


def literal(node: Any, step: Step, dt: float, integrator: str) -> nir.NIRNode:
    """A node of the same type whose literal meaning is this step."""
    parts: dict[str, Any] = dict(_kept(node))
    if step.leak is None:
        return type(node)(r=step.gain / dt, **parts)
    if isinstance(node, nir.LIF) and not step.leak.any() and not np.asarray(node.v_leak).any():
        return nir.IF(r=step.gain / dt, v_threshold=node.v_threshold, v_reset=node.v_reset)
    tau, lam = _tau(step.leak, dt, integrator)
    if step.syn_leak is None:
        return type(node)(tau=tau, r=step.gain / lam, **parts)
    tau_syn, lam_syn = _tau(step.syn_leak, dt, integrator)
    assert step.syn_gain is not None
    return type(node)(tau_mem=tau, tau_syn=tau_syn, r=step.gain / lam, w_in=step.syn_gain / lam_syn, **parts)


def _kept(node: Any) -> Iterator[tuple[str, Array]]:
    for key in ("v_leak", "v_threshold", "v_reset"):
        if hasattr(node, key):
            yield key, np.asarray(getattr(node, key), np.float64)


def _tau(leak: Array, dt: float, integrator: str) -> tuple[Array, Array]:
    """(tau, lam) whose step of dt leaks that much."""
    lam = np.where(leak == 0, 1.0 / FOREVER, leak)
    if integrator == "euler":
        return dt / lam, lam
    with np.errstate(divide="ignore"):
        return -dt / np.log1p(-np.minimum(lam, 1 - 2.0**-53)), lam
