"""What NIR cannot say: to JSON and back, every field required, no value guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from snnhw.errors import SourceError
from snnhw.network import Comparison, Reset, ResetTiming
from snnhw.semantics import METADATA_KEY, CurrentOrder, Deployment, Semantics, from_metadata, to_metadata

SEMANTICS = Semantics(
    dt=1e-4,
    reset=Reset.ZERO,
    reset_timing=ResetTiming.SAME_STEP,
    threshold=Comparison.GT,
    multispike=1,
    v_min=None,
    integrator="euler",
    current_order=CurrentOrder.SAME_STEP,
    v_init="v_reset",
    time_layout="TNC",
    nodes={"a": {"threshold": "ge", "reset": "subtract"}},
)
DEPLOYMENT = Deployment(4, "direct", (1, 28, 28), "mean", "uint8/255", 7)


def refusal(metadata: dict[str, Any]) -> str:
    with pytest.raises(SourceError) as caught:
        from_metadata(metadata, "net.nir")
    return str(caught.value)


def changed(part: str, **fields: Any) -> dict[str, str]:
    content = json.loads(to_metadata(SEMANTICS, DEPLOYMENT)[METADATA_KEY])
    content[part].update(fields)
    return {METADATA_KEY: json.dumps(content)}


def test_round_trip() -> None:
    metadata = to_metadata(SEMANTICS, DEPLOYMENT)
    assert from_metadata(metadata, "here") == (SEMANTICS, DEPLOYMENT)
    as_bytes = {METADATA_KEY: metadata[METADATA_KEY].encode()}  # what h5py gives
    assert from_metadata(as_bytes, "here") == (SEMANTICS, DEPLOYMENT)


def test_a_node_may_differ() -> None:
    own = SEMANTICS.at("a")
    assert own == replace(SEMANTICS, threshold=Comparison.GE, reset=Reset.SUBTRACT, nodes={})
    assert SEMANTICS.at("b") == replace(SEMANTICS, nodes={})


def test_plain_strings_become_enums() -> None:
    """`threshold is Comparison.GE` decides in the evaluator: a plain "ge" must not mean ">"."""
    plain: Any = "ge"
    assert replace(SEMANTICS, threshold=plain).threshold is Comparison.GE


def test_every_field_is_required() -> None:
    required = {name for name in SEMANTICS.__dataclass_fields__ if name != "nodes"}
    for name in required:
        fields = {key: getattr(SEMANTICS, key) for key in required - {name}}
        with pytest.raises(TypeError, match=name):
            Semantics(**fields)


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("dt", 0, "0 < seconds <= 1e+06"),
        ("dt", float("nan"), "0 < seconds <= 1e+06"),
        ("dt", "fast", "0 < seconds <= 1e+06"),
        ("dt", 1e308, "0 < seconds <= 1e+06"),
        ("time_layout", 5, "a string"),
        ("threshold", "gte", "ge, gt"),
        ("reset", "soft", "zero, subtract, v_reset"),
        ("reset_timing", "later", "same_step, next_step, prepaid"),
        ("reset_timing", "next_step", "subtract, or same_step"),
        ("multispike", 0, "'off' or a whole number >= 1"),
        ("multispike", 1.5, "'off' or a whole number >= 1"),
        ("v_min", "low", "a number or null"),
        ("integrator", "heun", "euler, exp"),
        ("v_init", "rest", "a number, 'v_reset' or 'v_leak'"),
        ("current_order", "first", "same_step, next_step"),
    ],
)
def test_values_that_mean_nothing(field: str, value: Any, limit: str) -> None:
    text = refusal(changed("semantics", **{field: value}))
    assert text == (
        f"bad-semantics: {field} has a value it cannot have\n  where: net.nir\n  needed: {value!r}\n  limit: {limit}"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", "four"),
        ("input_shape", []),
        ("input_shape", [0]),
        ("encoding", "foo"),
        ("readout", "loudest"),
        ("seed", -1),
        ("seed", "abc"),
    ],
)
def test_deployments_that_cannot_run(field: str, value: Any) -> None:
    assert refusal(changed("deployment", **{field: value})).startswith(
        f"bad-semantics: {field} has a value it cannot have\n  where: net.nir\n"
    )


def test_an_unknown_field_of_a_node() -> None:
    assert refusal(changed("semantics", nodes={"a": {"colour": "red"}})) == (
        "bad-semantics: nodes.a has a value it cannot have\n"
        "  where: net.nir\n  needed: ['colour']\n  limit: fields of Semantics"
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "list indices must be integers or slices, not str"),
        ('{"version": 99}', "metadata version 99, this snnhw reads 2"),
        ('{"version": 1}', "metadata version 1, this snnhw reads 2"),
        ('{"version": 2}', "'semantics'"),
        ('{"version": 2, "semantics": {}}', "fields ['current_order', "),
    ],
)
def test_damaged_metadata(raw: str, text: str) -> None:
    assert refusal({METADATA_KEY: raw}).startswith(f"bad-semantics: the snnhw metadata cannot be read: {text}")


def test_multispike_off_is_one_spike() -> None:
    assert replace(SEMANTICS, multispike="off").multispike == 1  # type: ignore[arg-type]
