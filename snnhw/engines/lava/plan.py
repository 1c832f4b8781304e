"""A network as Lava processes and wires, decided before any Lava is imported, so that refusals are cheap and clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from snnhw import fixed
from snnhw.engines.lava import rules
from snnhw.engines.lava.layout import conv_weights, dense_weights, lava_shape, to_lava
from snnhw.network import (
    Array,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Shape,
)
from snnhw.operators import REGISTRY, Conv, Dense, Operator, Sparse

CLOCK = "#clock"
STOCK, SPARSE = "stock", "sparse"
GRADED_BITS = 24
"""Lava's `num_message_bits` for payloads other than 0 and 1 (only zero or non-zero matters to its models)."""


@dataclass(frozen=True)
class Node:
    """One Lava process: its class by name, JSON parameters, and array parameters."""

    kind: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Wire:
    """OutPort to InPort; `reshape` is the receiver's shape where it differs."""

    source: str
    out_port: str
    target: str
    in_port: str
    reshape: Shape | None = None


@dataclass(frozen=True)
class Plan:
    """All processes of a run, and its length in chip steps."""

    nodes: tuple[Node, ...]
    wires: tuple[Wire, ...]
    steps: int


@dataclass(frozen=True)
class Job:
    """What to run: the network, how it is expressed, and how much of it.

    Args:
        profile: neuron profile of the target, 'lava-lif' or 'programmable'.
        connections: 'stock' (Lava's Dense and Conv) or 'sparse' (ours).
        samples: number of samples of the run.
        window: samples per record file.
        widths: formats of states and decays.
    """

    network: Network[IntNeuron]
    profile: str
    connections: str
    samples: int
    window: int
    widths: fixed.Widths

    @property
    def spatial(self) -> bool:
        """Whether stock Conv takes part, which fixes the axis order of populations with three axes."""
        return any(self.stock(q) and STOCK_FORMS[type(q.op)] is _stock_conv for q in self.network.projections)

    def stock(self, projection: Projection) -> bool:
        """Whether a projection runs as Lava's own process; for the other operators Lava has no affordable one."""
        return self.connections == STOCK and type(projection.op) in STOCK_FORMS

    def shape(self, name: str) -> Shape:
        """Shape of a population in Lava."""
        return lava_shape(self.network[name].shape, self.spatial)


def make_plan(job: Job) -> Plan:
    """Express a network in Lava; raises EngineError where Lava's rules do not allow it."""
    rules.verify(job.network, job.profile, job.widths, [q for q in job.network.projections if job.stock(q)])
    nodes, wires = [Node("Clock", CLOCK)], []
    for index, population in enumerate(job.network.populations):
        if population.kind is Kind.INPUT:
            params = {
                "shape": job.shape(population.name),
                "file": input_file(index),
                "steps": job.samples * job.network.steps,
            }
            nodes.append(Node("Source", population.name, params))
            wires.append(Wire(CLOCK, "tick", population.name, "tick"))
        else:
            nodes.append(_neuron(job, population, index))
    lines: dict[tuple[str, int, int], str] = {}
    for i, projection in enumerate(job.network.projections):
        unique = replace(projection, name=f"{projection.name}#{i}")
        for part in _connect(job, unique, lines):
            (nodes if isinstance(part, Node) else wires).append(part)  # type: ignore[arg-type]
    for population in job.network.computed:
        if not job.network.into(population.name):
            for part in _nothing(job, population):
                (nodes if isinstance(part, Node) else wires).append(part)  # type: ignore[arg-type]
    assert len({node.name for node in nodes}) == len(nodes), "processes have unique names"
    return Plan(tuple(nodes), tuple(wires), job.samples * job.network.steps + job.network.depth)


def input_file(index: int) -> str:
    """Name of the file with the values of an input population."""
    return f"input.{index}.bin"


def _neuron(job: Job, population: Population[IntNeuron], index: int) -> Node:
    steps = job.network.steps
    place = {"index": index, "start": population.start, "window": job.window * steps, "steps": job.samples * steps}
    shape = job.shape(population.name)
    params: dict[str, Any] = {"shape": shape, "place": place}
    fires = population.kind is not Kind.ACCUMULATOR
    if job.profile != "lava-lif":
        rule = population.model.rule(fires, job.widths).flat
        return _programmable(
            population, shape, params | {"interval": steps, "rule": rule, "neuron": population.model.MODEL}
        )
    params["fires"] = fires
    n = population.model
    mantissa, exponent = rules.bias_register(n, population.name)
    # Lava's du register counts one less than it acts (ds_offset), its time_step one more than chip steps
    params |= {"du": n.du - 1, "dv": n.dv, "vth": rules.vth_register(population), "bias_exp": exponent}
    params |= {"reset_interval": steps, "reset_offset": (population.start + 1) % steps}
    return Node("LIFReset", population.name, params, {"bias_mant": _spread(mantissa, population.shape, shape)})


def _programmable(population: Population[IntNeuron], shape: Shape, params: dict[str, Any]) -> Node:
    n = population.model
    values = n.parameters | {f"initial_{state}": level for state, level in n.initial.items()}
    arrays = {
        key: _spread(value, population.shape, shape)
        for key, value in values.items()
        if key in ("vth", "bias") or isinstance(value, np.ndarray)
    }
    params |= {key: value for key, value in values.items() if key not in arrays}
    return Node("Programmable", population.name, params, arrays)


def _spread(values: int | Array, shape: Shape, lava: Shape) -> Array:
    return np.ascontiguousarray(to_lava(np.broadcast_to(np.asarray(values, np.int64), shape), lava))


def _nothing(job: Job, population: Population[IntNeuron]) -> Iterator[Node | Wire]:
    """Synapses without weights from the clock to a constant: they make it a part of the one graph that runs."""
    name, size = f"{population.name}#nothing", population.size
    params = {
        "pre": (1,),
        "post": job.shape(population.name),
        "pre_shape": (1,),
        "post_shape": population.shape,
        "op": op_to_json(Sparse("")),
        "weight_exp": 0,
        "parts": ("", "/indices", "/indptr"),
    }
    none = np.zeros(0, np.int32)
    yield Node("Synapses", name, params, {"w": none, "w/indices": none, "w/indptr": np.zeros(size + 1, np.int32)})
    yield Wire(CLOCK, "tick", name, "s_in")
    yield Wire(name, "a_out", population.name, "a_in")


def _line(job: Job, name: str, projection: Projection, delay: int) -> Node:
    """A delay line behind the pre population of a projection; where it feeds back at once, one of no delay.

    Even that drops what a lag would carry into the next sample. It cannot block a cycle: synapses send before they
    receive.
    """
    sample = {"start": job.network[projection.pre].start, "interval": job.network.steps, "lag": projection.lag}
    return Node("Delay", name, {"shape": job.shape(projection.pre), "delay": delay, **sample})


def _connect(job: Job, projection: Projection, lines: dict[tuple[str, int, int], str]) -> Iterator[Node | Wire]:
    """Processes and wires of one projection; delay lines are shared by projections of one pre population."""
    if projection.op.injects:
        line = f"{projection.name}#inject"  # not shared: one port pair can be joined only once
        yield _line(job, line, projection, projection.delay)
        yield Wire(projection.pre, "s_out", line, "s_in")
        yield Wire(line, "s_out", projection.post, "a_in")
        return
    source, extra = projection.pre, projection.delay - 1
    if extra or projection.lag:
        key = (projection.pre, extra, projection.lag)
        source = lines.get(key, f"{projection.pre}#+{extra}" + (f"-{projection.lag}" if projection.lag else ""))
        if key not in lines:
            lines[key] = source
            yield _line(job, source, projection, extra)
            yield Wire(projection.pre, "s_out", source, "s_in")
    form = STOCK_FORMS[type(projection.op)] if job.stock(projection) else _synapses
    yield from form(job, projection, source)


def _synapses(job: Job, projection: Projection, source: str) -> Iterator[Node | Wire]:
    network, pre, post = job.network, projection.pre, projection.post
    op: Any = projection.op
    params = {
        "pre": job.shape(pre),
        "post": job.shape(post),
        "pre_shape": network[pre].shape,
        "post_shape": network[post].shape,
        "op": op_to_json(op),
        "weight_exp": projection.weight_exp,
        "parts": op.parts,
    }
    arrays = {"w" + part: array for part, array in op.arrays(network.weights).items()}
    yield Node("Synapses", projection.name, params, arrays)
    yield from _joined(projection, source)


def _joined(projection: Projection, source: str, pre: Shape | None = None, post: Shape | None = None) -> Iterator[Wire]:
    """Wires through a connection; shapes where its ports have others than their populations."""
    yield Wire(source, "s_out", projection.name, "s_in", pre)
    yield Wire(projection.name, "a_out", projection.post, "a_in", post)


def _stock_conv(job: Job, projection: Projection, source: str) -> Iterator[Node | Wire]:
    op: Any = projection.op
    params = {
        "input_shape": job.shape(projection.pre),
        "padding": op.padding[::-1],
        "stride": op.stride[::-1],
        "dilation": op.dilation[::-1],
        "groups": op.groups,
        "num_message_bits": _bits(job.network[projection.pre]),
    }
    weights = conv_weights(job.network.weights[op.weight].astype(np.int32))
    yield Node("Conv", projection.name, params, {"weight": weights})
    yield from _joined(projection, source)


def _stock_dense(job: Job, projection: Projection, source: str) -> Iterator[Node | Wire]:
    pre, post = job.shape(projection.pre), job.shape(projection.post)
    weights = dense_weights(job.network.array(projection.op).astype(np.int32), pre, post)
    params = {"num_message_bits": _bits(job.network[projection.pre]), "weight_exp": projection.weight_exp}
    yield Node("Dense", projection.name, params, {"weights": weights})
    flat = (weights.shape[1],) if len(pre) > 1 else None
    yield from _joined(projection, source, flat, post if len(post) > 1 else None)


STOCK_FORMS: dict[type[Operator], Callable[[Job, Projection, str], Iterator[Node | Wire]]] = {
    Dense: _stock_dense,
    Conv: _stock_conv,
}
"""Operators for which Lava has a process that one can afford; all others run as our own."""


def _bits(population: Population[IntNeuron]) -> int:
    return GRADED_BITS if rules.graded(population) else 0


def op_to_json(op: Operator) -> dict[str, Any]:
    """An operator without its weights."""
    options = {f.name: getattr(op, f.name) for f in fields(op) if f.name != "weight"}  # type: ignore[arg-type]
    return {"type": type(op).__name__, **options}


def op_from_json(data: dict[str, Any]) -> Operator:
    """Inverse of `op_to_json`; the weights are called 'w'."""
    values = {key: value for key, value in data.items() if key != "type"}
    kind: Any = REGISTRY[data["type"]]
    made: Operator = kind("w", **values)
    return made
