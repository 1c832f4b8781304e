"""The first place where two runs differ."""

from __future__ import annotations

import json

import nir
import numpy as np
import pytest

import snnhw
from snnhw import api
from snnhw.comparison import diff
from snnhw.errors import DataError
from snnhw.frontends.nir.shapes import with_shapes
from snnhw.frontends.source import Source
from snnhw.semantics import PLAIN, Deployment, Semantics, to_metadata


def run() -> dict[str, np.ndarray]:
    return {
        "output": np.zeros((2, 3, 2), np.int64),
        "spikes/a": np.zeros((2, 3, 4), np.uint8),
        "v/a": np.zeros((2, 3, 4), np.int32),
        "spikes/b": np.zeros((2, 3, 2, 2), np.uint8),
        "u/b": np.zeros((2, 3, 2, 2), np.int32),
    }


def test_equal_runs() -> None:
    assert diff(run(), run()) is None


def test_earliest_step_of_the_first_population() -> None:
    other = run()
    other["spikes/b"][0, 0, 0, 0] = 1  # earlier, but in a later population
    other["spikes/a"][1, 2, 3] = 1
    other["v/a"][1, 1, 2] = -7
    found = diff(run(), other, ["a", "b"])
    assert found is not None
    assert (found.population, found.quantity, found.sample, found.step, found.neuron) == ("a", "v", 1, 1, (2,))
    assert found.values == {"spikes": (0, 0), "v": (0, -7)}
    assert str(found) == "a[2], sample 1, step 1: spikes 0, v 0 != -7 (1 v differ in this population)"


def test_spikes_before_state_at_the_same_step() -> None:
    other = run()
    other["u/b"][0, 1, 0, 0], other["spikes/b"][0, 1, 1, 0] = 5, 1
    found = diff(run(), other)
    assert found is not None
    assert (found.quantity, found.neuron, found.differing) == ("spikes", (1, 0), 1)
    assert found.to_dict()["values"] == {"spikes": [0, 1], "u": [0, 0]}


def test_order_decides() -> None:
    other = run()
    other["spikes/a"][0, 0, 0] = other["spikes/b"][0, 0, 0, 0] = 1
    assert [diff(run(), other, order).population for order in (["a", "b"], ["b", "a"])] == ["a", "b"]  # type: ignore[union-attr]


def test_nothing_in_common() -> None:
    with pytest.raises(DataError, match="nothing-recorded: the two runs recorded nothing in common"):
        diff({"spikes/a": np.zeros(1)}, {"spikes/b": np.zeros(1)})


def grid_source() -> Source:
    """Integrate and fire on a grid of 1/32: its integers are exact."""
    rng = np.random.default_rng(0)
    levels = {"v_threshold": np.ones(5), "v_reset": np.zeros(5)}
    nodes = {
        "in": nir.Input({"input": np.array([6])}),
        "fc": nir.Linear(rng.integers(-20, 33, (5, 6)) / 32.0),
        "n": nir.IF(r=np.ones(5) / 1e-3, **levels),
        "out": nir.Output({"output": np.array([5])}),
    }
    deployment, semantics = Deployment(6, "spikes", (6,), "rate"), Semantics(**PLAIN, dt=1e-3)
    metadata = to_metadata(semantics, deployment)
    graph = nir.NIRGraph(nodes, [("in", "fc"), ("fc", "n"), ("n", "out")], metadata=metadata, type_check=False)
    return Source(with_shapes(graph), semantics, deployment, {"file": "grid.nir"})


def test_a_source_and_its_artifact() -> None:
    """Any two: float against integers, engines, artifacts; only what both have is compared."""
    source, x = grid_source(), np.random.default_rng(1).integers(0, 2, (16, 6, 6)).astype(np.uint8)
    artifact = snnhw.compile(source, target="loihi2", weight_bits="*=8")
    coarse = snnhw.compile(source, target="loihi2", weight_bits="*=2")
    assert api.diff(source, artifact, x) is None
    assert api.diff(artifact, artifact, x, engines=("fast", "reference"), record="state") is None
    assert api.diff(artifact, snnhw.run(artifact, x, record="spikes"), x) is None
    for pair in ((source, coarse), (artifact, coarse)):
        found = api.diff(*pair, x)
        assert found is not None
        assert (found.population, found.quantity) == ("n", "spikes")
    with pytest.raises(DataError, match="no-samples: a network is run to be compared, on samples"):
        api.diff(source, artifact)


def test_membranes_that_are_read_are_compared_in_the_source_s_units() -> None:
    a, b = {**run(), "scale": 1.0, "values": np.ones((2, 4))}, {**run(), "scale": 0.5, "values": np.ones((2, 4))}
    b["output"] = b["output"] + 7  # other units
    assert diff(a, b) is None
    b["values"][1, 2] += 1e-12
    assert diff(a, b) is None
    b["values"][1, 2] = 2.0
    assert str(diff(a, b)) == "(values)[2], sample 1: values 1.0 != 2.0 (1 values differ)"


def test_shapes_differ() -> None:
    other = run()
    other["spikes/a"] = other["spikes/a"][:1]
    with pytest.raises(DataError, match="shapes-differ: the two runs recorded arrays of different shape"):
        diff(run(), other)


def test_different_recordings() -> None:
    other = run()
    del other["u/b"], other["v/a"]
    other["spikes/c"] = other["spikes/d"] = other.pop("spikes/b")
    message = (
        "different-recordings: the two runs did not record the same populations and quantities\n"
        "  where: spikes/b, spikes/c, spikes/d\n"
        "  hint: record both from the same artifact with the same --record"
    )
    for one, two in ((run(), other), (other, run())):
        with pytest.raises(DataError) as refused:
            diff(one, two, ["a"])
        assert str(refused.value) == message


@pytest.mark.parametrize(
    ("key", "index", "step", "neuron", "text"),
    [
        ("output", (1, 2, 1), 2, (1,), "(output)[1], sample 1, step 2: output 0 != 3 (1 output differ)"),
        ("counts", (1, 0), None, (0,), "(counts)[0], sample 1: counts 0 != 3 (1 counts differ)"),
        ("predictions", (1,), None, (), "(predictions), sample 1: predictions 0 != 3 (1 predictions differ)"),
    ],
)
def test_results_differ(key: str, index: tuple[int, ...], step: int | None, neuron: tuple[int, ...], text: str) -> None:
    results = {"counts": np.zeros((2, 2), np.int64), "predictions": np.zeros(2, np.int64)}
    one, other = run() | results, run() | {name: array.copy() for name, array in results.items()}
    other[key][index] = 3
    found = diff(one, other, ["a", "b"])
    assert found is not None
    assert (found.population, found.sample, found.step, found.neuron) == (f"({key})", 1, step, neuron)
    assert str(found) == text
    assert json.loads(json.dumps(found.to_dict()))["values"] == {key: [0, 3]}
    other["spikes/b"][0, 0, 0, 0] = 1  # populations come first
    assert (diff(one, other) or found).population == "b"


def test_scales_of_any_form_are_compared() -> None:
    """A recording comes from a file, which may hold no number where the scale should be."""
    results = {"predictions": np.zeros(2, np.int64)}
    one = run() | results | {"scale": np.array(1.0)}
    assert diff(one, one | {"scale": np.zeros(0)}) is None
    assert diff(one, run() | results) is None
    counts = {"counts": np.zeros((2, 2), np.int64)}
    other = one | {"counts": counts["counts"] + 1}
    assert diff(one | counts, other | {"scale": np.array(2.0)}) is None, "counts in other units tell nothing"
    assert diff(one | counts, other) is not None
