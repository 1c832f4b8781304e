"""Shards of a run on the workers of a dask.distributed scheduler, merged as they come.

Workers run our code on what they are sent, and the scheduler hands pickles around: an address is trusted like whoever
stands behind it. A shard whose worker is lost is run again by another; files that a worker does not see at the path
that was given (with the same hash) are sent.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnhw.commands.common import bar, file_hash, samples_of
from snnhw.comparison.partial import Part, merged, shard_of
from snnhw.data import Samples
from snnhw.errors import SnnhwError
from snnhw.extras import require
from snnhw.network import Array
from snnhw.rows import Rows
from snnhw.version import version

if TYPE_CHECKING:
    from distributed import Client

SHARDS_PER_WORKER = 4
"""So that workers of different speed end together, and little is lost with one."""

_ONE = threading.Lock()
"""Compiled kernels and torch use all threads that a worker has: one shard at a time in a process."""


@dataclass(frozen=True)
class Job:
    """What every shard needs to know.

    Args:
        hashes: of the files by name.
        digest: of the samples.
        total: samples.
    """

    task: Callable[..., Part]
    files: Mapping[str, Path]
    hashes: Mapping[str, str]
    data: tuple[Path, str | None, int | None]
    digest: str
    total: int
    fixed: Mapping[str, Any]
    made_by: str = field(default_factory=version)


def run_on(
    address: str,
    tls: tuple[Path, Path, Path] | None,
    task: Callable[..., Part],
    files: Mapping[str, Path],
    data: tuple[Path, str | None, int | None],
    samples: Samples,
    fixed: Mapping[str, Any],
    batch: int,
) -> Part:
    """All samples of a run, shard by shard on the workers of a cluster.

    Args:
        task: (files by name, samples, shard, digest, fixed arguments) -> part; a function of a module.
        data: where the samples are, and what `samples_of` is told of them.
        samples: those of them that are run.
        batch: samples that are run at once.

    Raises:
        SnnhwError: 'no-cluster' where none answers or has a worker, 'other-worker' where one has another version of
            snnhw, 'lost-workers', and what a shard raises.
    """
    require("cluster", "--cluster")
    from distributed import CancelledError, KilledWorker, as_completed

    whole = {name: path.absolute() for name, path in files.items()}
    hashes = {name: file_hash(path) for name, path in whole.items()}
    place = data[0].absolute(), *data[1:]
    job = Job(task, whole, hashes, place, samples.digest, len(samples.x), {**fixed, "batch": batch})
    with _client(address, tls) as client, bar("cluster") as progress:
        _require_same(client, job)
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        seen = client.run(_sees, job)
        sent = {} if all(found[0] for found in seen.values()) else {n: p.read_bytes() for n, p in job.files.items()}
        by_path = all(found[1] for found in seen.values())
        shards = min(-(-job.total // batch), SHARDS_PER_WORKER * workers)
        futures = []
        for i in range(1, shards + 1):
            first, last = shard_of(job.total, batch, (i, shards))
            part = None if by_path else (first, np.asarray(samples.x[first:last]), samples.y)
            futures.append(client.submit(_shard, job, sent, part, (i, shards), pure=False))
        parts: list[Part] = []
        try:
            for _, done in as_completed(futures, loop=client.loop, with_results=True):
                parts.append(done)
                progress(sum(p.of["last"] - p.of["first"] for p in parts), job.total)
        except (KilledWorker, CancelledError, OSError) as error:
            hint = "see the workers' logs: too little memory?"
            raise SnnhwError("lost-workers", f"workers were lost again and again: {error}", hint=hint) from None
        return merged(parts)


@contextmanager
def _client(address: str, tls: tuple[Path, Path, Path] | None) -> Iterator[Client]:
    from distributed import Client
    from distributed.security import Security

    options: dict[str, Any] = {}
    if tls is not None:
        ca, cert, key = map(str, tls)
        options = {
            "security": Security(tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True)
        }
    try:
        client = Client(address, timeout=10, set_as_default=False, **options)
    except (OSError, ValueError, TimeoutError) as error:
        raise _unreachable(address, str(error)) from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise _unreachable(address, "the scheduler has no worker")
        yield client


def _unreachable(address: str, why: str) -> SnnhwError:
    hint = "start `dask scheduler` and `dask worker ADDRESS`, or check --cluster and --tls"
    return SnnhwError("no-cluster", f"no cluster answers: {why}", where=address, hint=hint)


def _require_same(client: Client, job: Job) -> None:
    """Workers have our version; those without snnhw cannot even be asked by a function of ours."""
    try:
        found = client.run(version)
    except (ImportError, AttributeError) as error:
        found = {"a worker": f"none: {error}"}
    for worker, has in found.items():
        if has != job.made_by:
            raise SnnhwError(
                "other-worker",
                "a worker has another version of snnhw",
                where=worker,
                needed=job.made_by,
                limit=has,
                hint="install the same version on all workers",
            )


def _sees(job: Job) -> tuple[bool, bool]:
    """On a worker: whether it has the files, and whether it has the samples, where they were said to be."""
    files = all(path.is_file() and file_hash(path) == job.hashes[name] for name, path in job.files.items())
    try:
        return files, samples_of(*job.data).first(job.total).digest == job.digest
    except SnnhwError:
        return files, False


def _shard(
    job: Job, sent: Mapping[str, bytes], part: tuple[int, Array, Array | None] | None, shard: tuple[int, int]
) -> Part:
    """On a worker: one shard."""
    with _ONE, tempfile.TemporaryDirectory() as folder:
        files = dict(job.files)
        for name, content in sent.items():
            files[name] = Path(folder) / job.files[name].name
            files[name].write_bytes(content)
        if part is None:
            samples = samples_of(*job.data).first(job.total)
        else:
            first, x, y = part
            shape = (job.total, *x.shape[1:])
            samples = Samples(Rows(shape, x.dtype, lambda a, b: x[a - first : b - first], "x"), y)
        return job.task(files, samples, shard, job.digest, **job.fixed)
