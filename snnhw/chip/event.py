"""Event time of one chip step: messages on a mesh of FIFO routers, in integer picoseconds.

Rules: docs/energy.md, "Event time". A core sends its messages one after another into a FIFO of its router; a router
sends the head of each FIFO along the XY route or to the receiving core; a link takes one message at a time, and only
where the FIFO behind it has room; a core receives first come, first served, out of a finite buffer. Of one instant,
arrivals come first, then messages that are ready, by number of link and core; then the output of least number that
can send sends, until none can.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from snnhw.machine import Machine
from snnhw.mapping.route import tile
from snnhw.network import Array

ARRIVE, READY, WAKE = 0, 1, 2
NUMBERS = 19
LATEST = 1 << 42
"""Bound of the picoseconds of all work of a step: an event is one integer of time, kind and number (19 bits)."""


class Mesh(NamedTuple):
    """Routers, links and cores of one placement. Link 4 r + d leaves router r to the east, west, north or south.

    Args:
        at: router of each core; routers are numbered column by column over all chips.
        height: routers in a column.
        delay: picoseconds that each link takes, int64 (links,).
        occupied: picoseconds that a flit keeps a link.
        depth: messages that a FIFO, and a core's buffer, holds.
        ends, fifos: FIFOs of router r are fifos[ends[r]:ends[r + 1]]: those behind links, then those of cores.
    """

    at: Array
    height: int
    delay: Array
    occupied: int
    depth: int
    ends: Array
    fifos: Array


class Step(NamedTuple):
    """What cores do in one step, times in picoseconds.

    Args:
        first: messages of core c are first[c]:first[c + 1], in the order they are sent.
        gap: work before each message, since the one before was taken.
        to, work, flits: of each message its core, what it costs there, and its flits.
        rest: work of each core after its last message.
        host: what each core receives from the host, which waits for nobody.
    """

    first: Array
    gap: Array
    to: Array
    work: Array
    flits: Array
    rest: Array
    host: Array


class _State(NamedTuple):
    """Of FIFOs (one behind each link, one for each core): messages, and what the head waits for. Of outputs (links,
    then cores): until when they are taken. Of cores: messages that wait to be received."""

    ring: Array
    head: Array
    held: Array
    here: Array
    want: Array
    since: Array
    free: Array
    wake: Array
    dirty: Array
    is_dirty: Array
    busy: Array
    starts: Array
    oldest: Array
    waiting: Array
    sent: Array
    blocked: Array
    done: Array
    heap: Array
    size: Array


def mesh_of(cores: Array, target: Machine) -> Mesh:
    """The mesh under some cores (global numbers)."""
    x, y = tile(cores, target)
    width, height = target.chip.mesh
    columns = (int(x.max()) // width + 1) * width
    at = x * height + y
    link = np.arange(4 * columns * height)
    column, way = link // 4 // height, link % 4
    crosses = ((way == 0) & (column % width == width - 1)) | ((way == 1) & (column % width == 0))
    delay = np.where(way < 2, target.time.hop_ew, target.time.hop_ns) + crosses * target.time.border
    step = np.array([height, -height, 1, -1])[way]
    behind = np.concatenate([link // 4 + step, at])
    inside = (behind >= 0) & (behind < columns * height)
    order = np.lexsort((np.arange(len(behind)), behind))
    order = order[inside[order]]
    ends = np.searchsorted(behind[order], np.arange(columns * height + 1))
    depth, occupied = target.chip.link_buffer, target.time.link_occupancy
    return Mesh(at, height, delay.astype(np.int64), occupied, depth, ends, order)


def step_time(step: Step, mesh: Mesh) -> int:
    """Picoseconds from the start of a step to its last event, without the barrier."""
    return int(run_step(step, mesh, state_of(len(mesh.at), len(mesh.delay), mesh.depth)))


@njit(nogil=True, cache=True)
def state_of(cores, links, depth):  # type: ignore[no-untyped-def]
    """Room for the state of one step."""
    fifos = links + cores
    return _State(
        np.zeros((fifos, depth), np.int32), np.zeros(fifos, np.int32), np.zeros(fifos, np.int32),
        np.zeros(fifos, np.int32), np.zeros(fifos, np.int32), np.zeros(fifos, np.int64),
        np.zeros(links, np.int64), np.zeros(fifos, np.int64), np.zeros(fifos, np.int32), np.zeros(fifos, np.bool_),
        np.zeros(cores, np.int64), np.zeros((cores, depth), np.int64), np.zeros(cores, np.int32),
        np.zeros(cores, np.int32), np.zeros(cores, np.int64), np.zeros(cores, np.bool_), np.zeros(cores, np.int64),
        np.zeros(links * depth + fifos + cores + 1, np.int64), np.zeros(2, np.int64),
    )  # fmt: skip


@njit(inline="always")
def _push(heap, size, time, kind, number):  # type: ignore[no-untyped-def]
    key, at = (time << (NUMBERS + 2)) | (kind << NUMBERS) | number, size[0]
    size[0] += 1
    while at > 0:
        above = (at - 1) >> 1
        if heap[above] <= key:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = key


@njit(inline="always")
def _pop(heap, size):  # type: ignore[no-untyped-def]
    top = heap[0]
    size[0] -= 1
    n = size[0]
    key, at = heap[n], 0
    while True:
        below = 2 * at + 1
        if below >= n:
            break
        if below + 1 < n and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= key:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = key
    return top


@njit(inline="always")
def _mark(dirty, is_dirty, size, output):  # type: ignore[no-untyped-def]
    if not is_dirty[output]:
        is_dirty[output] = True
        dirty[size[1]] = output
        size[1] += 1


@njit(inline="always")
def _request(ring, head, want, since, dirty, is_dirty, size, to, routers, height, delay, fifo, router, time):  # type: ignore[no-untyped-def]
    """The head of a FIFO asks for its output: along x first, then along y, then the core."""
    message = ring[fifo, head[fifo]]
    goal = routers[to[message]]
    x, to_x = router // height, goal // height
    if to_x != x:
        output = 4 * router + (0 if to_x > x else 1)
    elif goal != router:
        output = 4 * router + (2 if goal > router else 3)
    else:
        output = len(delay) + to[message]
    want[fifo], since[fifo] = output, time
    _mark(dirty, is_dirty, size, output)


@njit(inline="always")
def _inject(  # type: ignore[no-untyped-def]
    ring,
    head,
    held,
    here,
    want,
    since,
    dirty,
    is_dirty,
    size,
    heap,
    sent,
    blocked,
    done,
    first,
    gap,
    rest,
    to,
    routers,
    height,
    delay,
    depth,
    core,
    time,
):
    """A core's next message enters its FIFO, or waits for room."""
    fifo = len(delay) + core
    if held[fifo] == depth:
        blocked[core] = True
        return
    blocked[core] = False
    message = sent[core]
    ring[fifo, (head[fifo] + held[fifo]) % depth] = message
    held[fifo] += 1
    here[fifo] += 1
    sent[core] = message + 1
    if message + 1 < first[core + 1]:
        _push(heap, size, time + gap[message + 1], READY, core)
    else:
        done[core] = time + rest[core]
    if here[fifo] == 1:
        _request(ring, head, want, since, dirty, is_dirty, size, to, routers, height, delay, fifo, routers[core], time)


@njit(nogil=True, cache=True)
def run_step(step, mesh, s):  # type: ignore[no-untyped-def]
    """`step_time` in a state that may be used; -1 where it has too much work for the clock."""
    (
        ring,
        head,
        held,
        here,
        want,
        since,
        free,
        wake,
        dirty,
        is_dirty,
        busy,
        starts,
        oldest,
        waiting,
        sent,
        blocked,
        done,
        heap,
        size,
    ) = s
    first, gap, to, work, flits, rest, host = step
    routers, height, delay, occupied, depth, ends, fifos = mesh
    cores, links = len(routers), len(delay)
    head[:] = 0
    held[:] = 0
    here[:] = 0
    want[:] = -1
    free[:] = 0
    wake[:] = -1
    oldest[:] = 0
    waiting[:] = 0
    blocked[:] = False
    size[:] = 0
    total = host.sum() + rest.sum() + gap.sum() + work.sum()  # as if nothing were done side by side
    slowest = delay.max() + occupied * (flits.max() if len(flits) else 0)
    longest = (len(ends) - 1) // height + height  # hops of the longest route
    if total + len(gap) * longest * slowest >= LATEST or len(delay) + cores > 1 << NUMBERS:
        return -1
    for core in range(cores):
        busy[core] = host[core]
        sent[core] = first[core]
        if first[core] < first[core + 1]:
            _push(heap, size, gap[first[core]], READY, core)
            done[core] = 0
        else:
            done[core] = rest[core]
    while size[0]:
        time = heap[0] >> (NUMBERS + 2)
        while size[0] and heap[0] >> (NUMBERS + 2) == time:
            key = _pop(heap, size)
            kind, number = (key >> NUMBERS) & 3, key & ((1 << NUMBERS) - 1)
            if kind == ARRIVE:
                here[number] += 1
                if here[number] == 1:
                    way = number & 3
                    router = (number >> 2) + (height if way == 0 else -height if way == 1 else 1 if way == 2 else -1)
                    _request(
                        ring, head, want, since, dirty, is_dirty, size, to, routers, height, delay, number, router, time
                    )
            elif kind == READY:
                _inject(
                    ring,
                    head,
                    held,
                    here,
                    want,
                    since,
                    dirty,
                    is_dirty,
                    size,
                    heap,
                    sent,
                    blocked,
                    done,
                    first,
                    gap,
                    rest,
                    to,
                    routers,
                    height,
                    delay,
                    depth,
                    number,
                    time,
                )
            else:
                wake[number] = -1
                _mark(dirty, is_dirty, size, number)
        while size[1]:
            least = 0
            for at in range(1, size[1]):
                if dirty[at] < dirty[least]:
                    least = at
            output = dirty[least]
            size[1] -= 1
            dirty[least] = dirty[size[1]]
            is_dirty[output] = False
            # the message that waits longest for it (of those, from the FIFO of least number) is sent, if it can
            core = output - links
            router = output // 4 if core < 0 else routers[core]
            fifo = -1
            for n in range(ends[router], ends[router + 1]):
                other = fifos[n]
                if want[other] == output and (fifo < 0 or since[other] < since[fifo]):
                    fifo = other
            if fifo < 0:
                continue
            ready = time
            if core < 0:
                if held[output] == depth:
                    continue  # whoever leaves that FIFO marks this output
                ready = free[output]
            else:
                while waiting[core] and starts[core, oldest[core]] <= time:
                    oldest[core] = (oldest[core] + 1) % depth
                    waiting[core] -= 1
                if waiting[core] == depth:
                    ready = starts[core, oldest[core]]
            if ready > time:
                if wake[output] != ready:
                    wake[output] = ready
                    _push(heap, size, ready, WAKE, output)
                continue
            message = ring[fifo, head[fifo]]
            head[fifo] = (head[fifo] + 1) % depth
            held[fifo] -= 1
            here[fifo] -= 1
            want[fifo] = -1
            if here[fifo] > 0:
                _request(ring, head, want, since, dirty, is_dirty, size, to, routers, height, delay, fifo, router, time)
            if fifo < links:
                _mark(dirty, is_dirty, size, fifo)
            elif blocked[fifo - links]:
                _inject(
                    ring,
                    head,
                    held,
                    here,
                    want,
                    since,
                    dirty,
                    is_dirty,
                    size,
                    heap,
                    sent,
                    blocked,
                    done,
                    first,
                    gap,
                    rest,
                    to,
                    routers,
                    height,
                    delay,
                    depth,
                    fifo - links,
                    time,
                )
            if core < 0:
                taken = occupied * flits[message]
                free[output] = time + taken
                ring[output, (head[output] + held[output]) % depth] = message
                held[output] += 1
                _push(heap, size, time + delay[output] + taken - occupied, ARRIVE, output)
            else:
                start = max(time, busy[core])
                busy[core] = start + work[message]
                if start > time:
                    starts[core, (oldest[core] + waiting[core]) % depth] = start
                    waiting[core] += 1
            _mark(dirty, is_dirty, size, output)
    return max(done.max(), busy.max())
