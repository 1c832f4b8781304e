"""The `float` engine: the lowered float network. Not an integer engine; never stands in for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnhw.encoding import real_inputs, real_steps
from snnhw.engines.observe import predict
from snnhw.evaluate import evaluate
from snnhw.network import Array, FloatNeuron, Kind, Network
from snnhw.semantics import Deployment


class FloatEngine:
    """Runs a float network on samples as the user gives them.

    Args:
        network: the lowered network.
        deployment: encoding, T and seed of the input.
        precision: 'float64' (exact comparison of spikes) or 'float32' (several times faster).
    """

    name = "float"

    def __init__(self, network: Network[FloatNeuron], deployment: Deployment, precision: str = "float64") -> None:
        self.network, self.deployment, self.precision = network, deployment, precision

    def values(self, x: Array) -> dict[str, Array]:
        """Spikes (B, T, ...) of every population; accumulators give their input of every step."""
        return dict(self._walk(x))

    def predict(self, x: Array) -> Array:
        """Predicted class of each sample; no population's spikes are held longer than they are needed."""
        readout = self.network.readout
        return next(predict(readout.kind, values) for name, values in self._walk(x) if name == readout.population)

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
        values = self.values(x)
        readout = self.network.readout
        predictions = predict(readout.kind, values[readout.population])
        spiking = {p.name: values[p.name] for p in self.network.populations if p.kind is not Kind.ACCUMULATOR}
        return predictions, spiking

    def record(self, x: Array, spikes: bool) -> dict[str, Array]:
        """`output`, `counts`, `predictions` and, if asked for, `spikes/NAME`, as the integer engines name them."""
        values = self.values(x)
        readout = self.network.readout
        output = values[readout.population]
        found = {"output": output, "counts": output.sum(axis=1), "predictions": predict(readout.kind, output)}
        if spikes:
            found |= {
                f"spikes/{p.name}": values[p.name] for p in self.network.populations if p.kind is not Kind.ACCUMULATOR
            }
        return found
