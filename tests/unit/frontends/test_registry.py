"""What each kind of source takes is declared in one place, and the rest is refused there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snnhw import frontends
from snnhw.errors import SourceError
from snnhw.frontends import FRONT_ENDS, FrontEnd, load_model
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.source import Source

EXAMPLE = Path(__file__).parents[3] / "examples" / "spikeprop_xor.pt"


def test_a_front_end_that_takes_nothing_is_asked_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of its own has no part in the refusal: it cannot forget it."""
    asked: list[SourceOptions] = []

    def load(path: Path, options: SourceOptions, content: Any) -> Source:
        asked.append(options)
        found = load_model(EXAMPLE)
        assert isinstance(found, Source)
        return found

    monkeypatch.setattr(frontends, "FRONT_ENDS", [*FRONT_ENDS, FrontEnd("a toy", (".toy",), (), load)])
    path = tmp_path / "net.toy"
    path.touch()
    for options, flag in ((SourceOptions(steps=7), "--steps"), (SourceOptions(trust_pickle=True), "--trust-pickle")):
        with pytest.raises(SourceError) as caught:
            load_model(path, options)
        assert str(caught.value) == (
            "unused-flag: a flag says something that this source does not ask\n"
            f"  where: net.toy\n  needed: {flag}\n  limit: a toy\n  hint: leave it out"
        )
    assert not asked
    assert load_model(path).deployment.steps == 32
    (tmp_path / "net.other").touch()
    with pytest.raises(SourceError, match=r"limit: .pt, .pth, .t7, .safetensors, .nir, .onnx, .py, .net, .toy"):
        load_model(tmp_path / "net.other")


def test_options_are_refused_by_kind_of_content() -> None:
    """An option of one kind of checkpoint is none of another's."""
    with pytest.raises(SourceError) as caught:
        load_model(EXAMPLE, SourceOptions(connect="ADD"))
    assert str(caught.value) == (
        "unused-flag: a flag says something that this source does not ask\n  where: spikeprop_xor.pt\n"
        "  needed: --connect\n  limit: a checkpoint of snnhw train takes --encoding, --steps, --trust-pickle\n"
        "  hint: leave it out"
    )
