"""Event recordings as data sets: frames of event counts, split by the number of events.

Every recording becomes T frames ``[T, 2, H, W]`` (OFF, ON) of integer counts, neither normalised nor clipped, as the
event networks of SEW ResNet read them. Sets are held in memory: CIFAR10-DVS takes 5 GB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnhw.data import load_recording
from snnhw.errors import DataError, SnnhwError
from snnhw.shipped import shipped_folder
from snnhw.zoo.event_files import Events, damaged, events_of, read_aedat2, read_gesture, read_nmnist

Recording = tuple[Events, int]
"""Events and their label."""
Parts = tuple[Tensor, Tensor, Tensor, Tensor]
"""Frames ``[n, T, 2, H, W]`` and int64 labels ``[n]`` to train with, then those to test with."""
NMNIST_STEPS, DVS_STEPS = 10, 16
NMNIST_SENSOR, DVS_SENSOR = (34, 34), (128, 128)
NMNIST_TRAIN = 1000
"""Recordings of the subset that are for training; the rest is for testing."""
SUBSET = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nmnist1100.npz"
SHIPPED = shipped_folder("examples") / "nmnist_100.npz"


def frames_by_number(
    events: Events, steps: int, sensor: tuple[int, int], where: str = "recording"
) -> NDArray[np.int64]:
    """Counts ``[T, 2, H, W]`` of T runs of ``n // T`` successive events each; the last takes the rest as well.

    SEW ResNet's frames (SpikingJelly's split by number). ``sensor`` is (H, W); ``where`` names
    the recording in errors.
    """
    height, width = sensor
    each = len(events) // steps
    if not each:
        raise SnnhwError(
            "too-few-events",
            "the recording cannot be split into that many frames",
            where=where,
            needed=f"{steps} events or more",
            limit=f"{len(events)} events",
            hint="take fewer steps, or leave the recording out",
        )
    if int(events["x"].max()) >= width or int(events["y"].max()) >= height:
        raise SnnhwError(
            "event-outside",
            "an event lies outside of the sensor",
            where=where,
            needed=f"x to {int(events['x'].max())}, y to {int(events['y'].max())}",
            limit=f"{width} x {height} pixels",
            hint="the file is of another sensor, or damaged",
        )
    step = np.minimum(np.arange(len(events)) // each, steps - 1)
    cell = ((step * 2 + events["p"]) * height + events["y"]) * width + events["x"]
    return np.bincount(cell, minlength=steps * 2 * height * width).reshape(steps, 2, height, width)


def stack(recordings: Iterable[Recording], steps: int, sensor: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Frames ``[n, T, 2, H, W]``, uint8 where the counts allow it, else int32, and int64 labels ``[n]``."""
    frames, labels = [], []
    for index, (events, label) in enumerate(recordings):
        counts = frames_by_number(events, steps, sensor, f"recording {index} (label {label})")
        frames.append(counts.astype(np.uint8 if counts.max() < 256 else np.int32))
        labels.append(label)
    return torch.from_numpy(np.stack(frames)), torch.tensor(labels, dtype=torch.int64)


def nmnist() -> Parts:
    """N-MNIST (Orchard et al. 2015) from $SNNHW_NMNIST: a subset in an npz, or the folder with Train/ and Test/."""
    path = Path(os.environ.get("SNNHW_NMNIST") or SUBSET)
    if not path.exists():
        raise _missing(path, "N-MNIST", "nmnist1100.npz, or the folder of Train/ and Test/", "SNNHW_NMNIST")
    if path.is_dir():
        train, test = (_each(read_nmnist, _by_class(path / name, "*.bin")) for name in ("Train", "Test"))
        return _split(train, test, NMNIST_STEPS, NMNIST_SENSOR)
    recordings = read_subset(path)
    return _split(recordings[:NMNIST_TRAIN], recordings[NMNIST_TRAIN:], NMNIST_STEPS, NMNIST_SENSOR)


def read_subset(path: Path) -> list[Recording]:
    """The recordings of an npz with ``t`` (us), ``xyp`` (x | y << 6 | p << 12), ``start`` offsets and labels ``y``."""
    limit = f"arrays t, xyp, start and y of more than {NMNIST_TRAIN} whole recordings"
    try:
        found = load_recording(path)
        t, xyp, start, y = (found[name] for name in ("t", "xyp", "start", "y"))
    except DataError as error:
        if error.code != "bad-data":
            raise
        raise damaged(path, error.message, limit) from error
    except KeyError as error:
        raise damaged(path, f"no array {error}", limit) from error
    whole = all(array.ndim == 1 and array.dtype.kind in "iu" for array in (t, xyp, start, y)) and len(t) == len(xyp)
    if not whole or not NMNIST_TRAIN < len(y) == len(start) - 1 or start[0] != 0 or start[-1] != len(t):
        raise damaged(path, f"{len(y)} labels, {len(start)} offsets, {len(t)} events" if whole else "others", limit)
    starts = start.astype(np.int64)
    if (starts[1:] < starts[:-1]).any() or (len(xyp) and not 0 <= int(xyp.min()) <= int(xyp.max()) < 1 << 13):
        raise damaged(path, "offsets that go back, or numbers that are no events", limit)
    events = events_of(t, xyp & 63, xyp >> 6 & 63, xyp >> 12)
    return [(events[a:b], int(label)) for a, b, label in zip(starts[:-1], starts[1:], y, strict=True)]


def dvs_gesture() -> Parts:
    """DVS128 Gesture (Amir et al. 2017) from $SNNHW_DVS_GESTURE: the folder with ``trials_to_train.txt``."""
    root = _folder(
        "SNNHW_DVS_GESTURE", "DVS128 Gesture", "trials_to_train.txt, trials_to_test.txt and the .aedat files"
    )
    parts = []
    for name in ("train", "test"):
        listed = root / f"trials_to_{name}.txt"
        if not listed.is_file():
            raise _missing(listed, "DVS128 Gesture", "the list of recordings", "SNNHW_DVS_GESTURE")
        files = [root / line.strip() for line in listed.read_text().splitlines() if line.strip()]
        parts.append(chain.from_iterable(map(read_gesture, files)))
    train, test = parts
    return _split(train, test, DVS_STEPS, DVS_SENSOR)


def cifar10_dvs() -> Parts:
    """CIFAR10-DVS (Li et al. 2017) from $SNNHW_CIFAR10_DVS: a folder a class; of each, the first 90 % train."""
    root = _folder("SNNHW_CIFAR10_DVS", "CIFAR10-DVS", "one folder a class (airplane, ...) of .aedat files")
    by_class: dict[int, list[Path]] = {}
    for file, label in _by_class(root, "*.aedat"):
        by_class.setdefault(label, []).append(file)
    train, test = [], []
    for label, files in by_class.items():
        cut = len(files) * 9 // 10
        train += [(file, label) for file in files[:cut]]
        test += [(file, label) for file in files[cut:]]
    parts = _each(read_aedat2, train), _each(read_aedat2, test)
    return _split(*parts, DVS_STEPS, DVS_SENSOR)


def events_smoke() -> Parts:
    """The 100 N-MNIST test recordings that ship with snnhw as frames, 20 of them to test."""
    if not SHIPPED.is_file():
        raise SnnhwError(
            "dataset-missing",
            "the shipped event frames are not there",
            where=str(SHIPPED),
            needed="examples/nmnist_100.npz of the repository",
            hint="install snnhw again",
        )
    with np.load(SHIPPED) as file:
        x, y = torch.tensor(file["x"]), torch.tensor(file["y"])
    return x[:80], y[:80], x[80:], y[80:]


def _split(train: Iterable[Recording], test: Iterable[Recording], steps: int, sensor: tuple[int, int]) -> Parts:
    return (*stack(train, steps, sensor), *stack(test, steps, sensor))


def _each(read: Callable[[Path], Events], files: Iterable[tuple[Path, int]]) -> Iterator[Recording]:
    """Recordings one after another: all events of a set would not fit into memory."""
    return ((read(file), label) for file, label in files)


def _by_class(root: Path, pattern: str) -> list[tuple[Path, int]]:
    """Files and labels; the classes are the folders in root, in the order of their names."""
    folders = sorted(path for path in root.glob("*") if path.is_dir())
    found = [(file, label) for label, folder in enumerate(folders) for file in sorted(folder.glob(pattern))]
    if not found:
        raise SnnhwError(
            "dataset-missing",
            "no recordings are there",
            where=str(root),
            needed=f"one folder a class of {pattern} files",
            hint="unpack the data set again",
        )
    return found


def _folder(variable: str, name: str, needed: str) -> Path:
    path = Path(os.environ.get(variable) or f"${variable}")
    if not path.is_dir():
        raise _missing(path, name, needed, variable)
    return path


def _missing(path: Path, name: str, needed: str, variable: str) -> SnnhwError:
    return SnnhwError(
        "dataset-missing",
        f"{name} cannot be read: it is not there",
        where=str(path),
        needed=needed,
        limit=f"the path in ${variable}",
        hint=f"set {variable} to where it lies",
    )
