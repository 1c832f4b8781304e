"""What holds for all commands: nearest names, examples by name, options by section, logs, defaults, completion."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from snnhw.cli import cli
from snnhw.shipped import examples, resolved
from tests.unit.commands.line import snnhw

SMALL = "example:spikeprop_xor"


@pytest.mark.parametrize(
    ("words", "code", "near"),
    [
        (("compil", "x"), 2, "did you mean 'compile'?"),
        (("targets", "lohi2"), 1, "did you mean 'loihi2'?"),
        (("train", "stbp_scn"), 1, "did you mean 'stbp_scnn'?"),
        (("run", "a.snnhw", "--input", "x.npz", "--engine", "fastt"), 2, "Did you mean 'fast'?"),
        (("compile", "example:sew_renset", "--target", "loihi2"), 1, "did you mean 'sew_resnet'?"),
    ],
)
def test_the_nearest_name_is_said(words: tuple[str, ...], code: int, near: str) -> None:
    done = snnhw(*words)
    assert done.code == code
    assert near in done.err


def test_what_is_like_nothing_is_only_refused() -> None:
    done = snnhw("zzzzzz")
    assert done.code == 2
    assert "No such command 'zzzzzz'." in done.err


def test_examples_are_listed_and_found() -> None:
    rows = snnhw("examples", "--json").json
    assert {row["name"] for row in rows} == set(examples())
    for row in rows:
        assert Path(row["path"]).is_file()
        assert row["what"]
        assert resolved(f"example:{row['name']}") == Path(row["path"])
    assert resolved("example:sew_resnet.pt") == resolved("example:sew_resnet")
    assert resolved("net.pt") == Path("net.pt")
    text = snnhw("examples").out
    assert "example:sew_resnet\n    SEW ResNet with ADD" in text


def test_an_unknown_example() -> None:
    done = snnhw("compile", "example:zzzzzz", "--target", "loihi2")
    assert done.code == 1
    assert "unknown-example: no network or data file of that name ships with snnhw" in done.err
    assert "snnhw examples lists them" in done.err


def test_help_shows_options_by_section() -> None:
    text = snnhw("compile", "--help").out
    sections = ("How integers are made:", "What is written:", "What a source does not say itself, and more:")
    places = [text.index(title) for title in sections]
    assert places == sorted(places)
    assert text.index("  --target") < places[1] < text.index("  --emit-nir") < places[2] < text.index("  --connect")
    assert "SOURCE\n" not in text[places[0] :]


def test_no_clobber_of_a_name_that_is_too_long(tmp_path: Path) -> None:
    done = snnhw("--no-clobber", "compile", SMALL, "--target", "loihi2", "-o", tmp_path / ("n" * 300))
    assert (done.code, done.err.splitlines()[0][:19]) == (1, "error: cannot-write")


def test_log_and_no_clobber(tmp_path: Path) -> None:
    log, out = tmp_path / "log.txt", tmp_path / "a.snnhw"
    words = ("compile", SMALL, "--target", "loihi2", "-o", out)
    assert snnhw("--log", log, *words).code == 0
    lines = log.read_text(encoding="utf-8").splitlines()
    said = shlex.join(map(str, ("snnhw", "--log", log, *words)))
    assert lines[0].endswith(f" INFO {said}"), "the words of the command, not of the process that it runs in"
    assert [line.rpartition(" ")[2] for line in lines[1:]][:2] == ["import", "lower"]
    assert not logging.getLogger("snnhw").handlers
    before = out.read_bytes()
    done = snnhw("--no-clobber", *words)
    assert (done.code, done.err.splitlines()[0]) == (1, "error: exists: the output is there already")
    assert out.read_bytes() == before


def test_verbose_says_stages() -> None:
    done = snnhw("--verbose", "check", SMALL, "--target", "loihi2")
    assert done.code == 0
    assert " INFO quantise" in done.err


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    done = snnhw("--log", tmp_path, "targets")
    assert done.code == 1
    assert "cannot-write: the log cannot be written: Is a directory" in done.err


def test_environment_gives_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNHW_CHECK_TARGET", "loihi2")
    assert snnhw("check", SMALL).out.endswith("fits loihi2\n")


@pytest.mark.parametrize(
    ("words", "start", "found"),
    [
        ((), "com", {"compile", "compare"}),
        (("compile", "a.pt", "--target"), "loihi1", {"loihi1", "loihi1-davies"}),
        (("compile",), "example:stbp", {"example:stbp_scnn"}),
        (("targets",), "gen", {"generic"}),
    ],
)
def test_completion(words: tuple[str, ...], start: str, found: set[str]) -> None:
    items = ShellComplete(cli, {}, "snnhw", "_SNNHW_COMPLETE").get_completions(list(words), start)
    assert found <= {item.value for item in items}


def test_targets_fit_eighty_columns() -> None:
    lines = snnhw("targets", "loihi2").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("core.neurons = 8192 neurons [") for line in lines)


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag: str) -> None:
    assert snnhw(flag).out.startswith("snnhw, version ")
