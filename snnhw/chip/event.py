"""Event time of one chip step: messages on a mesh of FIFO routers, in integer picoseconds.

Rules: docs/energy.md, "Event time". A core sends its messages one after another into a FIFO of its router; a router
sends the head of each FIFO along the XY route or to the receiving core; a link takes one message at a time, and only
where the FIFO behind it has room; a core receives first come, first served, out of a finite buffer. What arrives or is
ready at an instant is there before anything is sent; then the output of least number that can send sends, until none
can.

Nothing polls. A FIFO is an event only when its next head is still to come, an output only when a head waits for it and
it will be free at a known time; a head that waits for room is woken by whoever makes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from snnhw.chip.disjoint import disjoint_time
from snnhw.engines.compiled import compiled
from snnhw.machine import Machine
from snnhw.mapping.route import tile
from snnhw.network import Array

LATEST = float(1 << 62)
"""Bound of the picoseconds of all work of a step."""

loop: Any = compiled(_nrt=False)
"""Compiles what runs for every event: without reference counts of arrays, which would take most of the time."""

BUCKETS = 1024
"""Buckets of the queue of events (a multiple of 64): a turn of them spans at least 16 of the slowest hops."""


class Mesh(NamedTuple):
    """Routers, links and cores of one placement. Link 4 r + d leaves router r to the east, west, north or south.

    A node is a link with the FIFO behind it, or (after all links) a core with the FIFO that it fills. Of several
    networks each has routers and links of its own, one network behind the other; a core takes them in turn.

    Args:
        cores: number of cores.
        height, routers, networks: routers in a column and of a network, and networks.
        behind: router in which the FIFO of a node ends, of cores the one in the first network; routers are numbered
            column by column over all chips.
        delay: picoseconds that each link takes, int64 (links,).
        occupied: picoseconds that a flit keeps a link.
        depth: messages that a FIFO, and a core's buffer, holds.
        reach, passing: hops in one traversal while the way is free, and picoseconds of each after the first.
    """

    cores: int
    height: int
    routers: int
    networks: int
    behind: Array
    delay: Array
    occupied: int
    depth: int
    reach: int
    passing: int


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


# The state of a step is one array of int64: numbers of the whole, the queue of events, and a record of every node.
# Nodes, events and places are known by their offsets in it.

NEAR, FAR, MARKED, NOW, TURN, SHIFT = range(6)
"""Events in buckets, events of later turns, marked outputs; bucket at hand, first bucket of the next turn, bits of a
bucket's picoseconds."""
FROM, LINKS, RING, STARTS, STRIDE = range(6, 11)
"""Offsets of the first record and of the first core's; in a record, of its FIFO and a core's buffer, and its size."""
DEPTH, ROUTERS, NETWORKS, OCCUPIED, REACH, PASSING = range(11, 17)
"""Numbers of the mesh."""
HEADS = 20
WORDS = HEADS + BUCKETS
LISTS = WORDS + BUCKETS // 64
"""The first event of every bucket; a bit for every bucket that holds some; then the marked outputs, and before the
first record, backwards, the events of later turns."""

HEAD, HELD, SINCE, AFTER, ROUTER, COLUMN, BEFORE, MOST = range(8)
"""Of a FIFO: place of its head, messages, since when its head asks, and the FIFO that asks after it; its router, with
column and the routers of the networks before; most messages it held."""
FREE, FIRST, LAST, IS_MARKED, WAKES, WAY, DELAY, TAKEN = range(8, 16)
"""Of an output: when it gets free, the first and last FIFO that ask for it, whether it is marked, whether it is to be
looked at when it gets free, its direction (-1 into a core) and picoseconds, and picoseconds it was taken."""
SENT, END, DUE, REST, DONE, OLDEST, WAITING, STALLED = range(16, 24)
"""Of a core: its next message, the end of its messages, when the next is ready, work after the last, when all so far is
sent; oldest message in the buffer and their number; picoseconds that the next one was ready and the FIFO full."""
COMING, FREEING = 24, 27
"""Events: the FIFO's next head comes, the output gets free. An event is its time, the next event in its bucket and its
node (negative where the output gets free)."""
COLUMNS = 30

GAP, TO, WORK, FLITS = range(4)
"""Of a message; TO is the offset of a core."""

NEVER = (1 << 63) - 1


def mesh_of(cores: Array, target: Machine) -> Mesh:
    """The mesh under some cores (global numbers)."""
    x, y = tile(cores, target)
    (width, height), networks, time = target.chip.mesh, target.chip.networks, target.time
    columns = (int(x.max()) // width + 1) * width
    routers = columns * height
    link = np.arange(4 * routers)
    column, way = link // 4 // height, link % 4
    crosses = ((way == 0) & (column % width == width - 1)) | ((way == 1) & (column % width == 0))
    delay = np.where(way < 2, time.hop_ew, time.hop_ns) + crosses * time.border
    ends = np.clip(link // 4 + np.array([height, -height, 1, -1])[way], 0, routers - 1)  # no route leaves the mesh
    behind = np.concatenate([*(ends + routers * n for n in range(networks)), x * height + y])
    return Mesh(
        len(cores), height, routers, networks, behind, np.tile(delay.astype(np.int64), networks), time.link_occupancy,
        target.chip.link_buffer, target.chip.bypass_hops, time.bypass_hop,
    )  # fmt: skip


def step_time(step: Step, mesh: Mesh) -> int:
    """Picoseconds from the start of a step to its last event, without the barrier."""
    return int(run_step(step, mesh, state_of(mesh)))


def state_of(mesh: Mesh) -> Array:
    """Room for the state of one step."""
    nodes = len(mesh.behind)
    return np.zeros(LISTS + 3 * nodes + nodes * (COLUMNS + 3 * mesh.depth), np.int64)


def _count_zeros(_: Any, bits: Any) -> Any:
    """Number of the lowest bit that is set, one instruction of the processor."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


_lowest: Any = intrinsic(_count_zeros)


@loop
def _push(s, event, time):  # type: ignore[no-untyped-def]
    """An event goes into its bucket, by time, or waits for the turn of the buckets that it is in."""
    s[event] = time
    bucket = time >> s[SHIFT]
    if bucket >= s[TURN]:
        s[FAR] += 1
        s[s[FROM] - s[FAR]] = event
        return
    bucket &= BUCKETS - 1
    before, at = HEADS + bucket, s[HEADS + bucket]
    while at >= 0 and s[at] <= time:
        before, at = at + 1, s[at + 1]
    s[event + 1], s[before] = at, event
    s[WORDS + (bucket >> 6)] |= 1 << (bucket & 63)
    s[NEAR] += 1


@loop
def _next(s):  # type: ignore[no-untyped-def]
    """The bucket of the next event, which is at hand then. Turns of the buckets begin at multiples of them."""
    if s[NEAR] == 0:
        soonest, count = NEVER, s[FAR]
        for n in range(1, count + 1):
            soonest = min(soonest, s[s[s[FROM] - n]])
        s[NOW] = soonest >> s[SHIFT]
        s[TURN] = (s[NOW] & ~(BUCKETS - 1)) + BUCKETS
        s[FAR] = 0
        for n in range(1, count + 1):  # those that stay are written over what was read
            event = s[s[FROM] - n]
            _push(s, event, s[event])
    at = s[NOW] & (BUCKETS - 1)
    word = at >> 6
    bits = s[WORDS + word] >> (at & 63) << (at & 63)
    while bits == 0:
        word += 1
        bits = s[WORDS + word]
    bucket = (word << 6) + _lowest(bits)
    s[NOW] = (s[NOW] & ~(BUCKETS - 1)) + bucket
    return bucket


@loop
def _mark(s, output):  # type: ignore[no-untyped-def]
    """An output is to be looked at in this instant."""
    if not s[output + IS_MARKED]:
        s[output + IS_MARKED] = 1
        s[LISTS + s[MARKED]] = output
        s[MARKED] += 1


@loop
def _way(s, router, column, before, core):  # type: ignore[no-untyped-def]
    """The output of a message at a router: along x first, then along y, then its core."""
    goal = s[core + ROUTER] + before
    if router == goal:
        return core
    to = s[core + COLUMN]
    way = (2 if goal > router else 3) if to == column else (0 if to > column else 1)
    return s[FROM] + (4 * router + way) * s[STRIDE]


@loop
def _ask(s, messages, fifo, time):  # type: ignore[no-untyped-def]
    """The head of a FIFO asks for its output, behind those that asked before (of one instant, by their numbers)."""
    place = fifo + s[RING] + 2 * s[fifo + HEAD]
    router, before = s[fifo + ROUTER], s[fifo + BEFORE]
    if fifo >= s[LINKS]:
        before = s[place + 1]
        router += before
    output = _way(s, router, s[fifo + COLUMN], before, messages[s[place], TO])
    s[fifo + SINCE] = time
    last = s[output + LAST]
    if last < 0:
        s[fifo + AFTER] = -1
        s[output + FIRST] = s[output + LAST] = fifo
    elif s[last + SINCE] < time or last < fifo:
        s[fifo + AFTER] = -1
        s[last + AFTER] = s[output + LAST] = fifo
    else:
        link, at = output + FIRST, s[output + FIRST]
        while s[at + SINCE] < time or at < fifo:
            link, at = at + AFTER, s[at + AFTER]
        s[fifo + AFTER], s[link] = at, fifo
    _mark(s, output)


@loop
def _put(s, fifo, message, more):  # type: ignore[no-untyped-def]
    """A message takes a place in a FIFO, of a link while it is under way to it."""
    place = s[fifo + HEAD] + s[fifo + HELD]
    if place >= s[DEPTH]:
        place -= s[DEPTH]
    place = fifo + s[RING] + 2 * place
    s[place], s[place + 1] = message, more
    s[fifo + HELD] += 1
    s[fifo + MOST] = max(s[fifo + MOST], s[fifo + HELD])


@loop
def _enter(s, messages, core, time):  # type: ignore[no-untyped-def]
    """A core's next message enters its FIFO, which has room."""
    message = s[core + SENT]
    _put(s, core, message, s[core + BEFORE])
    if s[NETWORKS] > 1:
        s[core + BEFORE] = (s[core + BEFORE] + s[ROUTERS]) % (s[NETWORKS] * s[ROUTERS])
    message += 1
    s[core + SENT] = message
    if message < s[core + END]:
        s[core + DUE] = time + messages[message, GAP]
    else:
        s[core + DUE] = NEVER
        s[core + DONE] = time + s[core + REST]


@loop
def _fill(s, messages, core, time):  # type: ignore[no-untyped-def]
    """All that a core has ready, and room for, enters its FIFO."""
    while s[core + DUE] <= time and s[core + HELD] < s[DEPTH]:
        _enter(s, messages, core, s[core + DUE])


@loop
def _leave(s, messages, fifo, time):  # type: ignore[no-untyped-def]
    """The head of a FIFO leaves it: whoever waited for room gets it, and the next head asks or is still to come."""
    depth = s[DEPTH]
    if fifo >= s[LINKS]:
        _fill(s, messages, fifo, time)
    elif s[fifo + HELD] == depth and s[fifo + FIRST] >= 0:
        _mark(s, fifo)
    head = s[fifo + HEAD] + 1
    s[fifo + HEAD] = head if head < depth else 0
    s[fifo + HELD] -= 1
    coming = time
    if fifo >= s[LINKS]:
        while s[fifo + DUE] <= time and s[fifo + HELD] < depth:
            s[fifo + STALLED] += time - s[fifo + DUE]
            _enter(s, messages, fifo, time)
        if s[fifo + HELD] == 0:
            coming = s[fifo + DUE]
    elif s[fifo + HELD]:
        coming = s[fifo + s[RING] + 2 * s[fifo + HEAD] + 1]
    else:
        return
    if coming <= time:
        _ask(s, messages, fifo, time)
    elif coming < NEVER:
        _push(s, fifo + COMING, coming)


@loop
def _send(s, messages, output, fifo, time):  # type: ignore[no-untyped-def]
    """A link takes the head of a FIFO; through routers whose way is free, one traversal goes on straight."""
    message, late, last = s[fifo + s[RING] + 2 * s[fifo + HEAD]], 0, output
    taken = s[OCCUPIED] * messages[message, FLITS]
    s[last + FREE] = time + taken
    s[last + TAKEN] += taken
    for _ in range(1, s[REACH]):
        following = _way(s, s[last + ROUTER], s[last + COLUMN], s[last + BEFORE], messages[message, TO])
        if s[following + WAY] != s[output + WAY] or s[following + DELAY] != s[output + DELAY]:
            break
        if s[last + HELD] > 0 or s[following + HELD] == s[DEPTH]:
            break
        if s[following + FIRST] >= 0 or s[following + FREE] > time:
            break
        last, late = following, late + s[PASSING]
        s[last + FREE] = time + late + taken
        s[last + TAKEN] += taken
    arrives = time + s[output + DELAY] + late + taken - s[OCCUPIED]
    _put(s, last, message, arrives)
    if s[last + HELD] == 1:
        if arrives <= time:
            _ask(s, messages, last, time)
        else:
            _push(s, last + COMING, arrives)


@loop
def _receive(s, messages, core, fifo, time):  # type: ignore[no-untyped-def]
    """A core takes the head of a FIFO into its buffer, or at once."""
    work = messages[s[fifo + s[RING] + 2 * s[fifo + HEAD]], WORK]
    start = max(time, s[core + FREE])
    s[core + FREE] = start + work
    s[core + TAKEN] += work
    if start > time:
        place = s[core + OLDEST] + s[core + WAITING]
        s[core + s[STARTS] + (place if place < s[DEPTH] else place - s[DEPTH])] = start
        s[core + WAITING] += 1


@loop
def _ready(s, output, time):  # type: ignore[no-untyped-def]
    """When an output can send: now or later; never, until somebody makes room."""
    depth = s[DEPTH]
    if output < s[LINKS]:
        return NEVER if s[output + HELD] == depth else s[output + FREE]
    starts = output + s[STARTS]
    while s[output + WAITING] and s[starts + s[output + OLDEST]] <= time:
        oldest = s[output + OLDEST] + 1
        s[output + OLDEST] = oldest if oldest < depth else 0
        s[output + WAITING] -= 1
    return s[starts + s[output + OLDEST]] if s[output + WAITING] == depth else time


@loop
def _marked(s):  # type: ignore[no-untyped-def]
    """The marked output of least number, no longer marked."""
    least = LISTS
    for at in range(LISTS + 1, LISTS + s[MARKED]):
        if s[at] < s[least]:
            least = at
    output = s[least]
    s[MARKED] -= 1
    s[least] = s[LISTS + s[MARKED]]
    s[output + IS_MARKED] = 0
    return output


@loop
def _happen(s, messages, bucket):  # type: ignore[no-untyped-def]
    """The next instant's events: heads that come ask, and outputs that get free are marked."""
    event = s[HEADS + bucket]
    time = s[event]
    while event >= 0 and s[event] == time:
        s[NEAR] -= 1
        s[HEADS + bucket] = s[event + 1]
        at = s[event + 2]
        if at < 0:
            s[-at + WAKES] = 0
            _mark(s, -at)
        else:
            if at >= s[LINKS]:
                _fill(s, messages, at, time)
            _ask(s, messages, at, time)
        event = s[HEADS + bucket]
    if event < 0:
        s[WORDS + (bucket >> 6)] &= ~(1 << (bucket & 63))
    return time


@loop
def _events(s, messages):  # type: ignore[no-untyped-def]
    """All events of a step, instant by instant."""
    while s[NEAR] + s[FAR]:
        time = _happen(s, messages, _next(s))
        while s[MARKED]:
            output = _marked(s)
            fifo = s[output + FIRST]
            if fifo < 0:
                continue
            ready = _ready(s, output, time)
            if ready > time:
                if ready < NEVER and not s[output + WAKES]:
                    s[output + WAKES] = 1
                    _push(s, output + FREEING, ready)
                continue
            s[output + FIRST] = s[fifo + AFTER]
            if s[output + FIRST] < 0:
                s[output + LAST] = -1
            else:
                _mark(s, output)
            if output < s[LINKS]:
                _send(s, messages, output, fifo, time)
            else:
                _receive(s, messages, output, fifo, time)
            _leave(s, messages, fifo, time)


@compiled()
def _begin(s, step, mesh):  # type: ignore[no-untyped-def]
    """A state before its first event."""
    links, nodes = len(mesh.delay), len(mesh.behind)
    start, stride = LISTS + 3 * nodes, COLUMNS + 3 * mesh.depth
    s[:start] = 0
    s[HEADS:WORDS] = -1
    turn = 16 * (mesh.delay.max() + mesh.occupied) // BUCKETS
    while turn >> s[SHIFT] > 0:
        s[SHIFT] += 1
    s[TURN], s[LINKS], s[DEPTH], s[FROM] = BUCKETS, start + links * stride, mesh.depth, start
    s[RING], s[STARTS], s[STRIDE] = COLUMNS, COLUMNS + 2 * mesh.depth, stride
    s[ROUTERS], s[NETWORKS], s[OCCUPIED] = mesh.routers, mesh.networks, mesh.occupied
    s[REACH], s[PASSING] = mesh.reach, mesh.passing
    for n in range(nodes):
        node = start + n * stride
        s[node : node + COLUMNS] = 0
        s[node + FIRST], s[node + LAST] = -1, -1
        s[node + ROUTER] = mesh.behind[n]
        s[node + COLUMN] = mesh.behind[n] % mesh.routers // mesh.height
        s[node + BEFORE] = mesh.behind[n] // mesh.routers * mesh.routers
        s[node + COMING + 2], s[node + FREEING + 2] = node, -node
        s[node + WAY] = -1
        if n < links:
            s[node + WAY], s[node + DELAY] = n & 3, mesh.delay[n]
            continue
        core = n - links
        first, end = step.first[core], step.first[core + 1]
        s[node + FREE], s[node + SENT], s[node + END], s[node + DUE] = step.host[core], first, end, NEVER
        s[node + REST] = step.rest[core]
        if first < end:
            s[node + DUE] = step.gap[first]
            _push(s, node + COMING, step.gap[first])
        else:
            s[node + DONE] = step.rest[core]


@compiled()
def run_step(step, mesh, s):  # type: ignore[no-untyped-def]
    """`step_time` in a state that may be used; -1 where it has too much work for the clock."""
    if _work(step, mesh) >= LATEST:
        return -1
    found = disjoint_time(step, mesh)
    return found if found >= 0 else simulated(step, mesh, s)


@compiled()
def simulated(step, mesh, s):  # type: ignore[no-untyped-def]
    """`step_time`, event by event."""
    _begin(s, step, mesh)
    messages = np.empty((len(step.gap), 4), np.int64)
    for m in range(len(messages)):
        messages[m, GAP], messages[m, WORK], messages[m, FLITS] = step.gap[m], step.work[m], step.flits[m]
        messages[m, TO] = s[LINKS] + step.to[m] * s[STRIDE]
    _events(s, messages)
    last = 0
    for core in range(mesh.cores):
        node = s[LINKS] + core * s[STRIDE]
        last = max(last, s[node + DONE], s[node + FREE])
    return last


@compiled()
def _work(step, mesh):  # type: ignore[no-untyped-def]
    """Picoseconds of a step, as if nothing were done side by side."""
    longest = mesh.networks * mesh.routers // mesh.height + mesh.height  # hops of the longest route
    most = 0.0
    for flits in step.flits:
        most = max(most, float(flits))
    total = (mesh.delay.max() + mesh.passing + mesh.occupied * most) * longest * len(step.gap)
    for part in (step.host, step.rest, step.gap, step.work):
        for picoseconds in part:
            total += picoseconds
    return total
