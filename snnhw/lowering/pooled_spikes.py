"""--approximate pool-after-spikes: the neuron comes before the max-pool, which then is an OR of its spikes.

Another network: it has as many neurons as the convolution has outputs, each of which integrates and resets by itself.
What that does to predictions and spikes is measured on calibration samples (`pipeline.py`) and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from snnhw.cautions import Caution
from snnhw.encoding import real_inputs
from snnhw.errors import LoweringError
from snnhw.evaluate import evaluate, output_key
from snnhw.network import Array, Conv, FloatNeuron, Kind, Network, Population, Projection, Shape
from snnhw.operators.candidate import Pool
from snnhw.operators.conv1d import Conv1d
from snnhw.rationale import Effect, Reason
from snnhw.readout import judged, real_scale, scores

POOL_AFTER_SPIKES = "pool-after-spikes"

MOST_SAMPLES = 64
MOST_VALUES = 1 << 29
"""Samples, and neurons x steps of them, on which the effect is measured."""


@dataclass(frozen=True)
class PooledSpikes:
    """A neuron over a pool's input, and the gate that pools its spikes.

    Args:
        population: the neuron that reads the pool; the gate has its name and shape.
        shape: of the pool's input.
        where: the pool, for messages.
    """

    population: Population[FloatNeuron]
    shape: Shape
    pool: Pool
    where: str

    @cached_property
    def neuron(self) -> Population[FloatNeuron]:
        """Of the population's model, for every value that the pool reads."""
        n = self.population.model
        levels = {f.name: self._of_channels(f.name, getattr(n, f.name)) for f in fields(n)}
        name = f"{self.population.name}.unpooled"
        return replace(self.population, name=name, shape=self.shape, neuron=replace(n, **levels))

    def _of_channels(self, field: str, value: Any) -> Any:
        """A parameter that does not differ inside of a channel; others have no meaning before the pool."""
        if not isinstance(value, np.ndarray) or value.ndim < len(self.shape):
            return value
        flat = value.reshape(len(value), -1)
        if (flat != flat[:, :1]).any():
            raise _refused(self.population.name, f"a {field} of its own for each neuron")
        return flat[:, 0].reshape(-1, *(1 for _ in self.shape[1:]))

    @property
    def gate(self) -> Population[FloatNeuron]:
        """Fires where any neuron of a window does."""
        nothing = np.zeros(())
        model = FloatNeuron(v_keep=0.0, threshold=np.asarray(0.5), bias=nothing)
        return replace(self.population, kind=Kind.GATE, neuron=model)

    @cached_property
    def projection(self) -> Projection:
        """From all neurons of a window."""
        kind: Any = Conv if len(self.pool.kernel) == 2 else Conv1d
        label = f"{self.population.name}.window"
        p = self.pool
        found = Projection(
            f"{self.neuron.name}->{self.population.name}",
            self.neuron.name,
            self.population.name,
            kind(label, p.stride, p.padding, p.dilation, self.shape[0]),
        )
        if not found.op.fits({label: self._ones}, self.shape, self.population.shape):
            raise _refused(self.where, "ceil_mode, which adds a window that does not fit")
        return found

    @property
    def _ones(self) -> Array:
        return np.ones((self.shape[0], 1, *self.pool.kernel))

    @property
    def weights(self) -> dict[str, Array]:
        """The ones of the windows."""
        return {f"{self.population.name}.window": self._ones}

    @property
    def reason(self) -> Reason:
        """What was done, for `explain`."""
        windows = "x".join(map(str, self.pool.kernel))
        return Reason(
            population=self.population.name,
            parameter="maximum",
            integer="an OR of spikes",
            real=f"the largest current of {windows} windows",
            kind=Effect.APPROXIMATE,
            text=f"approximate, as asked for: {self.neuron.size} neurons integrate before the pool, not "
            f"{self.population.size} behind it",
        )


def spread(channels: Array, shape: Shape) -> Array:
    """What is the same in each channel, for another size of image."""
    first = channels.reshape(len(channels), -1)[:, 0]
    return np.array(np.broadcast_to(first.reshape(-1, *(1 for _ in shape[1:])), shape))


def effects(exact: Network[FloatNeuron], network: Network[FloatNeuron], samples: Array | None) -> Iterator[Caution]:
    """What pools of spikes in place of maxima of currents do, in floats on calibration samples (B, T, ...)."""
    names = [reason.population for reason in network.notes.reasons if reason.kind is Effect.APPROXIMATE]
    told = dict.fromkeys(names, "not measured: there are no calibration samples")
    if samples is not None and names:
        part = samples[
            : max(1, min(MOST_SAMPLES, MOST_VALUES // (network.steps * sum(p.size for p in network.computed))))
        ]
        sides = [_rates_and_classes(net, part, names) for net in (exact, network)]
        (before, want), (after, have) = sides
        same = f"{int((want == have).sum())} of {len(part)} predictions stay on calibration samples"
        told = {n: f"{same}; spikes of a neuron in a step: {before[n]:.3g}, now {after[n]:.3g}" for n in names}
    for name, size in told.items():
        yield Caution(
            POOL_AFTER_SPIKES,
            name,
            "its neurons come before the max-pool, as asked for: not the network that was trained",
            size,
            "a target with graded spikes has the maximum itself (--target loihi2); or train with the pool behind",
        )


def _rates_and_classes(
    network: Network[FloatNeuron], samples: Array, names: Sequence[str]
) -> tuple[dict[str, float], Array]:
    """Mean spikes of a neuron in a step of some populations, and the predictions."""
    rates, shown = dict[str, float](), None
    readout = replace(network.readout, scale=real_scale(network.readout, network.steps))
    for name, values in evaluate(network, real_inputs(network, samples)):
        rates |= {name: float(values.mean())} if name in names else {}
        shown = values if name == output_key(network) else shown
    assert shown is not None
    return rates, judged(readout, scores(readout, shown))


def require_poolable(population: Population[FloatNeuron], ways: int, late: int, where: str) -> None:
    """A neuron whose spikes can be pooled instead of its input: it reads the pool alone, and fires once a step."""
    odd = {
        "other inputs beside the maximum": ways > 1,
        "a maximum that comes late": late > 0,
        "several spikes a step": population.model.max_spikes > 1,
        "a gate": population.kind is not Kind.NEURON,
    }
    found = [what for what, there in odd.items() if there]
    if found:
        raise _refused(where, ", ".join(found))


def require_rising(factor: Array, where: str) -> None:
    """No negative factor behind a pool: the largest current is then the least input, and no OR of spikes is that."""
    if (factor < 0).any():
        raise _refused(where, "a negative factor behind the pool, of a BatchNorm or a weight")


def _refused(where: str, needed: str) -> LoweringError:
    return LoweringError(
        "pool-after-spikes",
        "this neuron cannot come before its max-pool",
        where=where,
        needed=needed,
        limit="a neuron that reads a max-pool alone, with parameters of channels, and fires once a step",
        hint="a target with graded spikes has the maximum itself: --target loihi2",
    )
