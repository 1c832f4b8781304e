"""Messages of chip steps re-add to what the analytic model counts; event times are no shorter than its times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw.artifact import Artifact
from snnhw.chip.counts import ChipObserver
from snnhw.chip.event import mesh_of, step_time
from snnhw.chip.trace import EventTimes, _step
from snnhw.engines.base import Needs, Record
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import EngineError
from snnhw.mapping.place import place
from tests.unit.chip.nets import mapped, residual, residual_input, toy
from tests.unit.mapping.nets import chain
from tests.unit.mapping.test_load import busy
from tests.unit.mapping.test_place import random_net
from tests.unit.mapping.toys import toy as chip_with


def run(artifact: Artifact, x: dict[str, Any], timing: str) -> ChipObserver:
    observer = ChipObserver(artifact, timing=timing)
    ReferenceEngine().run(artifact.network, artifact.target, [x], [observer])
    return observer


class Kept:
    """Records of one chunk, as the timer needs them."""

    def __init__(self, needs: Needs) -> None:
        self.needs, self.records = needs, dict[str, Record]()

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        self.records[population] = record


@pytest.mark.parametrize("make", ["residual", "random", "relays"])
def test_every_core_does_in_a_step_what_the_analytic_model_charges(make: str) -> None:
    if make == "residual":
        artifact, x = residual(), {"x": residual_input(3, seed=4)}
    else:
        network, chip = random_net(2), chip_with("loihi2", core__neurons=40, chip__flit_bits=1)
        if make == "relays":
            network = replace(network, populations=tuple(replace(p, payload=(0, 3)) for p in network.populations))
        _, x = busy(network)
        artifact = replace(mapped(network, [("a", ((0, 1),), 0)]), target=chip, mapping=place(network, chip))
    plain, timed = run(artifact, x, "analytic"), run(artifact, x, "event")
    kept = Kept(timed.needs)
    ReferenceEngine().run(artifact.network, artifact.target, [x], [kept])
    timer = EventTimes(artifact, plain.wiring, plain.loads)
    found = np.zeros((2, len(plain.wiring.cores)), np.int64)
    mesh, steps, samples = timer.mesh, artifact.network.steps, plain.counts.samples
    populations = artifact.network.populations
    events = [kept.records[p.name].events for p in populations]
    before = np.cumsum([0, *(len(e.neurons) for e in events[:-1])])
    ends = np.stack([e.ends for e in events]) + before[:, None]
    neurons = np.concatenate([e.neurons for e in events])
    active = [kept.records[p.name].active for p in artifact.network.computed]
    each = np.concatenate([a.reshape(samples * steps, -1) for a in active], axis=1)
    period, fired = 0, np.zeros(timer._table.seats[-1], np.int32)
    for row in range(samples * steps):
        sample, t = divmod(row, steps)
        when = np.array([(t - p.start) % steps for p in populations])
        made = _step(when, sample * steps, ends, neurons, each, timer._table, fired)
        assert not fired.any()
        owner = np.repeat(np.arange(mesh.cores), np.diff(made.first))
        found[0] += np.bincount(owner, made.gap, mesh.cores).astype(np.int64) + made.rest
        found[1] += np.bincount(made.to, made.work, mesh.cores).astype(np.int64) + made.host
        period += step_time(made, mesh) + plain.loads.sync
    assert (found[0] == plain.times.generation).all()
    assert (found[1] == plain.times.reception).all()
    assert timed.times.period == period
    for field in ("latency", "latency_min", "latency_max", "period", "period_min", "period_max"):
        assert getattr(timed.times, field) >= getattr(plain.times, field)
    assert (timed.times.generation == plain.times.generation).all()


def test_chunks_do_not_change_event_times() -> None:
    artifact, x = residual(), residual_input(4, seed=1)
    whole = run(artifact, {"x": x}, "event").times
    observer = ChipObserver(artifact, timing="event")
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": x[:1]}, {"x": x[1:]}], [observer])
    assert (observer.times.latency, observer.times.period) == (whole.latency, whole.period)


def test_a_network_without_contention_takes_its_hops_at_most() -> None:
    """One neuron on each of two cores in neighbouring tiles: a step is longer by one hop, or not at all."""
    network = chain((1, 1, 1))
    slices = [("fc1", ((0, 1),), 0), ("fc2", ((0, 1),), 2)]
    artifact = mapped(network, slices)
    x = {"in": np.ones((1, network.steps, 1), np.int8)}
    plain, timed = run(artifact, x, "analytic"), run(artifact, x, "event")
    more = timed.times.period - plain.times.period
    assert 0 <= more <= network.steps * (toy().time.hop_ns + toy().time.access + toy().time.message_in * 2 + 40_000)


def test_a_step_beyond_the_clock_is_refused() -> None:
    artifact = mapped(chain((1, 6)), [("fc1", ((0, 6),), 0)])
    slow = replace(artifact, target=artifact.target.changed({"time.access": 9e8}))  # 0.9 s for each of six neurons
    x = {"in": np.ones((1, 4, 1), np.int8)}
    assert run(slow, x, "event").times.period > 4 * 6 * 9e11
    observer = ChipObserver(artifact, timing="event")
    assert observer._timer is not None
    observer._timer._table = observer._timer._table._replace(prices=np.full(4, 1 << 59))  # a week each
    with pytest.raises(EngineError) as caught:
        ReferenceEngine().run(artifact.network, artifact.target, [x], [observer])
    assert str(caught.value) == (
        "step-too-long: event time counts picoseconds of up to 53 days of work in a step\n"
        "  where: chip step 1\n  hint: use --timing analytic"
    )


def test_the_mesh_has_the_tiles_of_its_cores() -> None:
    mesh = mesh_of(np.array([0, 3, 7]), toy())
    assert mesh.behind[len(mesh.delay) :].tolist() == [0, 1, 3]
