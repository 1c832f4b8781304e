"""Failures inside Lava reach the caller, and whatever happens no process and no file is left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snnhw.engines.base import Needs, Record
from snnhw.engines.lava import LavaEngine, compat, engine, lava_status
from snnhw.errors import DataError, EngineError
from snnhw.fixed import LOIHI
from snnhw.network import Kind
from tests.generate import LIF, PROGRAMMABLE, machine, random_case

lava = pytest.mark.lava


class Silent:
    """An observer that keeps nothing."""

    needs = Needs()

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Nothing to see."""


def remains(folder: Path) -> list[str]:
    """Command lines of processes that know the folder (forked ones show their parent's)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended while we looked
            if str(folder) in line and "lava.worker" in line:
                found.append(line)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary files of the engine go here; afterwards nothing may be left of them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(os.listdir("/dev/shm"))
    yield tmp_path
    assert remains(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert not {name for name in set(os.listdir("/dev/shm")) - before if name.startswith("psm_")}


def run(engine: LavaEngine, seed: int = 0, profile: str = LIF, observer: object = None) -> None:
    case = random_case(seed, profile)
    engine.run(case.network, machine(profile), [case.stream], [observer or Silent()])  # type: ignore[list-item]


@lava
@pytest.mark.parametrize(("profile", "where"), [(LIF, "n1"), (PROGRAMMABLE, "n1"), (LIF, "n1.0#0"), (LIF, "in0")])
def test_an_exception_in_a_process_model_is_raised(folder: Path, profile: str, where: str) -> None:
    with pytest.raises(EngineError) as caught:
        run(LavaEngine(fault=f"raise:{where}"), profile=profile)
    assert caught.value.code == "lava-failed"
    assert caught.value.message.startswith(f"a Lava process failed: process {where} (")
    assert "step 1: RuntimeError: injected failure" in caught.value.message
    assert "Traceback" in str(caught.value.needed)


@lava
def test_an_exception_at_the_start_of_a_process_model_is_raised(folder: Path) -> None:
    with pytest.raises(EngineError, match=r"process n1 \(StockLif\), start: RuntimeError: injected failure"):
        run(LavaEngine(fault="start:n1"))


@lava
def test_a_process_that_dies_is_reported(folder: Path) -> None:
    with pytest.raises(EngineError, match="a Lava process ended before the run did: exit status 9") as caught:
        run(LavaEngine(fault="die:n1"))
    assert caught.value.code == "lava-failed"


@lava
def test_a_hang_ends_in_a_timeout(folder: Path) -> None:
    with pytest.raises(EngineError, match="Lava did not finish in time") as caught:
        run(LavaEngine(timeout=6, fault="hang:n1"))
    assert (caught.value.code, caught.value.limit) == ("lava-timeout", "6 s")


@lava
def test_a_worker_that_cannot_start_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineError, match="the Lava worker ended before the run did: no output") as caught:
        run(LavaEngine())
    assert caught.value.code == "lava-failed"


@lava
def test_a_failure_of_the_compiler_is_raised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: Path, plan: object) -> None:
        (where / "plan.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(engine, "write_plan", broken)
    with pytest.raises(EngineError, match="a Lava process failed: FileNotFoundError"):
        run(LavaEngine())


@lava
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    class Interrupt(Silent):
        def observe(self, first_sample: int, population: str, record: Record) -> None:
            if record.overflows:
                assert remains(folder), "Lava is still running"
                raise error

    monkeypatch.setattr(engine, "WINDOW_SAMPLES", 1)
    with pytest.raises(error):
        run(LavaEngine(), observer=Interrupt())


def overflow(seed: int, profile: str, value: int, kind: Kind = Kind.NEURON) -> str:
    """The error of a network whose inputs all have one value."""
    case = random_case(seed, profile)
    pops = tuple(p if p.kind is Kind.INPUT else replace(p, kind=kind) for p in case.network.populations)
    huge = {name: np.full_like(x, value) for name, x in case.stream.items()}
    with pytest.raises(EngineError) as caught:
        LavaEngine().run(replace(case.network, populations=pops), machine(profile), [huge], [Silent()])
    assert caught.value.code == "lava-failed"
    return caught.value.message


@lava
def test_what_lava_would_wrap_in_silence_is_refused(folder: Path) -> None:
    assert "the synaptic input of LIF needs more than 26 bits" in overflow(10, LIF, 1 << 23)
    assert "stock Conv would wrap a sum to 24 bits (use connections='sparse')" in overflow(5, LIF, 1 << 22)
    assert "a sum of synapses needs more than 32 bits" in overflow(9, PROGRAMMABLE, 1 << 30)
    message = overflow(10, LIF, 1 << 16, Kind.ACCUMULATOR)
    assert "an accumulator passed the largest threshold of LIF, 131071 << 6, and would be reset" in message


PARENT = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from snnhw.engines.lava import LavaEngine
from tests.generate import LIF, machine, random_case
case = random_case(0, LIF)
LavaEngine(fault="hang:n1").run(case.network, machine(LIF), [case.stream], [])
"""


@lava
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_parent_is_killed_the_worker_ends(number: int, tmp_path: Path, root: Path) -> None:
    """Neither a process nor a folder is left."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=root)
    assert _soon(lambda: len(remains(tmp_path)) > 3), "Lava started"
    parent.send_signal(number)
    parent.wait()
    assert _soon(lambda: not remains(tmp_path) and not list(tmp_path.iterdir()))


def test_folders_of_killed_runs_are_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that nobody holds, are ours and not just made; links are left alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("old", "held", "young"):
        (tmp_path / f"{engine.PREFIX}{name}").mkdir()
        if name != "young":
            os.utime(tmp_path / f"{engine.PREFIX}{name}", (0, 0))
    (tmp_path / "other").mkdir()
    (tmp_path / f"{engine.PREFIX}link").symlink_to("other")
    held = os.open(tmp_path / f"{engine.PREFIX}held", os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    engine._tidy()
    os.close(held)
    left = {path.name.removeprefix(engine.PREFIX) for path in tmp_path.iterdir()}
    assert left == {"held", "link", "young", "other"}


def _soon(condition: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_missing_lava_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "installed_version", lambda: None)
    with pytest.raises(EngineError) as caught:
        run(LavaEngine())
    assert (caught.value.code, caught.value.message) == (
        "lava-missing",
        "the lava engine cannot run: lava-nc is not installed",
    )
    assert caught.value.hint == (
        "pip install numpy scipy networkx asteval scikit-learn"
        " && pip install --no-deps --ignore-requires-python lava-nc==0.10.0"
    )


def test_another_lava_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "installed_version", lambda: "0.9.0")
    assert lava_status()[:2] == (False, "lava-nc 0.9.0 is installed, 0.10.0 is needed")


def test_missing_dependencies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "installed_version", lambda: "0.10.0")
    monkeypatch.setattr(compat, "has_module", lambda name: name != "sklearn")
    assert lava_status() == (False, "lava-nc 0.10.0 lacks scikit-learn", "pip install scikit-learn")
    monkeypatch.setattr(compat, "has_module", lambda name: True)
    assert lava_status() == (True, "lava-nc 0.10.0", "")


def test_versions_are_read_from_the_installation() -> None:
    assert compat.has_module("json")
    assert not compat.has_module("no_such_module")
    assert compat.installed_version() in (None, compat.LAVA_VERSION)


def test_unknown_connections() -> None:
    with pytest.raises(EngineError, match="unknown connections 'fast'") as caught:
        LavaEngine(connections="fast")
    assert caught.value.code == "bad-option"


@lava
def test_values_of_a_wrong_shape(folder: Path) -> None:
    case = random_case(0, LIF)
    with pytest.raises(DataError, match="the values do not fit the input population") as caught:
        LavaEngine().run(case.network, machine(LIF), [{name: x[:, :1] for name, x in case.stream.items()}], [])
    assert (caught.value.code, caught.value.where) == ("bad-shape", "in0")


def test_the_default_timeout_grows_with_the_work() -> None:
    case = random_case(0, LIF)
    jobs = [engine.Job(case.network, LIF, "stock", samples, 1, LOIHI) for samples in (1, 1000)]
    short, long = (engine._generous(job, engine.make_plan(job)) for job in jobs)
    assert 120 < short < long
