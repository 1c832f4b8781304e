"""Event time once more, plainly: Python lists, every output looked at again after every change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fifo:
    router: tuple[int, int]
    feeds: Any = None  # the link before it, or the core that fills it
    here: list[int] = field(default_factory=list)
    coming: int = 0
    since: int = 0


def naive(step: Any, place: list[tuple[int, int]], delay: Any, occupied: int, depth: int) -> int:
    """Time of a step.

    Args:
        place: (x, y) of the router of each core.
        delay: picoseconds from a router to the next one, by (router, router).
    """
    cores = range(len(place))
    inject = {c: Fifo(place[c], c) for c in cores}
    width, height = max(x for x, _ in place) + 1, max(y for _, y in place) + 1
    ways = ((1, 0), (-1, 0), (0, 1), (0, -1))
    links = [((x, y), (x + a, y + b)) for x in range(width) for y in range(height) for a, b in ways]
    after = {link: Fifo(link[1], link) for link in links}
    fifos = [*after.values(), *inject.values()]
    free = dict.fromkeys(links, 0)
    busy = [int(step.host[c]) for c in cores]
    starts: list[list[int]] = [[] for _ in cores]
    queue = {c: list(range(step.first[c], step.first[c + 1])) for c in cores}
    due = {c: int(step.gap[queue[c][0]]) for c in cores if queue[c]}
    done = [0 if queue[c] else int(step.rest[c]) for c in cores]
    flying: list[tuple[int, Any, int]] = []

    def goal(f: Fifo) -> Any:
        to = step.to[f.here[0]]
        (x, y), (gx, gy) = f.router, place[to]
        if x != gx:
            return (f.router, (x + (1 if gx > x else -1), y))
        if y != gy:
            return (f.router, (x, y + (1 if gy > y else -1)))
        return int(to)

    def enter(c: int, now: int) -> None:
        f = inject[c]
        message = queue[c].pop(0)
        f.here.append(message)
        if len(f.here) == 1:
            f.since = now
        if queue[c]:
            due[c] = now + int(step.gap[queue[c][0]])
        else:
            del due[c]
            done[c] = now + int(step.rest[c])

    def asking() -> dict[Any, list[Fifo]]:
        found: dict[Any, list[Fifo]] = {}
        for f in fifos:
            if f.here:
                found.setdefault(goal(f), []).append(f)
        return found

    def able(output: Any, now: int) -> bool:
        if isinstance(output, int):
            starts[output] = [start for start in starts[output] if start > now]
            return len(starts[output]) < depth
        return free[output] <= now and len(after[output].here) + after[output].coming < depth

    number = {output: n for n, output in enumerate([*links, *cores])}
    now = 0
    blocked: set[int] = set()
    while True:
        times = [time for time, *_ in flying] + [due[c] for c in due if c not in blocked]
        for output in asking():
            later = starts[output] if isinstance(output, int) else [free[output]]
            times += [time for time in later if time > now]
        if not times:
            return max([*done, *busy])
        now = min(times)
        for time, output, message in sorted((f for f in flying if f[0] == now), key=lambda f: number[f[1]]):
            flying.remove((time, output, message))
            f = after[output]
            f.coming -= 1
            f.here.append(message)
            if len(f.here) == 1:
                f.since = now
        for c in cores:
            while due.get(c) == now and c not in blocked:
                if len(inject[c].here) == depth:
                    blocked.add(c)
                else:
                    enter(c, now)
        while can := [output for output in asking() if able(output, now)]:
            output = min(can, key=number.__getitem__)
            f = min(asking()[output], key=lambda f: f.since)  # the first of the list among equals
            message = f.here.pop(0)
            f.since = now
            if f.feeds in blocked and f is inject[f.feeds]:
                blocked.discard(f.feeds)
                enter(f.feeds, now)
            if isinstance(output, int):
                start = max(now, busy[output])
                busy[output] = start + int(step.work[message])
                starts[output].append(start)
            else:
                taken = occupied * int(step.flits[message])
                free[output] = now + taken
                after[output].coming += 1
                flying.append((now + delay[output] + taken - occupied, output, message))
