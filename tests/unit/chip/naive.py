"""Event time once more, plainly: Python lists, every output looked at again after every change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass
class Fifo:
    number: int
    router: tuple[int, int]
    network: int = 0
    core: int | None = None  # that fills it
    messages: list[tuple[int, int]] = field(default_factory=list)  # (when it is there, message)
    since: int = 0


def naive(
    step: Any, place: list[tuple[int, int]], delay: Any, occupied: int, depth: int, networks: int = 1, reach: int = 1,
    passing: int = 0,
) -> int:  # fmt: skip
    """Time of a step.

    Args:
        place: (x, y) of the router of each core.
        delay: picoseconds from a router to the next one, by (router, router).
    """
    cores = range(len(place))
    width, height = max(x for x, _ in place) + 1, max(y for _, y in place) + 1
    links = [
        (n, (x, y), (x + a, y + b)) for n in range(networks) for x in range(width) for y in range(height)
        for a, b in WAYS
    ]  # fmt: skip
    after = {link: Fifo(n, link[2], link[0]) for n, link in enumerate(links)}
    inject = {c: Fifo(len(links) + c, place[c], core=c) for c in cores}
    used: dict[int, Fifo] = {}  # those that hold messages
    free = dict.fromkeys(links, 0)
    busy = [int(step.host[c]) for c in cores]
    starts: list[list[int]] = [[] for _ in cores]
    queue = {c: list(range(step.first[c], step.first[c + 1])) for c in cores}
    due = {c: int(step.gap[queue[c][0]]) for c in cores if queue[c]}
    done = [0 if queue[c] else int(step.rest[c]) for c in cores]

    def output_of(router: tuple[int, int], network: int, message: int) -> Any:
        to = step.to[message]
        (x, y), (gx, gy) = router, place[to]
        if x != gx:
            return (network, router, (x + (1 if gx > x else -1), y))
        if y != gy:
            return (network, router, (x, y + (1 if gy > y else -1)))
        return int(to)

    def goal(f: Fifo) -> Any:
        message = f.messages[0][1]
        network = f.network if f.core is None else int(message - step.first[f.core]) % networks
        return output_of(f.router, network, message)

    def put(f: Fifo, there: int, message: int) -> None:
        if not f.messages:
            f.since = there
            used[f.number] = f
        f.messages.append((there, message))

    def fill(c: int, now: int) -> None:
        """All messages of a core that are ready and have room enter its FIFO."""
        while due.get(c, now + 1) <= now and len(inject[c].messages) < depth:
            put(inject[c], now, queue[c].pop(0))
            if queue[c]:
                due[c] = now + int(step.gap[queue[c][0]])
            else:
                del due[c]
                done[c] = now + int(step.rest[c])

    def asking(now: int) -> dict[Any, list[Fifo]]:
        found: dict[Any, list[Fifo]] = {}
        for _, f in sorted(used.items()):
            if f.messages and f.messages[0][0] <= now:
                found.setdefault(goal(f), []).append(f)
        return found

    def able(output: Any, now: int) -> bool:
        if isinstance(output, int):
            starts[output] = [start for start in starts[output] if start > now]
            return len(starts[output]) < depth
        return free[output] <= now and len(after[output].messages) < depth

    def route(output: Any, message: int, now: int) -> list[Any]:
        """Links of one traversal: straight on while nobody else is there."""
        way = [output]
        while len(way) < reach:
            network, (ax, ay), (bx, by) = way[-1]
            further = output_of((bx, by), network, message)
            same = further == (network, (bx, by), (2 * bx - ax, 2 * by - ay))
            if not same or delay[further[1:]] != delay[output[1:]]:
                break
            if after[way[-1]].messages or further in asking(now) or not able(further, now):
                break
            way.append(further)
        return way

    number = {output: n for n, output in enumerate([*links, *cores])}
    now = 0
    while True:
        times = [f.messages[0][0] for f in used.values() if f.messages[0][0] > now]
        times += [due[c] for c in due if len(inject[c].messages) < depth]
        for output in asking(now):
            later = starts[output] if isinstance(output, int) else [free[output]]
            times += [time for time in later if time > now]
        if not times:
            return max([*done, *busy])
        now = min(times)
        for c in cores:
            fill(c, now)
        while can := [output for output in asking(now) if able(output, now)]:
            output = min(can, key=number.__getitem__)
            f = min(asking(now)[output], key=lambda f: f.since)  # the first of the list among equals
            message = f.messages[0][1]
            if isinstance(output, int):
                start = max(now, busy[output])
                busy[output] = start + int(step.work[message])
                starts[output].append(start)
            else:
                taken = occupied * int(step.flits[message])
                held, f.messages = f.messages, []  # neither it nor who stands behind it asks
                way = route(output, message, now)
                f.messages = held
                for n, link in enumerate(way):
                    free[link] = now + n * passing + taken
                put(after[way[-1]], now + delay[output[1:]] + (len(way) - 1) * passing + taken - occupied, message)
            f.messages.pop(0)
            if f.messages:
                f.since = max(now, f.messages[0][0])
            else:
                del used[f.number]
            if f.core is not None:
                fill(f.core, now)
