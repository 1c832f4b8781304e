"""The `lava` engine: the network as Lava processes, all samples in one run, records streamed back as they come."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from snnhw.engines.base import Engine, Needs, Observer, Record, Session, active, noted, states
from snnhw.engines.lava import compat
from snnhw.engines.lava.folder import write_plan
from snnhw.engines.lava.plan import SPARSE, STOCK, Job, Plan, input_file, make_plan
from snnhw.engines.lava.recorder import read_window
from snnhw.engines.lava.report import FAULT
from snnhw.engines.lava.supervisor import Worker, worker
from snnhw.errors import DataError, EngineError
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Kind, Network, Population

DEFAULT_CONNECTIONS = {"lava-lif": STOCK, "programmable": SPARSE}
PREFIX, YOUNG = "snnhw-lava-", 10.0
"""Of the folder that a run exchanges data in, and seconds in which one may not be held yet."""

WINDOW_SAMPLES = 16
WINDOW_BYTES = 1 << 28
POLL = 0.02

# the default timeout: many times what a 2-core machine with other work took, so that only a hang exceeds it
START_SECONDS, PROCESS_SECONDS = 120.0, 1.0
STEP_SECONDS, MESSAGE_SECONDS, SYNAPSE_SECONDS = 1.0, 0.02, 2e-7


def default_connections(network: Network[IntNeuron], profile: str) -> str:
    """What a run without a wish uses."""
    scaled = any(q.op.format == "conv" and q.weight_exp for q in network.projections)
    return SPARSE if scaled else DEFAULT_CONNECTIONS.get(profile, SPARSE)


class LavaEngine(Engine):
    """Lava 0.10.0's fixed-point simulation (docs/design.md, "Engines"); never claim more than bit-exactness to it.

    Args:
        timeout: seconds for the whole run; None computes a generous one from the work.
        connections: 'stock' (Lava's Dense and Conv) or 'sparse' (ours, faster); None takes the profile's default,
            and ours where a convolution has an exponent, which stock Conv ignores (lava issue 803).
        fault: development hook for tests of failures (see `report.FAULT`).
    """

    name = "lava"

    def __init__(self, timeout: float | None = None, connections: str | None = None, fault: str | None = None) -> None:
        if connections not in (None, STOCK, SPARSE):
            raise EngineError("bad-option", f"unknown connections {connections!r}", limit=f"{STOCK}, {SPARSE}")
        self.timeout, self.connections, self.fault = timeout, connections, fault

    def open(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> LavaSession:
        """A session of whole samples; raises EngineError 'lava-missing' where Lava cannot run."""
        ok, found, fix = compat.lava_status()
        if not ok:
            raise EngineError("lava-missing", f"the lava engine cannot run: {found}", hint=fix)
        return LavaSession(self, network, machine, needs)


class LavaSession(Session):
    """Whole samples: every `advance` or `run` is one run of Lava, which starts and ends with it."""

    def __init__(self, engine: LavaEngine, network: Network[IntNeuron], machine: Machine, needs: Needs) -> None:
        super().__init__(network, machine, needs)
        self.engine = engine

    def run(self, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run all chunks as one stream of samples; observers see windows of some samples while Lava runs on."""
        with closing(self._stream(chunks, _window(self.network))) as stream:  # at once, whatever an observer raises
            for first, name, record in stream:
                for observer in observers:
                    observer.observe(first, name, record)

    def _walk(self, given: Mapping[str, Array]) -> Iterator[tuple[str, Record]]:
        samples, steps = next(iter(given.values())).shape[:2]
        if steps != self.network.steps or self.samples is not None:
            self._refuse(f"{self.steps + steps} steps")
        self.samples, self.steps = samples, steps
        for _, name, record in self._stream([given], samples):
            yield name, record

    def _save(self) -> Mapping[str, Array]:
        return self._refuse("state")

    def _load(self, held: Mapping[str, Array]) -> None:
        self._refuse("state")

    def _refuse(self, needed: str) -> NoReturn:
        raise EngineError(
            "no-streaming",
            "the lava engine runs whole samples only",
            needed=needed,
            limit=f"{self.network.steps} steps of new samples",
            hint="reset() before new samples; engine='fast' takes any number of steps",
        )

    def _stream(self, chunks: Iterable[Mapping[str, Array]], window: int) -> Generator[tuple[int, str, Record]]:
        """First sample, population and record of windows of so many samples, in order."""
        profile, network = self.machine.profile, self.network
        connections = self.engine.connections or default_connections(network, profile)
        _tidy()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 0700
        held = os.open(folder, os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            samples = _write_inputs(folder, network, chunks)
            if not samples:
                return
            job = Job(network, profile, connections, samples, window, self.machine.widths)
            plan = make_plan(job)
            write_plan(folder, plan)
            timeout = _generous(job, plan) if self.engine.timeout is None else self.engine.timeout
            fault = self.engine.fault
            with worker(folder, timeout, {FAULT: fault} if fault else {}) as running:
                for number, first in enumerate(range(0, samples, window)):
                    size = min(window, samples - first)
                    for index, population in enumerate(network.populations):
                        yield first, population.name, _record(job, running, self.needs, index, number, first, size)
        finally:
            shutil.rmtree(folder)
            os.close(held)


def _tidy() -> None:
    """Folders of our own runs that were killed before their worker began: nobody holds them any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # gone meanwhile, held, or a link
            folder = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                found = os.fstat(folder)
                if found.st_uid == os.geteuid() and time.time() - found.st_mtime > YOUNG:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path)
            finally:
                os.close(folder)


def _write_inputs(folder: Path, network: Network[IntNeuron], chunks: Iterable[Mapping[str, Array]]) -> int:
    """Append every chunk to the input files (written, not mapped: a full disk then raises instead of killing us)."""
    files: dict[str, BinaryIO] = {}
    samples = 0
    try:
        for index, population in enumerate(network.populations):
            if population.kind is Kind.INPUT:
                files[population.name] = (folder / input_file(index)).open("wb")
        for chunk in chunks:
            for name, file in files.items():
                _check_shape(chunk[name], network, name)
                file.write(np.ascontiguousarray(chunk[name], np.int32).data)
            samples += next(iter(chunk.values())).shape[0]
    finally:
        for file in files.values():
            file.close()
    return samples


def _check_shape(x: Array, network: Network[IntNeuron], name: str) -> None:
    """The files hold no shapes, so a wrong one would be read as other values."""
    needed = (network.steps, *network[name].shape)
    if x.shape[1:] != needed:
        raise DataError(
            "bad-shape",
            "the values do not fit the input population",
            where=name,
            needed=f"(samples, {needed})",
            limit=x.shape,
        )


def _window(network: Network[IntNeuron]) -> int:
    """Samples per record: one file per population and window, held in memory while it fills."""
    bytes_per_sample = sum(12 * p.size for p in network.computed) * network.steps
    return max(1, min(WINDOW_SAMPLES, WINDOW_BYTES // max(bytes_per_sample, 1)))


def _generous(job: Job, plan: Plan) -> float:
    synapses = sum(int(q.op.fan_out(*job.network.between(q)).sum()) for q in job.network.projections)
    per_step = STEP_SECONDS + MESSAGE_SECONDS * len(plan.nodes) + SYNAPSE_SECONDS * synapses
    return START_SECONDS + PROCESS_SECONDS * len(plan.nodes) + per_step * plan.steps


def _record(job: Job, running: Worker, needs: Needs, index: int, window: int, first: int, size: int) -> Record:
    population = job.network.populations[index]
    shape = (size, job.network.steps, *population.shape)
    if population.kind is Kind.INPUT:
        values = _input(job, running.folder / input_file(index), population, first, size)
        return noted(needs, population, values.reshape(shape))
    found = _wait(running, index, window)
    arrays = {part: _ours(found[part]).reshape(shape) for part in ("spikes", *states(population))}
    labels, counted = needs.active.get(population.name), None
    if labels is not None:
        before = np.broadcast_to(population.model.v_init, (size, *population.shape)).reshape(size, -1)
        flat = (x.reshape(*shape[:2], -1) for x in arrays.values())
        counted = active(population, labels, before, *flat)
    state = {name: arrays[name] for name in needs.state.get(population.name, ())}
    overflows = {name: int(n) for name, n in zip(states(population), found["counts"], strict=True)}
    return noted(needs, population, arrays["spikes"], state=state, overflows=overflows, active=counted)


def _input(job: Job, path: Path, population: Population[IntNeuron], first: int, size: int) -> Array:
    bytes_per_sample = 4 * job.network.steps * population.size
    return np.fromfile(path, np.int32, size * bytes_per_sample // 4, offset=first * bytes_per_sample)


def _wait(running: Worker, index: int, window: int) -> dict[str, Any]:
    for _ in _polls():
        found = read_window(running.folder, index, window)
        if found is not None:
            return found
        running.check()
    raise AssertionError("polling never ends by itself")


def _polls() -> Iterator[None]:
    while True:
        yield
        time.sleep(POLL)


def _ours(x: Array) -> Array:
    """Steps of a population from Lava's axis order to ours."""
    return np.ascontiguousarray(x.transpose(0, 3, 2, 1)) if x.ndim == 4 else x
