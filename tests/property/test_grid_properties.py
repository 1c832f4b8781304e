"""Networks whose weights lie on an integer grid already: IF neurons spike as in float, others get that very grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnhw.network import Array, Comparison, Reset
from snnhw.quantize.grid import row_steps
from tests.unit.quantize.nets import float_spikes, layer, neuron, quantized, spikes

SEED = st.integers(0, 1 << 30)
STEPS, ROWS, COLUMNS = 10, 6, 12


def on_grid(rng: np.random.Generator, bits: int) -> tuple[Array, Array]:
    """Whole numbers of so many bits, the largest among them, and the step of each row: sums of them are exact."""
    most = (1 << (bits - 1)) - 1
    whole = rng.integers(-most, most + 1, (ROWS, COLUMNS))
    whole[:, 0] = most
    return whole, rng.integers(50, 1000, (ROWS, 1)) / 4096.0


@given(SEED, st.integers(2, 8), st.sampled_from(list(Comparison)), st.sampled_from(list(Reset)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_integrate_and_fire_neurons_spike_as_in_float(
    seed: int, bits: int, comparison: Comparison, reset: Reset, calibrated: bool
) -> None:
    """Any real threshold where the reset forgets it, whole ones where it is subtracted; any bits that hold the grid."""
    rng = np.random.default_rng(seed)
    whole, step = on_grid(rng, bits)
    units = rng.integers(2, 40, ROWS) if reset is Reset.SUBTRACT else rng.uniform(2.0, 40.0, ROWS)
    bias = rng.integers(-1, 2, ROWS) * step[:, 0]
    model: dict[str, Any] = {"comparison": comparison, "reset": reset}
    network = layer(whole * step, neuron(units * step[:, 0], bias, **model), steps=STEPS)
    x = (rng.random((20, STEPS, COLUMNS)) < 0.3).astype(np.int64)
    x[:, :, 0] &= rng.random((20, STEPS)) < 0.3
    result = quantized(network, "loihi2", x if calibrated else None, rng.integers(bits, 9))
    have = result.network.weights["w"]
    np.testing.assert_array_equal(have * whole[:, :1], whole * have[:, :1])
    np.testing.assert_array_equal(spikes(result, x)["spikes/n"], float_spikes(network, x)["n"])


@given(SEED, st.integers(2, 8), st.sampled_from([0.0, 0.5, 1.0]), st.booleans(), st.sampled_from(["loihi1", "loihi2"]))
@settings(max_examples=40, deadline=None)
def test_neurons_that_leak_get_the_very_grid(
    seed: int, bits: int, u_keep: float, calibrated: bool, target: str
) -> None:
    """At the bits of the grid the integers are its own; on loihi1 one step serves all rows."""
    rng = np.random.default_rng(seed)
    whole, step = on_grid(rng, bits)
    step = step if target == "loihi2" else step[:1]
    threshold = rng.integers(10, 60) * (step[:, 0] if target == "loihi2" else float(step[0, 0]))
    model = neuron(threshold, 0.0, 0.9375, comparison=Comparison.GT, u_keep=u_keep)
    network = layer((whole * step).astype(np.float32), model, steps=STEPS)
    x = rng.integers(0, 2, (12, STEPS, COLUMNS))
    found = quantized(network, target, x if calibrated else None, bits).network
    coarse = 1 if target == "loihi2" else 2 << (8 - bits)
    np.testing.assert_array_equal(found.weights["w"], whole * coarse)
    n = found["n"].model
    np.testing.assert_array_equal(np.asarray(n.vth), np.rint(threshold / step[:, 0]) * coarse * (1 << n.act_shift))
    assert (n.dv, n.du) == (256, round(4096 * (1 - u_keep)))


@given(SEED)
@settings(max_examples=30)
def test_random_rows_are_on_no_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert not row_steps(rng.normal(size=(20, 9)), 127).any()


@pytest.mark.parametrize("row", [[0.0, 0.0], [3.0, 0.0], [0.2, -0.3]])
def test_the_largest_step_is_found(row: list[float]) -> None:
    want = {0.0: 0.0, 3.0: 3.0, 0.3: 0.1}[max(map(abs, row))]
    assert row_steps(np.array([row]), 7)[0] == pytest.approx(want)
