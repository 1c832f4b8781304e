"""Parameters that differ inside a population: arrays where they do, one number where they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw.artifact import Artifact, load, save
from snnhw.errors import QuantizeError
from snnhw.machine import load_target
from snnhw.mapping.place import place
from snnhw.network import Array, Comparison, FloatNeuron, IntNeuron, Network, Reset
from snnhw.network_text import format_network
from snnhw.quantize.neuron import decay
from tests.unit.quantize.nets import deployment, float_spikes, layer, neuron, quantized, spikes

KEEPS = np.array([0.0, 0.5, 0.9, 1.0])
CURRENTS = np.array([0.5, 0.0, 0.25, 0.75])


def four(rng: np.random.Generator, **more: Any) -> Network[FloatNeuron]:
    model = neuron(np.array([0.6, 0.8, 1.0, 1.2]), comparison=Comparison.GT, **more)
    return layer(rng.normal(size=(4, 9)), model, steps=8)


def made(network: Network[FloatNeuron]) -> IntNeuron:
    return quantized(network, "loihi2").network["n"].model


def test_decays_of_every_neuron(rng: np.random.Generator) -> None:
    n = made(four(rng, keep=KEEPS, u_keep=CURRENTS))
    assert np.asarray(n.dv).tolist() == [4096, 2048, 410, 0]
    assert np.asarray(n.du).tolist() == [2048, 4096, 3072, 1024]


def test_values_equal_for_all_neurons_are_one_number(rng: np.random.Generator) -> None:
    """Also those that only integers make equal."""
    near = np.array([0.9, 0.9 + 1e-6, 0.9, 0.9])
    n = made(four(rng, keep=near, u_keep=np.full(4, 0.5), v_init=np.full(4, 0.25), v_min=np.full((4,), -1.0)))
    assert [type(x) for x in (n.dv, n.du, n.v_init, n.v_reset, n.v_min)] == [int] * 5
    assert (n.dv, n.du) == (410, 2048)


def test_levels_of_every_neuron(rng: np.random.Generator) -> None:
    v_init, v_reset, v_min = np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.0, -0.1, -0.2, 0.1]), -KEEPS - 1
    result = quantized(four(rng, keep=0.9, reset=Reset.V_RESET, v_init=v_init, v_reset=v_reset, v_min=v_min), "loihi2")
    n = result.network["n"].model
    (scale,) = (row.integer for row in result.rationale if row.parameter == "scale")
    unit = scale * (1 << n.act_shift)
    for have, want in ((n.v_init, v_init), (n.v_reset, v_reset), (n.v_min, v_min)):
        np.testing.assert_array_equal(have, np.rint(want * unit))


def test_spikes_are_the_floats_own(rng: np.random.Generator) -> None:
    """Whole weights, decays that are powers of two, and thresholds between what sums can be: nothing rounds."""
    w = rng.integers(-7, 8, (4, 9)).astype(float)
    w[:, 0] = 127.0
    keeps, starts = np.array([0.0, 0.5, 1.0, 0.5]), np.array([1.0, 0.0, 2.0, 0.0])
    network = layer(w, neuron(np.array([3.3, 5.3, 9.3, 2.3]), keep=keeps, v_init=starts), steps=5)
    x = rng.integers(0, 2, (9, 5, 9)) * np.array([0, *[1] * 8])
    result = quantized(network, "loihi2")
    np.testing.assert_array_equal(spikes(result, x)["spikes/n"], float_spikes(network, x)["n"])


def test_rows_say_the_range(rng: np.random.Generator) -> None:
    result = quantized(four(rng, keep=KEEPS, u_keep=CURRENTS, v_init=KEEPS), "loihi2")
    rows = {row.parameter: row for row in result.rationale if row.population == "n"}
    assert (rows["dv"].integer, rows["dv"].real) == ("0 to 4096", "0 to 1")
    assert rows["dv"].text == "4096 * (1 - 0 to 1); keeps 0.000000 to 1.000000 per step"
    assert (rows["du"].integer, rows["du"].text) == ("1024 to 4096", "4096 * (1 - 0 to 0.75)")
    assert rows["v_init"].real == "0 to 1"


def test_the_text_of_a_network_says_the_range(rng: np.random.Generator) -> None:
    network = four(rng, keep=KEEPS, u_keep=CURRENTS)
    assert " u_keep=0..0.75 keep=0..1 v>0.6..1.2 " in format_network(network)
    assert " du=1024..4096 dv=0..4096 v>" in format_network(quantized(network, "loihi2").network)


def test_artifacts_keep_arrays_and_numbers(rng: np.random.Generator, tmp_path: Any) -> None:
    network = four(rng, keep=KEEPS, u_keep=0.5, v_init=KEEPS)
    result, target = quantized(network, "loihi2"), load_target("loihi2")
    whole = Artifact(
        {}, target, result.network, result.reference, deployment(network), result.inputs, place(result.network, target)
    )
    save(whole, tmp_path / "a.snnhw")
    back = load(tmp_path / "a.snnhw").network["n"].model
    have = result.network["n"].model
    assert (type(back.du), back.du) == (int, have.du)
    for name in ("dv", "v_init"):
        np.testing.assert_array_equal(getattr(back, name), getattr(have, name))


@pytest.mark.parametrize(
    ("more", "what"),
    [({"keep": KEEPS}, "membrane decay"), ({"keep": 0.9, "u_keep": CURRENTS}, "current decay")],
)
def test_stock_neurons_have_one_decay(rng: np.random.Generator, more: dict[str, Any], what: str) -> None:
    model = neuron(1.0, **more)
    with pytest.raises(QuantizeError) as caught:
        quantized(layer(rng.normal(size=(4, 9)), model), "loihi1")
    assert str(caught.value) == (
        f"unsupported-neuron: target loihi1 has no such {what}\n  where: n\n  needed: one per neuron\n"
        "  limit: one per population\n  hint: use --target loihi2, or train with what the target has"
    )
    same = {key: np.full(4, 0.5) for key in more}
    assert quantized(layer(rng.normal(size=(4, 9)), neuron(1.0, **same)), "loihi1").network["n"].model.dv == 2048


@pytest.mark.parametrize(
    ("field", "what"), [("v_init", "initial v"), ("v_min", "lower clip of v"), ("v_reset", "reset potential")]
)
def test_a_target_that_has_one_level_for_all(field: str, what: str, rng: np.random.Generator) -> None:
    """Loihi 1 has none of them at all; a target of one's own may have one for a population."""
    from snnhw.machine import parse_target
    from snnhw.quantize.quantize import quantize

    text = load_target("loihi2").text.replace(
        "levels_per_neuron = { value = true", "levels_per_neuron = { value = false"
    )
    network = four(rng, keep=0.9, reset=Reset.V_RESET, **{field: -KEEPS})
    with pytest.raises(QuantizeError, match=f"unsupported-neuron: target mine has no such {what}"):
        quantize(network, parse_target("mine", text), deployment(network), None)


def test_the_neuron_out_of_range_is_named() -> None:
    with pytest.raises(QuantizeError) as caught:
        decay(np.array([0.5, 1.25, -1.0]), "membrane", "n", 4096)
    assert caught.value.needed == 1.25
    assert decay(np.array([[0.5], [0.5]]), "membrane", "n", 4096) == 2048


def test_lists_of_different_neurons_survive_calibration(rng: np.random.Generator) -> None:
    """Scales, rounding and the mean that goes into the bias with data; the float rates come back."""
    network = four(rng, keep=KEEPS)
    x: Array = (rng.random((64, 8, 9)) < 0.4).astype(np.int64)
    result = quantized(network, "loihi2", x)
    want, have = float_spikes(network, x)["n"], spikes(result, x)["spikes/n"]
    assert (want != have).mean() < 0.01
    assert 0.05 < want.mean() < 0.95
    changed = replace(result.network["n"].model, dv=np.asarray(result.network["n"].model.dv)[::-1])
    cells = tuple(replace(p, neuron=changed) if p.name == "n" else p for p in result.network.populations)
    other = spikes(replace(result, network=replace(result.network, populations=cells)), x)["spikes/n"]
    assert (want != other).mean() > 0.02


@pytest.mark.parametrize("changes", [{"v_min": -1e308}, {"v_init": -1e9}])
def test_levels_beyond_24_bit(rng: np.random.Generator, changes: dict[str, float]) -> None:
    with pytest.raises(QuantizeError) as caught:
        quantized(four(rng, keep=0.9, **changes), "loihi2")
    name = next(iter(changes))
    assert str(caught.value).startswith(f"level-range: {name} does not fit 24 bit beside the weights and thresholds\n")
