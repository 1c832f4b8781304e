"""A float side for toy artifacts: their own integers, with faults where a test wants them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnhw.artifact import Artifact
from snnhw.encoding import encode
from snnhw.engines.observe import Recorder
from snnhw.engines.reference import ReferenceEngine


class Twin:
    """Runs the integers as if they were floats.

    Args:
        silent: populations whose spikes are taken away.
        wrong: index of samples whose prediction is off by one.
    """

    def __init__(self, artifact: Artifact, silent: tuple[str, ...] = (), wrong: tuple[int, ...] = ()) -> None:
        self.artifact, self.silent, self.wrong = artifact, silent, wrong
        self.seen = 0

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        recorder = Recorder(self.artifact.network, spikes=True)
        values = encode(x, self.artifact.inputs, self.artifact.network.steps)
        ReferenceEngine().run(self.artifact.network, self.artifact.target, [values], [recorder])
        arrays = recorder.arrays()
        spikes = {name[7:]: array.astype(float) for name, array in arrays.items() if name.startswith("spikes/")}
        for name in self.silent:
            spikes[name] = np.zeros_like(spikes[name])
        predictions = arrays["predictions"]
        for i in self.wrong:
            if 0 <= i - self.seen < len(x):
                predictions[i - self.seen] += 1
        self.seen += len(x)
        return predictions, spikes
