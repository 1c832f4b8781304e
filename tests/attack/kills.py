"""`python -m tests.attack.kills 300`: SIGKILL at random moments of every command that writes.

Each command runs in a process forked from a warm one, so that a kill falls into its work. Afterwards every output is
the old file or the whole new one, nothing else lies in the folder once the next write has tidied, and a training that
was killed again and again ends with the weights of one that was not.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

import argparse
import hashlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from snnhw import api, files
from snnhw.artifact import load, save
from snnhw.cli import main as snnhw
from snnhw.zoo import checkpoint
from tests.unit.frontends.checkpoints import content, saved

EPOCHS = 30
"""Of a training that is killed and resumed until it is done."""

LINES: dict[str, list[str]] = {
    "compile": [
        "compile",
        "net.pt",
        "--target",
        "loihi2",
        "-o",
        "out.snnhw",
        "--emit-nir",
        "out.nir",
        "--dump",
        "dump",
    ],
    "run": ["run", "net.snnhw", "--input", "data.npz", "--record", "state", "-o", "out.npz"],
    "compare": ["compare", "net.pt", "net.snnhw", "--data", "data.npz", "--html", "out.html", "--markdown", "out.md"],
    "shard": ["run", "net.snnhw", "--input", "data.npz", "--shard", "1/1", "-o", "out.npz"],
    "merge": ["merge", "part.npz", "--html", "out.html", "--figures", "figures"],
    "export nir": ["export", "net.snnhw", "--to", "nir", "-o", "out.nir"],
    "export onnx": ["export", "net.snnhw", "--to", "onnx", "-o", "out.onnx"],
    "train": ["train", "spikeprop_xor", "-o", "out.pt", "--epochs", str(EPOCHS), "--resume"],
}


def forked(words: list[str]) -> int:
    """A process that runs a command line; its number."""
    pid = os.fork()
    if pid == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            snnhw(words)
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        os._exit(99)
    return pid


def killed(words: list[str], after: float) -> int:
    """Its exit status: -9 where it was killed in time."""
    pid = forked(words)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def hashes(folder: Path) -> dict[str, str]:
    """Of all files, those in folders too, by their paths."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def emptied(folder: Path) -> None:
    """The inputs stay."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in INPUTS:
            path.unlink()


def prepared(folder: Path) -> None:
    """The inputs of all commands, in the current folder."""
    saved(folder / "net.pt", content())
    save(api.compile(folder / "net.pt", target="loihi2"), folder / "net.snnhw")
    np.savez(folder / "data.npz", x=np.zeros((2, 1, 8, 8), np.uint8), y=np.zeros(2, int))
    seconds_of(["compare", "net.pt", "net.snnhw", "--data", "data.npz", "--shard", "1/1", "-o", "part.npz"])


def seconds_of(words: list[str]) -> float:
    began = time.monotonic()
    code = os.waitstatus_to_exitcode(os.waitpid(forked(words), 0)[1])
    if code:
        raise AssertionError(f"{words} ended with {code}")
    return time.monotonic() - began


def weights_of(path: Path) -> str:
    found = checkpoint.read(path)["model"]
    return hashlib.sha256(b"".join(found[key].numpy().tobytes() for key in sorted(found))).hexdigest()


def attack(name: str, kills: int, rng: random.Random) -> Counter[str]:
    """Kills of one command in the current folder, which holds its inputs alone."""
    words, found = LINES[name], Counter[str]()
    inputs = hashes(Path())
    whole = seconds_of(words)
    new = {key: value for key, value in hashes(Path()).items() if key not in inputs}
    outputs = sorted(new)
    old = {path: hashlib.sha256(b"old " + path.encode()).hexdigest() for path in outputs}
    while found["killed"] < kills and found.total() < 10 * kills:
        for path in outputs:
            Path(path).write_bytes(b"old " + path.encode())
        status = killed(words, rng.uniform(0, whole))
        found["killed" if status == -signal.SIGKILL else "done before"] += 1
        for path in outputs:
            there = hashes(Path()).get(path)
            if there is None or (there != old[path] and not whole_file(Path(path), there == new[path])):
                found["LOST OR HALF-WRITTEN"] += 1
        for place in {Path(path).parent for path in (*outputs, "tidy")}:
            files.write({place / "tidy": b""})
            (place / "tidy").unlink()
        if set(hashes(Path())) != {*inputs, *outputs}:
            found["LEFT BEHIND"] += 1
        if any(hashes(Path())[path] != inputs[path] for path in inputs):
            found["INPUT CHANGED"] += 1
    return found


def whole_file(path: Path, same: bool) -> bool:
    """Whether a new output is complete: the same bytes, or (pages carry times) one that ends as it should."""
    if same:
        return True
    if path.suffix in (".html", ".md"):
        return path.stat().st_size > 1000 and (path.suffix == ".md" or path.read_text().rstrip().endswith("</html>"))
    if path.suffix == ".snnhw":
        load(path)
        return True
    return False


def train(kills: int, rng: random.Random) -> Counter[str]:
    """A training is killed and resumed until it is done; then anew, until there were enough kills."""
    words, found, folder = LINES["train"], Counter[str](), Path()
    whole = seconds_of(words)
    want = weights_of(folder / "out.pt")
    while found["killed"] < kills and found.total() < 10 * kills:
        for path in folder.glob("out.pt*"):
            path.unlink()
        for attempt in range(100):
            status = killed(words, rng.uniform(0, whole * (1 if attempt % 8 < 7 else 3)))
            found["killed" if status == -signal.SIGKILL else "done before"] += 1
            if (folder / "out.pt").exists() and (folder / "out.pt.resume").exists():
                checkpoint.read(folder / "out.pt")
                checkpoint.read_plain(folder / "out.pt.resume")
            elif (folder / "out.pt").exists() != (folder / "out.pt.resume").exists():
                found["one of two"] += 1
            if status == 0:
                break
        else:
            seconds_of(words)
        if weights_of(folder / "out.pt") != want:
            found["OTHER WEIGHTS"] += 1
    files.write({Path("tidy"): b""})
    left = {p.name for p in folder.iterdir()} - {"tidy", "out.pt", "out.pt.resume", *INPUTS}
    found["LEFT BEHIND"] += len(left)
    return found


INPUTS = ("net.pt", "net.snnhw", "data.npz", "part.npz")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.attack.kills", description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=300)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--only", nargs="+", default=list(LINES), choices=list(LINES))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    root, rng, before = Path(tempfile.mkdtemp(prefix="snnhw-kills-")), random.Random(asked.seed), os.getcwd()
    total: Counter[str] = Counter()
    try:
        os.chdir(root)
        prepared(root)
        for name in asked.only:
            seconds_of(LINES[name])  # in a child: what it imports is imported here next
            emptied(root)
        for name in asked.only:
            each = -(-asked.kills // len(asked.only))
            found = train(each, rng) if name == "train" else attack(name, each, rng)
            emptied(root)
            print(f"{name:<12}", ", ".join(f"{count} {what}" for what, count in found.items() if count), flush=True)
            total += found
    finally:
        os.chdir(before)
        shutil.rmtree(root, ignore_errors=True)
    bad = sum(count for what, count in total.items() if what.isupper())
    print(f"{total['killed']} kills, {bad} faults")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
