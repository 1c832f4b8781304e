"""Predictions and recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.engines.base import Record
from snnhw.engines.observe import Predictions, Recorder, predict, step_output
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import EngineError
from snnhw.network import Readout
from tests.unit.chip.nets import CHAIN_INPUT, chain, residual, residual_input


def test_ties_go_to_the_lowest_class() -> None:
    sums = np.array([[1, 3, 3], [2, 2, 2], [-5, -6, -4]])
    for kind in ("rate", "mean"):
        assert predict(kind, np.stack([sums - 1, np.ones_like(sums)], axis=1)).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("times", "want"),
    [
        ([2, 0, 1], 1),
        ([1, 1, 2], 0),  # a tie
        ([None, 3, None], 1),  # a spike in the last step is earlier than silence
        ([None, None, None], 0),  # nobody spikes
        ([3, None, 0], 2),
    ],
)
def test_the_first_spike_decides_and_silence_is_last(times: list[int | None], want: int) -> None:
    output = np.zeros((1, 4, 3), int)
    for i, time in enumerate(times):
        if time is not None:
            output[0, time:, i] = 3  # what comes later, and how many spikes, is no matter
    assert predict("first", output).tolist() == [want]


def test_rate_output_is_the_spikes() -> None:
    artifact, recorder = chain(), Recorder(chain().network, spikes=True)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": CHAIN_INPUT}], [recorder])
    arrays = recorder.arrays()
    assert list(arrays) == ["output", "counts", "predictions", "saturations", "spikes/x", "spikes/h", "spikes/y"]
    assert arrays["spikes/h"].tolist() == [[[0, 1, 1, 1], [1, 0, 0, 0]]]
    assert arrays["spikes/h"].dtype == np.uint8
    assert np.array_equal(arrays["output"], arrays["spikes/y"])
    assert arrays["counts"].tolist() == [[0, 0]]


def test_saturations_are_summed_over_populations_and_chunks() -> None:
    recorder = Recorder(chain().network)
    for first in (0, 1):
        for name, wraps in (("x", 0), ("h", 2), ("y", 0)):
            recorder.observe(first, name, Record(np.zeros((1, 2, 2), np.int8), overflows={"u": wraps, "v": 3 * wraps}))
    assert recorder.arrays()["saturations"] == 2 * (2 + 6)


def test_mean_output_is_what_the_membrane_gains() -> None:
    artifact = residual()
    recorder, said = Recorder(artifact.network, state=True), Predictions(artifact.network)
    x = residual_input(5)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": x[:2]}, {"x": x[2:]}], [recorder, said])
    arrays = recorder.arrays()
    last = arrays["v/out"][:, -1]
    assert arrays["output"].shape == (5, 2, 3)
    assert np.array_equal(arrays["counts"], last)
    assert np.array_equal(said.predictions, last.argmax(axis=1))
    assert np.array_equal(arrays["predictions"], said.predictions)
    assert "u/x" not in arrays
    assert arrays["u/c"].dtype == np.int32


def test_graded_values_keep_their_sign() -> None:
    artifact, recorder = residual(), Recorder(residual().network, spikes=True)
    x = residual_input(2)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": x}], [recorder])
    assert np.array_equal(recorder.arrays()["spikes/x"], x)


def test_missing_state_is_refused() -> None:
    bare = Record(np.zeros((1, 2, 3), np.int8))
    with pytest.raises(EngineError, match="no-state: v was not recorded"):
        step_output(residual().network, bare)
    with pytest.raises(EngineError, match="no-state: u was not recorded"):
        Recorder(chain().network, state=True).observe(0, "h", bare)


def test_unknown_readout() -> None:
    network = replace(chain().network, readout=Readout("dream", "y"))
    with pytest.raises(EngineError, match="bad-readout: unknown readout 'dream'"):
        step_output(network, Record(np.zeros((1, 2, 2), np.int8)))
