"""What Lava's LIF, Dense and Conv cannot hold is refused by name before anything is started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw import fixed
from snnhw.engines.lava import rules
from snnhw.engines.lava.plan import Job, make_plan
from snnhw.errors import EngineError
from snnhw.fixed import LOIHI
from snnhw.network import (
    Comparison,
    Conv,
    Dense,
    Inject,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
)
from snnhw.neurons.base import WORDS

PLAIN = IntNeuron(0, np.array(640), np.array(0), du=4096)


def network(
    neuron: IntNeuron = PLAIN, weight: Any = None, *, conv: bool = False, exponent: int = 0
) -> Network[IntNeuron]:
    w = np.asarray([[2, -4, 6, 8]] if weight is None else weight)
    op = Conv("w") if conv else Dense("w")
    pops = (Population("in", (4, 1, 1), Kind.INPUT), Population("n", (1, 1, 1), Kind.NEURON, neuron, 1))
    return Network(
        pops,
        (Projection("syn", "in", "n", op, 1, exponent),),
        {"w": w.reshape(1, 4, 1, 1) if conv else w},
        2,
        Readout("rate", "n"),
    )


def refusal(net: Network[IntNeuron], profile: str = "lava-lif", connections: str = "stock") -> EngineError:
    with pytest.raises(EngineError) as caught:
        make_plan(Job(net, profile, connections, 1, 1, widths=LOIHI))
    return caught.value


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("connections", ["stock", "sparse"])
def test_odd_mixed_weights_are_refused(conv: bool, connections: str) -> None:
    error = refusal(network(weight=[[2, -3, 6, 8]], conv=conv), connections=connections)
    assert (error.code, error.where, error.needed) == ("odd-weight", "syn", -3)
    assert error.message == "weights of mixed sign must be even: Lava drops their lowest bit"


def test_odd_weights_of_one_sign_are_held() -> None:
    make_plan(Job(network(weight=[[1, 3, 0, 255]]), "lava-lif", "stock", 1, 1, widths=LOIHI))
    make_plan(Job(network(weight=[[-1, -3, 0, -255]]), "lava-lif", "stock", 1, 1, widths=LOIHI))


@pytest.mark.parametrize("weight", [[[0, 0, 0, 256]], [[-256, 0, 0, 0]], [[-258, 2, 0, 0]], [[256, -2, 0, 0]]])
def test_weights_beyond_8_bits_are_refused(weight: list[list[int]]) -> None:
    error = refusal(network(weight=weight))
    assert (error.code, error.message, error.where) == ("weight-range", "Lava's synapses hold 8 bits", "syn")


def test_programmable_with_own_synapses_holds_any_weight() -> None:
    make_plan(Job(network(weight=[[300, -301, 0, 0]]), "programmable", "sparse", 1, 1, widths=LOIHI))
    assert refusal(network(weight=[[300, -301, 0, 0]]), "programmable", "stock").code == "weight-range"


def test_weight_exponent_out_of_range() -> None:
    error = refusal(network(exponent=40))
    assert (error.code, error.message) == ("weight-range", "the weight exponent is out of range")


def test_stock_conv_has_no_exponent() -> None:
    error = refusal(network(conv=True, exponent=1))
    assert (error.code, error.where) == ("lava-unsupported", "syn")
    assert error.message == "Lava's Conv ignores weight_exp (lava issue 803)"
    assert error.hint == "use connections='sparse'"
    make_plan(Job(network(conv=True, exponent=1), "lava-lif", "sparse", 1, 1, widths=LOIHI))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("comparison", Comparison.GE),
        ("reset", Reset.SUBTRACT),
        ("reset_timing", ResetTiming.NEXT_STEP),
        ("v_init", 1),
        ("v_min", 0),
        ("max_spikes", 2),
        ("act_shift", 5),
        ("du", 4097),
        ("dv", 4096),
    ],
)
def test_fields_that_lif_lacks(field: str, value: Any) -> None:
    error = refusal(network(replace(PLAIN, **{field: value})))
    assert (error.code, error.where, error.needed) == ("lava-unsupported", "n", value)
    assert error.message == f"Lava's LIF has no such {WORDS.get(field, field)}"
    make_plan(Job(network(replace(PLAIN, **{field: value})), "programmable", "sparse", 1, 1, widths=LOIHI))


def test_one_threshold_per_population() -> None:
    pops = network().populations
    wide = replace(pops[1], shape=(2,), neuron=replace(PLAIN, vth=np.array([64, 128])))
    with pytest.raises(EngineError, match="Lava's LIF has one threshold per population") as caught:
        rules.vth_register(wide)
    assert (caught.value.code, caught.value.needed) == ("lava-unsupported", "64..128")


@pytest.mark.parametrize("vth", [65, -64, 131072 << 6])
def test_threshold_mantissa(vth: int) -> None:
    error = refusal(network(replace(PLAIN, vth=np.array(vth))))
    assert (error.code, error.message) == ("lava-unsupported", "the threshold is not a 17-bit mantissa times 64")


def test_accumulator_gets_the_largest_threshold() -> None:
    population = replace(network().populations[1], kind=Kind.ACCUMULATOR, neuron=replace(PLAIN, vth=np.array(7)))
    assert rules.vth_register(population) == 131071


@pytest.mark.parametrize(
    ("bias", "mantissa", "exponent"),
    [
        ([0], [0], 0),
        ([4095, -4096], [4095, -4096], 0),
        ([4096], [2048], 1),
        ([64 * 4095, -64], [4095, -1], 6),
        ([4095 << 7, -4096 << 7], [4095, -4096], 7),
    ],
)
def test_smallest_exact_bias_exponent(bias: list[int], mantissa: list[int], exponent: int) -> None:
    found, shift = rules.bias_register(replace(PLAIN, bias=np.array(bias)), "n")
    assert (found.tolist(), shift) == (mantissa, exponent)


@pytest.mark.parametrize("bias", [[4097], [4096 << 7], [1, 64 * 4095]])
def test_bias_that_no_exponent_holds(bias: list[int]) -> None:
    with pytest.raises(EngineError, match="the biases are not 13-bit mantissas times one power of two") as caught:
        rules.bias_register(replace(PLAIN, bias=np.array(bias)), "n")
    assert (caught.value.code, caught.value.where) == ("lava-unsupported", "n")


def test_injected_values_have_no_weights() -> None:
    net = network()
    pops = (replace(net.populations[0], shape=(1, 1, 1)), net.populations[1])
    make_plan(
        Job(
            replace(net, populations=pops, projections=(Projection("inj", "in", "n", Inject()),)),
            "lava-lif",
            "stock",
            1,
            1,
            widths=LOIHI,
        )
    )


def test_graded_populations() -> None:
    plain, spiking = network().populations
    assert not rules.graded(plain)
    assert not rules.graded(spiking)
    assert rules.graded(replace(plain, payload=(0, 255)))
    assert rules.graded(replace(spiking, neuron=replace(PLAIN, max_spikes=2)))


@pytest.mark.parametrize("name", ["du", "dv"])
def test_lif_has_one_decay_for_all(name: str) -> None:
    error = refusal(network(replace(PLAIN, **{name: np.array([[[1]], [[2]]])})))  # type: ignore[arg-type]
    assert (error.code, error.message) == ("lava-unsupported", f"Lava's LIF has one {name} per population")
    assert (error.where, error.needed, error.limit) == ("n", "one per neuron", "one value")
    assert error.hint == "compile for a target with programmable neurons"


@pytest.mark.parametrize(
    ("widths", "what", "needed", "limit"),
    [
        (
            fixed.LOIHI._replace(u=fixed.width(16, fixed.WRAP)),
            "u",
            "16 bits, wrap, -32768..32767",
            "24 bits, wrap-once, -8388607..8388608",
        ),
        (
            fixed.LOIHI._replace(v=fixed.Width(24, fixed.SATURATE, -8388608, 8388607)),
            "v",
            "24 bits, saturate, -8388608..8388607",
            "24 bits, saturate, -8388607..8388607",
        ),
        (fixed.LOIHI._replace(decay_bits=8), "decay_bits", "8 bits", "12 bits"),
    ],
)
def test_stock_lava_has_one_format_of_states(widths: fixed.Widths, what: str, needed: str, limit: str) -> None:
    net = network()
    with pytest.raises(EngineError) as caught:
        rules.verify(net, "lava-lif", widths, [])
    rules.verify(net, "lava-lif", fixed.LOIHI, [])
    error = caught.value
    assert (error.code, error.message) == ("lava-unsupported", f"Lava's LIF has no such format of {what}")
    assert (error.needed, error.limit) == (needed, limit)


def test_a_neuron_model_from_elsewhere() -> None:
    """The worker is a process of its own, which has imported snnhw and nothing else."""
    own = type("Own", (IntNeuron,), {"MODEL": "own"})
    error = refusal(network(own(**vars(PLAIN))))
    assert (error.code, error.where, error.needed) == ("lava-unsupported", "n", "own")
    assert error.message == "Lava's worker process knows the neuron models inside of snnhw only"
