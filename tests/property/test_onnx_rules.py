"""Each rule of the contract against its restatement in ONNX operators, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnhw.engines.onnx import rules
from snnhw.engines.onnx.graph import Graph
from snnhw.engines.onnx.step import IR_VERSION, OPSET
from snnhw.network import Array
from tests.property.test_fixed_properties import CURRENT, DECAY, RULES, STATE

Columns = Sequence[Any]

RESTATED: dict[str, Callable[[Graph, Columns, Columns], str]] = {
    # (values given at run time and constants, as the step model has them; trailing scalars)
    "decayed": lambda g, c, _: rules.decayed(g, given_as(g, c, 0), c[1]),
    "wrap24": lambda g, c, _: rules.wrap24(g, given_as(g, c, 0)),
    "sat24": lambda g, c, _: rules.sat24(g, given_as(g, c, 0)),
    "shifted": lambda g, c, s: rules.shifted(g, given_as(g, c, 0), s[0]),
    "current": lambda g, c, s: rules.current(g, given_as(g, c, 0), given_as(g, c, 1), c[2], s[0]),
    "membrane": lambda g, c, _: rules.membrane(g, given_as(g, c, 0), given_as(g, c, 1), c[2], c[3], given_as(g, c, 4)),
    "spikes, one": lambda g, c, s: rules.spikes(g, given_as(g, c, 0), c[1], bool(s[0]), s[1]),
    "spikes, many": lambda g, c, s: rules.spikes(g, given_as(g, c, 0), c[1], bool(s[0]), s[1]),
    "reset_zero": lambda g, c, _: rules.reset_zero(g, given_as(g, c, 0), given_as(g, c, 1)),
    "reset_subtract": lambda g, c, _: rules.reset_subtract(g, given_as(g, c, 0), given_as(g, c, 1), c[2]),
    "reset_to": lambda g, c, s: rules.reset_to(g, given_as(g, c, 0), given_as(g, c, 1), s[0]),
    "floored": lambda g, c, s: rules.floored(g, given_as(g, c, 0), s[0]),
}


def given_as(g: Graph, columns: Columns, index: int) -> str:
    """A column as a value given at run time."""
    return g.input(f"x{index}", np.int64, (len(columns[index]),))


def run(build: Callable[[Graph], str], columns: Columns) -> list[int]:
    g = Graph("test")
    g.output("y", build(g), np.int64, (len(columns[0]),))
    model = g.model(OPSET, IR_VERSION, "rule", {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [int(n) for n in session.run(None, {i.name: columns[int(i.name[1:])] for i in g.inputs})[0]]


@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
@settings(max_examples=60)
def test_restated_rule_is_the_rule(name: str, data: st.DataObject) -> None:
    rule = RULES[name]
    rows = data.draw(st.lists(st.tuples(*rule.columns), min_size=1, max_size=16))
    scalars = [data.draw(s) for s in rule.scalars]
    columns: list[Array] = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    found = run(lambda g: RESTATED[name](g, columns, scalars), columns)
    assert found == [rule.function(*row, *scalars) for row in rows]


def test_every_rule_is_restated() -> None:
    assert RESTATED.keys() == RULES.keys()


@given(u=CURRENT, a=STATE, d=DECAY)
@settings(max_examples=30)
def test_currents_that_nothing_reaches_or_that_are_forgotten(u: int, a: int, d: int) -> None:
    columns = [np.array([u]), np.array([a])]
    assert run(lambda g: rules.current(g, given_as(g, columns, 0), None, d, 6), columns) == [
        RULES["current"].function(u, 0, d, 6)
    ]
    assert run(lambda g: rules.current(g, None, given_as(g, columns, 1), 4096, 6), columns) == [
        RULES["current"].function(u, a, 4096, 6)
    ]
