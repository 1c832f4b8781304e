"""--cluster: the same result as one process, whoever sees the files and whichever worker is lost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from snnhw.commands import cluster
from snnhw.errors import SnnhwError
from tests.unit.commands.line import Done, Room, snnhw

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def batches_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnhw.api.CHUNK", 1)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with two workers in this process."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp"
    ) as found:
        yield found.scheduler_address


def compare(room: Room, *more: object) -> Done:
    done = snnhw("compare", room / "net.pt", room / "net.snnhw", "--data", room / "data.npz", "--json", *more)
    assert done.code == 0, done.err
    return done


def same(one: Done, other: Done) -> bool:
    return {**one.json, "provenance": None} == {**other.json, "provenance": None}


def test_a_cluster_says_what_one_process_says(address: str, sew: Room) -> None:
    assert same(compare(sew, "--cluster", address), compare(sew))


def test_run_on_a_cluster(address: str, stbp: Room, tmp_path: Path) -> None:
    asked = ("run", stbp / "net.snnhw", "--input", stbp / "data.npz", "--samples", 5, "--json")
    assert snnhw(*asked, "--cluster", address).json == snnhw(*asked).json


def test_files_that_workers_do_not_see_are_sent(address: str, sew: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    blind: Callable[[Any], tuple[bool, bool]] = lambda job: (False, False)  # noqa: E731
    monkeypatch.setattr(cluster, "_sees", blind)
    assert same(compare(sew, "--cluster", address, "--samples", 3), compare(sew, "--samples", 3))


def test_a_worker_with_other_files_does_not_see_ours(address: str, sew: Room, stbp: Room) -> None:
    job = cluster.Job(
        print, {"artifact": sew / "net.snnhw"}, {"artifact": "0"}, (sew / "data.npz", None, None), "0", 6, {}
    )
    assert cluster._sees(job) == (False, False)


def test_refusals_of_workers_are_ours(address: str, sew: Room, stbp: Room) -> None:
    done = snnhw(
        "compare", stbp / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", "--cluster", address, "--json"
    )
    assert (done.code, done.json["error"]["code"]) == (1, "different-networks")


def test_refused_clusters(sew: Room, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp") as empty,
        pytest.raises(SnnhwError, match="no-cluster: no cluster answers: the scheduler has no worker"),
        cluster._client(empty.scheduler_address, None),
    ):
        pass
    job = cluster.Job(print, {}, {}, (sew / "data.npz", None, None), "", 6, {}, made_by="0.0.0")
    with (
        cluster._client(address, None) as client,
        pytest.raises(SnnhwError, match="other-worker: a worker has another version of snnhw"),
    ):
        cluster._require_same(client, job)


def test_lost_again_and_again(sew: Room, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise distributed.CancelledError("shard")

    monkeypatch.setattr(distributed, "as_completed", killed)
    done = snnhw("compare", sew / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", "--cluster", address)
    assert done.err.startswith("error: lost-workers: workers were lost again and again: ")


def test_wrong_use(sew: Room, tmp_path: Path) -> None:
    more = ("--cluster", "tcp://nowhere:1", "--shard", "1/2", "-o", tmp_path / "p.npz")
    assert snnhw("compare", sew / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", *more).code == 2
    assert snnhw("run", sew / "net.snnhw", "--input", sew / "data.npz", *more).code == 2


@pytest.mark.slow
def test_a_worker_that_is_killed_is_made_up_for(sew: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    with distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as found:
        pids = [nanny.process.process.pid for nanny in found.workers.values()]

        @contextmanager
        def killing(title: str) -> Iterator[Callable[[int, int], None]]:
            def progress(done: int, total: int) -> None:
                if pids and done < total:
                    os.kill(pids.pop(), signal.SIGKILL)
                    pids.clear()

            yield progress

        monkeypatch.setattr(cluster, "bar", killing)
        result = compare(sew, "--cluster", found.scheduler_address)
    assert not pids
    assert same(result, compare(sew))


def test_a_cluster_is_an_extra(sew: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    asked = ("--data", sew / "data.npz", "--cluster", "tcp://nowhere:1")
    done = snnhw("compare", sew / "net.pt", sew / "net.snnhw", *asked)
    assert "needs-extra: --cluster needs packages of the extra 'cluster'" in done.err
