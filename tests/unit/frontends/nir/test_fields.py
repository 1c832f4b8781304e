"""--semantics: single fields over what a dialect or the file says, and the question that is left without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends import load_source
from snnhw.frontends.nir import fields
from snnhw.frontends.nir.fields import IRRELEVANT, merged, open_questions, read_fields
from snnhw.frontends.nir.file import load_nir
from snnhw.frontends.options import SourceOptions
from tests.unit.frontends.graphs import EDGES, OPTIONS, graph, lif


def refusal(text: str) -> str:
    with pytest.raises(SnnhwError) as caught:
        read_fields(text)
    return str(caught.value)


def written(tmp_path: Path, **parts: Any) -> Path:
    nir.write(tmp_path / "net.nir", graph(**{"metadata": {}, **parts}))
    return tmp_path / "net.nir"


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_nir(path, SourceOptions(**options))
    return str(caught.value)


def test_from_a_file_or_as_text(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"reset": "zero", "nodes": {"a": {"multispike": 3}}}')
    want = {"reset": "zero", "nodes": {"a": {"multispike": 3}}}
    assert read_fields(str(tmp_path / "s.json")) == want
    assert read_fields((tmp_path / "s.json").read_text()) == want


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "bad-semantics: the semantics are not JSON: "),
        ("{" * 100_000, "bad-semantics: the semantics are not JSON: "),
        ('{"leak": 1}', "bad-semantics: the semantics have a field that does not exist\n  where: --semantics\n"),
        (
            '{"nodes": {"a": {"leak": 1}}}',
            "bad-semantics: the semantics have a field that does not exist\n  where: --semantics: nodes.a\n",
        ),
        ('{"nodes": []}', "bad-semantics: nodes must be a JSON object\n  where: --semantics\n  needed: list\n"),
        ('{"nodes": {"a": 1}}', "bad-semantics: the semantics must be a JSON object\n  where: --semantics: nodes.a\n"),
    ],
)
def test_what_is_no_semantics(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_files_that_are_no_semantics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal("missing.json") == "no-such-file: there is no such file\n  where: missing.json"
    (tmp_path / "list.json").write_text("[1]")
    assert refusal(str(tmp_path / "list.json")).startswith(
        "bad-semantics: the semantics must be a JSON object\n  where: list.json\n  needed: list"
    )
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    assert refusal(str(tmp_path / "bytes.json")).startswith("bad-semantics: the semantics file cannot be read: ")
    monkeypatch.setattr(fields, "MAX_BYTES", 2)
    assert refusal(str(tmp_path / "list.json")).startswith("bad-semantics: the semantics file is too large\n")


def test_all_fields_said_need_no_dialect(tmp_path: Path) -> None:
    said = {key: value for key, value in OPTIONS.items() if key not in ("time_layout", "current_order")}
    source = load_nir(written(tmp_path), SourceOptions(semantics=said, steps=4))
    assert source.semantics.dt == 1e-4
    assert source.origin["dialect"] == "said by --semantics"
    for name in sorted(set(said) - {"reset_timing"}):
        text = refused(written(tmp_path), semantics={k: v for k, v in said.items() if k != name}, steps=4)
        assert text.startswith("no-semantics: "), name
        assert f"needed: {fields.QUESTIONS[name]}" in text


def test_a_hard_reset_needs_no_timing(tmp_path: Path) -> None:
    said = {key: value for key, value in OPTIONS.items() if key not in ("time_layout", "current_order", "reset_timing")}
    assert load_nir(written(tmp_path), SourceOptions(semantics=said, steps=4)).semantics.reset_timing == "same_step"


def test_what_matters_in_a_graph() -> None:
    def asked(parts: dict[str, nir.NIRNode]) -> list[str]:
        return open_questions(graph(parts), {})

    everything = [name for name in fields.QUESTIONS if name != "current_order"]
    assert asked({}) == everything
    assert asked({"neuron": nir.IF(np.ones(2), np.ones(2))}) == [name for name in everything if name != "integrator"]
    assert asked({"neuron": nir.Threshold(np.ones(2))}) == []
    assert asked({"neuron": nir.Delay(np.ones(2))}) == ["dt"]
    assert asked({"neuron": nir.LI(np.ones(2), np.ones(2), np.zeros(2))}) == ["dt", "integrator", "v_init"]
    cuba = nir.CubaLIF(*(np.ones(2) for _ in range(5)))
    assert asked({"neuron": cuba}) == list(fields.QUESTIONS)
    assert open_questions(graph(), {"reset": "zero"}) == [n for n in everything if n not in ("reset", "reset_timing")]


def test_a_graph_without_state_needs_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, changes={"neuron": nir.Threshold(np.ones(2))})
    source = load_nir(path, SourceOptions(steps=4))
    assert source.deployment.steps == 4


def test_single_fields_over_our_own_metadata(tmp_path: Path) -> None:
    path = written(tmp_path, metadata=None)
    said = {"threshold": "ge", "nodes": {"neuron": {"multispike": 3}}}
    source = load_nir(path, SourceOptions(semantics=said))
    assert source.semantics.threshold == "ge"
    assert source.semantics.at("neuron").multispike == 3
    assert source.origin["flags"]["semantics"] == {"value": said, "from": "flag"}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"threshold": "maybe"}, "bad-semantics: threshold has a value it cannot have\n  where: --semantics\n"),
        ({"dt": -1}, "bad-semantics: dt has a value it cannot have\n  where: --semantics\n  needed: -1\n"),
        ({"dt": "1ms"}, "bad-semantics: dt has a value it cannot have\n  where: --semantics\n  needed: '1ms'\n"),
        (
            {"nodes": {"fc": {"reset": "zero"}}},
            "bad-semantics: the semantics speak of a node without a membrane\n  where: net.nir\n  needed: fc: ",
        ),
        (
            {"nodes": {"neuron": {"dt": 0.5}}},
            "bad-semantics: no node has a field of the whole network of its own\n"
            "  where: --semantics: nodes.neuron\n  needed: dt\n",
        ),
        ({"leak": 1}, "bad-semantics: the semantics have a field that does not exist\n  where: --semantics\n"),
        (
            {"nodes": {"ghost": {"reset": "zero"}}},
            "bad-semantics: the semantics speak of nodes that do not exist\n  where: net.nir\n  needed: ghost",
        ),
        (
            {"reset_timing": "next_step"},
            "bad-semantics: reset_timing has a value it cannot have\n  where: net.nir\n  needed: 'next_step'\n",
        ),
    ],
)
def test_values_that_cannot_be(said: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert refused(written(tmp_path, metadata=None), semantics=said).startswith(text)


def test_options_that_no_nir_file_asks(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"unused-flag(.|\n)*needed: --alpha\n  limit: a NIR file takes --dialect, "):
        load_source(written(tmp_path), SourceOptions(dialect="nir", alpha=0.5))
    text = refused(written(tmp_path, metadata=None), dialect="nir")
    assert text.startswith("unused-flag: a flag says something that this source does not ask\n")
    assert "  needed: --dialect\n  limit: a file that says this itself, by its metadata\n" in text
    assert refused(written(tmp_path), dialect="brian").startswith("bad-flag: --dialect has a value it cannot have\n")


def test_steps_from_the_flag_the_data_or_a_question(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_nir(path, SourceOptions(dialect="snntorch", steps=7, data=(2, 9, 3))).deployment.steps == 7
    told = load_nir(path, SourceOptions(dialect="snntorch", data=(2, 9, 3)))
    assert told.deployment.steps == 9
    assert told.origin["flags"]["steps"] == {"value": 9, "from": "samples"}
    for data in (None, (2, 3), (2, 9, 4)):
        assert refused(path, dialect="snntorch", data=data) == (
            "needs-flag: the file does not say how many steps a sample has\n  where: net.nir\n  needed: --steps\n"
            "  hint: give --steps T, or samples of shape (samples, T, 3)"
        )


def test_the_readout_is_the_graphs(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_nir(path, SourceOptions(dialect="snntorch", steps=4)).deployment.readout == "rate"
    assert load_nir(path, SourceOptions(dialect="snntorch", steps=4, readout="first")).deployment.readout == "first"
    assert refused(path, dialect="snntorch", steps=4, readout="mean") == (
        "flag-contradicts: --readout contradicts what the output shows\n  where: net.nir\n"
        "  needed: --readout mean\n  limit: the graph says rate\n  hint: leave the flag out"
    )


def test_one_of_several_outputs(tmp_path: Path) -> None:
    parts = {"second": lif(), "aside": nir.Output({"output": np.array([2])})}
    path = written(tmp_path, changes=parts, edges=[*EDGES, ("fc", "second"), ("second", "aside")])
    assert refused(path, dialect="snntorch", steps=4) == (
        "needs-flag: the file does not say which of its outputs predictions are read from\n  where: net.nir\n"
        "  needed: --output-node\n  limit: aside, output\n  hint: give --output-node NAME"
    )
    source = load_nir(path, SourceOptions(dialect="snntorch", steps=4, output_node="aside"))
    assert source.deployment.output == "aside"
    assert refused(path, dialect="snntorch", steps=4, output_node="ghost") == (
        "bad-flag: --output-node has a value it cannot have\n  where: net.nir\n  needed: ghost\n  limit: aside, output"
    )


def test_remembered_answers_are_used_and_never_complained_of(tmp_path: Path) -> None:
    first = load_nir(written(tmp_path), SourceOptions(dialect="snntorch", steps=4, semantics={"reset": "zero"}))
    origin = json.loads(json.dumps(first.origin))
    again = load_nir(written(tmp_path), SourceOptions().remembering(origin))
    assert (again.semantics, again.deployment) == (first.semantics, first.deployment)


def test_merging_keeps_other_nodes() -> None:
    base = {**IRRELEVANT, "nodes": {"a": {"reset": "subtract", "reset_timing": "next_step"}, "b": {"threshold": "ge"}}}
    found = merged(base, {"nodes": {"a": {"reset": "zero"}}}, "here")
    assert found.at("a").reset_timing == "same_step"
    assert found.at("b").threshold == "ge"
