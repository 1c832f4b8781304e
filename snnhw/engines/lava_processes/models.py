# mypy: allow-subclassing-any
"""Behaviour of our Lava processes on the host: sources, delays, synapses and programmable neurons."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from snnhw import fixed
from snnhw.engines.lava.layout import from_lava, to_lava
from snnhw.engines.lava.operators import drive, rows_by_source
from snnhw.engines.lava.plan import op_from_json
from snnhw.engines.lava.recorder import Recorder
from snnhw.engines.lava.report import FOLDER, guarded
from snnhw.engines.lava_processes.process import Clock, Delay, Programmable, Source, Synapses
from snnhw.neurons import REGISTRY


@implements(proc=Clock, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ClockModel(PyLoihiProcessModel):
    """Sends the step number."""

    tick: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    @guarded
    def run_spk(self) -> None:
        self.tick.send(np.array([self.time_step], np.int32))


@implements(proc=Source, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SourceModel(PyLoihiProcessModel):
    """Reads one step of the input file per chip step; sample k occupies the chip steps k*T ... k*T + T-1."""

    tick: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    @guarded
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.shape = tuple(proc_params["shape"])
        path = Path(os.environ[FOLDER]) / proc_params["file"]
        self.values = np.memmap(path, np.int32, "r", shape=(proc_params["steps"], int(np.prod(self.shape))))

    @guarded
    def run_spk(self) -> None:
        self.tick.recv()
        step = self.time_step - 1
        now = self.values[step] if step < len(self.values) else np.zeros(self.values.shape[1], np.int32)
        self.s_out.send(to_lava(np.asarray(now), self.shape))


@implements(proc=Delay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class DelayModel(PyLoihiProcessModel):
    """A ring buffer. What a synaptic delay would carry into the next sample is dropped as it comes in.

    Without a delay it hands on what comes in, in the same step.
    """

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    @guarded
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.ring = np.zeros((proc_params["delay"], *proc_params["shape"]), np.int32)
        self.sample = tuple(int(proc_params[key]) for key in ("start", "interval", "lag"))

    @guarded
    def run_spk(self) -> None:
        if not len(self.ring):
            self.s_out.send(self._kept(self.s_in.recv()))
            return
        at = self.time_step % len(self.ring)
        self.s_out.send(self.ring[at])
        self.ring[at] = self._kept(self.s_in.recv())

    def _kept(self, arrived: Any) -> Any:
        """What arrives, or nothing where its lag would carry it into the next sample."""
        start, interval, lag = self.sample
        return arrived if (self.time_step - 1 - start) % interval < interval - lag else np.zeros_like(arrived)


@implements(proc=Synapses, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SynapsesModel(PyLoihiProcessModel):
    """Sends last step's sums first, as Lava's Dense does, so that a hop costs one step and cycles cannot block."""

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    @guarded
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        op = op_from_json(proc_params["op"])
        weights = {"w" + part: proc_params["w" + part] for part in proc_params["parts"]}
        self.rows = rows_by_source(op, weights, proc_params["pre_shape"], proc_params["post_shape"])
        self.post = tuple(proc_params["post"])
        self.sums = np.zeros(self.post, np.int32)

    @guarded
    def run_spk(self) -> None:
        self.a_out.send(self.sums)
        total = drive(self.rows, from_lava(self.s_in.recv()))
        total = fixed.shifted(total, self.proc_params["weight_exp"])
        if total.size and max(-int(total.min()), int(total.max())) >= 1 << 31:
            raise OverflowError("a sum of synapses needs more than 32 bits")
        self.sums = to_lava(total.astype(np.int32), self.post)


@implements(proc=Programmable, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ProgrammableModel(PyLoihiProcessModel):
    """One step of a neuron model, from rest at the start step of every sample."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    @guarded
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.shape = tuple(proc_params["shape"])
        self.neuron = REGISTRY[proc_params["neuron"]].integers
        self.parameters = tuple(proc_params[name] for name in self.neuron.PARAMETERS)
        self.rule = fixed.rule_from(proc_params["rule"])
        self.recorder = Recorder(proc_params["place"], self.shape, self.neuron.STATES)
        self.begin()

    def begin(self) -> None:
        """The start of a sample."""
        start = [self.proc_params[f"initial_{state}"] for state in self.neuron.STATES]
        self.state = [np.broadcast_to(np.asarray(x, np.int64), self.shape).copy() for x in (*start, 0)]

    @guarded
    def run_spk(self) -> None:
        p = self.proc_params
        arrived = self.a_in.recv()
        since = self.time_step - 1 - p["place"]["start"]
        if since >= 0 and since % p["interval"] == 0:
            self.begin()
        self.state, overflowed = self.neuron.step(tuple(self.state), arrived, self.parameters, self.rule)
        values = dict(zip((*self.neuron.STATES, "spikes"), self.state, strict=True))
        self.recorder.write(self.time_step, values, *(int(x.sum()) for x in overflowed))
        self.s_out.send(values["spikes"].astype(np.int32))
