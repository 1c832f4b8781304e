"""SpikeProp (Bohte, Kok and La Poutre 2002): a spike response network with delayed synapses, trained on spike times."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.timed import Delayed, FirstSpike


class SpikeProp(nn.Module):
    """Two layers of spike response neurons; input spikes ``[T, N, ...]`` to one spike a class, ``[T, N, classes]``.

    The potential is ``sum_i sum_k w_ijk eps(t - t_i - (delays_k - 1))`` with ``eps(t) = (t/tau) exp(1 - t/tau)``: the
    neuron's own response starts one step early (``FirstSpike``). Weights are in units of that response.

    Args:
        inputs: input neurons, a reference neuron that spikes at step 0 included (SpikeProp has no bias).
        hidden: neurons of the hidden layer.
        classes: output neurons.
        tau: time constant of the response, in steps.
        delays: delays of the synapses between any two neurons, in steps.
        targets: spike steps wanted of the right class and of the others (``spike_time_error``).
    """

    def __init__(
        self,
        inputs: int = 3,
        hidden: int = 5,
        classes: int = 2,
        tau: float = 7.0,
        delays: Sequence[int] = tuple(range(1, 17)),
        targets: Sequence[int] = (10, 16),
    ) -> None:
        super().__init__()
        if min(inputs, hidden, classes) < 1 or not tau > 0.0 or len(targets) != 2:
            raise SnnhwError(
                "bad-network",
                "the SpikeProp network cannot be built",
                where="SpikeProp",
                needed=f"inputs={inputs}, hidden={hidden}, classes={classes}, tau={tau}, targets={tuple(targets)}",
                limit="sizes >= 1, tau > 0, two targets",
                hint="for example inputs=3, hidden=5, classes=2, tau=7.0, targets=(10, 16)",
            )
        self.targets = tuple(targets)
        keep = math.exp(-1.0 / tau)
        self.flatten = PerStep(nn.Flatten())
        self.synapses1 = _connection(inputs, hidden, delays, tau)
        self.neurons1 = FirstSpike(1.0, keep, keep)
        self.synapses2 = _connection(hidden, classes, delays, tau)
        self.neurons2 = FirstSpike(1.0, keep, keep)

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, ...]`` to spikes ``[T, N, classes]``."""
        x = self.neurons1(self.synapses1(self.flatten(x)))
        out: Tensor = self.neurons2(self.synapses2(x))
        return out


def _connection(inputs: int, outputs: int, delays: Sequence[int], tau: float) -> Delayed:
    """Mostly positive weights of which all together lift a neuron to about twice its threshold of 1."""
    layer = Delayed(inputs, outputs, delays)
    peak = tau * math.exp(1.0 / tau - 1.0)  # of the response of one synapse
    mean = 2.0 / (peak * inputs * len(layer.delays))
    nn.init.normal_(layer.weight, mean, mean)
    return layer
