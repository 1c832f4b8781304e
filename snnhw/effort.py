"""What a run will take, said before it starts: by its sizes, and by a short piece of the run itself."""

from __future__ import annotations

import os
import time
from math import ceil
from pathlib import Path
from typing import Any

from snnhw.artifact import Artifact
from snnhw.encoding import encode
from snnhw.engines.base import Engine, Needs
from snnhw.errors import DataError
from snnhw.limits import CHUNK, held
from snnhw.network import Array, Network
from snnhw.rows import Rows

MOST_SECONDS = 3600.0
SHARE = 0.8
"""Of the memory that may be used."""

SURE = 1 << 27
"""Work (neurons, and OVERHEAD for every population, times samples and steps) that no engine needs long for."""

OVERHEAD = 1000
"""Neuron updates whose time a population takes in a step, however few neurons it has."""

PIECE = 0.2
"""Seconds after which a piece of a run is long enough to tell the time of the whole."""

LAVA_STEP = 5e-4
"""Seconds that Lava's messages between processes take in a step, for every population and projection."""

FLOAT_CALL, FLOAT_UPDATE = 1e-5, 2e-9
"""Seconds of a step of one population in floats, however small, and of one of its neurons."""

IN_FLIGHT = 32
"""Bytes of the batch that runs, for each of its steps and each neuron of the largest population."""


def free_memory() -> int:
    """Bytes that this process can still take: what the machine has left, or less where a control group says so."""
    found = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        rows = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [int(row.split()[1]) * 1024 for row in rows if row.startswith("MemAvailable:")] or found
        group = Path("/sys/fs/cgroup")
        most, used = ((group / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
        found.append(int(most) - int(used))
    except (OSError, ValueError):  # another system, or a group without a limit
        pass
    return max(min(found), 0)


def require_room(needed: int, memory: int | None, what: str) -> None:
    """Raises DataError 'takes-too-much-memory' where a run would take more than SHARE of the memory.

    Args:
        memory: bytes that the process may hold; None for what is free.
    """
    most = int(SHARE * (free_memory() if memory is None else max(memory - held(), 0)))
    if needed > most:
        raise DataError(
            "takes-too-much-memory",
            "the run would take more memory than there is",
            where=what,
            needed=f"about {needed / 2**30:.1f} GiB",
            limit=f"{most / 2**30:.1f} GiB: {SHARE:.0%} of "
            + ("what is free" if memory is None else "what --memory leaves"),
            hint="give fewer samples or steps, record less, or say --force (force=True)",
        )


def require_time(seconds: float, what: str) -> None:
    """Raises DataError 'takes-too-long' above MOST_SECONDS."""
    if seconds > MOST_SECONDS:
        raise DataError(
            "takes-too-long",
            "the run would take very long",
            where=what,
            needed=f"about {seconds / 3600:.1f} hours",
            limit=f"{MOST_SECONDS / 3600:.0f} hour",
            hint="give fewer samples or steps, take the engine fast, or say --force (force=True)",
        )


def require_affordable(
    artifact: Artifact,
    x: Array | Rows,
    name: str,
    engine: Engine,
    needs: Needs,
    batch: int,
    memory: int | None = None,
    samples: int | None = None,
) -> None:
    """Refuse a run of an artifact that would take more than an hour or more than SHARE of the memory.

    Args:
        x: all samples (B, ...) as the user has them.
        name: of the engine.
        needs: what the run records.
        batch: samples that run together.
        samples: how many of them run; None for all.
        memory: bytes that the process may hold; None for what is free.

    Raises:
        DataError: 'takes-too-much-memory', 'takes-too-long', with the figures.
    """
    network, samples = artifact.network, len(x) if samples is None else samples
    what = f"{samples} samples of {network.steps} steps, {sum(p.size for p in network.populations)} neurons"
    batch = max(1, min(batch, samples))
    require_room(bytes_of(network, samples, batch, needs), memory, what)
    work = samples * network.steps * sum(p.size + OVERHEAD for p in network.populations)
    if work <= SURE:
        return
    if name == "lava":
        processes = len(network.populations) + len(network.projections)
        require_time(LAVA_STEP * processes * (network.steps + network.depth) * samples, what)
    elif samples:
        require_time(_step_time(artifact, x[:batch], engine, needs) * network.steps * ceil(samples / batch), what)


def require_affordable_floats(network: Network[Any], samples: int, record: bool) -> None:
    """The same for a run of a float network, by its sizes alone."""
    sizes = [p.size for p in network.populations]
    what = f"{samples} samples of {network.steps} steps, {sum(sizes)} neurons"
    kept = 8 * network[network.readout.population].size + (sum(sizes) if record else 0)
    flying = min(samples, CHUNK) * 8 * (sum(sizes) if record else 3 * max(sizes))
    require_room(network.steps * (2 * samples * kept + flying), None, what)
    calls = network.steps * ceil(samples / CHUNK) * len(sizes)
    require_time(FLOAT_CALL * calls + FLOAT_UPDATE * samples * network.steps * sum(sizes), what)


def bytes_of(network: Network[Any], samples: int, batch: int, needs: Needs) -> int:
    """What a run keeps until its end, twice as it is joined, and what is in flight."""
    size = {p.name: p.size for p in network.populations}
    kept = 8 * size[network.readout.population] + sum(size[name] for name in needs.spikes)
    kept += sum(4 * size[name] * len(held) for name, held in needs.state.items())
    flying = batch * max(size.values()) * IN_FLIGHT
    return network.steps * (2 * samples * kept + flying)


def _step_time(artifact: Artifact, x: Array, engine: Engine, needs: Needs) -> float:
    """Seconds that one step of these samples takes, by running as many steps as tell."""
    session = engine.open(artifact.network, artifact.target, needs)
    sequence = x.ndim == len(artifact.inputs[0].sample_shape) + 2
    done, steps, seconds = 0, 1, 0.0
    while seconds < PIECE and done < artifact.steps:
        steps = min(steps, artifact.steps)
        values = encode(x[:, :steps] if sequence else x, artifact.inputs, steps)
        began = time.perf_counter()
        session.reset()
        session.advance(values)
        seconds = time.perf_counter() - began if done else 0.0  # the first step compiles kernels
        done, steps = steps, 4 * steps
    return seconds / done
