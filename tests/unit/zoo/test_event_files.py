"""Readers of event recordings, on tiny files written byte by byte from the formats' definitions."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from snnhw.errors import SnnhwError
from snnhw.zoo.event_files import Events, read_aedat2, read_aedat3, read_gesture, read_nmnist, read_trials

Rows = list[tuple[int, int, int, int]]
EVENTS: Rows = [(0, 1, 2, 1), (70_000, 33, 0, 0), (306_000, 5, 31, 1)]
"""(t, x, y, p)"""


def nmnist_bytes(events: Rows) -> bytes:
    """x, y, then the bit of polarity and 23 bits of time."""
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in events)


def aedat2_bytes(events: Rows, header: bytes = b"#!AER-DAT2.0\r\n# a comment\r\n") -> bytes:
    """jAER's DVS128: the image as CIFAR10-DVS shows it turned back into the sensor's axes."""
    addresses = [(127 - x) << 8 | (127 - y) << 1 | (1 - p) for _, x, y, p in events]
    return header + b"".join(struct.pack(">II", a, event[0]) for a, event in zip(addresses, events, strict=True))


def polarity(events: Rows, invalid: int = -1) -> bytes:
    """AEDAT 3.1 polarity events; the one numbered ``invalid`` has its valid bit unset."""
    words = [(x << 17 | y << 2 | p << 1 | (i != invalid), t) for i, (t, x, y, p) in enumerate(events)]
    return b"".join(struct.pack("<II", *word) for word in words)


def packet(
    body: bytes, number: int, kind: int = 1, size: int = 8, capacity: int | None = None, turns: int = 0
) -> bytes:
    room = number if capacity is None else capacity
    return struct.pack("<HHIIIIII", kind, 1, size, 4, turns, room, number, number) + body


HEADER3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def rows(events: Events) -> Rows:
    return [(int(e["t"]), int(e["x"]), int(e["y"]), int(e["p"])) for e in events]


def refused(read, path: Path) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(SnnhwError) as caught:
        read(path)
    assert caught.value.code == "dataset-damaged"
    assert "an event file is not what it should be" in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_nmnist(tmp_path: Path) -> None:
    assert rows(read_nmnist(write(tmp_path / "00002.bin", nmnist_bytes(EVENTS)))) == EVENTS


def test_nmnist_in_plain_bytes(tmp_path: Path) -> None:
    raw = bytes([10, 20, 0x81, 0x02, 0x03, 11, 21, 0x7F, 0xFF, 0xFF])
    found = rows(read_nmnist(write(tmp_path / "a.bin", raw)))
    assert found == [(0x010203, 10, 20, 1), (0x7FFFFF, 11, 21, 0)]


@pytest.mark.parametrize("content", [b"", b"\x01\x02\x03", nmnist_bytes(EVENTS)[:-1]])
def test_damaged_nmnist(tmp_path: Path, content: bytes) -> None:
    assert "whole events of 5 bytes" in refused(read_nmnist, write(tmp_path / "a.bin", content))


def test_aedat2(tmp_path: Path) -> None:
    assert rows(read_aedat2(write(tmp_path / "a.aedat", aedat2_bytes(EVENTS)))) == EVENTS


def test_aedat2_in_plain_bytes(tmp_path: Path) -> None:
    """Address 0x7F02: 127 on bits 8-14, 1 on bits 1-7, polarity bit 0."""
    raw = b"#!AER-DAT2.0\r\n" + bytes([0, 0, 0x7F, 0x02, 0, 0, 1, 0])
    assert rows(read_aedat2(write(tmp_path / "a.aedat", raw))) == [(256, 0, 126, 1)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "a first line #!AER-DAT2.0"),
        (aedat2_bytes(EVENTS, HEADER3), "a first line #!AER-DAT2.0"),
        (b"#!AER-DAT2.0\r\n", "whole events of 8 bytes"),
        (aedat2_bytes(EVENTS)[:-3], "whole events of 8 bytes"),
        (b"#!AER-DAT2.0", "the header has no end"),
        (aedat2_bytes([]) + struct.pack(">II", 1 << 15, 0), "0x8000 (event 0)"),
    ],
)
def test_damaged_aedat2(tmp_path: Path, content: bytes, text: str) -> None:
    assert text in refused(read_aedat2, write(tmp_path / "a.aedat", content))


def test_aedat3_takes_polarity_packets_and_skips_others(tmp_path: Path) -> None:
    special = packet(b"\0" * 24, number=2, kind=0, size=12)
    content = HEADER3 + packet(polarity(EVENTS), 3) + special + packet(polarity(EVENTS[:1]), 1, turns=1)
    later = (EVENTS[0][0] + 2**31, *EVENTS[0][1:])
    assert rows(read_aedat3(write(tmp_path / "a.aedat", content))) == [*EVENTS, later]


def test_aedat3_in_plain_bytes(tmp_path: Path) -> None:
    """x = 3 at bits 17-31, y = 5 at bits 2-16, ON, valid: 0x00060017."""
    raw = HEADER3 + packet(bytes([0x17, 0, 6, 0, 7, 0, 0, 0]), 1)
    assert rows(read_aedat3(write(tmp_path / "a.aedat", raw))) == [(7, 3, 5, 1)]


def test_aedat3_leaves_out_invalid_events_and_empty_room(tmp_path: Path) -> None:
    body = polarity(EVENTS, invalid=1) + b"\xff" * 16
    found = rows(read_aedat3(write(tmp_path / "a.aedat", HEADER3 + packet(body, 3, capacity=5))))
    assert found == [EVENTS[0], EVENTS[2]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "a first line #!AER-DAT3.1"),
        (aedat2_bytes(EVENTS), "a first line #!AER-DAT3.1"),
        (HEADER3, "no polarity events"),
        (HEADER3 + packet(polarity(EVENTS[:1], invalid=0), 1), "no polarity events"),
        (HEADER3 + b"\x01\x00\x01", "a header of 28 bytes"),
        (HEADER3 + packet(polarity(EVENTS), 3)[:-1], "as many events as there is room for"),
        (HEADER3 + packet(polarity(EVENTS), 4, capacity=3), "as many events as there is room for"),
        (HEADER3 + packet(b"\0" * 48, 3, size=16), "polarity events of 8 bytes"),
    ],
)
def test_damaged_aedat3(tmp_path: Path, content: bytes, text: str) -> None:
    assert text in refused(read_aedat3, write(tmp_path / "a.aedat", content))


TRIALS = "class,startTime_usec,endTime_usec\n1,0,100\n11,70000,306000\n"


def test_gesture_recordings_are_cut_into_trials(tmp_path: Path) -> None:
    """Class 1 is label 0; a trial ends before its end time."""
    file = write(tmp_path / "user01_led.aedat", HEADER3 + packet(polarity(EVENTS), 3))
    (tmp_path / "user01_led_labels.csv").write_text(TRIALS)
    found = [(rows(events), label) for events, label in read_gesture(file)]
    assert found == [(EVENTS[:1], 0), (EVENTS[1:2], 10)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "no trials"),
        ("class,start\n1,2\n", "columns class, startTime_usec, endTime_usec"),
        (TRIALS.replace("11", "eleven"), "columns class, startTime_usec, endTime_usec"),
        (TRIALS.replace("11", "12"), "classes 1 to 11"),
        (TRIALS.replace("306000", "70000"), "start before end"),
        ("caf\u00e9", "columns class, startTime_usec, endTime_usec"),
    ],
)
def test_damaged_trials(tmp_path: Path, content: str, text: str) -> None:
    assert text in refused(read_trials, write(tmp_path / "a_labels.csv", content.encode()))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SnnhwError, match="an event file cannot be read") as caught:
        read_nmnist(tmp_path / "none.bin")
    assert caught.value.code == "dataset-missing"
    assert "none.bin" in str(caught.value)
