"""The onnx engine: equal to the reference bit for bit, exact where sums are large, honest where it cannot run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from snnhw import limits
from snnhw.engines.base import Needs, Record
from snnhw.engines.choose import integer_engine
from snnhw.engines.onnx import step
from snnhw.engines.onnx.engine import OnnxEngine
from snnhw.engines.onnx.step import step_model
from snnhw.engines.onnx.synapses import exact_type, magnitude
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import EngineError, SnnhwError
from snnhw.fixed import LOIHI
from snnhw.network import (
    Array,
    Comparison,
    Conv,
    Dense,
    Diagonal,
    IntNeuron,
    Kind,
    LinearOp,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
    Shape,
    Sparse,
)
from tests.conformance.harness import ALL_BATCHES, batch
from tests.generate import FLAVOURS, LIF, PROGRAMMABLE, Case, machine, random_case
from tests.property.test_engines_properties import run, same
from tests.recurrent import FORMS, recurrent_case


def equal(case: Case, cuts: tuple[int, ...] = ()) -> None:
    onnx.checker.check_model(step_model(case.network, widths=LOIHI), full_check=True)
    same(run(ReferenceEngine(), case), run(OnnxEngine(), case, cuts))


@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
@pytest.mark.parametrize("flavour", sorted(set(FLAVOURS)))
def test_onnx_equals_reference(profile: str, flavour: str) -> None:
    for seed in range(4):
        equal(random_case(seed, profile, flavour=flavour), cuts=(1,))


@pytest.mark.slow
@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
@pytest.mark.parametrize("number", range(ALL_BATCHES))
def test_onnx_equals_reference_on_the_networks_that_lava_runs(profile: str, number: int) -> None:
    for case in batch(profile, number):
        equal(case, cuts=(2,))


@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
@pytest.mark.parametrize("form", FORMS)
def test_onnx_equals_reference_with_feedback(profile: str, form: str) -> None:
    for seed in range(3):
        equal(recurrent_case(seed, profile, form=form), cuts=(1,))


@pytest.mark.parametrize(
    "broken",
    [
        lambda n: replace(n, comparison=Comparison.GT if n.comparison is Comparison.GE else Comparison.GE),
        lambda n: replace(n, dv=n.dv ^ 1),
        lambda n: replace(n, v_init=n.v_init + 1),
        lambda n: replace(n, bias=np.asarray(n.bias) + 1),
    ],
    ids=["comparison", "dv", "v_init", "bias"],
)
def test_mutants_are_seen(broken: Callable[[IntNeuron], IntNeuron]) -> None:
    """A neuron changed in one field gives other bits than the reference on some generated network."""
    found = 0
    for seed in range(6):
        case = random_case(seed, PROGRAMMABLE, flavour="dense")
        populations = tuple(
            p if p.kind is Kind.INPUT else replace(p, neuron=broken(p.model)) for p in case.network.populations
        )
        other = replace(case, network=replace(case.network, populations=populations))
        try:
            same(run(ReferenceEngine(), case), run(OnnxEngine(), other))
        except AssertionError:
            found += 1
    assert found


def fed(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape, payload: int, exp: int = 0) -> Case:
    """One input over one operator into one population."""
    low_threshold = IntNeuron(0, np.array(1000), np.array(0), du=4096, act_shift=0)
    cells = (
        Population[IntNeuron]("in", pre, Kind.INPUT, payload=(-payload, payload)),
        Population("n", post, Kind.NEURON, low_threshold, 1),
    )
    network = Network(cells, (Projection("p", "in", "n", op, 1, exp),), weights, 2, Readout("rate", "n"))
    values = np.random.default_rng(1).integers(-payload, payload + 1, (3, 2, *pre))
    return Case(network, {"in": values}, PROGRAMMABLE, "fed")


CONV = Conv("w", stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)


@pytest.mark.parametrize(
    ("payload", "dense", "conv"),
    [(1, np.float32, np.float32), (1 << 17, np.float64, np.int64), (1 << 46, np.int64, np.int64)],
)
def test_sums_of_any_size_are_exact(payload: int, dense: Any, conv: Any) -> None:
    """Odd sums beyond the mantissa would lose their last bit; u wraps once, so only its low bits are compared here."""
    rng = np.random.default_rng(0)
    matrix = {"w": rng.integers(-127, 128, (5, 6))}
    kernel = {"w": rng.integers(-127, 128, (4, 2, 3, 2))}
    assert exact_type(magnitude(Dense("w"), matrix, payload, (6,), (5,)), Dense("w")) is dense
    assert exact_type(magnitude(CONV, kernel, payload, (4, 5, 6), (4, 3, 8)), CONV) is conv
    equal(fed(Dense("w"), matrix, (6,), (5,), payload))
    equal(fed(CONV, kernel, (4, 5, 6), (4, 3, 8), payload))
    equal(fed(CONV, kernel, (4, 5, 6), (4, 3, 8), payload, exp=-3))


def test_float32_would_not_do() -> None:
    """The case above has sums that float32 rounds: with it, the bits differ."""
    case = fed(Dense("w"), {"w": np.full((1, 6), 127)}, (6,), (1,), 1 << 17)
    exact = step.exact_type
    try:
        step.exact_type = lambda bound, op: np.float32
        with pytest.raises(AssertionError):
            equal(case)
    finally:
        step.exact_type = exact


def test_sparse_rows_of_any_length() -> None:
    weights = {"w": np.array([3, -2, 7]), "w/indices": np.array([0, 3, 1]), "w/indptr": np.array([0, 2, 2, 3])}
    equal(fed(Sparse("w"), weights, (2, 2), (3,), 9))
    none = {"w": np.zeros(0, int), "w/indices": np.zeros(0, int), "w/indptr": np.zeros(4, int)}
    equal(fed(Sparse("w"), none, (2, 2), (3,), 9))


def recurrent() -> Network[IntNeuron]:
    """A constant population, a self loop, feedback from a later population, and next-step reset; all per neuron."""
    ones = np.ones(3, int)
    leaky = IntNeuron(
        np.array([0, 100, 4096]),
        np.array([5, 9, 14]),
        np.array([1, 0, -1]),
        du=np.array([4096, 300, 0]),
        act_shift=0,
        reset=Reset.SUBTRACT,
        reset_timing=ResetTiming.NEXT_STEP,
        v_min=np.array([-3, -20, 0]),
        v_init=np.array([0, 2, -1]),
    )
    hard = replace(
        leaky,
        reset=Reset.V_RESET,
        reset_timing=ResetTiming.SAME_STEP,
        v_reset=np.array([-2, 1, 0]),
        du=4096,
        max_spikes=3,
    )
    pulse = IntNeuron(0, np.array([3, 4, 5]), ones, act_shift=0, reset=Reset.ZERO, comparison=Comparison.GE, du=4096)
    cells = (
        Population[IntNeuron]("in", (3,), Kind.INPUT, payload=(-4, 4)),
        Population("pulse", (3,), Kind.NEURON, pulse, 1),
        Population("a", (3,), Kind.NEURON, leaky, 2, (0, 1)),
        Population("b", (3,), Kind.NEURON, hard, 3, (0, 3)),
    )
    w = {"d": np.array([[2, -1, 3], [0, 4, 1], [5, 1, -2]]), "one": np.array([4]), "back": np.array([3, -2, 1])}
    links = (
        Projection("in>a", "in", "a", Dense("d"), 2),
        Projection("pulse>a", "pulse", "a", Diagonal("one"), 1),
        Projection("a>a", "a", "a", Diagonal("back"), 1, lag=1),
        Projection("a>b", "a", "b", Dense("d"), 1),
        Projection("b>a", "b", "a", Diagonal("back"), 1, lag=2),
        Projection("b>b", "b", "b", Diagonal("back"), 3, lag=3),
        Projection("a>b late", "a", "b", Diagonal("one"), 1 + 99, lag=99),
    )
    return Network(cells, links, w, 9, Readout("rate", "b"))


def test_recurrent_and_constant_populations_per_neuron() -> None:
    values = np.random.default_rng(3).integers(-4, 5, (5, 9, 3))
    case = Case(recurrent(), {"in": values}, PROGRAMMABLE, "recurrent")
    equal(case, cuts=(2,))
    fired = {name: kept for (name, part), kept in run(ReferenceEngine(), case).arrays().items() if part == "spikes"}
    assert all(0 < fired[name].sum() < fired[name].size * 3 for name in ("pulse", "a", "b"))


def test_a_lag_beyond_the_sample_costs_no_state() -> None:
    said = json.loads(step_model(recurrent(), widths=LOIHI).metadata_props[0].value)
    depth = {row["output"]: row["shape"][0] for row in said["state"] if row["output"].startswith("past/")}
    assert depth == {"past/a": 1, "past/b": 3}
    assert [row["initial"] for row in said["state"] if row["output"] == "v/a"] == [[0, 2, -1]]


def test_weights_are_stored_once_and_small() -> None:
    case = random_case(2, PROGRAMMABLE, flavour="residual")
    stored = [t for t in step_model(case.network, widths=LOIHI).graph.initializer if t.name.startswith("weight/")]
    assert len(stored) == len(case.network.weights)
    assert {t.data_type for t in stored} <= {onnx.TensorProto.INT8, onnx.TensorProto.INT16}


def test_a_batch_is_cut_where_records_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(0, PROGRAMMABLE, samples=5)
    monkeypatch.setattr(limits, "MAX_VALUES", 2 * 4 * sum(p.size for p in case.network.populations))
    seen: list[tuple[int, int]] = []

    class Sizes:
        needs = Needs(frozenset({"in0"}))

        def observe(self, first_sample: int, population: str, record: Record) -> None:
            if population == "in0":
                seen.append((first_sample, len(record.spikes)))

    OnnxEngine().run(case.network, machine(case.profile), [case.stream], [Sizes()])
    assert seen == [(0, 2), (2, 2), (4, 1)]
    same(run(ReferenceEngine(), case), run(OnnxEngine(), case))


@pytest.mark.parametrize("most", [10, 13 + 1, 300])
def test_weights_beyond_protobuf_are_refused(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """13 weights of a byte; with all other constants more than 300 bytes."""
    monkeypatch.setattr(step, "MOST_BYTES", most)
    with pytest.raises(EngineError, match="too-big: the network's weights are more than an ONNX file holds"):
        step_model(recurrent(), widths=LOIHI)


def test_without_onnxruntime_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SnnhwError, match="needs-extra: the engine 'onnx' needs packages of the extra 'onnx'") as caught:
        integer_engine("onnx")
    assert caught.value.hint == "pip install 'onnxruntime>=1.20,<2'"


def test_what_onnxruntime_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_args: Any, **_more: Any) -> None:
        raise RuntimeError("no such operator")

    broken = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=refuses)
    monkeypatch.setitem(sys.modules, "onnxruntime", broken)
    with pytest.raises(EngineError, match="onnx-failed: onnxruntime refuses the network: no such operator"):
        equal(random_case(0, PROGRAMMABLE))
