"""Difference equations of frameworks as NIR nodes: the node's own meaning gives the equation back."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import pytest

from snnhw.errors import SourceError
from snnhw.frontends.live.equations import Membrane, silent, spiking
from snnhw.frontends.simulate import neuron_model
from snnhw.network import Comparison, Reset, ResetTiming
from snnhw.semantics import CurrentOrder, Semantics

DT = 1e-3
RULE = Semantics(
    dt=DT,
    reset=Reset.SUBTRACT,
    reset_timing=ResetTiming.SAME_STEP,
    threshold=Comparison.GE,
    multispike=1,
    v_min=None,
    integrator="euler",
    current_order=CurrentOrder.SAME_STEP,
    v_init=0.0,
    time_layout="NT",
)


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers)


LEAKING = Membrane(values(0.9, 0.3), values(2.0, 0.5), values(0.1, -0.2))
SYNAPTIC = replace(LEAKING, current_keep=values(0.8, 0.0), current_gain=values(0.7, 1.0))


def test_a_leaking_membrane_is_a_lif() -> None:
    node, before = spiking(LEAKING, np.ones(2), np.zeros(2), DT, "net.1")
    assert isinstance(node, nir.LIF)
    assert before == ()
    neuron, gain = neuron_model(node, RULE)
    assert np.allclose(neuron.v_keep, LEAKING.keep, rtol=0, atol=1e-15)
    assert np.allclose(gain, LEAKING.gain, rtol=1e-14)
    assert np.allclose(neuron.bias, LEAKING.rest, rtol=1e-14)


def test_a_current_makes_it_a_cuba_lif() -> None:
    node, before = spiking(SYNAPTIC, np.ones(2), np.zeros(2), DT, "net.1")
    assert isinstance(node, nir.CubaLIF)
    assert before == ()
    neuron, gain = neuron_model(node, RULE)
    assert np.allclose(neuron.u_keep, SYNAPTIC.current_keep, rtol=0, atol=1e-15)
    assert np.allclose(gain, SYNAPTIC.gain * SYNAPTIC.current_gain, rtol=1e-14)


def test_no_leak_is_an_if_and_its_current_a_filter() -> None:
    whole = replace(LEAKING, keep=np.ones(2), rest=np.zeros(2))
    node, before = spiking(whole, np.ones(2), np.zeros(2), DT, "net.1")
    assert isinstance(node, nir.IF)
    assert before == ()
    assert np.allclose(neuron_model(node, RULE)[1], whole.gain)
    node, (current,) = spiking(
        replace(whole, current_keep=SYNAPTIC.current_keep, current_gain=SYNAPTIC.current_gain),
        np.ones(2),
        np.zeros(2),
        DT,
        "net.1",
    )
    assert isinstance(node, nir.IF)
    assert isinstance(current, nir.LI)
    neuron, gain = neuron_model(node, RULE, current)
    assert neuron.v_keep == 1
    assert np.allclose(neuron.u_keep, SYNAPTIC.current_keep, rtol=0, atol=1e-15)
    assert np.allclose(gain, whole.gain * SYNAPTIC.current_gain, rtol=1e-14)


@pytest.mark.parametrize(("equation", "kind"), [(LEAKING, nir.LI), (SYNAPTIC, nir.CubaLI)])
def test_a_membrane_that_never_fires(equation: Membrane, kind: type) -> None:
    node = silent(equation, DT, "net.1")
    assert isinstance(node, kind)
    neuron, gain = neuron_model(node, RULE)
    assert np.allclose(neuron.v_keep, equation.keep, rtol=0, atol=1e-15)
    assert np.allclose(gain, equation.gain * (1 if equation.current_gain is None else equation.current_gain))
    assert np.allclose(neuron.bias, equation.rest)


GROWING = "some membranes of a layer that do not leak, grow, or change their sign"
ENDLESS = "a synaptic current that does not decay, grows, or changes its sign"


@pytest.mark.parametrize(
    ("equation", "text"),
    [
        (replace(LEAKING, keep=np.ones(2)), "a bias on a membrane that does not leak"),
        (replace(LEAKING, keep=values(1.0, 0.5)), GROWING),
        (replace(LEAKING, keep=values(-0.1, 0.5)), GROWING),
        (replace(SYNAPTIC, current_keep=values(1.0, 0.5)), ENDLESS),
        (replace(SYNAPTIC, current_keep=values(-0.1, 0.5)), ENDLESS),
    ],
)
def test_what_no_node_means_is_refused(equation: Membrane, text: str) -> None:
    with pytest.raises(SourceError) as caught:
        spiking(equation, np.ones(2), np.zeros(2), DT, "net.1")
    assert caught.value.code == "no-leak"
    assert text in caught.value.message
    assert caught.value.where == "net.1"
