"""Decisions within rounding of the threshold are excepted, all others must be equal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnhw.evaluate import fire, undecided
from snnhw.frontends.decisions import NEAR, close, compare_decisions, near, tied
from snnhw.network import Array, Comparison, FloatNeuron, Reset

NEURON = FloatNeuron(v_keep=0.5, threshold=np.asarray(1.0), bias=np.zeros(()), comparison=Comparison.GE)


def sides(x: Array, neuron: FloatNeuron = NEURON) -> tuple[dict[str, Array], Array]:
    return {"n": fire(neuron, x)}, undecided(neuron, x)


def test_membranes_are_those_before_the_decision() -> None:
    x = np.array([[[0.8], [0.8], [0.8]]])
    assert undecided(NEURON, x).ravel().tolist() == [0.8, 0.5 * 0.8 + 0.8, 0.8]
    soft = replace(NEURON, reset=Reset.SUBTRACT)
    assert np.allclose(undecided(soft, x).ravel(), [0.8, 1.2, 0.5 * 0.2 + 0.8])


def test_equal_sides_are_compared_whole() -> None:
    have, v = sides(np.random.default_rng(0).random((2, 5, 3)))
    found = compare_decisions(have, have, ["n"], lambda name: (NEURON, v))
    assert (found.compared, found.different, found.excepted, found.first) == (30, 0, 0, "")


def test_a_decision_at_the_threshold_is_excepted_with_what_follows_in_its_sample() -> None:
    x = np.full((2, 4, 3), 0.3)
    x[0, 1, 2] = 0.85 + NEAR / 2
    have, v = sides(x)
    want = {"n": have["n"].copy()}
    want["n"][0, 1, 2] = 0
    want["n"][0, 3] = 1 - want["n"][0, 3]
    found = compare_decisions(want, have, ["n"], lambda name: (NEURON, v))
    assert (found.different, found.excepted) == (0, 1)
    assert found.compared == 2 * 3 + 4 * 3


def test_an_exact_tie_must_agree_where_no_number_was_rounded() -> None:
    """Whole weights and thresholds are the same numbers in float32 and float64: the comparison is another one."""
    whole = replace(NEURON, v_keep=1.0, threshold=np.asarray(2.0))
    x = np.ones((2, 4, 3))
    have, v = sides(x, whole)
    want = {"n": fire(replace(whole, comparison=Comparison.GT), x)}
    assert tied(whole, v, 0, 1).all()
    found = compare_decisions(want, have, ["n"], lambda name: (whole, v))
    assert (found.excepted, found.compared, found.total, found.node) == (0, 24, 24, "n")
    assert found.different == (want["n"] != have["n"]).sum()


def test_a_tie_that_was_rounded_on_its_way_is_excepted() -> None:
    whole = replace(NEURON, v_keep=1.0)
    x = np.array([[[0.1], [0.9], [0.0]], [[0.0], [0.0], [0.0]]])
    have, v = sides(x, whole)
    assert v[0, 1, 0] == 1.0
    assert not tied(whole, v, 0, 1).any()
    want = {"n": fire(replace(whole, comparison=Comparison.GT), x)}
    found = compare_decisions(want, have, ["n"], lambda name: (whole, v))
    assert (found.different, found.excepted, found.compared, found.total, found.cut) == (0, 1, 5, 6, (0,))


def test_others_differ_and_the_first_is_named() -> None:
    x = np.full((1, 4, 3), 0.3)
    x[0, 1, 2] = 0.85 + 3 * NEAR
    have, v = sides(x)
    want = {"n": have["n"].copy()}
    want["n"][0, 1, 2] = 0
    found = compare_decisions(want, have, ["n"], lambda name: (NEURON, v))
    assert (found.compared, found.different, found.excepted) == (12, 1, 0)
    assert (found.node, found.first) == ("n", "n, index (sample, step, neuron...) (0, 1, 2)")


def test_the_first_is_the_earliest_step_then_the_order_of_nodes() -> None:
    zero = np.zeros((1, 3, 1))
    want, have = {"a": zero, "b": zero}, {"a": zero.copy(), "b": zero.copy()}
    have["a"][0, 2], have["b"][0, 1] = 1, 1
    far = (NEURON, zero)
    assert compare_decisions(want, have, ["a", "b"], lambda name: far).node == "b"
    have["b"][0, 1], have["b"][0, 2] = 0, 1
    assert compare_decisions(want, have, ["b", "a"], lambda name: far).node == "b"
    assert compare_decisions(want, have, ["a", "b"], lambda name: far).node == "a"


def test_counts_are_near_multiples_of_the_threshold() -> None:
    v = np.array([[[2.0 + NEAR / 2, 1.5, 0.0, 5.0]]])
    several = replace(NEURON, max_spikes=3)
    assert near(several, v, 0, 0).tolist() == [True, False, False, False]
    assert near(NEURON, v, 0, 0).tolist() == [False] * 4
    assert near(replace(NEURON, threshold=np.zeros(())), v, 0, 0).tolist() == [False, False, True, False]


def test_values_are_compared_relative_to_the_largest() -> None:
    want = np.array([100.0, 0.0])
    assert close(want, np.array([100.001, 0.001])).all()
    assert close(want, np.array([100.1, 0.0])).tolist() == [False, True]
    assert close(np.zeros(2), np.zeros(2)).all()
