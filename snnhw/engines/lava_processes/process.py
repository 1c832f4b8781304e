# mypy: allow-subclassing-any
"""Lava processes (ports only) of ours; their behaviour is in `models`. Import `compat.prepare()` first."""

from __future__ import annotations

from typing import Any

from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess

from snnhw.network import Shape


class Clock(AbstractProcess):
    """Ticks every source: it makes all components of a network one Lava graph, and so one run."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self.tick = OutPort(shape=(1,))


class Source(AbstractProcess):
    """Replays the values of an input population, zeros after the last sample."""

    def __init__(self, *, name: str, shape: Shape, file: str, steps: int) -> None:
        super().__init__(name=name, shape=shape, file=file, steps=steps)
        self.tick = InPort(shape=(1,))
        self.s_out = OutPort(shape=shape)


class Delay(AbstractProcess):
    """Hands every value on `delay` steps later (Lava has no delayed Conv, and its DelayDense is per synapse).

    `lag` sample steps late (synaptic delay, feedback); samples take `interval` steps, the first begins at step `start`.
    """

    def __init__(self, *, name: str, shape: Shape, delay: int, start: int, interval: int, lag: int) -> None:
        super().__init__(name=name, shape=shape, delay=delay, start=start, interval=interval, lag=lag)
        self.s_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)


class Synapses(AbstractProcess):
    """Any linear operator, event driven; arrives one step later, as stock Dense and Conv do."""

    def __init__(self, *, name: str, pre: Shape, post: Shape, **operator: Any) -> None:
        super().__init__(name=name, pre=pre, post=post, **operator)
        self.s_in = InPort(shape=pre)
        self.a_out = OutPort(shape=post)


class Programmable(AbstractProcess):
    """A neuron of the `programmable` profile: any model of `snnhw.neurons`, by its step."""

    def __init__(self, *, name: str, shape: Shape, **model: Any) -> None:
        super().__init__(name=name, shape=shape, **model)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
