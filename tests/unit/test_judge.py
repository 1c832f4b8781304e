"""How outputs are judged: which labels are classes, which are values, and errors against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.errors import DataError
from snnhw.judge import judge, output_errors, rmse

FOUR = np.arange(4)
REAL = np.array([0.5, 1.0, 2.5, 3.0])
KINDS = {
    "integers": (FOUR, 4, "classes"),
    "no labels": (None, 4, "classes"),
    "one output": (None, 1, "values"),
    "one output and whole labels": (FOUR, 1, "values"),
    "real labels": (np.stack([REAL, REAL], 1), 2, "values"),
    "whole numbers as floats": (FOUR.astype(float), 4, "classes"),
    "a column": (FOUR[:, None], 4, "classes"),
    "one-hot rows": (np.eye(4), 4, "classes"),
    "rows of counts": (2 * np.eye(4, dtype=int), 4, "values"),
    "the shape of the outputs": (np.full((4, 2, 2), 0.25), 4, "values"),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_labels(name: str) -> None:
    y, outputs, kind = KINDS[name]
    found = judge(y, 4, outputs)
    assert found.kind == kind
    if y is not None:
        want = y.argmax(1) if name == "one-hot rows" else y
        np.testing.assert_array_equal(found.labels, np.reshape(want, (4, outputs) if kind == "values" else 4))


def test_the_user_may_say_it() -> None:
    assert judge(None, 4, 3, "values").kind == "values"
    assert judge(FOUR, 4, 4, "classes").kind == "classes"
    with pytest.raises(DataError, match="bad-judge: there is no such rule"):
        judge(None, 4, 3, "votes")


REFUSED = {
    "other samples": (np.arange(3), 4, None, "(4,)\n  limit: got (3,)"),
    "no numbers": (np.array(["a"] * 4), 4, None, "(4,)\n  limit: got (4,)"),
    "a number alone": (np.array(1), 4, None, "(4,)\n  limit: got ()"),
    "too few values": (np.stack([REAL, REAL], 1), 3, None, "(4, 3) values\n  limit: got (4, 2)"),
    "one value for each sample": (REAL, 3, None, "(4, 3) values\n  limit: got (4,)"),
    "values as classes": (
        np.stack([REAL, REAL], 1),
        2,
        "classes",
        "(4,) whole numbers, to be judged as classes\n",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_labels_that_do_not_fit(name: str) -> None:
    y, outputs, rule, text = REFUSED[name]
    with pytest.raises(DataError) as caught:
        judge(y, 4, outputs, rule)
    assert str(caught.value).startswith(f"bad-labels: labels do not fit the samples\n  where: y\n  needed: {text}")


def test_labels_that_are_not_finite() -> None:
    with pytest.raises(DataError, match="bad-labels: labels hold values that are not finite"):
        judge(np.array([0.5, np.nan]), 2, 1)


@pytest.mark.parametrize(
    ("outputs", "seen", "fix"),
    [
        (100, 10, "of a population code say --population 10 (population=10 of the Deployment)"),
        (25, 10, "give labels of all classes"),
    ],
)
def test_many_outputs_meet_few_labels(outputs: int, seen: int, fix: str) -> None:
    (said,) = judge(np.arange(seen), seen, outputs).warnings
    assert (said.code, said.where, said.fix) == ("labels-outputs", "y", fix)
    assert said.what == f"{outputs} outputs meet labels 0 to {seen - 1}: a prediction is the largest of all {outputs}"
    assert said.size == f"{outputs - seen} outputs are no label's"


@pytest.mark.parametrize("outputs", [10, 19])
def test_outputs_that_fit_are_not_warned_of(outputs: int) -> None:
    assert judge(np.arange(10), 10, outputs).warnings == ()
    assert judge(np.zeros(10, int), 10, outputs).warnings == ()


def test_errors_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    found, wanted = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    wanted[:, 1] += 2 * found[:, 1]
    rows = output_errors(found, wanted)
    for i, row in enumerate(rows):
        error = found[:, i] - wanted[:, i]
        assert row.output == i
        assert row.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
        assert row.max_error == pytest.approx(np.abs(error).max())
        assert row.correlation == pytest.approx(np.corrcoef(found[:, i], wanted[:, i])[0, 1])
        assert row.r2 == pytest.approx(1 - np.sum(error**2) / np.sum((wanted[:, i] - wanted[:, i].mean()) ** 2))
    assert rmse(rows) == pytest.approx(np.sqrt(np.mean((found - wanted) ** 2)))


def test_what_never_changes_has_no_correlation() -> None:
    (row,) = output_errors(np.ones((3, 1)), np.array([[1.0], [2.0], [3.0]]))
    assert (row.correlation, row.r2) == (None, pytest.approx(1 - 5 / 2))
    (row,) = output_errors(np.array([[1.0], [2.0]]), np.ones((2, 1)))
    assert (row.correlation, row.r2) == (None, None)
