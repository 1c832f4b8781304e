"""The order of the rules: `fixed.step` against the oracle, on everything that runs it, and wrong orders caught."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from snnhw import fixed
from snnhw.engines.kernels import Neurons
from snnhw.engines.onnx.graph import Graph
from snnhw.engines.onnx.step import IR_VERSION, OPSET
from snnhw.engines.onnx.trace import Traced
from snnhw.network import Comparison, IntNeuron, Reset, ResetTiming
from tests import oracle

STORED = json.loads(oracle.VECTORS.read_text())
OVERFLOWS = {"wrap-once": fixed.WRAP_ONCE, "wrap": fixed.WRAP, "saturate": fixed.SATURATE}


def neuron_of(said: dict[str, Any]) -> tuple[IntNeuron, fixed.Widths]:
    """The oracle's neuron as ours."""
    timing = ResetTiming.NEXT_STEP if said["next_step"] else ResetTiming.SAME_STEP
    names = ("du", "dv", "v_reset", "v_min", "v_init", "act_shift", "max_spikes")
    neuron = IntNeuron(
        vth=np.array(said["vth"]), bias=np.array(said["bias"]), comparison=Comparison(said["comparison"]),
        reset=Reset(said["reset"]), reset_timing=timing, **{name: said[name] for name in names},
    )  # fmt: skip
    u, v = (fixed.Width(bits, OVERFLOWS[overflow], *ends) for bits, overflow, *ends in (said["u"], said["v"]))
    return neuron, fixed.Widths(u, v, said["decay_bits"])


def stepped(module: Any, said: dict[str, Any], inputs: list[int], kind: Any = int) -> list[list[int]]:
    """A sample by a module's `step`, every number made by `kind`."""
    neuron, widths = neuron_of(said)
    p = fixed.Parameters(*(kind(int(x)) for x in neuron.parameters.values()))
    state, rows = (kind(0), kind(int(neuron.v_init)), kind(0)), []
    for a in inputs:
        state, left = module.step(state, kind(a), p, neuron.rule(said["fires"], widths))
        rows.append([int(x) for x in (*state, *left)])
    return rows


def compiled(_: Any, said: dict[str, Any], inputs: list[int]) -> list[list[int]]:
    """A sample by the compiled kernels, for any rule and for this one, one step a call so that overflows are told
    apart."""
    neuron, widths = neuron_of(said)
    found = []
    for largest in (None, max(map(abs, inputs), default=0)):
        neurons = Neurons(neuron, said["fires"], 1, widths, largest)
        state, rows = neurons.rest(1), []
        for a in inputs:
            room = neurons.room(1, 1, neuron.STATES)
            neurons.update(np.array([[[a]]]), state, room)
            rows.append([*(int(x[0, 0, 0]) for x in (*room.state, room.spikes)), *(int(x[0]) for x in room.overflows)])
        found.append(rows)
    assert found[0] == found[1]
    return found[0]


def traced(_: Any, said: dict[str, Any], inputs: list[int]) -> list[list[int]]:
    """A sample by the traced graph in onnxruntime."""
    neuron, widths = neuron_of(said)
    g, names = Graph("test"), ("u", "v", "s", "a")
    given = [Traced(g, lambda name=name: g.input(name, np.int64, (1,))) for name in names]  # type: ignore[misc]
    (*state, a), found = given, ("u'", "v'", "s'", "wrapped", "clipped")
    out, left = fixed.step(tuple(state), a, tuple(neuron.parameters.values()), neuron.rule(said["fires"], widths))  # type: ignore[arg-type]
    for name, value in zip(found, (*out, *(x * 1 for x in left)), strict=True):
        g.output(name, value.name, np.int64, (1,))
    model = g.model(OPSET, IR_VERSION, "step", {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    used = {i.name for i in session.get_inputs()}
    rows, now = [], [0, int(neuron.v_init), 0]
    for value_in in inputs:
        feed = dict(zip(names, (*now, value_in), strict=True))
        got = session.run(list(found), {k: np.array([x]) for k, x in feed.items() if k in used})
        rows.append([int(x[0]) for x in got])
        now = rows[-1][:3]
    return rows


CARRIERS: dict[str, Any] = {
    "python": stepped,
    "numpy": lambda m, n, x: stepped(m, n, x, lambda i: np.array(i, np.int64)),
    "torch": lambda m, n, x: stepped(m, n, x, lambda i: torch.tensor([i], dtype=torch.int64)),
    "numba": compiled,
    "onnx": traced,
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_step_gives_the_stored_vectors(carrier: str) -> None:
    for vector in STORED:
        found = CARRIERS[carrier](fixed, vector["neuron"], vector["inputs"])
        assert found == [[int(x) for x in row] for row in vector["rows"]], vector["neuron"]


def test_stored_vectors_are_the_oracle_s_and_reach_every_rule() -> None:
    assert json.loads(json.dumps(oracle.vectors())) == STORED
    seen = [row for vector in STORED for row in vector["rows"]]
    assert min(sum(row[i] for row in seen) for i in (2, 3, 4)) > 50, "spikes, wraps and clips"
    assert any(row[2] > 1 for row in seen)
    assert {vector["neuron"][key][1] for vector in STORED for key in ("u", "v")} == set(OVERFLOWS)


def test_step_is_the_oracle_on_random_neurons() -> None:
    rng = random.Random(1)
    for i in range(600):
        neuron, inputs = oracle.random_neuron(rng, one_turn=i % 8 > 0)
        said = {**vars(neuron)}
        assert stepped(fixed, said, inputs) == [[int(x) for x in row] for row in oracle.run(neuron, inputs)], said


LATE = "        if not rule.late:\n"
HELD = "    v = held(raw_v, rule.widths.v)\n"
FIRED = "    v, s = fired(v, s, parameters, rule)\n"
WRONG = {
    "reset after the lower clip": (
        ("        if rule.floor:\n            v = floored(v, v_min)\n", ""),
        (LATE, "        if rule.floor:\n            v = floored(v, v_min)\n" + LATE),
    ),
    "lower clip before the spike": (
        ("        if rule.floor:\n            v = floored(v, v_min)\n", ""),
        ("        s = spikes(", "        v = floored(v, v_min) if rule.floor else v\n        s = spikes("),
    ),
    "debt after saturation": (
        ("dv, bias, debt, rule", "dv, bias, 0, rule"),
        (HELD, "    v = held(raw_v, rule.widths.v) - debt\n    raw_v = raw_v - debt\n"),
    ),
    "wrap after decay": (
        ("raw_u = current(u, a", "raw_u = current(held(u, rule.widths.u), a"),
        ("    u = held(raw_u, rule.widths.u)\n", "    u = raw_u\n"),
    ),
    "wrap before the input is added": (
        (
            "    u = held(raw_u, rule.widths.u)\n",
            "    u = held(raw_u - (a << rule.act_shift), rule.widths.u) + (a << rule.act_shift)\n",
        ),
    ),
    "membrane before the current": (("membrane(v, u, dv", "membrane(v, state[0], dv"),),
    "membrane sees the current before it wraps": (("membrane(v, u, dv", "membrane(v, raw_u, dv"),),
    "spike before saturation": (("fired(v, s, parameters", "fired(raw_v, s, parameters"),),
    "saturation after the reset": (
        (HELD, "    v = raw_v\n"),
        (FIRED, FIRED + "    v = held(v, rule.widths.v)\n"),
    ),
    "bias before the decay": (("membrane(v, u, dv, bias,", "membrane(v + bias, u, dv, 0,"),),
    "> for >=": (("vth - greater_equal", "vth"),),
    ">= for >": (("vth - greater_equal", "vth - 1"),),
    "late reset at once": ((LATE, "        if True:\n"),),
    "debt of this step": (("debt = vth * s if", "debt = vth * (v > vth) * (s + 1) if"),),
    "reset of the membrane before": (("    v, s = fired(v, s", "    _, s = fired(v, s"),),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_orders_fail_the_stored_vectors(name: str) -> None:
    """Put into a copy of the contract alone, which every engine calls: no engine would differ from another."""
    source = Path(fixed.__file__).read_text()
    for right, wrong in WRONG[name]:
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    mutant = ModuleType("mutant")
    mutant.__dict__["__name__"] = fixed.__name__
    exec(compile(source, "mutant", "exec"), mutant.__dict__)
    rows = [[[int(x) for x in row] for row in vector["rows"]] for vector in STORED]
    assert [stepped(mutant, vector["neuron"], vector["inputs"]) for vector in STORED] != rows
