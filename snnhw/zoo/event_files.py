"""Event recordings in the file formats of their data sets, as structured arrays in the order of the file.

N-MNIST: 40-bit records (Orchard et al. 2015). DVS128 Gesture: AEDAT 3.1 with a csv of trials (Amir et al. 2017).
CIFAR10-DVS: AEDAT 2.0 of a 128 x 128 sensor (Li et al. 2017). Every file is read as a whole; one that ends too early
or holds something else is refused.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnhw.errors import SnnhwError

EVENT = np.dtype([("t", "<i8"), ("x", "<i4"), ("y", "<i4"), ("p", "<i4")])
"""Time in microseconds, column, row, polarity (0 OFF, 1 ON)."""
Events = NDArray[Any]
"""One recording: a one-dimensional array of `EVENT`."""

PACKET = np.dtype(
    [
        ("type", "<u2"),
        ("source", "<u2"),
        ("size", "<u4"),
        ("time_offset", "<u4"),
        ("time_overflow", "<u4"),
        ("capacity", "<u4"),
        ("number", "<u4"),
        ("valid", "<u4"),
    ]
)
"""Header of an AEDAT 3.1 packet, 28 bytes."""
POLARITY = 1
"""The packet type of AEDAT 3.1 whose events are pixels; others (special events, frames, IMU) are skipped."""
LAST = 127
"""Highest column and row of a 128 x 128 sensor."""


def events_of(t: Any, x: Any, y: Any, p: Any) -> Events:
    """The four columns as one array of `EVENT`."""
    events = np.zeros(len(t), EVENT)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


def read_nmnist(path: str | Path) -> Events:
    """An N-MNIST ``.bin``: five bytes an event, x, y, then one bit of polarity and 23 of microseconds (big-endian)."""
    raw = np.frombuffer(_bytes(path), np.uint8)
    if not len(raw) or len(raw) % 5:
        raise damaged(path, f"{len(raw)} bytes", "whole events of 5 bytes, at least one")
    b = raw.reshape(-1, 5).astype(np.int64)
    return events_of((b[:, 2] & 127) << 16 | b[:, 3] << 8 | b[:, 4], b[:, 0], b[:, 1], b[:, 2] >> 7)


def read_aedat2(path: str | Path) -> Events:
    """A CIFAR10-DVS ``.aedat``: AEDAT 2.0, big-endian pairs of an address and a time in microseconds.

    Address: bit 0 polarity, bits 1-7 and 8-14 the sensor's two axes, of which the file's y runs along the image's
    columns; both run backwards, and polarity is inverted (jAER's convention). Undone here as the current loaders of
    the field do it: x = 127 - bits 8-14, y = 127 - bits 1-7, p = 1 - bit 0. Early loaders mirrored x alone.
    """
    raw = _bytes(path)
    start = _after_header(raw, path, b"#!AER-DAT2.0")
    if not len(raw) - start or (len(raw) - start) % 8:
        raise damaged(path, f"{len(raw) - start} bytes behind the header", "whole events of 8 bytes, at least one")
    address, time = np.frombuffer(raw, ">u4", offset=start).reshape(-1, 2).astype(np.int64).T
    wide = np.flatnonzero(address >> 15)
    if len(wide):
        raise damaged(
            path, f"address {int(address[wide[0]]):#x} (event {int(wide[0])})", "15 bits, of 128 x 128 pixels"
        )
    return events_of(time, LAST - (address >> 8 & LAST), LAST - (address >> 1 & LAST), 1 - (address & 1))


def read_aedat3(path: str | Path) -> Events:
    """A DVS128 Gesture ``.aedat``: the valid polarity events of an AEDAT 3.1 file.

    An event is 32 bits (bit 0 valid, bit 1 polarity, bits 2-16 y, bits 17-31 x) and 31 bits of microseconds; the
    packet's overflow counter continues the time.
    """
    parts = list(_polarity_packets(_bytes(path), path))
    if not sum(map(len, parts)):
        raise damaged(path, "no polarity events", "packets of event type 1 with valid events")
    return np.concatenate(parts)


def _polarity_packets(raw: bytes, path: str | Path) -> Iterator[Events]:
    at = _after_header(raw, path, b"#!AER-DAT3.1")
    while at < len(raw):
        where = f"packet at byte {at}"
        if len(raw) - at < PACKET.itemsize:
            raise damaged(path, f"{where}: {len(raw) - at} bytes", f"a header of {PACKET.itemsize} bytes")
        head = {name: int(np.frombuffer(raw, PACKET, 1, at)[0][name]) for name in PACKET.names or ()}
        at += PACKET.itemsize
        size = head["capacity"] * head["size"]
        if len(raw) - at < size or head["number"] > head["capacity"]:
            found = f"{where}: {head['number']} events, room for {head['capacity']} of {head['size']} bytes"
            raise damaged(path, found, f"as many events as there is room for; {len(raw) - at} bytes are left")
        if head["type"] == POLARITY:
            if head["size"] != 8:
                raise damaged(path, f"{where}: events of {head['size']} bytes", "polarity events of 8 bytes")
            data, low = np.frombuffer(raw, "<u4", 2 * head["number"], at).reshape(-1, 2).astype(np.int64).T
            time = low | head["time_overflow"] << 31
            yield events_of(time, data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1)[(data & 1) == 1]
        at += size


def read_trials(path: str | Path) -> list[tuple[int, int, int]]:
    """``_labels.csv`` of DVS128 Gesture: (label 0..10, start, end in microseconds) of each trial, classes from 1."""
    trials = []
    try:
        rows = csv.DictReader(_bytes(path).decode("ascii").splitlines())
        for row in rows:
            trials.append((int(row["class"]) - 1, int(row["startTime_usec"]), int(row["endTime_usec"])))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        limit = "columns class, startTime_usec, endTime_usec of integers"
        raise damaged(path, f"{type(error).__name__}: {error}", limit) from error
    wrong = [trial for trial in trials if not (0 <= trial[0] <= 10 and trial[1] < trial[2])]
    if wrong or not trials:
        raise damaged(path, f"trial {wrong[0]}" if wrong else "no trials", "classes 1 to 11, start before end")
    return trials


def read_gesture(path: str | Path) -> list[tuple[Events, int]]:
    """The trials of one DVS128 Gesture recording, each with its label; the csv lies beside the ``.aedat``."""
    path = Path(path)
    events = read_aedat3(path)
    trials = []
    for label, start, end in read_trials(path.with_name(path.stem + "_labels.csv")):
        trials.append((events[(events["t"] >= start) & (events["t"] < end)], label))
    return trials


def _after_header(raw: bytes, path: str | Path, first: bytes) -> int:
    """Where the binary part starts: behind the lines that begin with ``#``, or behind ``#!END-HEADER``."""
    if not raw.startswith(first):
        raise damaged(path, f"starts with {raw[:12]!r}", f"a first line {first.decode()}")
    at = 0
    while raw[at : at + 1] == b"#":
        end = raw.find(b"\n", at)
        if end < 0:
            raise damaged(path, "the header has no end", "lines that end, then events")
        line, at = raw[at:end], end + 1
        if line.startswith(b"#!END-HEADER"):
            break
    return at


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SnnhwError(
            "dataset-missing",
            "an event file cannot be read",
            where=str(path),
            needed="the file",
            limit=str(error.strerror),
            hint="unpack the data set again",
        ) from error


def damaged(path: str | Path, found: str, limit: str) -> SnnhwError:
    """The error of a file that is not what it should be."""
    return SnnhwError(
        "dataset-damaged",
        "an event file is not what it should be",
        where=str(path),
        needed=found,
        limit=limit,
        hint="fetch the file again, or leave it out",
    )
