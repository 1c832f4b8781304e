"""`python -m tests.attack.fuzz SECONDS`: structure-aware mutants of every format that is read.

One process imports everything and makes the seeds; mutants are judged (`judge.py`) in processes forked from it, many
in each, so that one that dies, hangs or fills the memory costs only itself. A mutant follows from its kind, seed and
number: `--one KIND:SEED:NUMBER` judges it again in this process, and `--keep FOLDER` saves the first of each fault.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

import argparse
import gc
import json
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.attack import folders, mutate, seeds
from tests.attack.judge import CONTENT, GOOD, LINES, Judge, Verdict, watch

CPU_SECONDS = 20.0
"""Of one mutant; more is a hang."""

WALL_SECONDS = 240.0
MEMORY = 2 << 30
"""Bytes of address space that mutants may take beyond those that are there before them."""

BATCH = 400
"""Mutants of one process."""


@dataclass
class Found:
    """Counts of one kind, and the first mutant of each cause of a fault."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[tuple[str, str], tuple[int, int, str]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    checked: int = 0

    def add(self, number: int, row: dict[str, Any]) -> bool:
        """Whether it is a fault that was not there before."""
        kind, key = row["kind"], row["key"]
        self.counts[kind] += 1
        if kind == "refused":
            self.refusals[key] += 1
        if kind == "accepted" and row.get("checked"):
            self.checked += 1
        if kind in GOOD:
            return False
        first, count, detail = self.faults.get((kind, key), (number, 0, row["detail"]))
        self.faults[kind, key] = (first, count + 1, detail)
        return count == 0


class Worker:
    """A forked process that judges some of the mutants first, first + step, ..."""

    def __init__(self, room: Path, kind: str, seed: str, blobs: dict[str, bytes], numbers: range) -> None:
        self.numbers, self.begun = numbers, time.monotonic()
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(read)
            _work(room, kind, seed, blobs, numbers[:BATCH], write)
        os.close(write)
        self.pipe, self.rest = read, b""

    def rows(self) -> list[dict[str, Any]] | None:
        """What it has found since; None where it has ended."""
        new = os.read(self.pipe, 1 << 20)
        if not new:
            return None
        *lines, self.rest = (self.rest + new).split(b"\n")
        self.begun = time.monotonic()
        found = [json.loads(line) for line in lines]
        if found:
            self.numbers = range(found[-1]["number"] + self.numbers.step, self.numbers.stop, self.numbers.step)
        return found

    def end(self) -> Verdict | None:
        """What ended it, unless it had done its work."""
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code in (-signal.SIGPROF, -signal.SIGALRM):
            return Verdict("hang", f"over {CPU_SECONDS:.0f} CPU seconds")
        return Verdict("died", f"exit status {code}") if code else None


def _work(room: Path, kind: str, seed: str, blobs: dict[str, bytes], numbers: range, pipe: int) -> None:
    code = 1
    try:
        gc.freeze()
        place = Path(tempfile.mkdtemp(dir=room.parent, prefix="mutant-"))
        os.environ["XDG_STATE_HOME"] = str(place / "state")
        os.chdir(place)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        judge = Judge(room, place)
        watch(judge, [place])
        for number in numbers:
            name, blob, checked = mutate.mutant(kind, f"{seed}:{number}", blobs)
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            verdict = judge(kind, name, blob, checked, number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            row = {"number": number, "checked": checked, **asdict(verdict)}
            if verdict.kind in GOOD:
                row["detail"] = ""
            os.write(pipe, json.dumps(row).encode() + b"\n")
        code = 0
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os._exit(code)


def attack(
    room: Path, kind: str, seed: str, blobs: dict[str, bytes], until: float, jobs: int = 1, most: int | None = None
) -> Found:
    """The mutants 0, 1, ... of one kind until a time (monotonic), or so many."""
    found = Found()
    with selectors.DefaultSelector() as waiting:

        def start(numbers: range) -> None:
            if numbers:
                worker = Worker(room, kind, seed, blobs, numbers)
                waiting.register(worker.pipe, selectors.EVENT_READ, worker)

        for job in range(jobs):
            start(range(job, sys.maxsize if most is None else most, jobs))
        while waiting.get_map() and time.monotonic() < until:
            for key, _ in waiting.select(1.0):
                worker = key.data
                rows = worker.rows()
                for row in rows or ():
                    found.add(row["number"], row)
                if rows is None:
                    waiting.unregister(worker.pipe)
                    lost, numbers = worker.end(), worker.numbers
                    if lost is not None and numbers:
                        found.add(numbers[0], asdict(lost))
                        numbers = numbers[1:]
                    start(numbers)
            for key in list(waiting.get_map().values()):
                if time.monotonic() - key.data.begun > WALL_SECONDS:
                    os.kill(key.data.pid, signal.SIGALRM)
        for key in list(waiting.get_map().values()):
            os.kill(key.data.pid, signal.SIGKILL)
            key.data.end()
    return found


def main() -> None:
    sys.dont_write_bytecode = True  # of the module in a file: it is written beside it
    parser = argparse.ArgumentParser(prog="tests.attack.fuzz", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=60.0)
    parser.add_argument("--kinds", nargs="+", default=list(mutate.OF), choices=list(mutate.OF))
    parser.add_argument("--seed", default=time.strftime("%Y%m%d%H%M%S"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--most", type=int, help="mutants of each kind, at most: the same ones on every machine")
    parser.add_argument("--one", metavar="KIND:SEED:NUMBER", help="judge this mutant here, and say all")
    parser.add_argument("--keep", type=Path, help="folder for the first mutant of each fault")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="snnhw-fuzz-"))
    try:
        if asked.one:
            _one(root, *asked.one.split(":"), keep=asked.keep)
        else:
            sys.exit(_all(root, asked))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def prepared(root: Path, kinds: list[str]) -> dict[str, dict[str, bytes]]:
    """Kind -> name -> bytes of its seeds, which are all accepted; everything that they need is imported."""
    made = seeds.made(root / "room", kinds)
    if "json" in kinds and "nir" not in kinds:
        seeds.made(root / "room", ["nir"])
    place = root / "first"
    place.mkdir()
    os.environ["XDG_STATE_HOME"] = str(place)
    judge = Judge(root / "room", place, deep=1)
    blobs = {kind: {path.name: folders.taken(path) for path in paths} for kind, paths in made.items()}
    odd = []
    for kind, files in blobs.items():
        for name, blob in files.items():
            for number in range(max(1, len(LINES[kind])) if name == next(iter(files)) else 1):
                verdict = judge(kind, name, blob, kind in CONTENT, number)
                if verdict.kind != "accepted" and (number == 0 or verdict.kind not in GOOD):
                    odd.append(f"{name}, {number}: {verdict.kind} {verdict.key}\n{verdict.detail}")
    if odd:
        raise AssertionError("seeds are not accepted:\n" + "\n".join(odd))
    return blobs


def _one(root: Path, kind: str, seed: str, number: str, keep: Path | None) -> None:
    made = seeds.made(root / "room", list(dict.fromkeys([kind, "nir"])) if kind == "json" else [kind])
    blobs = {path.name: folders.taken(path) for path in made[kind]}
    name, blob, checked = mutate.mutant(kind, f"{seed}:{number}", blobs)
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{kind}-{seed}-{number}{Path(name).suffix}").write_bytes(blob)
    place = root / "one"
    place.mkdir()
    os.environ["XDG_STATE_HOME"] = str(place)
    for deep in (1, 16):
        found = Judge(root / "room", place, deep=deep)(kind, name, blob, checked, int(number))
        print(f"{name} ({len(blob)} bytes), deep {deep}: {found.kind} {found.key}\n{found.detail}")


def _all(root: Path, asked: argparse.Namespace) -> int:
    end = time.monotonic() + asked.seconds
    blobs = prepared(root, asked.kinds)
    found: dict[str, Found] = {}
    begin = time.monotonic()
    print(f"seeds made, {end - begin:.0f} s left", flush=True)
    for i, kind in enumerate(asked.kinds):
        until = begin + (end - begin) * (i + 1) / len(asked.kinds)
        found[kind] = attack(root / "room", kind, asked.seed, blobs[kind], until, asked.jobs, asked.most)
        if asked.keep:
            asked.keep.mkdir(parents=True, exist_ok=True)
            for (fault, _), (number, _, _) in found[kind].faults.items():
                name, blob, _ = mutate.mutant(kind, f"{asked.seed}:{number}", blobs[kind])
                (asked.keep / f"{kind}-{asked.seed}-{number}-{fault.replace(' ', '_')}{Path(name).suffix}").write_bytes(
                    blob
                )
    seconds = time.monotonic() - begin
    total: Counter[str] = Counter()
    names = sorted({name for f in found.values() for name in f.counts if name not in GOOD})
    print(
        f"{'format':<10} {'mutants':>8} {'refused':>8} {'accepted':>8} {'(checksum)':>10}", *(f"{n:>10}" for n in names)
    )
    for kind, f in found.items():
        total += f.counts
        row = [f.counts.total(), f.counts["refused"], f.counts["accepted"], f.checked, *(f.counts[n] for n in names)]
        print(f"{kind:<10}", *(f"{count:>10}" for count in row))
    print(f"{total.total()} mutants in {seconds:.0f} s ({total.total() / seconds:.0f} a second), seed {asked.seed}")
    for kind, f in found.items():
        for (fault, key), (number, count, detail) in sorted(f.faults.items(), key=lambda item: -item[1][1]):
            print(f"\n== {kind}:{asked.seed}:{number} {fault}, {count} times: {key}\n{detail.strip()}")
    bad = sum(count for name, count in total.items() if name not in GOOD)
    print(f"\n{bad} faults")
    return int(bad > 0)


if __name__ == "__main__":
    main()
