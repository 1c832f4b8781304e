"""Outputs never replace inputs, and are refused before any work is done."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import torch

from snnhw.commands.common import require_outputs
from snnhw.errors import DataError, SnnhwError, SourceError
from snnhw.semantics import Deployment
from snnhw.zoo.train import train
from tests.unit.commands.line import snnhw


def text_of(outputs: tuple[Path, ...], inputs: tuple[Path, ...] = ()) -> str:
    with pytest.raises(DataError) as caught, click.Context(click.Command("x")):
        require_outputs(outputs, inputs)
    return str(caught.value)


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    text = "would-replace: the output would replace an input or another output"
    assert text_of((model,), (tmp_path / "." / "model.pt",)).startswith(text)
    assert text_of((model, model)).startswith(text)
    with click.Context(click.Command("x")):
        require_outputs((model, None), (tmp_path / "other.pt", None))


def test_folders_are_no_files(tmp_path: Path) -> None:
    assert text_of((tmp_path,)).startswith("cannot-write: the output is a folder\n")
    missing = tmp_path / "missing" / "x.snnhw"
    assert text_of((missing,)).startswith("cannot-write: the output's folder does not exist\n")


def test_unknown_preprocessing_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        Deployment(4, "direct", (1, 8, 8), "mean", "imagenet")
    assert str(caught.value).startswith("bad-semantics: preprocessing has a value it cannot have\n")


def test_a_damaged_training_state_is_refused(tmp_path: Path) -> None:
    torch.save({"recipe": "x"}, tmp_path / "m.pt.resume")
    with pytest.raises(SnnhwError) as caught:
        train("stbp_scnn_smoke", tmp_path / "m.pt", resume=True)
    assert str(caught.value).startswith("bad-resume: the saved training state is damaged or of another version\n")


@pytest.mark.parametrize("source", ["", ".", "/"])
def test_an_empty_path_is_no_such_file(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = snnhw("compile", source, "--target", "loihi2")
    assert done.code == 1
    assert "no-such-file" in done.err
    assert list(tmp_path.iterdir()) == []
