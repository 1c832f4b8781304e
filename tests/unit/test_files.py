"""One atomic writer: whole or not at all, under every fault of the system that can be injected."""

from __future__ import annotations

import ast
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from snnhw import files
from snnhw.errors import DataError

PACKAGE = Path(files.__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def refusal(path: Path, content: files.Content = b"new") -> str:
    with pytest.raises(DataError) as caught:
        files.write({path: content})
    return str(caught.value).splitlines()[0]


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_the_mode_of_a_new_file(
    tmp_path: Path, mask: int, mode: int, umask: Callable[[int], int]
) -> None:
    umask(mask)
    files.write({tmp_path / "a": b"x"})
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(mode)
    files.write({tmp_path / "a": "new"})
    assert (tmp_path / "a").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write read-only files")
def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o444)
    assert refusal(tmp_path / "a") == "cannot-write: the output cannot be written: the file that is there is read-only"
    assert (tmp_path / "a").read_bytes() == b"old"


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    text = "cannot-write: the output is a device, a pipe or a socket, which a file would replace"
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("pipe")
    before = {name: (tmp_path / name).lstat().st_ino for name in names(tmp_path)}
    for path in (tmp_path / "pipe", tmp_path / "socket", tmp_path / "link", Path(os.devnull)):
        assert refusal(path) == text
    assert {name: (tmp_path / name).lstat().st_ino for name in names(tmp_path)} == before
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_paths_that_no_file_can_have(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("", ".", "/", str(tmp_path)):
        assert refusal(Path(path)) == "cannot-write: the output is a folder"
    for path in (tmp_path / "no" / "a", tmp_path / "file" / "a"):
        assert refusal(path) == "cannot-write: the output's folder does not exist"
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop", tmp_path / ("n" * 256), tmp_path / "a\0b", tmp_path / "\ud800"):
        assert refusal(path).startswith("cannot-write: the output cannot be written: ")
    assert names(tmp_path) == ["file", "loop"]


def test_every_name_that_the_file_system_takes(tmp_path: Path) -> None:
    for name in ("n" * 255, "ü" * 127, "a b", "-o", "a\nb", "\udcff"):
        files.write({tmp_path / name: name.encode(errors="surrogateescape")})
        assert (tmp_path / name).read_bytes() == name.encode(errors="surrogateescape")
    assert len(names(tmp_path)) == 6


def test_links_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old").write_text("old")
    (tmp_path / "latest").symlink_to("far/old")
    (tmp_path / "dangling").symlink_to("far/new")
    for name in ("latest", "dangling"):
        files.write({tmp_path / name: name})
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).resolve().read_text() == name
    assert names(tmp_path / "far") == ["new", "old"]


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the random part of a temporary name were guessed."""
    (tmp_path / "victim").write_text("mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _n: "0" * 16)
    key = files._key(str(tmp_path / "a"))
    (tmp_path / f".snnhw-{key}-{'0' * 16}.tmp").symlink_to("victim")
    assert refusal(tmp_path / "a") == "cannot-write: the output cannot be written: File exists"
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "a").exists()


def test_temporary_names_cannot_be_foreseen(tmp_path: Path) -> None:
    seen = set()
    for _ in range(2):
        with files.claim([tmp_path / "a"]):
            seen |= {*names(tmp_path)}
    assert len(seen) == 2


def test_all_are_on_the_disk_before_the_first_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            calls.append("folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else name)
            return real(*args, **given)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    files.write({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert calls == ["fsync", "fsync", "replace", "folder", "replace", "folder"]


@pytest.mark.parametrize("errno", [28, 5, 122])
@pytest.mark.parametrize("at", [0, 1])
def test_a_fault_at_either_file_leaves_both_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errno: int, at: int
) -> None:
    (tmp_path / "a").write_text("old")
    done: list[int] = []
    real = os.fsync

    def failing(file: int) -> None:
        done.append(file)
        if len(done) == at + 1:
            raise OSError(errno, os.strerror(errno))
        real(file)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(DataError, match=f"cannot-write: the output cannot be written: {os.strerror(errno)}"):
        files.write({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_other_exceptions_pass_and_leave_nothing(tmp_path: Path) -> None:
    def broken(out: IO[bytes]) -> None:
        out.write(b"half")
        raise MemoryError

    with pytest.raises(MemoryError):
        files.write({tmp_path / "a": b"1", tmp_path / "b": broken})
    assert names(tmp_path) == []


def test_long_contents_wait_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SPOOLED", 10)
    files.write({tmp_path / "a": lambda out: out.write(b"x" * 100_000)})
    assert (tmp_path / "a").read_bytes() == b"x" * 100_000


RUN = """
import os, signal, sys
from pathlib import Path
from snnhw import files
left, kinds = int(sys.argv[2]), ("open", "close", "fsync", "replace", "unlink", "fchmod", "listdir", "stat", "fstat")
def dying(real):
    def call(*args, **given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **given)
    return call
for name in kinds:
    setattr(os, name, dying(getattr(os, name)))
files.write({Path(sys.argv[1], "a"): b"new" * 9999, Path(sys.argv[1], "b"): b"new" * 9999})
os._exit(0)
"""


def process(code: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-S", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=PACKAGE.parent, stdout=subprocess.PIPE, **options)


def test_a_kill_at_any_system_call_loses_nothing(tmp_path: Path) -> None:
    """Each file is the old or the new one, whole; what is left behind is gone after the next write."""
    old, new = b"old", b"new" * 9999
    for point in range(0, 60, 3):
        for name in "ab":
            (tmp_path / name).write_bytes(old)
        with process(RUN, tmp_path, point) as run:
            done = run.wait()
        found = [(tmp_path / name).read_bytes() for name in "ab"]
        assert all(content in (old, new) for content in found), point
        assert found != [old, new], "the first named is moved first"
        if done == 0:
            break
        assert done == -signal.SIGKILL
        files.write({tmp_path / "c": b""})
        assert names(tmp_path) == ["a", "b", "c"], point
    assert done == 0
    assert point > 30, "many points were killed at"


HOLD = """
import sys
from pathlib import Path
from snnhw import files
with files.claim([Path(sys.argv[1])]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_on_one_output(tmp_path: Path) -> None:
    """The second is refused, whatever name it uses for the file; others are not; the end of the first frees it."""
    (tmp_path / "link").symlink_to("a")
    with process(HOLD, tmp_path / "a", stdin=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for name in ("a", "link"):
            with pytest.raises(DataError) as caught, files.claim([tmp_path / name]):
                pass
            assert str(caught.value).startswith("output-in-use: another run of snnhw is writing this output\n")
        files.write({tmp_path / "b": b"1"})
        other.kill()
        other.wait()
        files.write({tmp_path / "a": b"2"})
    assert names(tmp_path) == ["a", "b", "link"]


def test_a_write_waits_for_a_short_one(tmp_path: Path) -> None:
    with process(HOLD, tmp_path / "a", stdin=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        other.stdin.close()
        files.write({tmp_path / "a": b"1"})
    assert names(tmp_path) == ["a"]


def test_files_of_others_stay(tmp_path: Path) -> None:
    """Only regular files of our own pattern are tidied away."""
    ours = f".snnhw-{'0' * 16}-{'1' * 16}.tmp"
    (tmp_path / ours).write_text("left by a killed run")
    kept = [".snnhw-0-1.tmp", "x" + ours, ours + "x", ".a.123.tmp"]
    for name in kept:
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / ours.replace("1", "2"))
    (tmp_path / ours.replace("1", "3")).symlink_to("x" + ours)
    files.write({tmp_path / "a": b""})
    assert names(tmp_path) == sorted([*kept, "a", ours.replace("1", "2"), ours.replace("1", "3")])


PRIVATE = {
    "commands/cluster.py",
    "engines/lava/engine.py",
    "engines/lava/folder.py",
    "engines/lava/recorder.py",
    "engines/lava/report.py",
    "engines/lava/supervisor.py",
}
"""They write into a folder of mode 0700 that one run makes and removes."""
WRITERS = {"write_bytes", "write_text", "savez", "savez_compressed", "replace", "rename", "mkstemp", "fdopen", "touch"}
IN_MEMORY = {"torch.save", "nir.write", "np.save", "np.savez", "np.savez_compressed", "h5py.File", "figure.savefig"}
"""Allowed with an open file, which is `out` or `made` everywhere."""

HINTS = ("open(", "write_", ".save", "ZipFile(", "File(", "memmap(", "os.re", "touch(", "rename(", "mkstemp", "shutil")


def opens_for_writing(call: ast.Call) -> bool:
    """Whether a call makes or changes a file: by its name, or by the mode that it is given."""
    name = ast.unparse(call.func)
    last = name.rsplit(".", 1)[-1]
    given = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
    if name in IN_MEMORY:
        return "r" not in given and not any(ast.unparse(a) in ("out", "made") for a in call.args)
    if last in ("open", "fdopen", "ZipFile", "memmap", "File"):
        modes = [mode for mode in given if isinstance(mode, str) and len(mode) <= 3 and set(mode) & set("wax+")]
        return bool(modes) and not any(ast.unparse(a) in ("out", "made") for a in call.args)
    moves = ("os.replace", "os.open", "shutil.copy", "shutil.move", "onnx.save")
    return ("." in name and last in WRITERS - {"replace"}) or name in moves


def test_nothing_else_writes_files() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if any(word in text for word in HINTS):
            calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
            found[str(path.relative_to(PACKAGE))] = [ast.unparse(call) for call in calls if opens_for_writing(call)]
    assert len(found["files.py"]) >= 2, "the walk finds them"
    assert {name for name in PRIVATE if found.get(name)} >= {"engines/lava/folder.py", "engines/lava/recorder.py"}
    odd = {name: calls for name, calls in found.items() if calls and name not in {*PRIVATE, "files.py"}}
    assert not odd, "write through snnhw.files"
