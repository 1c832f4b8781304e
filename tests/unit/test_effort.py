"""Runs that would take too much are refused before they begin, with the figures; compilations never are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snnhw import api, effort
from snnhw.artifact import Artifact, save
from snnhw.commands import common
from snnhw.engines.choose import integer_engine
from snnhw.engines.observe import Recorder, output_needs
from snnhw.errors import DataError
from snnhw.limits import held
from tests.unit.commands.line import snnhw
from tests.unit.frontends.checkpoints import content, saved

X = np.zeros((2, 1, 8, 8), np.uint8)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("room")
    saved(path / "net.pt", content())
    save(api.compile(path / "net.pt", target="loihi2"), path / "net.snnhw")
    np.savez(path / "data.npz", x=X)
    return path


@pytest.fixture(scope="module")
def artifact(room: Path) -> Artifact:
    return api.load(room / "net.snnhw")


def long(artifact: Artifact, steps: int) -> Artifact:
    return api.with_input(artifact, None, steps, None)


@pytest.mark.parametrize("engine", ["fast", "reference", "lava"])
def test_hours_are_refused_at_once(engine: str, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "_step_time", lambda artifact, x, engine, needs: 1e-4)  # however fast the machine is
    with pytest.raises(DataError, match="takes-too-long: the run would take very long") as caught:
        api.run(long(artifact, 1 << 29), X, engine, memory=1 << 60)
    assert (
        caught.value.where
        == f"2 samples of {1 << 29} steps, {sum(p.size for p in artifact.network.populations)} neurons"
    )
    assert caught.value.limit == "1 hour"
    hours = float(str(caught.value.needed).split()[1])
    assert 1 < hours < 1e5


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_the_estimate_is_of_this_run(engine: str, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the steps or samples, ten times the time; short runs are not measured."""
    told: list[float] = []
    monkeypatch.setattr(effort, "require_time", lambda seconds, what: told.append(seconds))
    monkeypatch.setattr(effort, "_step_time", lambda artifact, x, engine, needs: 1e-3 * len(x))
    chosen, needs = integer_engine(engine), output_needs(artifact.network)
    for steps, samples in ((10_000_000, 1), (100_000_000, 1), (10_000_000, 10)):
        effort.require_affordable(
            long(artifact, steps), X[:1].repeat(samples, 0), engine, chosen, needs, samples, 1 << 60
        )
    assert told == [1e4, 1e5, 1e5]
    effort.require_affordable(artifact, X, engine, chosen, needs, 2)
    assert len(told) == 3


def test_a_step_is_timed(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "PIECE", 1e-4)
    fast = integer_engine("fast")
    for x in (X, np.zeros((2, 4, 1, 8, 8), np.uint8)):
        assert 0 < effort._step_time(artifact, x, fast, output_needs(artifact.network)) < 1


def test_memory_is_counted(artifact: Artifact) -> None:
    """Twice what is kept: 8 bytes of an output, one of a spike, four of a state; and what is in flight."""
    sizes = {p.name: p.size for p in artifact.network.populations}
    computed = sum(p.size for p in artifact.network.computed)
    end, flying = sizes[artifact.network.readout.population], 2 * max(sizes.values()) * effort.IN_FLIGHT
    for record, kept in (
        ({}, 9 * end),
        ({"spikes": True, "state": True}, 8 * end + sum(sizes.values()) + 8 * computed),
    ):
        needs = Recorder(artifact.network, **record).needs
        assert effort.bytes_of(artifact.network, 2, 2, needs) == artifact.steps * (4 * kept + flying)


def test_too_much_memory_is_refused_with_the_figures(artifact: Artifact) -> None:
    many, memory = X[:1].repeat(4000, 0), held() + (8 << 20)
    with pytest.raises(DataError) as caught:
        api.run(artifact, many, record="state", memory=memory)
    assert str(caught.value).splitlines()[0] == "takes-too-much-memory: the run would take more memory than there is"
    assert caught.value.limit == "0.0 GiB: 80% of what --memory leaves"
    with pytest.raises(DataError, match="takes-too-much-memory") as caught:
        api.run(long(artifact, 1 << 40), X)
    assert str(caught.value.limit).endswith("80% of what is free")
    assert api.run(artifact, many, memory=memory, force=True)["predictions"].shape == (4000,)


def test_free_memory() -> None:
    assert 1 << 20 < effort.free_memory() < 1 << 50


def test_on_the_command_line(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In integers and in floats; `--force` runs them all the same, and `check` answers."""
    net, source, data = room / "net.snnhw", room / "net.pt", room / "data.npz"
    monkeypatch.setattr(effort, "free_memory", lambda: 8 << 30)
    monkeypatch.setattr(effort, "_step_time", lambda artifact, x, engine, needs: 1e-4)  # however fast the machine is
    hours = ("--data", data, "--steps", 2_000_000_000, "--memory", "900000TB")
    floats = ("run", source, "--engine", "float", "--input", data, "--steps", 4_000_000, "--samples", 2)
    for code, words in (
        ("takes-too-long", ("run", net, "--input", *hours[1:])),
        ("takes-too-long", ("compare", source, net, *hours)),
        ("takes-too-much-memory", floats),
    ):
        done = snnhw(*words)
        assert (done.code, done.out) == (1, ""), done.err
        assert done.err.startswith(f"error: {code}"), done.err
        assert "say --force" in done.err
    np.savez(room / "many.npz", x=X[:1].repeat(4000, 0))
    small = ("run", net, "--input", room / "many.npz", "--record", "state", "--memory", held() + (8 << 20))
    assert snnhw(*small).err.startswith("error: takes-too-much-memory")
    assert snnhw(*small, "--force").code == 0
    assert common._bytes(None, None, "6000000000") == common._bytes(None, None, "6GB") == 6 * 10**9  # type: ignore[arg-type]
    assert snnhw("check", source, "--target", "loihi2", "--steps", 4_000_000).code == 0
