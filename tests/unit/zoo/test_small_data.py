"""XOR, iris and digits as samples; and a clear word where scikit-learn is missing."""

from __future__ import annotations

import sys

import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.zoo import small_data
from snnhw.zoo.datasets import dataset_of


def test_xor_is_coded_in_spike_times() -> None:
    data = dataset_of("xor")
    assert data.sequence
    assert data.classes == 2
    assert data.input_shape == (3,)
    assert data.x_test.dtype == torch.uint8
    times = data.x_test.argmax(1)
    assert times.tolist() == [[6, 6, 0], [6, 0, 0], [0, 6, 0], [0, 0, 0]]
    assert data.x_test.sum((1, 2)).tolist() == [3] * 4
    assert data.y_test.tolist() == [0, 1, 1, 0]
    assert len(data.y_train) == 128
    for x, y in zip(data.x_train, data.y_train, strict=True):
        same = (data.x_test == x).all(2).all(1)
        assert data.y_test[same].tolist() == [int(y)]


def test_iris_is_coded_by_receptive_fields() -> None:
    pytest.importorskip("sklearn")
    data = dataset_of("iris")
    assert data.x_train.shape == (100, 1, 4, small_data.FIELDS)
    assert data.x_test.shape == (50, 1, 4, small_data.FIELDS)
    assert torch.bincount(torch.cat([data.y_train, data.y_test])).tolist() == [50, 50, 50]
    x = data.x_train[:, 0].int()
    assert (x.amax(2) > 150).all()  # every measure excites a field well
    assert ((x == 0) | (x > 25)).all()  # weak answers are silence
    assert (x > 0).sum(2).float().mean() < small_data.FIELDS / 2
    peaks = x.argmax(2)[:, 2]  # petal length sorts the classes
    assert peaks[data.y_train == 0].float().mean() < peaks[data.y_train == 2].float().mean() - 2


def test_digits_use_all_of_the_bytes() -> None:
    pytest.importorskip("sklearn")
    data = dataset_of("digits")
    assert data.input_shape == (1, 8, 8)
    assert (len(data.y_train), len(data.y_test)) == (1437, 360)
    assert int(data.x_train.max()) == 255
    assert len(data.x_train.unique()) == 17
    assert set(data.y_test.tolist()) == set(range(10))


def test_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in ("iris", "digits"):
        with pytest.raises(SnnhwError) as caught:
            dataset_of(name)
        assert str(caught.value) == (
            f"needs-extra: the data set {name!r} needs packages of the extra 'train'\n"
            "  needed: scikit-learn>=1.5,<2\n  hint: pip install 'scikit-learn>=1.5,<2'"
        )
