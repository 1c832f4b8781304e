"""Rounding that keeps currents, and the moments it looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from snnhw.machine import load_target
from snnhw.network import Conv, Dense, Kind, Population, Projection
from snnhw.quantize.formats import formats_of, round_weights
from snnhw.quantize.moments import COLUMNS, Moments, moments_into
from snnhw.quantize.rounding import compensated
from tests.unit.quantize.nets import layer, neuron

EIGHT = formats_of(load_target("loihi2"), 8)
THREE = formats_of(load_target("loihi2"), 3)
EVEN = formats_of(load_target("loihi1"), 4)


def correlated(rng: np.random.Generator, columns: int) -> Moments:
    x = rng.normal(size=(4000, 5)) @ rng.normal(size=(5, columns)) + 0.3 * rng.normal(size=(4000, columns))
    return Moments(x.mean(axis=0), np.cov(x.T, bias=True))


@pytest.mark.parametrize("formats", [EIGHT, THREE, EVEN])
def test_error_of_the_current_shrinks(formats, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    moments = correlated(rng, 24)
    w = rng.uniform(-1, 1, (16, 24)) * formats.high
    nearest, made_up = round_weights(w, 1.0, formats), compensated(w, moments, formats)
    assert made_up.dtype == np.int32
    assert (made_up % formats.step == 0).all()
    assert np.abs(made_up).max() <= formats.high
    assert moments.variance(w - made_up).mean() < 0.4 * moments.variance(w - nearest).mean()


def test_whole_weights_and_zeros_are_kept(rng: np.random.Generator) -> None:
    moments = correlated(rng, 12)
    w = rng.integers(-127, 128, (5, 12)).astype(float)
    np.testing.assert_array_equal(compensated(w, moments, EIGHT), w)
    holes = w * (rng.random(w.shape) < 0.5) + 0.4 * (w != 0)
    assert not compensated(holes, moments, EIGHT)[holes == 0].any()


def test_without_covariance_it_is_the_nearest(rng: np.random.Generator) -> None:
    w = rng.normal(size=(4, 6)) * 50
    for covariance in (np.ones(6), np.zeros((6, 6))):
        found = compensated(w, Moments(np.zeros(6), covariance), EIGHT)
        np.testing.assert_array_equal(found, round_weights(w, 1.0, EIGHT))


def test_variance_is_that_of_the_current(rng: np.random.Generator) -> None:
    x, errors = rng.integers(0, 4, (500, 7)), rng.normal(size=(3, 7))
    moments = Moments(x.mean(axis=0), np.cov(x.T, bias=True))
    np.testing.assert_allclose(moments.variance(errors), (x @ errors.T).var(axis=0))
    np.testing.assert_allclose(Moments(moments.mean, np.ones(7)).variance(errors), np.square(errors).sum(axis=1))


def test_moments_of_a_convolution_are_those_of_its_patches(rng: np.random.Generator) -> None:
    op = Conv("w", (2, 1), (1, 0), (1, 2))
    network = layer(np.zeros((1, 2, 3, 2)), neuron(), op, (2, 7, 6), (1, 4, 4), steps=2)
    x = rng.integers(0, 3, (4, 2, 2, 7, 6)).astype(np.float32)
    found = moments_into(network, network["n"], {"in": x})[op]
    frames = torch.from_numpy(x.reshape(8, 2, 7, 6))
    patches = (
        torch.nn.functional.unfold(frames, (3, 2), (1, 2), (1, 0), (2, 1))
        .movedim(1, 2)
        .reshape(-1, 12)
        .double()
        .numpy()
    )
    np.testing.assert_allclose(found.mean, patches.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(patches.T, bias=True), atol=1e-12)


def test_moments_of_summands_are_those_of_their_sum(rng: np.random.Generator) -> None:
    network = layer(np.zeros((2, 5)), neuron(), steps=3)
    network = replace(
        network,
        populations=(Population("more", (5,), Kind.INPUT), *network.populations),
        projections=(*network.projections, Projection("more->n", "more", "n", Dense("w"))),
    )
    a, b = rng.integers(0, 2, (2, 6, 3, 5)).astype(np.float32)
    found = moments_into(network, network["n"], {"in": a, "more": b})[Dense("w")]
    np.testing.assert_allclose(found.mean, (a + b).mean(axis=(0, 1)))


def test_static_input_and_payload_units() -> None:
    network = layer(np.zeros((2, 3)), neuron(), steps=4)
    cells = (replace(network["in"], payload=(0, 255), payload_scale=1 / 255), network["n"])
    x = np.broadcast_to(np.float32([[[0.2, 1.0, 0.0]], [[0.4, 1.0, 0.0]]]), (2, 4, 3))
    found = moments_into(replace(network, populations=cells), network["n"], {"in": x})[Dense("w")]
    assert found.mean.tolist() == [76.5, 255.0, 0.0]
    assert found.covariance.diagonal().tolist() == [25.5**2, 0.0, 0.0]


def test_many_columns_have_variances_only(rng: np.random.Generator) -> None:
    network = layer(np.zeros((1, COLUMNS + 1)), neuron(), steps=1)
    x = rng.integers(0, 2, (6, 1, COLUMNS + 1)).astype(np.float32)
    found = moments_into(network, network["n"], {"in": x})[Dense("w")]
    np.testing.assert_allclose(found.covariance, x.var(axis=(0, 1)), atol=1e-7)
    grouped = layer(np.zeros((2, 1, 1, 1)), neuron(), Conv("w", groups=2), (2, 3, 3), (2, 3, 3))
    assert moments_into(grouped, grouped["n"], {"in": np.zeros((1, 6, 2, 3, 3), np.float32)}) == {}


def test_zeros_stay_zeros_where_others_errors_would_move_them() -> None:
    """A second input a third the size of the first: 0.4 units lost on the first are 1.2 units of the second."""
    sizes = np.array([3.0, 1.0])
    alike = Moments(np.zeros(2), np.outer(sizes, sizes) + 0.01 * np.eye(2))
    assert compensated(np.array([[10.4, 0.3]]), alike, EIGHT).tolist() == [[10, 1]]
    assert compensated(np.array([[10.4, 0.0]]), alike, EIGHT).tolist() == [[10, 0]]
