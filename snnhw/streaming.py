"""`snnhw.open`: an artifact that takes samples step by step: a run can be watched, stopped early and resumed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from snnhw.artifact import Artifact, load
from snnhw.encoding import encode
from snnhw.engines.base import Record
from snnhw.engines.choose import integer_engine
from snnhw.engines.observe import Recorder, step_output
from snnhw.errors import DataError
from snnhw.network import Array
from snnhw.readout import Running, judged, values


class BeyondProof(UserWarning):
    """Samples ran for more steps than those for which the artifact proves that nothing overflows."""


class Steps(dict[str, Record]):
    """Records of some sample steps by population, and what is read from the samples so far.

    Attributes:
        output: what the readout gave in each of these steps, int64 (B, k, outputs...).
        predictions: classes after all steps so far, int64 (B,); `first` counts a silent class as these steps.
        scores: what the classes are judged by, float64 (B, outputs...): spikes so far (rate), the mean or the summed
            membrane over the steps so far in the source's units, the step of the first spike (first).
    """

    output: Array
    predictions: Array
    scores: Array


def open(artifact: Artifact | str | Path, engine: str = "fast", *, record: str | None = "spikes") -> Stream:
    """Open an artifact for running step by step.

    Args:
        artifact: compiled, or the path of its file.
        engine: 'fast', 'reference' or 'onnx'; 'lava' runs whole samples of T steps only.
        record: what `advance` gives beside the readout: None, 'spikes', or 'state' (spikes and all states).

    Raises:
        SnnhwError: a file that is no artifact, or an engine that is not installed.
    """
    return Stream(artifact if isinstance(artifact, Artifact) else load(artifact), engine, record)


class Stream:
    """A session of an engine on an artifact, for samples as the user has them (`snnhw.open`).

    Attributes:
        overflows: population -> state -> how often it left its range since the last `reset`.
    """

    def __init__(self, artifact: Artifact, engine: str = "fast", record: str | None = "spikes") -> None:
        network = artifact.network
        wanted = Recorder(network, spikes=record is not None, state=record == "state").needs
        self.artifact = artifact
        self.session = integer_engine(engine).open(network, artifact.target, wanted)
        self._begin()

    def _begin(self) -> None:
        self._running = Running(self.artifact.network.readout)
        self._membrane: Array | None = None
        self._warned = False
        self.overflows: dict[str, dict[str, int]] = {}

    @property
    def steps(self) -> int:
        """Sample steps that the samples have taken."""
        return self.session.steps

    def advance(self, x: Array, steps: int | None = None) -> Steps:
        """Take the next sample steps.

        Args:
            x: the next k steps of some samples, (B, k, ...), k >= 0; or static samples (B, ...)
                that are encoded as `run` does.
            steps: k, for static samples only.

        Raises:
            DataError: data that do not fit, `steps` for data that have them, latency-coded samples beyond T.

        Warns:
            BeyondProof: once for each sample that runs for more than the artifact's T steps.
        """
        done, network = self.session.steps, self.artifact.network
        records = self.session.advance(self._encoded(np.asarray(x), steps, done))
        if self.session.steps > network.steps and not self._warned:
            self._warned = True
            text = f"step {self.session.steps} of a sample: ranges are proven for {network.steps} steps"
            warnings.warn(BeyondProof(f"{text}; overflows are counted"), stacklevel=2)
        for name, record in records.items():
            for state, count in record.overflows.items():
                found = self.overflows.setdefault(name, {})
                found[state] = found.get(state, 0) + count
        return self._read(Steps(records))

    def _encoded(self, x: Array, steps: int | None, done: int) -> dict[str, Array]:
        """Integer values of the next steps by input population."""
        specs, planned = self.artifact.inputs, self.artifact.steps
        if x.ndim == len(specs[0].sample_shape) + 2:
            if steps is not None:
                raise DataError("bad-steps", "the data have their own steps", needed=steps, limit=x.shape[1])
            return encode(x, specs, x.shape[1])
        if steps is None or steps < 0:
            shape = ", ".join(map(str, specs[0].sample_shape))
            raise DataError(
                "bad-steps",
                "static samples do not say for how many steps they are shown",
                needed=f"steps={steps}",
                limit="0 or more",
                hint=f"advance(x, steps=1), or data of shape (samples, steps, {shape})",
            )
        latency = any(spec.encoding == "latency" for spec in specs)
        if latency and done + steps > planned:
            raise DataError(
                "bad-steps",
                "latency-coded samples end with the steps they were compiled for",
                needed=done + steps,
                limit=planned,
                hint="reset() before new samples",
            )
        if latency:
            return {name: values[:, done : done + steps] for name, values in encode(x, specs, planned).items()}
        return encode(x, specs, steps, done)

    def _read(self, found: Steps) -> Steps:
        network = self.artifact.network
        readout = network.readout
        record = found[readout.population]
        found.output = step_output(network, record, self._membrane)
        if "v" in record.state and found.output.shape[1]:
            self._membrane = record.state["v"][:, -1].astype(np.int64)
        said = self._running.add(found.output)
        found.predictions = judged(readout, said)
        outputs = network[readout.population]
        real = values(readout, said, outputs.size, network.steps, self._running.steps)
        found.scores = real if readout.groups else real.reshape(len(real), *outputs.shape)
        return found

    @property
    def saturations(self) -> int:
        """How often any state left its range since the last `reset`."""
        return sum(count for states in self.overflows.values() for count in states.values())

    @property
    def state(self) -> dict[str, Array]:
        """All that the steps to come and their readout depend on, as copies; assign it to resume where it was read.

        Keys are those of the engine's state and `readout`, what counts for the prediction so far.
        """
        held = self._running.held
        return self.session.state | ({} if held is None else {"readout": held.copy()})

    @state.setter
    def state(self, saved: Mapping[str, Array]) -> None:
        held = {key: x for key, x in saved.items() if key != "readout"}
        self.session.state = held
        self._begin()
        readout = self.artifact.network.readout
        self._running = Running(readout, self.session.steps, saved.get("readout"))
        self._membrane = held.get(f"v/{readout.population}") if self.session.steps else None

    def reset(self) -> None:
        """Start new samples, at rest."""
        self.session.reset()
        self._begin()

    def drain(self) -> None:
        """End the samples: let the last population finish, and start new ones."""
        self.session.drain()
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.reset()
