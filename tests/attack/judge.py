"""What one mutant comes to: read, compiled and run through Python and through the command line, and watched.

Python may raise `SnnhwError` only; the command line may end with 0, 1 or 2 and one message of printable text.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import snnhw
from snnhw import api, artifact, data, sweep
from snnhw.cli import main
from snnhw.commands import calibrate_command
from snnhw.comparison import partial
from snnhw.comparison.diff import diff
from snnhw.comparison.points import Point
from snnhw.errors import SnnhwError
from snnhw.frontends import load_model
from snnhw.frontends.nir.fields import read_fields
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.restricted import read_restricted
from snnhw.machine import load_target
from snnhw.report.card import measured
from snnhw.report.tradeoff import pages, table
from snnhw.zoo import event_data, event_files
from snnhw.zoo.data import read_idx
from snnhw.zoo.train import train
from tests.attack import folders, seeds
from tests.attack.seeds import OPTIONS

PACKAGE = str(Path(snnhw.__file__).parent)

GOOD = ("accepted", "refused")


@dataclass
class Verdict:
    """`kind` is 'accepted', 'refused', or the name of a fault; `key` tells faults of one cause together."""

    kind: str
    key: str = ""
    detail: str = ""


def options_of(name: str) -> SourceOptions:
    return OPTIONS.get(name, SourceOptions())


def flags_of(name: str) -> list[str]:
    """The same on a command line."""
    found: list[str] = []
    for key, said in options_of(name).given.items():
        found += ["--" + key.replace("_", "-"), ",".join(map(str, said)) if isinstance(said, tuple) else str(said)]
    return found


class Judge:
    """One room of files; `path` holds the mutant.

    Args:
        deep: one of so many accepted mutants is compiled and run as well; of so many refused ones the command line's
            answer is asked for.
    """

    def __init__(self, room: Path, place: Path, deep: int = 16) -> None:
        self.room, self.place, self.deep = room, place, deep
        self.wrote: list[str] = []
        self.images = np.load(room / "images.npz")["x"] if (room / "images.npz").exists() else None

    def __call__(self, kind: str, name: str, blob: bytes, checked: bool, number: int) -> Verdict:
        path = self.place / name
        if kind == "point":  # a sweep finds it by what it depends on
            path = self.place / "swept" / seeds.point_in(self.room)
            path.parent.mkdir(exist_ok=True)
        folders.laid(path, blob)
        self.wrote.clear()
        found = self._python(kind, name, path, number)
        often = found.kind == "accepted" and kind in CHEAP and self.deep > 4
        each = 1 if kind == "words" else 4 if often else self.deep
        if found.kind in GOOD and number % each == 0 and LINES[kind]:
            said = self._line(kind, name, path, number // each)
            found = said if said.kind not in GOOD or kind == "words" else found
        if found.kind == "accepted" and checked:
            folders.laid(path, blob)  # a training state has been written anew
            same = CONTENT[kind](path) == CONTENT[kind](self.room / name)
            found = found if same else Verdict("unequal", f"{kind} of another content")
        if self.wrote:
            found = Verdict("escape", self.wrote[0], "\n".join(self.wrote))
        return found

    def _python(self, kind: str, name: str, path: Path, number: int) -> Verdict:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                READ[kind](self, name, path, number % self.deep == 0)
        except SnnhwError as error:
            if error.code == "out-of-memory":
                return Verdict("memory", f"{kind}: {error.message}", frames(error.__context__ or error))
            return Verdict("refused", error.code, str(error))
        except BaseException as error:  # noqa: BLE001 - that is the question
            return Verdict("traceback", cause(error), frames(error))
        return Verdict("accepted")

    def _line(self, kind: str, name: str, path: Path, number: int) -> Verdict:
        lines = LINES[kind] if kind != "words" else [json.loads(path.read_bytes())]
        words = [self._placed(word, path) for word in lines[number % len(lines)]]
        if "FLAGS" in words:
            at = words.index("FLAGS")
            words[at : at + 1] = flags_of(name)
        out, err, code = io.StringIO(), io.StringIO(), 99
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
                warnings.simplefilter("always")
                main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException as error:  # noqa: BLE001 - the same
            return Verdict("traceback", cause(error), frames(error))
        said, shown = err.getvalue(), (out.getvalue() + err.getvalue()).replace("\n", "").replace("\t", "")
        shown = "".join(c for c in shown if unicodedata.category(c) != "Zs")  # spaces of other scripts are shown
        if code == 3:
            reports = Path(os.environ["XDG_STATE_HOME"], "snnhw").glob("defect-*")
            report = "".join(report.read_text(encoding="utf-8") for report in reports) or said
            shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
            return Verdict("code 3", last_place(report), " ".join(words) + "\n" + report)
        if code not in (0, 1, 2):
            return Verdict("code", str(code), " ".join(words) + "\n" + said)
        if not shown.isprintable():
            odd = next(c for c in shown if not c.isprintable())
            return Verdict("raw text", f"{words[0]}: {odd!r}", shown)
        if re.search(r"\w+Warning: ", said):
            line = next(line for line in said.splitlines() if "Warning: " in line)
            return Verdict("warning", re.sub(r"^.*/(\w+\.py:\d+)", r"\1", line), " ".join(words) + "\n" + said)
        if code and not said and words[0] not in ("diff", "check"):
            return Verdict("silent", words[0], " ".join(words))
        if "out-of-memory" in said and "where: --memory" not in said:
            return Verdict("memory", f"{kind} on a command line", " ".join(words) + "\n" + said)
        return Verdict("refused", words[0], said) if code else Verdict("accepted")

    def _placed(self, word: str, path: Path) -> str:
        second = self.room / path.name.replace("1", "2")
        for name, place in (("{file}", path), ("{room}", self.room), ("{place}", self.place), ("{second}", second)):
            word = word.replace(name, str(place))
        return word


def cause(error: BaseException) -> str:
    """Type, and the last place in snnhw."""
    rows = traceback.extract_tb(error.__traceback__)
    ours = [row for row in rows if row.filename.startswith(PACKAGE)] or rows[-1:]
    at = ours[-1]
    return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno} {at.name}"


def frames(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-6000:]


def last_place(report: str) -> str:
    found = re.findall(r'File ".*?/snnhw/([\w/]+\.py)", line (\d+), in (\w+)', report)
    last = report.strip().splitlines()[-1][:80] if report.strip() else ""
    return f"{last.split(':')[0]} at {':'.join(found[-1][:2])} {found[-1][2]}" if found else last


# ---- Python


def _samples_for(compiled: artifact.Artifact) -> np.ndarray[Any, Any]:
    """Two samples that the artifact takes."""
    specs = compiled.inputs
    one = specs[0]
    rng = np.random.default_rng(0)
    if one.encoding in ("spikes", "direct") and len(specs) == 1 and one.encoding == "spikes":
        return rng.integers(0, 2, (2, compiled.steps, *one.sample_shape)).astype(np.uint8)
    return rng.integers(0, 2, (2, *one.sample_shape)).astype(np.uint8)


def _source(judge: Judge, name: str, path: Path, deep: bool) -> None:
    options, samples = options_of(name), judge.images if name == "ann.onnx" else None
    load_model(path, options, samples)
    if deep:
        compiled = api.compile(path, target="loihi2", options=options, calibrate=samples)
        api.run(compiled, _samples_for(compiled))


def _artifact(judge: Judge, name: str, path: Path, deep: bool) -> None:
    compiled = api.load(path)
    if deep:
        api.run(compiled, _samples_for(compiled))


def _samples(judge: Judge, name: str, path: Path, deep: bool) -> None:
    found = data.load_samples(path, preprocess=PREPROCESS if name.endswith(".images") else None)
    if len(found.x[:1]):
        found.digest  # noqa: B018 - reads samples
    if deep:
        api.run(judge.room / ("flat.snnhw" if name == "parts.npz" else "net.snnhw"), found.x)


def _part(judge: Judge, name: str, path: Path, deep: bool) -> None:
    whole = partial.merged([partial.load(path), partial.load(judge.room / name.replace("1", "2"))])
    if deep and name.startswith("compare"):
        api.merge(judge.room / "net.snnhw", [whole])


def _card(judge: Judge, name: str, path: Path, deep: bool) -> None:
    measured(path, "")


def _words(judge: Judge, name: str, path: Path, deep: bool) -> None:
    """Command lines are tried as command lines only."""


def _recording(judge: Judge, name: str, path: Path, deep: bool) -> None:
    diff(data.load_recording(path), data.load_recording(judge.room / name))


def _measurements(judge: Judge, name: str, path: Path, deep: bool) -> None:
    runs = calibrate_command.read(path)
    if deep:
        for row in runs:
            api.load(path.parent / row["artifact"])


def _point(judge: Judge, name: str, path: Path, deep: bool) -> None:
    row = sweep._kept(path, Point("loihi2"))
    assert row is not None
    table([row])
    if deep:
        pages([row])


def _weights(judge: Judge, name: str, path: Path, deep: bool) -> None:
    """A state dict, or the example, of a module of one's own."""
    own = {"weights": path, "example": judge.room / "own.npz"} if name != "own.npz" else {"example": path}
    options = SourceOptions(trust_code=True, **own)
    load_model(judge.room / "own.py:net", options)
    if deep:
        api.compile(judge.room / "own.py:net", target="loihi2", options=options)


def _events(judge: Judge, name: str, path: Path, deep: bool) -> None:
    if path.suffix in (".idx", ".gz"):
        read_idx(path)
    elif path.suffix == ".csv":
        event_files.read_trials(path)
    else:
        read = {".bin": event_files.read_nmnist, ".npz": lambda path: event_data.read_subset(path)[0][0]}
        aedat = event_files.read_aedat2 if path.stem == "two" else event_files.read_aedat3
        event_data.frames_by_number(read.get(path.suffix, aedat)(path), 2, (128, 128))


def _target(judge: Judge, name: str, path: Path, deep: bool) -> None:
    load_target(str(path))
    if deep:
        compiled = api.compile(judge.room / "net.pt", target=str(path))
        api.run(compiled, _samples_for(compiled))


def _rules(judge: Judge, name: str, path: Path, deep: bool) -> None:
    options = SourceOptions(steps=4, semantics=read_fields(str(path)))
    load_model(judge.room / "norse.nir", options)
    if deep:
        api.compile(judge.room / "norse.nir", target="loihi2", options=options)


def _resume(judge: Judge, name: str, path: Path, deep: bool) -> None:
    train("spikeprop_xor", judge.place / "xor.pt", epochs=1 + deep, resume=True, progress=False, log=lambda text: None)


READ: dict[str, Callable[[Judge, str, Path, bool], None]] = {
    "pt": _source,
    "safetensors": _source,
    "card": _card,
    "nir": _source,
    "onnx": _source,
    "net": _source,
    "resume": _resume,
    "snnhw": _artifact,
    **dict.fromkeys(("npz", "npy", "h5", "shards", "zarr", "images"), _samples),
    "recording": _recording,
    "part": _part,
    "csv": _measurements,
    "point": _point,
    "weights": _weights,
    "example": _weights,
    "events": _events,
    "toml": _target,
    "json": _rules,
    "words": _words,
}
CHEAP = ("snnhw", "npz", "recording", "part")
"""Kinds of which every fourth accepted mutant goes through the command line."""

# ---- command lines

_CHECK = ["check", "{file}", "--target", "loihi2", "FLAGS"]
_OWN = ["check", "{room}/own.py:net", "--target", "loihi2", "--trust-code"]
_COMPILE = ["compile", "{file}", "--target", "loihi2", "-o", "{place}/out.snnhw", "FLAGS"]
_SOURCES = [_CHECK, ["compile", "{file}", "--target", "loihi1", "--hard-reset", "-o", "{place}/out.snnhw", "FLAGS"],
            ["compile", "{file}", "--target", "loihi2", "-o", "{place}/out.snnhw", "--emit-nir", "{place}/out.nir",
             "--json", "FLAGS"]]  # fmt: skip
_DATA = [
    ["run", "{room}/net.snnhw", "--input", "{file}"],
    ["compile", "{room}/net.pt", "--target", "loihi2", "--calibrate", "{file}", "-o", "{place}/out.snnhw"],
    ["compare", "{room}/net.pt", "{room}/net.snnhw", "--data", "{file}", "--json"],
]
PREPROCESS = "gray"
LINES: dict[str, list[list[str]]] = {
    "pt": _SOURCES,
    "safetensors": _SOURCES,
    "card": [["card", "{room}/net.snnhw", "--comparison", "{file}"]],
    "nir": _SOURCES,
    "net": [_CHECK, _COMPILE],
    "onnx": [[*_CHECK, "--calibrate", "{room}/images.npz"], _CHECK],
    "resume": [["train", "spikeprop_xor", "-o", "{place}/xor.pt", "--epochs", "1", "--resume"]],
    "snnhw": [
        ["inspect", "{file}"],
        ["run", "{file}", "--input", "{room}/data.npz", "-o", "{place}/out.npz"],
        ["explain", "{file}"],
        ["inspect", "{file}", "--json"],
        ["check", "{file}"],
        ["export", "{file}", "--to", "nir", "-o", "{place}/out.nir"],
        ["export", "{file}", "--to", "onnx", "-o", "{place}/out.onnx"],
        ["compare", "{room}/net.pt", "{file}", "--data", "{room}/data.npz", "--markdown", "{place}/out.md"],
        ["run", "{file}", "--input", "{room}/data.npz", "--steps", "3", "--json"],
        ["export", "{file}", "--to", "lava-dl", "-o", "{place}/out.net"],
    ],
    **dict.fromkeys(("npz", "npy", "h5", "shards", "zarr"), _DATA),
    "images": [[*line, "--preprocess", PREPROCESS] for line in (_DATA[0], _DATA[2])],
    "part": [["merge", "{file}", "{second}", "--json"], ["merge", "{second}", "{file}"]],
    "words": [[]],
    "csv": [["calibrate", "loihi2", "--measurements", "{file}", "-o", "{place}/fitted.toml"]],
    "point": [[*seeds.SWEEP[:-1], "{place}/swept"], [*seeds.SWEEP[:-1], "{place}/swept", "--json"]],
    "weights": [[*_OWN, "--weights", "{file}", "--example", "{room}/own.npz"]],
    "example": [[*_OWN, "--example", "{file}"]],
    "events": [],
    "recording": [["diff", "{file}", "{room}/run.npz"], ["diff", "{room}/run.npz", "{file}", "--json"]],
    "toml": [
        ["targets", "{file}"],
        ["check", "{room}/net.pt", "--target", "{file}"],
        ["targets", "{file}", "--json"],
        ["run", "{room}/net.snnhw", "--input", "{room}/data.npz"],
    ],
    "json": [["check", "{room}/norse.nir", "--target", "loihi2", "--steps", "4", "--semantics", "{file}"]],
}

# ---- content of formats with a checksum


def _fingerprint(held: Any) -> bytes:
    digest = hashlib.sha256()

    def walk(x: Any) -> None:
        if isinstance(x, torch.Tensor):
            x = x.detach().contiguous().view(torch.uint8 if x.dim() else x.dtype).numpy() if x.numel() else np.zeros(0)
        if isinstance(x, dict):
            for key in x:
                digest.update(repr(key).encode())
                walk(x[key])
        elif isinstance(x, (list, tuple)):
            digest.update(str(len(x)).encode())
            for y in x:
                walk(y)
        elif isinstance(x, np.ndarray):
            digest.update(f"{x.dtype}{x.shape}".encode() + x.tobytes())
        else:
            digest.update(repr(x).encode())

    walk(held)
    return digest.digest()


def _of_samples(path: Path) -> bytes:
    found = data.load_samples(path, preprocess=PREPROCESS if path.suffix == ".images" else None)
    return _fingerprint([found.held, found.y if found.y is not None or not found.unread else path])


def _of_part(path: Path) -> bytes:
    found = partial.load(path)
    return _fingerprint([found.of, dict(sorted(found.arrays.items()))])


CONTENT: dict[str, Callable[[Path], bytes]] = {
    "pt": lambda path: _fingerprint(read_restricted(path)),
    "resume": lambda path: _fingerprint(read_restricted(path)),
    "snnhw": lambda path: artifact.to_bytes(artifact.load(path)),
    **dict.fromkeys(("npz", "shards", "images", "example"), _of_samples),
    "part": _of_part,
    "weights": lambda path: _fingerprint(read_restricted(path)),
    "events": lambda path: _fingerprint(event_data.read_subset(path) if path.suffix == ".npz" else path.read_bytes()),
    "recording": lambda path: _fingerprint(dict(sorted(data.load_recording(path).items()))),
}


# ---- what is watched


def watch(judge: Judge, allowed: list[Path]) -> None:
    """From now on every write elsewhere, program and connection of this process is noted."""
    homes = tuple(str(p) + os.sep for p in allowed)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not flags & WRITING or not isinstance(path, (str, bytes)):
                return
            place = os.fsdecode(path)
            if not place.startswith(homes) and os.path.basename(place) == place and place.startswith(".snnhw-"):
                return  # the writer's, in a folder that it holds open: `_draft` opened that folder
            if not os.path.abspath(place).startswith(homes) and place != os.devnull:
                judge.wrote.append(f"{event} {place!r}")
        elif event in EVENTS or event.startswith(("socket.connect", "socket.bind", "os.spawn", "os.exec")):
            judge.wrote.append(f"{event} {args!r}"[:300])

    sys.addaudithook(hook)


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
EVENTS = {"os.system", "subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "pickle.find_class", "pty.spawn"}
