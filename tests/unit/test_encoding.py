"""Samples to input values: the same for every order, batch and type, and refused where they do not fit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw.encoding import ClippedInput, InputSpec, data_hash, encode, quantized_steps, real_steps, to_real
from snnhw.errors import DataError

SHAPE, STEPS = (2, 3), 4
PIXELS = InputSpec("in", SHAPE, "direct", 1 / 255, 0, 255)
SPIKES = InputSpec("in", SHAPE, "spikes")


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (5, *SHAPE), np.uint8)


def drawn(x: np.ndarray, seed: int = 0, steps: int = STEPS) -> np.ndarray:
    return real_steps(x, SHAPE, "bernoulli", steps, seed)


def test_draws_do_not_depend_on_order_or_batch(images: np.ndarray) -> None:
    whole = drawn(images)
    order = np.array([4, 2, 0, 3, 1])
    np.testing.assert_array_equal(drawn(images[order]), whole[order])
    for i in range(5):
        np.testing.assert_array_equal(drawn(images[i : i + 1])[0], whole[i])


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_draws_are_the_same_for_pixels_and_their_values(images: np.ndarray, kind: type) -> None:
    np.testing.assert_array_equal(drawn((images / 255).astype(kind)), drawn(images))


def test_draws_depend_on_seed_sample_and_step(images: np.ndarray) -> None:
    half = np.full((1, *SHAPE), 0.5)
    assert (drawn(half, 0, 64) != drawn(half, 1, 64)).any()
    assert (drawn(half, 0, 64) != drawn(half + 0.001, 0, 64)).any()
    assert 0.4 < drawn(half, -3, 400).mean() < 0.6
    assert drawn(half, 1 << 80).shape == (1, STEPS, *SHAPE)
    assert drawn(np.array([[[0.0] * 3, [1.0] * 3]]), 0, 50)[0].mean(axis=(0, 2)).tolist() == [0.0, 1.0]


def test_golden_draw() -> None:
    """Philox and blake2b are the same everywhere; another draw would change every published number."""
    x = np.arange(6, dtype=np.uint8).reshape(1, *SHAPE) * 50
    assert hashlib.sha256(drawn(x, 7, 100).astype(np.uint8).tobytes()).hexdigest() == GOLDEN


def test_direct_is_a_view_and_stays_one(images: np.ndarray) -> None:
    real = real_steps(images, SHAPE, "direct", STEPS, 0)
    assert real.strides[1] == 0
    values = encode(images, (PIXELS,), STEPS)["in"]
    assert values.strides[1] == 0
    assert values.dtype == np.int32
    np.testing.assert_array_equal(values, np.repeat(images[:, None], STEPS, axis=1))


@pytest.mark.parametrize("encoding", ["direct", "bernoulli", "spikes"])
@pytest.mark.parametrize("kind", [np.float32, np.int64, bool])
def test_given_sequences_are_taken_as_they_are(encoding: str, kind: type, rng: np.random.Generator) -> None:
    x = rng.integers(0, 2, (3, STEPS, *SHAPE)).astype(kind)
    np.testing.assert_array_equal(real_steps(x, SHAPE, encoding, STEPS, 0), x)


def test_uint8_spikes_are_spikes_and_uint8_frames_are_pixels(rng: np.random.Generator) -> None:
    x = rng.integers(0, 2, (3, STEPS, *SHAPE), np.uint8)
    for encoding in ("spikes", "bernoulli"):
        np.testing.assert_array_equal(real_steps(x, SHAPE, encoding, STEPS, 0), x)
    np.testing.assert_array_equal(encode(x, (SPIKES,), STEPS)["in"], x)
    np.testing.assert_array_equal(real_steps(x * 255, SHAPE, "direct", STEPS, 0), x)


def test_one_step_is_no_view_of_many() -> None:
    values = encode(np.full((2, *SHAPE), 7, np.uint8), (PIXELS,), 1)["in"]
    assert values.shape == (2, 1, *SHAPE)
    assert set(values.ravel().tolist()) == {7}


def test_no_samples() -> None:
    for encoding in ("direct", "bernoulli"):
        values = encode(np.zeros((0, *SHAPE), np.uint8), (replace(PIXELS, encoding=encoding),), STEPS)["in"]
        assert values.shape == (0, STEPS, *SHAPE)


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(5, 3, 2), (5, 3), (5, 3, 2, 3), (6,)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    assert refused(real_steps, np.zeros(shape), SHAPE, "direct", STEPS, 0) == (
        "bad-shape: the data do not fit the network's input\n  where: x\n"
        f"  needed: (samples, 2, 3) or (samples, 4, 2, 3)\n  limit: got {shape}\n"
        "  hint: reshape the data, or compile for the shape you have"
    )


def test_spikes_need_a_time_axis() -> None:
    assert refused(real_steps, np.zeros((5, *SHAPE)), SHAPE, "spikes", STEPS, 0) == (
        "bad-shape: this network takes spikes over time, the data have no time axis\n  where: x\n"
        "  needed: (samples, 4, 2, 3)\n  limit: (5, 2, 3)\n"
        "  hint: give --encode direct, bernoulli or latency for static samples"
    )


def test_unknown_encoding() -> None:
    text = refused(real_steps, np.zeros((5, *SHAPE)), SHAPE, "rate", STEPS, 0)
    assert text == "bad-encoding: unknown encoding 'rate'\n  limit: direct, bernoulli, latency, spikes"


def test_bernoulli_outside_0_to_1() -> None:
    assert refused(drawn, np.full((1, *SHAPE), 1.5)) == (
        "bad-range: Bernoulli encoding needs values in [0, 1]\n  where: x\n  needed: [1.5, 1.5]\n  limit: [0, 1]\n"
        "  hint: scale the data, or give uint8 pixels"
    )


def test_values_that_are_no_numbers() -> None:
    assert refused(to_real, np.array(["a"])) == "bad-data: samples of type <U1 are not numbers\n  where: x"
    assert refused(to_real, np.array([1.0, np.nan])) == (
        "bad-data: samples hold values that are not finite\n  where: x\n  hint: remove NaN and infinity"
    )


def test_pixels_out_of_range_are_not_clipped() -> None:
    """Floats of 0 to 255 for a network of 0 to 1: the integer network would see white, the float network more."""
    assert refused(encode, np.full((1, *SHAPE), 200.0), (PIXELS,), STEPS) == (
        "bad-range: the data leave the range the network was compiled for\n  where: x\n  needed: [200, 200]\n"
        "  limit: [0, 1]\n  hint: scale the data, or compile with --calibrate on data like them"
    )


def test_fractions_are_no_spikes() -> None:
    assert refused(encode, np.full((1, STEPS, *SHAPE), 0.75), (SPIKES,), STEPS) == (
        "bad-range: the data are not whole numbers of spikes\n  where: x\n  needed: 0.75\n  limit: whole numbers\n"
        "  hint: give --encode bernoulli for values in [0, 1], or compile with --calibrate for analog sequences"
    )


def test_a_calibrated_range_clips() -> None:
    spec = replace(PIXELS, exact=False)
    with pytest.warns(ClippedInput, match=r"values of .* lie outside the calibrated range \[0, 1\] and were clipped"):
        assert quantized_steps(np.full((1, STEPS, *SHAPE), 2.0), spec).max() == 255


def test_data_hash() -> None:
    x = np.arange(6).reshape(2, 3)
    assert data_hash(x) == data_hash(x.copy()) == data_hash(np.asfortranarray(x))
    assert len({data_hash(x), data_hash(x.reshape(3, 2)), data_hash(x.astype(np.int32)), data_hash(x + 1)}) == 4


GOLDEN = "fd4e186d76c3019e1d1f8ba7624cfb38c12ae103ae78a77cc5d8d6168edcc414"


@pytest.mark.parametrize(("steps", "window"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (7, 4)])
def test_latency_uses_the_first_half_of_the_steps_and_the_middle_one(steps: int, window: int) -> None:
    """W = ceil(T / 2): the largest value spikes at once, the smallest at step W - 1, and 0 never."""
    found = real_steps(np.array([[1.0, 0.001, 0.0]]), (3,), "latency", steps, 0)[0]
    assert found.shape == (steps, 3)
    assert np.argwhere(found).tolist() == sorted([[0, 0], [window - 1, 1]])
