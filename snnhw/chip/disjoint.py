"""Event time in closed form, of steps in which nobody waits for a link or for room."""

from __future__ import annotations

import numpy as np

from snnhw.engines.compiled import compiled


@compiled()
def disjoint_time(step, mesh):  # type: ignore[no-untyped-def]
    """What `event.step_time` finds, by sums along each core's messages; -1 where those might wait for one another.

    No two cores send over one link or to one core, messages have one flit and leave at least an occupancy apart, and a
    FIFO's room is never used up: the message that took its place before has arrived.
    """
    first, gap, to, work, flits, rest, host = step
    cores, links, depth = mesh.cores, len(mesh.delay), mesh.depth
    if mesh.reach > 1 or (flits != 1).any():
        return -1
    sender, delays = np.full(links + cores, -1), np.zeros(len(gap), np.int64)
    for core in range(cores):
        for m in range(first[core], first[core + 1]):
            router, goal = mesh.behind[links + core], mesh.behind[links + to[m]]
            while router != goal:
                x, to_x = router // mesh.height, goal // mesh.height
                way = (0 if to_x > x else 1) if x != to_x else (2 if goal > router else 3)
                link = 4 * router + way
                if sender[link] >= 0 and sender[link] != core:
                    return -1
                sender[link] = core
                delays[m] += mesh.delay[link]
                router = mesh.behind[link]
            if sender[links + to[m]] >= 0 and sender[links + to[m]] != core:
                return -1
            sender[links + to[m]] = core
    slowest, last = mesh.delay.max(), 0
    starts, received, busy = np.zeros((cores, depth), np.int64), np.zeros(cores, np.int64), host.copy()
    sent = np.zeros(len(gap), np.int64)
    for core in range(cores):
        now = 0
        for m in range(first[core], first[core + 1]):
            if m > first[core] and gap[m] < max(mesh.occupied, 1):
                return -1
            now += gap[m]
            sent[m] = now
            if m - first[core] >= depth and now - sent[m - depth] <= slowest:
                return -1
            arrives, place = now + delays[m], received[to[m]] % depth
            if received[to[m]] >= depth and starts[to[m], place] > arrives:
                return -1
            start = max(arrives, busy[to[m]])
            starts[to[m], place] = start
            received[to[m]] += 1
            busy[to[m]] = start + work[m]
        last = max(last, now + rest[core])
    return max(last, busy.max())
