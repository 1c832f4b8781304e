"""What a target's neurons or formats cannot hold is refused by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from snnhw.errors import QuantizeError
from snnhw.network import Comparison, FloatNeuron, Kind, Reset, ResetTiming
from tests.unit.quantize.nets import layer, neuron, quantized

ONE = np.ones((2, 3))


def refusal(model: FloatNeuron, target: str = "loihi1", **more: Any) -> str:
    with pytest.raises(QuantizeError) as caught:
        quantized(layer(ONE, model), target, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "what", "needed", "limit"),
    [
        (neuron(reset=Reset.SUBTRACT), "reset", "subtract", "zero"),
        (neuron(reset=Reset.V_RESET, v_reset=0.5), "reset", "v_reset", "zero"),
        (neuron(reset_timing=ResetTiming.NEXT_STEP), "reset timing", "next_step", "same_step"),
        (neuron(max_spikes=3), "spikes per step", "3", "1"),
        (neuron(v_min=-1.0), "lower clip of v", "-1.0", "none"),
        (neuron(v_init=0.5), "initial v", "0.5", "0"),
        (neuron(threshold=[1.0, 2.0]), "threshold", "one per neuron", "one per population"),
    ],
)
def test_stock_neurons_cannot(model: FloatNeuron, what: str, needed: str, limit: str) -> None:
    soft = "--hard-reset to reset to zero instead (compare shows the loss)"
    instead = soft if model.reset is Reset.SUBTRACT else "train with what the target has"
    assert refusal(model) == (
        f"unsupported-neuron: target loihi1 has no such {what}\n  where: n\n  needed: {needed}\n  limit: {limit}\n"
        f"  hint: use --target loihi2, or {instead}"
    )
    quantized(layer(ONE, model), "loihi2")


def test_negative_threshold() -> None:
    assert refusal(neuron(threshold=-0.5)) == (
        "bad-threshold: a threshold is negative\n  where: n\n  needed: -0.5\n  limit: 0 or more\n"
        "  hint: shift the membrane so that the threshold is positive"
    )


@pytest.mark.parametrize(("part", "what"), [({"v_keep": 1.5}, "membrane"), ({"u_keep": -0.1}, "current")])
def test_decay_outside_0_to_1(part: dict[str, float], what: str) -> None:
    model = replace(neuron(), **part)
    assert refusal(model) == (
        f"bad-decay: the {what} grows or changes sign every step\n  where: n\n  needed: {next(iter(part.values()))}\n"
        "  limit: 0 to 1\n  hint: check tau and dt (dt <= tau)"
    )


def test_threshold_that_no_format_holds() -> None:
    """17 bit << 6 on loihi1; the weights cannot shrink below one unit of the largest without vanishing."""
    text = refusal(neuron(threshold=1e-4))
    assert text == (
        "threshold-range: a threshold does not fit its format\n  where: n\n  needed: -64\n  limit: 0 to 8388544\n"
        "  hint: rescale the layer: threshold and weights are too far apart"
    )


def test_multi_spike_needs_a_threshold_of_one_at_least() -> None:
    text = refusal(neuron(threshold=1e-9, max_spikes=3), "loihi2")
    assert "threshold-range: a threshold does not fit its format" in text
    assert "needed: 0\n  limit: 1 to 8388607" in text


def test_bias_that_no_format_holds() -> None:
    """The scale gives way to a large bias, so only a bias out of all proportion is refused; see test_neuron."""
    from snnhw.machine import load_target
    from snnhw.quantize.formats import formats_of
    from snnhw.quantize.neuron import make_neuron

    network = layer(ONE, neuron(bias=1e4, comparison=Comparison.GT))
    formats = formats_of(load_target("loihi1"), None)
    with pytest.raises(QuantizeError) as caught:
        make_neuron(network["n"], np.asarray(1.0), 6, formats, True)
    assert str(caught.value) == (
        "bias-range: a bias does not fit its format\n  where: n\n  needed: 640000\n  limit: 524160\n"
        "  hint: rescale the layer: bias and weights are too far apart"
    )


def test_analog_input_of_unknown_range() -> None:
    assert refusal(neuron(), "loihi2", encoding="direct") == (
        "needs-calibration: the range of the analog input is not known\n  where: in\n"
        "  hint: give training samples with --calibrate DATA.npz"
    )


@dataclass(frozen=True)
class Own(FloatNeuron):
    """A model that only programmable neurons can be."""

    MODEL: ClassVar[str] = "own"
    PROFILES: ClassVar[tuple[str, ...]] = ("programmable",)


def test_a_neuron_model_that_the_profile_lacks() -> None:
    model = Own(0.0, np.ones(()), np.zeros(()))
    assert quantized(layer(ONE, model), "loihi2")
    text = refusal(model)
    assert text.startswith("unsupported-neuron: target loihi1 has no such neuron model\n  where: n\n  needed: own\n")
    assert "limit: cuba_lif" in text


def test_a_scale_that_vanishes() -> None:
    """A readout whose constant is beyond all weights; `tests/corpus/pt` has the file that showed it."""
    model = FloatNeuron(1.0, np.zeros(()), np.full(2, 5e37))
    network = layer(ONE, model, kind=Kind.ACCUMULATOR, steps=4)
    with pytest.raises(QuantizeError) as caught:
        quantized(network, "loihi2", np.ones((2, 4, 3), np.int64))
    assert caught.value.code == "scale-range"
    told = "values are so large that nothing is left of the weights at the scale that holds them"
    assert str(caught.value).startswith(f"scale-range: {told}\n  where: n\n")
