"""Constants of boards that are made up are found again, within their intervals; what runs do not tell is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.artifact import Artifact
from snnhw.chip.fit import Fit, fitted
from snnhw.chip.measured import TIMES, Fitted, Run, counted, fit_energy, fit_time, fitted_target
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import DataError
from snnhw.machine import Machine, load_target
from snnhw.network import Conv, Dense, Diagonal, Kind, Network, Population, Projection, Readout
from tests.unit.chip.nets import chain, integrator, mapped, toy


def test_intervals_hold_what_was_true() -> None:
    """50 boards, 24 runs of 6 prices, 2 % noise and one run that is 50 % off."""
    draw = np.random.default_rng(0)
    held, told = [], []
    for _ in range(50):
        true = 10 ** draw.uniform(-1, 1, 6)
        counts = 10 ** draw.uniform(1, 4, (24, 6)) * draw.integers(0, 2, (24, 6))
        counts[:, 0] += 100
        measured = (counts @ true) * (1 + 0.02 * draw.standard_normal(24))
        measured[3] *= 1.5
        found = fitted(counts, measured, true * 2, true)
        held += [low <= x <= high for low, x, high in zip(found.low, true, found.high, strict=True)]
        told.append(found.told.mean())
        assert (found.price >= 0).all()
        assert found.error < 0.1
    assert np.mean(held) > 0.93
    assert np.mean(told) > 0.95


def test_without_noise_the_prices_are_exact() -> None:
    draw = np.random.default_rng(1)
    counts, true = draw.uniform(1, 100, (9, 4)), np.array([1e-12, 0.0, 3e-9, 2e-10])
    found = fitted(counts, counts @ true, np.ones(4), np.ones(4))
    assert found.told.all()
    assert found.price == pytest.approx(true, rel=1e-6, abs=1e-15)


def test_what_stands_for_each_other_stays() -> None:
    """Columns 0 and 1 are always alike: one of them keeps what was known; a column of zeros does too."""
    draw = np.random.default_rng(2)
    counts = draw.uniform(1, 100, (12, 4))
    counts[:, 1], counts[:, 3] = 2 * counts[:, 0], 0
    true = np.array([3.0, 1.0, 5.0, 7.0])
    found = fitted(counts, counts @ true, np.array([3.0, 1.0, 2.0, 9.0]), np.zeros(4))
    assert found.told.sum() == 2
    assert found.told[2]
    assert found.price == pytest.approx([3.0, 1.0, 5.0, 9.0])


def nets(number: int) -> list[Artifact]:
    """Networks of every format on one to six cores, cut at random."""
    draw, found = np.random.default_rng(5), []
    for i in range(number):
        size, outputs = int(draw.integers(2, 9)), int(draw.integers(1, 30))
        x = Population("x", (2, size, size), Kind.INPUT)
        a = Population("a", (2, size, size), Kind.NEURON, integrator(int(draw.integers(1, 9)), bias=i % 2), start=1)
        y = Population("y", (outputs,), Kind.NEURON, integrator(3), start=2)
        op = (Conv("k", padding=(1, 1)), Diagonal("d"))[i % 2]
        weights = {
            "k": draw.integers(-1, 3, (2, 2, 3, 3)),
            "d": np.array(2),
            "w": draw.integers(-1, 2, (outputs, a.size)),
        }
        routes = (Projection("x-a", "x", "a", op), Projection("a-y", "a", "y", Dense("w")))
        network = Network((x, a, y), routes, weights, int(draw.integers(2, 6)), Readout("rate", "y"))
        cut = int(draw.integers(1, size))
        cores = draw.permutation(8)[:3].tolist()
        both, first, rest = (0, 2), (0, cut), (cut, size)
        parts = [("a", (both, first, (0, size)), cores[0]), ("a", (both, rest, (0, size)), cores[1])]
        found.append(mapped(network, [*parts, ("y", ((0, outputs),), cores[2])]))
    return found


LEFT = {"energy.hop_ew", "energy.hop_ns", "energy.static_chip", "time.hop_ew", "time.hop_ns"}
"""What these runs cannot tell: kept as the target says it."""


def board(seed: int) -> Machine:
    """The toy target with other constants: what the runs are measured on."""
    draw, target = np.random.default_rng(seed), toy()
    keys = [key for key in target.constants if key.startswith(("time.", "energy.")) and key not in LEFT]
    values = {key: float(f"{target.constant(key).value * draw.uniform(0.6, 1.6):.4g}") for key in keys}
    values["time.sync.tiles_2"] = 1.2  # us
    return target.changed({key: value for key, value in values.items() if "chips" not in key})


def measured(noise: float, number: int = 40) -> tuple[Machine, list[Run]]:
    true, draw, runs = board(7), np.random.default_rng(8), []
    for artifact in nets(number):
        spikes = (
            draw.random((2, artifact.network.steps, *artifact.network["x"].shape)) < draw.uniform(0.05, 0.9)
        ).astype(int)
        made = counted(
            artifact,
            true.model_copy(update={"chip": artifact.target.chip}),
            [{"x": spikes}],
            ReferenceEngine(),
            None,
            None,
        )
        row = fit_like(made, true)
        one, two = 1 + noise * draw.standard_normal(2)
        runs.append(replace(made, seconds=row[0] * one, joules=row[1] * two))
    return true, runs


def fit_like(run: Run, true: Machine) -> tuple[float, float]:
    """Seconds and joules of a sample on a board."""
    price = np.array([float(true.constant(f"time.{kind}").si()) for kind in TIMES])
    loads = np.einsum("k,kisc->sic", price, run.loads).reshape(run.loads.shape[2], -1)
    seconds = loads.max(axis=1).sum() / run.samples + run.barrier[1] * float(true.constant(run.barrier[0]).si())
    return seconds, sum(count * float(true.constant(key).si()) for key, count in run.operations.items())


def test_constants_of_a_board_are_recovered() -> None:
    true, runs = measured(0.01)
    target = toy()
    found = [fit_time(runs, target), fit_energy(runs, target)]
    inside, told = [], 0
    for one in found:
        assert one is not None
        assert one.runs == 40
        assert one.fit.error < 0.03
        for i, key in enumerate(one.keys):
            if one.fit.told[i]:
                told += 1
                inside.append(one.fit.low[i] <= float(true.constant(key).si()) <= one.fit.high[i])
    assert told >= 10
    assert np.mean(inside) > 0.9
    made = fitted_target(target, found, "board.csv")  # type: ignore[arg-type]
    grades = [
        made.constant(key).grade for one in found for key, said in zip(one.keys, one.fit.told, strict=True) if said
    ]
    assert set(grades) == {"measured-fit"}
    assert "40 runs of board.csv, 95 %: " in made.constant("energy.synop.dense").source
    assert made.numeric == target.numeric


def test_the_period_that_is_fitted_is_the_models() -> None:
    """Without noise the board's own constants are those of the analytic model."""
    artifact = chain()
    run = counted(artifact, artifact.target, [{"x": np.array([[[1, 1, 0], [0, 0, 1]]])}], ReferenceEngine(), None, None)
    from snnhw.chip.counts import ChipObserver

    observer = ChipObserver(artifact)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": np.array([[[1, 1, 0], [0, 0, 1]]])}], [observer])
    assert fit_like(run, artifact.target)[0] == pytest.approx(observer.times.period / 1e12)


def test_refusals() -> None:
    _, runs = measured(0.0, 3)
    target = toy()
    with pytest.raises(DataError, match="seconds of so few runs tell no constants") as caught:
        fit_time(runs[:2], target)
    assert caught.value.code == "too-few-measurements"
    with pytest.raises(DataError, match="the measurements tell none of the target's constants") as caught:
        fitted_target(target, [], "board.csv")
    assert caught.value.code == "cannot-tell"
    other = chain()
    small = other.target.changed({"chip.link_buffer": 3})
    with pytest.raises(DataError, match="the artifact was placed on another chip than the target's") as caught:
        counted(other, small, [], ReferenceEngine(), 1.0, None)
    assert caught.value.code == "other-chip"
    nothing = [replace(run, seconds=None, joules=None) for run in runs[:3]]
    assert fit_time(nothing, target) is None is fit_energy(nothing, target)


def test_barriers_stay_in_order() -> None:
    """A fitted barrier that is longer lifts those of more tiles, a shorter one lowers those of fewer."""
    target = load_target("loihi2")
    for value, moved in ((500e-9, "tiles_29"), (10e-9, "tiles_1")):
        price = np.array([value])
        one = Fitted(("time.sync.tiles_4",), Fit(price, np.array([True]), price, price, 0.0), 5)
        made = fitted_target(target, [one], "m.csv")
        assert float(made.constant(f"time.sync.{moved}").si()) == pytest.approx(value)
        assert made.constant(f"time.sync.{moved}").grade == "assumed"
        assert made.constant("time.sync.tiles_4").grade == "measured-fit"
