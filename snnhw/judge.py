"""By which rule outputs are judged: as classes against labels, or as real values, output by output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnhw.cautions import Caution
from snnhw.errors import DataError
from snnhw.network import Array

CLASSES, VALUES = "classes", "values"
JUDGES = (CLASSES, VALUES)


@dataclass(frozen=True)
class Judge:
    """How the outputs of some samples are judged.

    Args:
        kind: 'classes' or 'values'.
        labels: int64 (B,) of classes, float64 (B, outputs) of values, or None.
        warnings: that outputs and labels do not fit together, though they can be compared.
    """

    kind: str
    labels: Array | None
    warnings: tuple[Caution, ...] = ()


@dataclass(frozen=True)
class OutputError:
    """How far one output is from what it is compared with, over the samples, in the source's units.

    Args:
        rmse: root of the mean squared difference.
        max_error: largest difference.
        correlation: Pearson's; null where one of both never changes.
        r2: 1 - sum of squared differences / sum of squares of the reference about its mean; null where that is zero.
    """

    output: int
    rmse: float
    max_error: float
    correlation: float | None
    r2: float | None


def judge(y: Array | None, samples: int, outputs: int, rule: str | None = None) -> Judge:
    """One output and real labels are judged as values, everything else as classes, unless the user says.

    Args:
        y: labels as the user has them: classes (B,); values (B,), (B, outputs) or of the outputs' shape; one 1 a row.
        outputs: classes, or values, of one sample.
        rule: 'classes' or 'values', if the user says so.

    Raises:
        DataError: labels that do not fit the samples or outputs.
    """
    y = None if y is None else np.asarray(y)
    if rule is not None and rule not in JUDGES:
        raise DataError("bad-judge", "there is no such rule", needed=repr(rule), limit=", ".join(JUDGES), where="judge")
    if y is not None and (y.ndim == 0 or len(y) != samples or y.dtype.kind not in "iufb"):
        raise _unfit(f"({samples},)", y)
    if y is not None and not np.isfinite(y).all():
        raise DataError(
            "bad-labels", "labels hold values that are not finite", where="y", hint="remove NaN and infinity"
        )
    y = _classes_of_rows(y, outputs)
    as_values = outputs == 1 or (y is not None and (y.ndim > 1 or (y != np.rint(y)).any()))
    if rule == CLASSES and as_values and y is not None and (y.ndim > 1 or (y != np.rint(y)).any()):
        raise _unfit(f"({samples},) whole numbers, to be judged as classes", y)
    if (rule or (VALUES if as_values else CLASSES)) == VALUES:
        if y is not None and y.size != samples * outputs:
            raise _unfit(f"({samples}, {outputs}) values", y)
        return Judge(VALUES, None if y is None else y.reshape(samples, outputs).astype(np.float64))
    if y is None:
        return Judge(CLASSES, None)
    require_labels(y, outputs)
    labels = y.astype(np.int64)
    return Judge(CLASSES, labels, _few(labels, outputs))


def _classes_of_rows(y: Array | None, outputs: int) -> Array | None:
    """(B,) of (B, 1); of rows with a single 1 (one-hot) its place."""
    if y is None or y.ndim == 1:
        return y
    rows = y.reshape(len(y), -1)
    if rows.shape[1] == 1:
        return np.asarray(rows[:, 0])
    one_hot = rows.shape[1] == outputs and ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()
    return np.asarray(rows.argmax(axis=1)) if one_hot else y


def require_labels(y: Array, classes: int) -> None:
    """Refuse labels that no output stands for."""
    if len(y) and (y.min() < 0 or y.max() >= classes):
        raise DataError(
            "bad-labels",
            "labels name classes that the network does not have",
            where="y",
            needed=f"{y.min()} to {y.max()}",
            limit=f"0 to {classes - 1}",
            hint="count classes from 0, or give the data of this network",
        )


def _few(labels: Array, outputs: int) -> tuple[Caution, ...]:
    """Labels of less than half of the outputs: a population code that nobody told us of, or a part of the data."""
    seen = int(labels.max(initial=0)) + 1
    if outputs < 2 * seen or seen == 1:
        return ()
    grouped = f"of a population code say --population {seen} (population={seen} of the Deployment)"
    fix = grouped if outputs % seen == 0 else "give labels of all classes"
    what = f"{outputs} outputs meet labels 0 to {seen - 1}: a prediction is the largest of all {outputs}"
    return (Caution("labels-outputs", "y", what, f"{outputs - seen} outputs are no label's", fix),)


def _unfit(needed: str, y: Array) -> DataError:
    return DataError(
        "bad-labels", "labels do not fit the samples", where="y", needed=needed, limit=f"got {tuple(y.shape)}"
    )


def output_errors(found: Array, wanted: Array) -> tuple[OutputError, ...]:
    """Every output (B, outputs) against its reference, over the samples."""
    error = found - wanted
    about = [part - part.mean(axis=0) for part in (found, wanted)]
    spread = [(part * part).sum(axis=0) for part in about]
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = (about[0] * about[1]).sum(axis=0) / np.sqrt(spread[0] * spread[1])
        r2 = 1 - (error * error).sum(axis=0) / spread[1]
    return tuple(
        OutputError(
            output=i,
            rmse=float(np.sqrt((error[:, i] ** 2).mean())),
            max_error=float(np.abs(error[:, i]).max(initial=0.0)),
            correlation=_finite(correlation[i]),
            r2=_finite(r2[i]),
        )
        for i in range(found.shape[1])
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def rmse(errors: tuple[OutputError, ...]) -> float:
    """Over all outputs."""
    return float(np.sqrt(np.mean([row.rmse**2 for row in errors]))) if errors else 0.0
