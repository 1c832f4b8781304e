"""snnTorch's subtraction without delay end to end: float, integers, four engines, bounds, files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnhw
from snnhw import SourceOptions, fixed
from snnhw.artifact import Artifact
from snnhw.encoding import encode
from snnhw.engines.base import Needs, Record
from snnhw.engines.choose import integer_engine
from snnhw.errors import SnnhwError, SourceError
from snnhw.evaluate import fire
from snnhw.export.quantized import quantized_source
from snnhw.frontends.nir.file import load_nir
from snnhw.network import Comparison, Kind, Reset
from snnhw.neurons.cuba_lif import FloatNeuron, IntNeuron
from snnhw.neurons.prepaid import FloatPrepaid, IntPrepaid
from snnhw.quantize.bounds import bound
from snnhw.semantics import PLAIN, Semantics

T = 10
SAID = {"dt": 1.0, "reset": "subtract", "reset_timing": "prepaid", "threshold": "gt", "v_init": 0.0}


def written(folder: Path, gain: float = 3.0) -> Path:
    rng = np.random.default_rng(4)
    nodes = {"input": nir.Input(np.array([6])), "output": nir.Output(np.array([4]))}
    for name, before, after in (("a", 6, 8), ("b", 8, 4)):
        nodes[f"w{name}"] = nir.Affine(gain * rng.random((after, before)), np.full(after, -0.1 * gain))
        tau, r = np.full(after, 5.0), np.full(after, 5.0)
        nodes[name] = nir.LIF(tau=tau, r=r, v_leak=np.zeros(after), v_threshold=np.ones(after))
    chain = ["input", "wa", "a", "wb", "b", "output"]
    nir.write(folder / "net.nir", nir.NIRGraph(nodes=nodes, edges=list(pairwise(chain))))
    return folder / "net.nir"


def options(**said: Any) -> SourceOptions:
    return SourceOptions(dialect="nir", steps=T, semantics={**SAID, **said})


X = (np.random.default_rng(0).random((5, T, 6)) < 0.3).astype(float)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return snnhw.compile(written(tmp_path_factory.mktemp("net")), target="loihi2", options=options())


def records(found: Artifact, engine: str) -> dict[str, Record]:
    values = encode(X, found.inputs, found.network.steps)
    kept: dict[str, Record] = {}

    class Keep:
        needs = Needs.everything(found.network)

        def observe(self, first_sample: int, population: str, record: Record) -> None:
            kept[population] = record

    integer_engine(engine).run(found.network, found.target, [values], [Keep()])
    return kept


@pytest.mark.parametrize("engine", ["fast", "onnx", pytest.param("lava", marks=pytest.mark.lava)])
def test_engines_are_equal_bit_for_bit(compiled: Artifact, engine: str) -> None:
    want, have = records(compiled, "reference"), records(compiled, engine)
    for p in compiled.network.computed:
        assert isinstance(p.model, IntPrepaid)
        np.testing.assert_array_equal(have[p.name].spikes, want[p.name].spikes)
        for state, values in want[p.name].state.items():
            np.testing.assert_array_equal(have[p.name].state[state], values)
        assert have[p.name].overflows == want[p.name].overflows
    vth = np.asarray(compiled.network["a"].model.vth)
    assert (want["a"].state["v"] > vth).mean() > 0.05, "membranes stay above their thresholds after the reset"


def test_a_step_by_hand() -> None:
    """25 > 10 fires and leaves 15: above 10, so 15 + 3 - 10 = 8 is compared, and 18 is left; then 18 + 4 - 10 fires."""
    neuron = IntPrepaid(0, np.array(10), np.array(0), 4096, 0, reset=Reset.SUBTRACT)
    state, rows = (0, 0, 0), []
    for a in (25, 3, 4, 0):
        state, _ = neuron.step(state, a, tuple(neuron.parameters.values()), neuron.rule(True, fixed.LOIHI))
        rows.append((int(state[1]), int(state[2])))
    assert rows == [(15, 1), (18, 0), (12, 1), (12, 0)]


def test_the_float_neuron_is_the_equation() -> None:
    x = np.random.default_rng(1).random((20, 30, 7)) * 4 * (np.random.default_rng(2).random((20, 30, 7)) < 0.4)
    plain = FloatNeuron(0.9, np.asarray(1.0), np.zeros(()), comparison=Comparison.GT, reset=Reset.SUBTRACT)
    v, want = np.zeros((20, 7)), []
    for t in range(30):
        q = (v > 1.0) * 1.0
        u = 0.9 * v + x[:, t] - q
        z = (u > 1.0) * 1.0
        v = u - (z - q)
        want.append(z)
    np.testing.assert_array_equal(fire(FloatPrepaid.of(plain), x), np.stack(want, 1))
    assert (fire(plain, x) != np.stack(want, 1)).mean() > 0.02


@pytest.mark.parametrize("widths", [fixed.LOIHI, fixed.Widths(fixed.width(16, 2), fixed.width(16, 2), 8)])
def test_nothing_leaves_its_bounds(widths: fixed.Widths) -> None:
    touched, plain, one = 0, 0, 1 << widths.decay_bits
    for seed in range(120):
        rng = np.random.default_rng(seed)
        neuron = IntPrepaid(
            dv=int(rng.choice([0, 1, one // 4, one])), vth=np.array(int(rng.integers(1, 60))),
            bias=np.array(int(rng.integers(-30, 30))), du=int(rng.choice([one, one // 4])), act_shift=0,
            comparison=Comparison(rng.choice(["ge", "gt"])), reset=Reset.SUBTRACT,
        )  # fmt: skip
        low, high = -int(rng.integers(0, 40)), int(rng.integers(1, 90)) * int(rng.choice([1, 1, 900]))
        limit = bound("n", Kind.NEURON, neuron, np.array([low]), np.array([high]), 6, widths)
        a = rng.choice([low, high], (6, 256))
        a[:, 128:] = rng.integers(low, high + 1, (6, 128))
        parameters, rule = tuple(map(np.asarray, neuron.parameters.values())), neuron.rule(True, widths)
        state: Any = (np.zeros(256, np.int64),) * 3
        other, seen, left = state, [], []
        simple = neuron.bounded(limit.spikes)
        for now in a:
            u = fixed.held(fixed.current(state[0], now, neuron.du, 0, widths.decay_bits), widths.u)
            seen.append(fixed.membrane(state[1], u, neuron.dv, neuron.bias, 0, widths.decay_bits))
            state, _ = neuron.step(state, now, parameters, rule)
            other, _ = simple.step(other, now, parameters, rule)
            for have, want in zip(other, state, strict=True):
                np.testing.assert_array_equal(have, want)
            left.append(state[2])
        assert limit.v_low <= np.min(seen) <= np.max(seen) <= limit.v_high
        assert not (limit.silent and np.any(left))
        touched += limit.v_high == np.max(seen)
        plain += type(simple) is IntNeuron
    assert touched > 30, "the bounds are not merely large"
    assert 5 < plain < 100, "some are proven to be the plain neuron, and some are not"


def test_it_is_the_plain_neuron_where_bounds_prove_it(tmp_path: Path) -> None:
    found = snnhw.compile(written(tmp_path, gain=0.1), target="loihi2", options=options())
    assert {type(p.model) for p in found.network.computed} == {IntNeuron}


def test_nir_holds_it_in_its_semantics(compiled: Artifact) -> None:
    source = quantized_source(compiled)
    assert source.semantics.at("a").reset_timing == "prepaid"
    again = snnhw.compile(source, target="loihi2")
    for p in again.network.computed:
        assert isinstance(p.model, IntPrepaid)
    np.testing.assert_array_equal(snnhw.run(again, X)["counts"], snnhw.run(compiled, X)["counts"])


@pytest.mark.parametrize("semantics", [{"reset_timing": "same_step"}, {"nodes": {"a": {"reset_timing": "same_step"}}}])
def test_the_dialect_of_snntorch_means_it_by_the_same_step(semantics: dict[str, Any], tmp_path: Path) -> None:
    found = load_nir(written(tmp_path), SourceOptions(dialect="snntorch", steps=T, semantics=semantics))
    assert found.semantics.at("a").reset_timing == "prepaid"
    assert found.semantics.at("b").reset_timing == ("next_step" if "nodes" in semantics else "prepaid")


def test_what_cannot_be_prepaid() -> None:
    for more in ({"multispike": 3}, {"v_min": -1.0}):
        with pytest.raises(SourceError, match="reset_timing has a value it cannot have") as caught:
            Semantics(**{**PLAIN, **SAID, **more})  # type: ignore[arg-type]
        assert caught.value.limit == "same_step, with several spikes a step or a lower clip of v"


def test_loihi1_refuses_it_by_name(tmp_path: Path) -> None:
    with pytest.raises(SnnhwError, match="target loihi1 has no such neuron model") as caught:
        snnhw.compile(written(tmp_path), target="loihi1", options=options())
    assert (caught.value.where, caught.value.needed) == ("a", "prepaid")
