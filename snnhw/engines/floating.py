"""The `float` engine: the lowered float network. Not an integer engine; never stands in for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from snnhw.encoding import real_inputs, real_steps
from snnhw.evaluate import evaluate, output_key
from snnhw.network import Array, FloatNeuron, Kind, Network
from snnhw.readout import judged, real_scale, scores, values
from snnhw.semantics import Deployment


def events_of(spikes: Array) -> Array:
    """Spikes (B, T, ...) that are not zero, of every neuron, int64 (N,)."""
    return np.asarray(np.count_nonzero(spikes.reshape(spikes.shape[0] * spikes.shape[1], -1), axis=0), np.int64)


class FloatEngine:
    """Runs a float network on samples as the user gives them.

    Args:
        network: the lowered network.
        deployment: encoding, T and seed of the input.
        precision: 'float64' (exact comparison of spikes) or 'float32' (several times faster).
    """

    name = "float"

    def __init__(self, network: Network[FloatNeuron], deployment: Deployment, precision: str = "float64") -> None:
        self.readout = replace(network.readout, scale=real_scale(network.readout, network.steps))
        self.network = replace(network, readout=self.readout)
        self.deployment, self.precision = deployment, precision

    def values(self, x: Array) -> dict[str, Array]:
        """Spikes (B, T, ...) of every population; accumulators give their input of every step."""
        return dict(self._walk(x))

    def predict(self, x: Array) -> Array:
        """Predicted class of each sample; no population's spikes are held longer than they are needed."""
        key = output_key(self.network)
        return next(judged(self.readout, scores(self.readout, found)) for name, found in self._walk(x) if name == key)

    def _walk(self, x: Array) -> Iterator[tuple[str, Array]]:
        d = self.deployment
        real = real_steps(x, d.input_shape, d.encoding, d.steps, d.seed)
        if self.precision == "float32":
            static = real.shape[1] > 1 and real.strides[1] == 0
            narrow = (real[:, :1] if static else real).astype(np.float32)
            real = np.broadcast_to(narrow, real.shape) if static else narrow
        return evaluate(self.network, real_inputs(self.network, real))

    def run(self, x: Array) -> tuple[Array, Mapping[str, Array]]:
        """Predicted class of each sample (lowest class on ties), and spikes (inputs: values) of populations by name."""
        found = self.values(x)
        spiking = {p.name: found[p.name] for p in self.network.populations if p.kind is not Kind.ACCUMULATOR}
        return judged(self.readout, scores(self.readout, found[output_key(self.network)])), spiking

    def counted(self, x: Array) -> tuple[Array, Mapping[str, Array], Array]:
        """Predictions, events of every neuron over samples and steps, int64 (N,) by population, and the scores
        (B, classes) in the source's units; no population's spikes are held longer than they are needed."""
        said, events = np.zeros(0), dict[str, Array]()
        for name, found in self._walk(x):
            if name == output_key(self.network):
                said = scores(self.readout, found)
            if name in self.network.by_name and self.network[name].kind is not Kind.ACCUMULATOR:
                events[name] = events_of(found)
        outputs = self.network[self.readout.population].size
        return judged(self.readout, said), events, values(self.readout, said, outputs, self.network.steps)

    def record(self, x: Array, spikes: bool) -> dict[str, Array]:
        """`output`, `counts`, `predictions` and, if asked for, `spikes/NAME`, as the integer engines name them."""
        values = self.values(x)
        output = values[output_key(self.network)]
        predictions = judged(self.readout, scores(self.readout, output))
        found = {"output": output, "counts": output.sum(axis=1), "predictions": predictions}
        if spikes:
            found |= {
                f"spikes/{p.name}": values[p.name] for p in self.network.populations if p.kind is not Kind.ACCUMULATOR
            }
        return found
