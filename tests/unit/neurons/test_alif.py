"""The adaptive-threshold neuron end to end: float, integers, four engines, bounds, files, and what refuses it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw import artifact as artifacts
from snnhw import fixed
from snnhw.artifact import Artifact
from snnhw.encoding import encode
from snnhw.engines.base import Needs, Record
from snnhw.engines.choose import integer_engine
from snnhw.errors import SnnhwError, SourceError
from snnhw.evaluate import fire
from snnhw.frontends.nir.file import load_nir, write_nir
from snnhw.network import Array, Comparison, Kind, Reset, ResetTiming
from snnhw.neurons.alif import ALIF, FloatAlif, IntAlif
from snnhw.quantize.bounds import bound
from snnhw.semantics import PLAIN, Semantics


class Net(nn.Module):
    """Two layers, one of each reset."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Linear(12, 16), nn.Linear(16, 5)
        self.n = ALIF(decay=0.9, rho=0.95, beta=8.0)
        self.m = ALIF(decay=0.8, beta=3.0, reset="zero", comparison="gt")
        with torch.no_grad():
            self.a.weight *= 3
            self.b.weight *= 6

    def forward(self, x: torch.Tensor) -> Any:
        return self.m(self.b(self.n(self.a(x))))


X = (np.random.default_rng(0).random((6, 8, 12)) < 0.6).astype(float)


@pytest.fixture(scope="module")
def compiled() -> Artifact:
    return snnhw.compile(Net(), torch.rand(8, 4, 12), target="loihi2")


def records(found: Artifact, engine: str) -> dict[str, Record]:
    values = encode(X, found.inputs, found.network.steps)
    kept: dict[str, Record] = {}

    class Keep:
        needs = Needs.everything(found.network)

        def observe(self, first_sample: int, population: str, record: Record) -> None:
            assert first_sample == 0
            kept[population] = record

    integer_engine(engine).run(found.network, found.target, [values], [Keep()])
    return kept


@pytest.mark.parametrize("engine", ["fast", "onnx", pytest.param("lava", marks=pytest.mark.lava)])
def test_engines_are_equal_bit_for_bit(compiled: Artifact, engine: str) -> None:
    want, have = records(compiled, "reference"), records(compiled, engine)
    for p in compiled.network.computed:
        assert {*have[p.name].state} == {"u", "v", "w"}
        np.testing.assert_array_equal(have[p.name].spikes, want[p.name].spikes)
        for state, values in want[p.name].state.items():
            np.testing.assert_array_equal(have[p.name].state[state], values)
        assert have[p.name].overflows == want[p.name].overflows
    assert want["n"].get("spikes", "n").mean() > 0.05
    assert want["n"].state["w"].max() > np.min(compiled.network["n"].model.vth), "thresholds rise by more than half"


def test_float_side_is_the_module() -> None:
    for module in (ALIF(decay=0.9, beta=8.0), ALIF(reset="zero", comparison="gt", rho=0.9, beta=2.0)):
        _, said, (comparison, reset) = module.snnhw_neuron()
        model, gain = FloatAlif.of_node({key: np.full(7, x) for key, x in said.items()}, rule(comparison, reset))
        assert gain == 1
        x = torch.rand(40, 50, 7, dtype=torch.float64) * 0.7
        want = module(x).numpy().swapaxes(0, 1)
        np.testing.assert_array_equal(fire(model, x.numpy().swapaxes(0, 1)), want)
        assert 0.05 < want.mean() < 0.5


def rule(comparison: str = "ge", reset: Reset = Reset.SUBTRACT, **more: Any) -> Any:
    return Semantics(**{**PLAIN, "dt": 1.0, "threshold": comparison, "reset": reset, **more})


def test_the_threshold_rises_by_what_is_written(compiled: Artifact) -> None:
    """One neuron by hand: w decays towards zero, then a spike adds to it; the spike is subtracted as raised."""
    neuron = IntAlif(0, np.array(10), np.array(0), 4096, 0, reset=Reset.SUBTRACT, dw=2048, jump=7)
    state, rows = (0, 0, 0, 0), []
    for a in (10, 11, 6, 20):
        state, _ = neuron.step(state, a, tuple(neuron.parameters.values()), neuron.rule(True, fixed.LOIHI))
        rows.append(state)
    # v = 10 is not above 10; 21 > 10 leaves 11, w = 7; 17 is not above 17; w = 3: 37 > 13 leaves 24, w = 1 + 7
    assert [(int(v), int(w), int(s)) for _, v, w, s in rows] == [(10, 0, 0), (11, 7, 1), (17, 3, 0), (24, 8, 1)]


def test_w_saturates_in_every_format_and_is_counted() -> None:
    narrow = fixed.Widths(fixed.width(16, fixed.WRAP), fixed.width(16, fixed.WRAP), 8)
    neuron = IntAlif(256, np.array(1), np.array(30000), 256, 0, dw=0, jump=20000)
    state, left = (0, 0, 20000, 1), ()
    for _ in range(2):
        state, left = neuron.step(state, 0, tuple(neuron.parameters.values()), neuron.rule(True, narrow))
    assert state[2] == 32767
    neuron = replace(neuron, bias=np.array(32000), jump=20000)
    state, left = neuron.step((0, 0, 20000, 1), 0, tuple(neuron.parameters.values()), neuron.rule(True, narrow))
    assert (state[2], left[2]) == (32767, True)


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("widths", [fixed.LOIHI, fixed.Widths(fixed.width(16, 2), fixed.width(16, 2), 8)])
def test_nothing_leaves_its_bounds(reset: Reset, most: int, widths: fixed.Widths, monkeypatch: Any) -> None:
    touched, one = 0, 1 << widths.decay_bits
    raw: dict[str, list[int]] = {}
    for name in ("current", "membrane"):
        real = getattr(fixed, name)

        def watched(*args: Any, name: str = name, real: Any = real) -> Any:
            found = real(*args)
            raw.setdefault(name, []).extend((int(np.min(found)), int(np.max(found))))
            return found

        monkeypatch.setattr(fixed, name, watched)
    for seed in range(80):
        rng = np.random.default_rng([seed, most])
        neuron = IntAlif(
            dv=int(rng.choice([0, 1, one // 4, one])), vth=np.array(int(rng.integers(1, 60))),
            bias=np.array(int(rng.integers(-30, 30))), du=int(rng.choice([one, one // 4, 0])), act_shift=0,
            comparison=Comparison(rng.choice(["ge", "gt"])), reset=reset, v_reset=int(rng.integers(-70, 70)),
            v_min=int(rng.integers(-20, 10)) if rng.random() < 0.4 else None, max_spikes=most,
            dw=int(rng.choice([0, one // 8, one])), jump=int(rng.integers(0, 40)),
        )  # fmt: skip
        low, high = -int(rng.integers(0, 40)), int(rng.integers(1, 90)) * int(rng.choice([1, 1, 900]))
        limit = bound("n", Kind.NEURON, neuron, np.array([low]), np.array([high]), 6, widths)
        raw.clear()
        a = rng.choice([low, high], (6, 64))
        a[:, 32:] = rng.integers(low, high + 1, (6, 32))
        state: Any = tuple(np.full(64, x) for x in (*neuron.initial.values(), 0))
        seen: list[Array] = []
        spikes = 0
        parameters = tuple(np.asarray(x) for x in neuron.parameters.values())
        for now in a:
            state, _ = neuron.step(state, now, parameters, neuron.rule(True, widths))
            seen.append(state[2])
            spikes = max(spikes, int(state[3].max()))
        assert limit.u_low <= min(raw["current"]) <= max(raw["current"]) <= limit.u_high
        assert limit.v_low <= min(raw["membrane"]) <= max(raw["membrane"]) <= limit.v_high
        assert limit.others["w"][0] <= np.min(seen) <= np.max(seen) <= limit.others["w"][1]
        assert not (limit.silent and spikes)
        assert spikes <= max(1, limit.spikes)
        touched += limit.v_high == max(raw["membrane"])
    assert touched > 10, "the bounds are not merely large"


def test_artifact_says_all_of_it_again(compiled: Artifact, tmp_path: Path) -> None:
    artifacts.save(compiled, tmp_path / "a.snnhw")
    again = artifacts.load(tmp_path / "a.snnhw").network["n"].model
    assert isinstance(again, IntAlif)
    np.testing.assert_array_equal(again.jump, compiled.network["n"].model.jump)  # type: ignore[attr-defined]
    assert again.dw == 205
    assert "alif dw=205 jump=" in again.text
    assert {reason.parameter for reason in compiled.rationale if reason.population == "n"} >= {"dw", "jump"}
    (row,) = (b for b in compiled.bounds if b["population"] == "n")
    assert (row["w"][0], row["status"]) == (0, "proven")  # type: ignore[index]


def test_the_integers_follow_the_float_neurons(compiled: Artifact) -> None:
    floats = snnhw.load_module(Net(), torch.rand(8, 4, 12))
    have = records(compiled, "fast")["n"].get("spikes", "n")
    module = Net()
    want = module.n(module.a(torch.tensor(X, dtype=torch.float32).swapaxes(0, 1))).detach().numpy().swapaxes(0, 1)
    assert floats.semantics.at("n").reset is Reset.SUBTRACT
    assert (have != want).mean() < 0.02


def test_loihi1_refuses_it_by_name() -> None:
    with pytest.raises(SnnhwError, match="target loihi1 has no such neuron model") as caught:
        snnhw.compile(Net(), torch.rand(8, 4, 12), target="loihi1")
    assert (caught.value.where, caught.value.needed) == ("n", "alif")


def test_nir_files_hold_it_only_as_a_node_of_our_own(tmp_path: Path) -> None:
    source = snnhw.load_module(Net(), torch.rand(8, 4, 12))
    with pytest.raises(SourceError, match="NIR has no node for alif"):
        write_nir(source.nir_graph(), tmp_path / "net.nir")
    write_nir(source.nir_graph(), tmp_path / "net.nir", own=True)
    again = snnhw.compile(load_nir(tmp_path / "net.nir"), target="loihi2")
    want = snnhw.compile(Net(), torch.rand(8, 4, 12), target="loihi2")
    for name in ("n", "m"):
        assert again.network[name].model.text == want.network[name].model.text


@pytest.mark.parametrize(
    ("parameters", "more", "text"),
    [
        ({"w_keep": 1.5}, {}, "ALIF has no such w_keep"),
        ({"w_jump": -1.0}, {}, "ALIF has no such w_jump"),
        ({}, {"reset": Reset.V_RESET}, "ALIF has no such reset"),
        ({}, {"reset_timing": ResetTiming.NEXT_STEP}, "ALIF has no such reset"),
    ],
)
def test_what_the_model_cannot_be(parameters: dict[str, float], more: dict[str, Any], text: str) -> None:
    plain = {"v_keep": 0.9, "threshold": 1.0, "w_keep": 0.9, "w_jump": 0.1}
    with pytest.raises(SourceError, match=text) as caught:
        FloatAlif.of_node({key: np.full(3, x) for key, x in (plain | parameters).items()}, rule(**more))
    assert caught.value.code == "unsupported-neuron"


def test_gradients_reach_through_the_spikes() -> None:
    x = torch.rand(6, 3, 4, requires_grad=True)
    ALIF()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("to", ["nir", "netx"])
def test_other_formats_refuse_it(compiled: Artifact, to: str) -> None:
    from snnhw.export.netx_layers import layers_of
    from snnhw.export.quantized import quantized_source

    text = "NIR has no words for neurons of the model alif" if to == "nir" else "netx's neurons have no such"
    with pytest.raises(SnnhwError, match=text) as caught:
        quantized_source(compiled) if to == "nir" else layers_of(compiled.network, compiled.inputs)
    assert caught.value.code == ("cannot-say" if to == "nir" else "netx-cannot")
