"""Feedback, constants and per-neuron parameters: fast equals reference bit for bit, and each of them matters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnhw import fixed
from snnhw.engines.fast import FastEngine
from snnhw.engines.kernels import flat, update
from snnhw.engines.reference import Cells, ReferenceEngine
from snnhw.fixed import LOIHI
from snnhw.network import Comparison, IntNeuron, Kind, Network, Population, Reset, ResetTiming
from tests.generate import LIF, PROGRAMMABLE, Case
from tests.property.test_engines_properties import run, same
from tests.recurrent import FORMS, feedback, recurrent_case


@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
@pytest.mark.parametrize("form", FORMS)
def test_fast_equals_reference(profile: str, form: str) -> None:
    for seed in range(4):
        case = recurrent_case(seed, profile, form=form)
        same(run(FastEngine(), case), run(ReferenceEngine(), case))


@pytest.mark.parametrize("form", FORMS)
def test_batches_and_order_do_not_matter(form: str) -> None:
    case = recurrent_case(5, PROGRAMMABLE, samples=5, form=form)
    order = np.array([3, 0, 4, 1, 2])
    whole = run(ReferenceEngine(), case)
    same(run(FastEngine(), case, cuts=(1, 3)), whole)
    same(run(ReferenceEngine(), case), run(FastEngine(), case, order=order), order)


def _changed(case: Case, network: Network[IntNeuron]) -> bool:
    """Whether another network gives other bits in the reference."""
    one, other = (run(ReferenceEngine(), replace(case, network=n)).arrays() for n in (case.network, network))
    return any((one[key] != other[key]).any() for key in one)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "levels"])
@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
def test_feedback_is_heard(profile: str, form: str) -> None:
    """Without its feedback, or with what is still on the way when the next sample begins, a network differs."""
    cut = carried = 0
    for seed in range(4):
        case = recurrent_case(seed, profile, form=form)
        loops = {q.name for q in feedback(case.network)}
        assert loops
        kept = tuple(q for q in case.network.projections if q.name not in loops)
        cut += _changed(case, replace(case.network, projections=kept))
        late = tuple(replace(q, lag=0) for q in case.network.projections)
        carried += _changed(case, replace(case.network, projections=late))
    assert cut >= 3
    assert carried >= 2


def test_per_neuron_parameters_are_heard() -> None:
    """With the first neuron's value for all of them a network differs."""
    heard = dict.fromkeys(("dv", "du", "v_init", "v_reset", "v_min"), 0)
    for seed in range(30):
        case = recurrent_case(seed, PROGRAMMABLE, form="levels")
        for name in heard:
            same_for_all = tuple(
                replace(p, neuron=replace(p.model, **{name: _first(getattr(p.model, name))})) if p.neuron else p
                for p in case.network.populations
            )
            heard[name] += _changed(case, replace(case.network, populations=same_for_all))
    assert min(heard.values()) > 0, heard


def _first(level: Any) -> Any:
    return int(level.flat[0]) if isinstance(level, np.ndarray) else level


DECAY, MEMBRANE = st.integers(0, 4096), st.integers(-(fixed.STATE_MAX), fixed.STATE_MAX)


@given(st.lists(st.tuples(DECAY, DECAY, MEMBRANE, MEMBRANE, MEMBRANE), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_arrays_of_parameters_are_single_neurons_side_by_side(
    rows: list[tuple[int, int, int, int, int]], data: st.DataObject
) -> None:
    """Reference cells and the compiled kernel with arrays give what one neuron at a time with numbers gives."""
    du, dv, v_init, v_reset, v_min = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    size, steps = len(rows), 4
    reset = data.draw(st.sampled_from(list(Reset)))
    late = reset is Reset.SUBTRACT and data.draw(st.booleans())
    most = data.draw(st.sampled_from([1, 3, fixed.STATE_MAX]))
    vth = np.array(data.draw(st.lists(st.integers(1, 1 << 20), min_size=size, max_size=size)))
    plain = IntNeuron(
        0, vth, np.array(data.draw(st.integers(-(1 << 20), 1 << 20))), act_shift=data.draw(st.integers(0, 6)),
        comparison=data.draw(st.sampled_from(list(Comparison))), reset=reset, max_spikes=most,
        reset_timing=ResetTiming.NEXT_STEP if late else ResetTiming.SAME_STEP,
     du=4096)  # fmt: skip
    clip = data.draw(st.booleans())
    each = replace(plain, du=du, dv=dv, v_init=v_init, v_reset=v_reset, v_min=v_min if clip else None)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    a = rng.integers(-(1 << 16), 1 << 16, (1, steps, size))
    together = update(flat(each, (size,)), True, a)
    cells = Cells(Population("n", (size,), Kind.NEURON, each), LOIHI)
    for t in range(steps):
        cells.step(a[:, t])
        for ours, found in zip(
            (cells.s, *cells.state.values()), (together.spikes, *together.state.values()), strict=True
        ):
            np.testing.assert_array_equal(ours, found[:, t])
    for n in range(size):
        one = {key: int(x[n]) for key, x in {"du": du, "dv": dv, "v_init": v_init, "v_reset": v_reset}.items()}
        alone = replace(plain, **one, vth=vth[n : n + 1], v_min=int(v_min[n]) if clip else None)
        one_of_them = update(alone, True, a[:, :, n : n + 1])
        np.testing.assert_array_equal(together.spikes[..., n], one_of_them.spikes[..., 0])
        for name, whole in together.state.items():
            np.testing.assert_array_equal(whole[..., n], one_of_them.state[name][..., 0])
