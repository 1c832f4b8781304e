"""Trees of dataclasses to JSON and arrays, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from snnhw.network import Comparison, Dense, IntNeuron, Kind, Population, Reset
from snnhw.pack import pack, unpack

CLASSES = {c.__name__: c for c in (Dense, IntNeuron, Population)}


def again(value: Any) -> Any:
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(pack(value, "top", arrays))
    return unpack(json.loads(text), arrays, CLASSES)


@pytest.mark.parametrize("value", [None, True, 3, 0.1, "x", (1, (2, "y")), {"a": {"b": (1.5,)}}, Dense("w"), ()])
def test_round_trip(value: Any) -> None:
    assert again(value) == value


def test_lists_come_back_as_tuples_and_numpy_numbers_as_numbers() -> None:
    assert again([1, [2]]) == (1, (2,))
    assert again(np.float32(0.5)) == 0.5
    assert type(again(np.int64(3))) is int


def test_enums_come_back_as_enums() -> None:
    neuron = IntNeuron(1, np.array([1, 2]), np.array(0), reset=Reset.SUBTRACT, comparison=Comparison.GE, du=4096)
    found = again(Population("subtract", (2,), Kind.NEURON, neuron))
    assert found.kind is Kind.NEURON
    assert found.name == "subtract"
    assert type(found.name) is str
    assert found.neuron.reset is Reset.SUBTRACT
    assert found.neuron.comparison is Comparison.GE
    assert found.neuron.v_min is None


@pytest.mark.parametrize("array", [np.array(3), np.zeros((0, 2), np.int8), np.arange(6.0).reshape(2, 3).T])
def test_arrays_keep_type_and_shape(array: np.ndarray) -> None:
    found = again({"a": array})["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_array_names_are_paths() -> None:
    arrays: dict[str, np.ndarray] = {}
    pack({"w": np.array(1), "w/indices": np.array(2), "n": (np.array(3),)}, "top", arrays)
    assert list(arrays) == ["top/w", "top/w/indices", "top/n/0"]


def test_what_an_artifact_cannot_hold() -> None:
    with pytest.raises(TypeError, match="top/a is a set, which an artifact cannot hold"):
        pack({"a": {1}}, "top", {})
    with pytest.raises(TypeError, match="top is a type"):
        pack(Dense, "top", {})


def test_only_named_classes_and_fields() -> None:
    with pytest.raises(KeyError):
        unpack({"$class": "Path", "x": 1}, {}, CLASSES)
    with pytest.raises(TypeError):
        unpack({"$class": "Dense", "weight": "w", "other": 1}, {}, CLASSES)
    with pytest.raises(KeyError):
        unpack({"$array": "nowhere"}, {}, CLASSES)
    with pytest.raises(ValueError, match="'sideways' is not a valid Kind"):
        unpack({"$class": "Population", "name": "n", "shape": [1], "kind": "sideways"}, {}, CLASSES)
