"""Comparing two stages: one population after another, spikes as bytes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from torch import nn

from snnhw.frontends.check import Check, check_import, compared, narrow, run_graph, run_module
from snnhw.frontends.simulate import run, walk
from snnhw.network import Array
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import LIF
from tests.unit.frontends.modules import imported, random_module, values


@pytest.mark.parametrize(
    ("numbers", "small"),
    [
        ([0.0, 1.0, 255.0], True),
        ([0.0, 256.0], False),
        ([-1.0, 0.0], False),
        ([0.5, 1.0], False),
        ([float("nan")], False),
    ],
)
def test_only_whole_numbers_become_bytes(numbers: list[float], small: bool) -> None:
    found = narrow(np.array(numbers))
    assert found.dtype == (np.uint8 if small else np.float64)
    np.testing.assert_array_equal(found, numbers)


def test_every_name_is_found_in_any_order_and_the_first_difference_is_told() -> None:
    want = {"a": np.zeros((2, 3)), "b": np.ones((2, 3)), "c": np.ones((2, 2))}
    have = {"c": np.ones((2, 2)), "x": np.zeros(1), "b": np.array([[1.0, 1, 1], [1, 0, 0]]), "a": np.zeros((2, 3))}
    found = compared("s", want, have.items())
    assert found == Check("s", 2, 16, 2, "b, index (sample, step, neuron...) (1, 1)")


def test_a_name_that_never_comes_is_different() -> None:
    want = {"a": np.ones((2, 3)), "b": np.ones((2, 4))}
    assert compared("s", want, [("b", np.ones((2, 4)))]) == Check("s", 2, 14, 6, "a: missing or of another shape")
    other = compared("s", want, [("a", np.ones((2, 3))), ("b", np.ones((2, 5)))])
    assert (other.different, other.detail) == (8, "b: missing or of another shape")


def test_values_that_are_not_spikes_may_differ_in_their_last_bit() -> None:
    assert compared("s", {"a": np.full((1, 2), 0.1)}, [("a", np.full((1, 2), 0.1 + 1e-16))]).different == 0
    assert compared("s", {"a": np.full((1, 2), 0.1)}, [("a", np.full((1, 2), 0.1001))]).different == 2


def test_not_a_number_is_a_difference() -> None:
    one = np.array([[np.nan, 1.0]])
    assert compared("s", {"a": one}, [("a", one)]).different == 1


def test_the_other_stages_values_are_not_held() -> None:
    made: list[weakref.ref[Array]] = []

    def have() -> Iterator[tuple[str, Array]]:
        for name in "abc":
            assert all(array() is None for array in made[:-1])  # the last one is still being looked at
            values = np.zeros((1, 2))
            made.append(weakref.ref(values))
            yield name, values
            del values

    assert compared("s", {name: np.zeros((1, 2)) for name in "abc"}, have()).different == 0
    assert len(made) == 3


def test_walking_a_graph_gives_what_running_it_gives() -> None:
    module, shape, readout = random_module(3)
    source = imported(module, shape, readout=readout)
    x = values(source)
    whole = run(source.graph, source.semantics, x)
    assert [name for name, _ in walk(source.graph, source.semantics, x)] == list(whole)
    small, found = run_graph(source, x), run_module(source, x)
    for name, spikes in whole.items():
        np.testing.assert_array_equal(small[name], spikes)
    spiking = [name for name in found if name != "output"]
    assert any(small[name].any() for name in spiking)
    assert all(small[name].dtype == found[name].dtype == np.uint8 for name in spiking)


@pytest.mark.parametrize(("off", "different"), [(1e-11, 0), (1e-8, 2), (1e-6, 2)])
def test_values_that_are_not_spikes_agree_to_nine_digits(off: float, different: int) -> None:
    """Both stages run in float64: what is off by more was not rounded otherwise, it was computed otherwise."""
    want = np.array([[0.5, -3.0]])
    assert compared("s", {"a": want}, [("a", want * (1 + off))]).different == different


def test_a_membrane_that_is_asked_for_of_spiking_neurons_is_no_difference() -> None:
    """Forward returns spikes; --readout membrane shows what the neurons have left, which is no fault of anything."""
    net = nn.Sequential(PerStep(nn.Flatten()), PerStep(nn.Linear(50, 4)), LIF(v_threshold=0.5))
    found = {}
    for readout in ("rate", "membrane"):
        source = imported(net, readout=readout)
        x = values(source)
        found[readout] = check_import(source, x)
        shown = run_graph(source, x)["output"]
        assert (readout == "membrane") == bool((shown % 1).any())
    assert found["membrane"].different == 0, found
    assert found["membrane"].compared == found["rate"].compared / 2  # the spikes; not once more as the output
