"""The plan: which processes stand for a network, and that it survives the way to the worker."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snnhw.engines.lava.engine import default_connections
from snnhw.engines.lava.folder import read_plan, write_plan
from snnhw.engines.lava.layout import conv_weights, dense_weights, from_lava, lava_shape, order, to_lava
from snnhw.engines.lava.operators import drive, rows_by_source
from snnhw.engines.lava.plan import Job, make_plan, op_from_json, op_to_json
from snnhw.fixed import LOIHI
from snnhw.network import (
    Conv,
    Dense,
    Diagonal,
    Inject,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Sparse,
)
from tests.generate import LIF, PROGRAMMABLE, random_case
from tests.grow import Grower

NEURON = IntNeuron(0, np.array(64), np.array([64]), du=4096)


def skip_network() -> Network[IntNeuron]:
    """in -> a -> b, c: the input also reaches b and c by delayed skips of equal length."""
    pops = [Population("in", (2, 3, 4), Kind.INPUT)]
    pops += [Population(name, (2, 3, 4), Kind.NEURON, NEURON, start) for name, start in (("a", 1), ("b", 2), ("c", 2))]
    links = (("in", "a", 1), ("a", "b", 1), ("a", "c", 1), ("in", "b", 2), ("in", "c", 2))
    proj = tuple(Projection(f"{x}-{y}", x, y, Conv("w"), delay) for x, y, delay in links)
    return Network(tuple(pops), proj, {"w": np.full((2, 2, 1, 1), 2)}, 3, Readout("rate", "b"))


def test_stock_processes_of_lif_networks() -> None:
    plan = make_plan(Job(skip_network(), LIF, "stock", 5, 5, LOIHI))
    assert Counter(node.kind for node in plan.nodes) == {"Clock": 1, "Source": 1, "LIFReset": 3, "Conv": 5, "Delay": 1}
    assert plan.steps == 5 * 3 + 2


def test_a_convolution_with_an_exponent_is_ours() -> None:
    """Stock Conv ignores weight_exp: a run without a wish does not take it."""
    net = skip_network()
    scaled = (replace(net.projections[0], weight_exp=2), *net.projections[1:])
    assert default_connections(net, LIF) == "stock"
    assert default_connections(replace(net, projections=scaled), LIF) == "sparse"


def test_delay_lines_are_shared_by_pre_and_delay() -> None:
    plan = make_plan(Job(skip_network(), LIF, "stock", 5, 5, LOIHI))
    (line,) = (node for node in plan.nodes if node.kind == "Delay")
    assert line.params == {"shape": (4, 3, 2), "delay": 1, "start": 0, "interval": 3, "lag": 0}
    assert {w.target for w in plan.wires if w.source == line.name} == {"in-b#3", "in-c#4"}


def test_injections_have_a_line_of_their_own() -> None:
    net = skip_network()
    twice = (*net.projections, Projection("i1", "in", "b", Inject(), 2), Projection("i2", "in", "b", Inject(), 2))
    plan = make_plan(Job(replace(net, projections=twice), LIF, "stock", 5, 5, LOIHI))
    lines = [node for node in plan.nodes if node.name.endswith("#inject")]
    assert [node.params["delay"] for node in lines] == [2, 2]


def test_projections_of_one_name_are_two_processes() -> None:
    net = skip_network()
    named = tuple(replace(q, name="a") for q in net.projections)
    names = [node.name for node in make_plan(Job(replace(net, projections=named), LIF, "stock", 5, 5, LOIHI)).nodes]
    assert len(set(names)) == len(names) == 11


def test_own_processes_of_programmable_networks() -> None:
    plan = make_plan(Job(skip_network(), PROGRAMMABLE, "sparse", 5, 5, LOIHI))
    kinds = Counter(node.kind for node in plan.nodes)
    assert kinds == {"Clock": 1, "Source": 1, "Programmable": 3, "Synapses": 5, "Delay": 1}
    assert next(node for node in plan.nodes if node.name == "a").params["shape"] == (24,)


def test_registers_of_lif() -> None:
    net = skip_network()
    b = next(node for node in make_plan(Job(net, LIF, "stock", 5, 5, LOIHI)).nodes if node.name == "b")
    assert {key: b.params[key] for key in ("du", "dv", "vth", "bias_exp")} == {
        "du": 4095,
        "dv": 0,
        "vth": 1,
        "bias_exp": 0,
    }
    assert (b.params["reset_interval"], b.params["reset_offset"]) == (3, 0)
    assert b.params["place"] == {"index": 2, "start": 2, "window": 15, "steps": 15}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("profile", "connections"), [(LIF, "stock"), (PROGRAMMABLE, "sparse")])
def test_plan_survives_the_folder(seed: int, profile: str, connections: str, tmp_path: Path) -> None:
    plan = make_plan(Job(random_case(seed, profile).network, profile, connections, 4, 4, LOIHI))
    write_plan(tmp_path, plan)
    back = read_plan(tmp_path)
    assert (back.wires, back.steps) == (plan.wires, plan.steps)
    for one, other in zip(plan.nodes, back.nodes, strict=True):
        assert (one.kind, one.name, one.params) == (other.kind, other.name, other.params)
        assert all((one.arrays[key] == other.arrays[key]).all() for key in one.arrays)


def test_only_integers_enter_a_plan(tmp_path: Path) -> None:
    plan = make_plan(Job(skip_network(), LIF, "stock", 5, 5, LOIHI))
    plan.nodes[0].params["odd"] = 1j
    with pytest.raises(TypeError, match="complex does not belong in a plan"):
        write_plan(tmp_path, plan)


@pytest.mark.parametrize("op", [Dense("w"), Diagonal("w"), Sparse("w"), Conv("w", (1, 2), (3, 4), (5, 6), 7)])
def test_operators_survive_json(op: Dense | Diagonal | Sparse | Conv) -> None:
    assert op_from_json(op_to_json(op)) == op


def test_injection_has_no_synapses() -> None:
    with pytest.raises(TypeError, match="Inject has no synapses"):
        rows_by_source(Inject(), {}, (2,), (2,))


@pytest.mark.parametrize("seed", range(40))
def test_sparse_rows_equal_the_plain_operator(seed: int) -> None:
    grower = Grower(np.random.default_rng(seed), PROGRAMMABLE, 1, 1)
    pre = (int(grower.rng.integers(1, 5)), int(grower.rng.integers(3, 9)), int(grower.rng.integers(3, 9)))
    if seed % 2:
        op, post = grower.convolution(pre)
    else:
        post = pre if seed % 4 else (3, 2)
        op = grower.operator(pre, post, spread=bool(seed % 3))
    x = grower.rng.integers(-3, 4, pre) * (grower.rng.random(pre) < 0.5)
    expected = op.apply(grower.weights, x[None], post)[0]
    assert (drive(rows_by_source(op, grower.weights, pre, post), x.ravel()) == expected.ravel()).all()


def test_axis_order() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    assert lava_shape((2, 3, 4), True) == (4, 3, 2)
    assert lava_shape((2, 3, 4), False) == lava_shape((4, 6), True) == (24,)
    there = to_lava(x, (4, 3, 2))
    assert there[3, 2, 1] == x[1, 2, 3]
    assert (from_lava(there) == x.ravel()).all()
    assert (x.ravel()[order((4, 3, 2))] == there.ravel()).all()
    w = np.arange(48).reshape(2, 24)
    assert (dense_weights(w, (4, 3, 2), (2,)) @ there.ravel() == w @ x.ravel()).all()


def test_kernels_are_flipped() -> None:
    kernel = np.arange(12).reshape(1, 2, 2, 3)
    lava = conv_weights(kernel)
    assert lava.shape == (1, 3, 2, 2)
    assert lava[0, 0, 0, 1] == kernel[0, 1, 1, 2]


def test_feedback_that_needs_no_waiting_still_passes_a_line() -> None:
    """It takes away what would reach the next sample, and costs no step."""
    net = skip_network()
    loop = Projection("b-a", "b", "a", Conv("w"), 1, 0, 2)
    plan = make_plan(Job(replace(net, projections=(*net.projections, loop)), LIF, "stock", 5, 5, LOIHI))
    (line,) = (node for node in plan.nodes if node.kind == "Delay" and node.params["delay"] == 0)
    assert line.params == {"shape": (4, 3, 2), "delay": 0, "start": 2, "interval": 3, "lag": 2}
    assert [w.source for w in plan.wires if w.target == "b-a#5"] == [line.name]
    assert ("b", line.name) in {(w.source, w.target) for w in plan.wires}


@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
def test_a_constant_hangs_on_the_clock(profile: str) -> None:
    """Lava runs only what is connected to the process it is told to run."""
    net = skip_network()
    one = Population("one", (2,), Kind.GATE, NEURON, 0)
    plan = make_plan(Job(replace(net, populations=(*net.populations, one)), profile, "sparse", 5, 5, LOIHI))
    (synapses,) = (node for node in plan.nodes if node.name == "one#nothing")
    assert not rows_by_source(Sparse("w"), synapses.arrays, (1,), (2,)).nnz
    wires = {(w.source, w.out_port, w.target, w.in_port) for w in plan.wires}
    assert {("#clock", "tick", "one#nothing", "s_in"), ("one#nothing", "a_out", "one", "a_in")} <= wires


def test_levels_that_differ_are_arrays_in_the_order_of_lava() -> None:
    net = skip_network()
    each = replace(NEURON, dv=np.arange(24).reshape(2, 3, 4), v_init=np.array([[[1]], [[2]]]))
    cells = tuple(replace(p, neuron=each) if p.name == "a" else p for p in net.populations)
    (node,) = (
        n
        for n in make_plan(Job(replace(net, populations=cells), PROGRAMMABLE, "stock", 5, 5, LOIHI)).nodes
        if n.name == "a"
    )
    assert set(node.arrays) == {"vth", "bias", "dv", "initial_v"}
    assert node.arrays["dv"].shape == node.arrays["initial_v"].shape == (4, 3, 2)
    assert node.arrays["dv"][3, 2, 1] == 23
    assert node.arrays["initial_v"][0, 0].tolist() == [1, 2]
    assert node.params["du"] == 4096
