"""Without a swap, the integer network in float64 is the engines', bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.attribution import reals
from snnhw.engines.fast import FastEngine
from snnhw.engines.observe import Recorder
from snnhw.network import Kind
from tests.generate import FLAVOURS, LIF, PROGRAMMABLE, Case, machine, random_case
from tests.recurrent import FORMS, recurrent_case


def same(case: Case) -> None:
    chip, recorder = machine(case.profile), Recorder(case.network, spikes=True)
    FastEngine().run(case.network, chip, [case.stream], [recorder])
    arrays = recorder.arrays()
    found = reals.run(reals.Variant(case.network), chip.widths, case.stream)
    for p in case.network.computed:
        if p.kind is not Kind.ACCUMULATOR:
            np.testing.assert_array_equal(found[p.name], arrays[f"spikes/{p.name}"], p.name)
    np.testing.assert_array_equal(reals.outputs(case.network, found), arrays["output"])
    again = reals.run(
        reals.Variant(case.network, frozenset({case.network.computed[0].name})), chip.widths, case.stream, found
    )
    np.testing.assert_array_equal(reals.outputs(case.network, again), arrays["output"])


@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
@pytest.mark.parametrize("seed", range(len(FLAVOURS)))
def test_equals_the_engines(seed: int, profile: str) -> None:
    same(random_case(seed, profile))


@pytest.mark.parametrize("form", FORMS)
def test_equals_the_engines_in_loops(form: str) -> None:
    same(recurrent_case(3, PROGRAMMABLE, form=form))


def test_shifts_of_reals_are_those_of_integers() -> None:
    whole = np.arange(-20, 20)
    for shift in range(5):
        np.testing.assert_array_equal(whole.astype(float).view(reals.Reals) >> shift, whole >> shift)
        np.testing.assert_array_equal(whole.astype(float).view(reals.Reals) << shift, whole << shift)
    np.testing.assert_array_equal(whole.astype(float).view(reals.Unrounded) >> 2, whole / 4)
