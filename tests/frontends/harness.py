"""The matrix of networks: each must give the spikes of its own framework in floats, and its predictions in integers.

A test builds a `Subject` (seeded, all layers alive), and `check` does the rest: it fits the readout, runs the
framework, compiles for loihi2 at 8 bits, compares, and keeps what docs/frontends.md shows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnhw
from snnhw.artifact import Artifact
from snnhw.engines.floating import FloatEngine
from snnhw.errors import SnnhwError
from snnhw.evaluate import current_into, undecided
from snnhw.frontends.checkpoint import DEFAULT
from snnhw.frontends.live.load import load_module
from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower
from snnhw.network import FloatNeuron, Network
from tests.frontends.environments import OVERLAYS, VARIABLE

CELLS = ("mlp", "conv", "residual", "recurrent", "cubalif", "per-neuron", "batchnorm")
"""Columns of the matrix; `conv` has both pools."""

SAMPLES, CALIBRATION, EXAMPLES = 240, 128, 2
CLASSES = 4
RIDGE = 3e-2
"""Of the least squares, in variances of a feature."""
LEAST_AGREEMENT = 0.97
NEAR = 1e-5
"""Distance from a threshold, as a share of it, at which float32 and float64 may decide differently."""
MOST_EXCEPTED = 1e-5
LOWEST_RATE = 0.01
"""Spikes a neuron and step below which a layer says nothing."""

TN, NT, FLAT = "TN", "NT", "N*T"
"""Layouts: (T, N, ...), (N, T, ...), and both axes as one."""

Array = np.ndarray


@dataclass
class Subject:
    """One network of the matrix.

    Args:
        module: of the framework, in eval mode.
        shape: of one sample at one step.
        layout: of what goes into the module.
        neurons: module path -> layout of its output; 'step' where it is called once a step with (N, ...).
        readout: the linear layer that is fitted.
        readout_layout: of the readout's input, if it is not that of the module.
        drive: what the readout is to give on average for (other classes, the sample's class).
        steps: T.
        reset: puts the module's state back to that of a new sample.
        call: runs the module on an input in its layout, and gives (T, N, ...), (N, T, ...) or (N * T, ...).
        set_readout: puts weight (out, in) and bias (out,) into the readout.
        options: further arguments of `snnhw.compile`.
    """

    module: nn.Module
    shape: tuple[int, ...]
    layout: str
    neurons: Mapping[str, str]
    readout: nn.Module
    readout_layout: str | None = None
    drive: tuple[float, float] = (0.0, 0.6)
    steps: int = 20
    reset: Callable[[], None] = lambda: None
    call: Callable[[Tensor], Tensor] | None = None
    set_readout: Callable[[Tensor, Tensor], None] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def arranged(self, x: Tensor) -> Tensor:
        """Samples (N, T, ...) in the layout of the module."""
        return {TN: lambda: x.transpose(0, 1), NT: lambda: x, FLAT: lambda: x.flatten(0, 1)}[self.layout]()


def samples(shape: tuple[int, ...], steps: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Spike trains (N, T, *shape) of four classes that differ in their rates, and labels."""
    prototypes = np.random.default_rng(7).choice([0.08, 0.5], (CLASSES, *shape))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    x = rng.random((count, steps, *shape)) < prototypes[labels][:, None]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(labels)


def randomise(module: nn.Module, gain: float, seed: int = 0, bias: float = 0.0) -> None:
    """Seeded weights of all convolutions and matrices: gain / sqrt(inputs), slightly positive, and equal biases."""
    generator = torch.Generator().manual_seed(seed)
    for layer in nn.Module.modules(module):  # Rockpool has another `modules`
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            with torch.no_grad():
                layer.weight.copy_(random_weight(tuple(layer.weight.shape), gain, generator))
                if layer.bias is not None:
                    layer.bias.fill_(bias)
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            with torch.no_grad():
                layer.running_mean.uniform_(-0.2, 0.2, generator=generator)
                layer.running_var.uniform_(0.5, 2.0, generator=generator)
                layer.weight.uniform_(0.8, 1.2, generator=generator)
                layer.bias.uniform_(0.0, 0.3, generator=generator)


def random_weight(shape: tuple[int, ...], gain: float, generator: torch.Generator) -> Tensor:
    """(out, in, ...) with mean 0.3 and deviation 1, times gain / sqrt(inputs)."""
    fan_in = int(np.prod(shape[1:]))
    return (torch.randn(shape, generator=generator) + 0.3) * (gain / fan_in**0.5)


@contextmanager
def listening(modules: Mapping[str, nn.Module], found: dict[str, list[Tensor]], before: bool = False) -> Iterator[None]:
    """Collects first outputs (or inputs) of calls of modules, by their names."""

    def note(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, given: Any, out: Any = None) -> None:
            value = given if before else out
            value = value[0] if isinstance(value, (tuple, list)) else value
            found.setdefault(name, []).append(value.detach().clone())

        return hook

    handles = [
        module.register_forward_pre_hook(note(name)) if before else module.register_forward_hook(note(name))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def by_sample(values: Sequence[Tensor], layout: str, count: int) -> Array:
    """What a module gave in all its calls, as (N, T, ...)."""
    if layout == "step":
        return torch.stack(list(values), 1).numpy()
    (value,) = values
    if layout == FLAT:
        return value.unflatten(0, (count, -1)).numpy()
    return (value.transpose(0, 1) if layout == TN else value).numpy()


def run_framework(subject: Subject, x: Tensor) -> dict[str, Array]:
    """Spikes of every neuron of the matrix's list, by path, and the output, each (N, T, ...)."""
    modules = dict(nn.Module.named_modules(subject.module))
    found: dict[str, list[Tensor]] = {}
    subject.reset()
    with torch.no_grad(), listening({name: modules[name] for name in subject.neurons}, found):
        arranged = subject.arranged(x)
        out = subject.call(arranged) if subject.call else subject.module(arranged)
    subject.reset()
    spikes = {name: by_sample(found[name], layout, len(x)) for name, layout in subject.neurons.items()}
    return {**spikes, "output": by_sample([out.detach()], subject.layout, len(x))}


def fit_readout(subject: Subject, seed: int = 1) -> None:
    """The readout that tells the classes apart best (least squares), so that spike counts do not tie."""
    x, labels = samples(subject.shape, subject.steps, SAMPLES, seed)
    found: dict[str, list[Tensor]] = {}
    subject.reset()
    with torch.no_grad(), listening({"readout": subject.readout}, found, before=True):
        arranged = subject.arranged(x)
        subject.call(arranged) if subject.call else subject.module(arranged)
    subject.reset()
    calls = found["readout"]
    mean = by_sample(calls, (subject.readout_layout or subject.layout) if len(calls) == 1 else "step", len(x)).mean(1)
    low, high = subject.drive
    wanted = np.full((len(x), CLASSES), low) + (high - low) * np.eye(CLASSES)[labels.numpy()]
    inputs = np.concatenate([mean, np.ones((len(x), 1))], 1).astype(np.float64)
    ridge = RIDGE * len(x) * np.diag([*np.full(mean.shape[1], max(mean.var(0).mean(), 1e-6)), 0.0])  # the bias is free
    solved = torch.from_numpy(np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ wanted).T).float()
    weight, bias = solved[:, :-1].contiguous(), solved[:, -1].contiguous()
    with torch.no_grad():
        if subject.set_readout is not None:
            subject.set_readout(weight, bias)
        else:
            subject.readout.weight.copy_(weight)
            subject.readout.bias.copy_(bias)


def check(cell: str, subject: Subject) -> None:
    """Assert what the matrix promises for one cell, and keep the numbers."""
    fit_readout(subject)
    x, labels = samples(subject.shape, subject.steps, SAMPLES, 2)
    want = run_framework(subject, x)
    rates = {name: float(want[name].mean()) for name in subject.neurons}
    assert all(rate > LOWEST_RATE for rate in rates.values()), f"a layer is silent: {rates}"

    calibration = samples(subject.shape, subject.steps, CALIBRATION, 3)[0].numpy()
    example = subject.arranged(x[:EXAMPLES])
    artifact = snnhw.compile(
        subject.module, example, target="loihi2", weight_bits=8, calibrate=calibration, **subject.options
    )
    source = load_module(subject.module, example, DEFAULT, **subject.options)
    decisions, excepted = compare_spikes(source, {name: want[name] for name in subject.neurons}, x.numpy())
    assert_file_says_it_all(source, x[:EXAMPLES].numpy())
    assert_engines_agree(artifact, x[:EXAMPLES].numpy())
    predictions = want["output"].sum(1).reshape(len(x), -1).argmax(1)
    integer = snnhw.run(artifact, x.numpy())["predictions"]
    agreement = float((integer == predictions).mean())
    right = float((predictions == labels.numpy()).mean())
    keep(cell, decisions=decisions, agreement=agreement, accuracy=right, samples=len(x), excepted=excepted)
    assert excepted <= MOST_EXCEPTED * decisions
    assert right > 0.5, f"the task is not learned ({right:.0%}): agreement would say nothing"
    assert agreement >= LEAST_AGREEMENT, f"{agreement:.1%} of the predictions agree"


def check_left_alone(build: Callable[[], Subject]) -> None:
    """Assert that a compilation between two runs changes neither the second nor the module's mode and numbers."""
    seconds = []
    for between in (False, True):
        subject = build()
        x = subject.arranged(samples(subject.shape, subject.steps, EXAMPLES, 2)[0])
        run = subject.call or subject.module
        with torch.no_grad():
            run(x)
            nn.Module.train(subject.module)
            before = {name: t.clone() for name, t in nn.Module.state_dict(subject.module).items()}
            if between:
                snnhw.compile(subject.module, x, target="loihi2", **subject.options)
            after = nn.Module.state_dict(subject.module)
            assert subject.module.training
            assert all(torch.equal(before[name], after[name]) for name in before)
            assert before.keys() == after.keys()
            nn.Module.eval(subject.module)
            seconds.append(run(x))
    assert torch.equal(*seconds)


def compare_spikes(source: Source, want: Mapping[str, Array], x: Array) -> tuple[int, int]:
    """(decisions compared, decisions excepted) of the float network and the framework.

    A sample is compared up to its first excepted decision; one is excepted if the membrane is nearer than NEAR to a
    threshold, and otherwise the difference is an error.
    """
    network = lower(source.graph, source.semantics, source.deployment, max_delay=1 << 30)
    have = FloatEngine(network, source.deployment).values(x)
    assert all(have[name].shape == values.shape for name, values in want.items())
    differ = {name: (have[name] != values).reshape(*values.shape[:2], -1) for name, values in want.items()}
    steps = np.stack([d.any(2) for d in differ.values()]).any(0)
    first = np.where(steps.any(1), steps.argmax(1), steps.shape[1])
    excepted = 0
    for sample in np.flatnonzero(first < steps.shape[1]):
        at = (sample, first[sample])
        name = next(p.name for p in network.populations if p.name in differ and differ[p.name][at].any())
        far = distances(network, name, have, sample)[first[sample]][differ[name][at]]
        assert far.max() <= NEAR, f"{name}, (sample, step) {at}: spikes differ, {far.max():.2g} from a threshold"
        excepted += far.size
    neurons = sum(d.shape[2] for d in differ.values())
    return int(first.sum()) * neurons, excepted


def assert_file_says_it_all(source: Source, x: Array) -> None:
    """The NIR file of an imported network is the same network, without its framework."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        nir.write(path, source.graph)
        first, again = (snnhw.run_float(one, x, record=True) for one in (source, path))
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[key], again[key]) for key in first)


def assert_engines_agree(artifact: Artifact, x: Array) -> None:
    """`fast` and the plain reference give the same spikes."""
    fast, plain = (snnhw.run(artifact, x, engine, record="spikes") for engine in ("fast", "reference"))
    assert fast.keys() == plain.keys()
    assert all(np.array_equal(fast[key], plain[key]) for key in fast)


def distances(network: Network[FloatNeuron], name: str, values: Mapping[str, Array], sample: int) -> Array:
    """How far membranes of one sample are from where they would send another number of spikes, (T, neurons)."""
    neuron = network[name].model
    one = {key: value[sample : sample + 1] for key, value in values.items()}
    u = undecided(neuron, current_into(network, network[name], one))[0] / neuron.threshold
    near = np.clip(np.rint(u), 1, neuron.max_spikes)
    return np.abs(u - near).reshape(len(u), -1)


def check_refused(cell: str, subject: Subject, code: str, text: str) -> None:
    """Assert that a network is refused by name, and keep the reason."""
    with pytest.raises(SnnhwError) as caught:
        snnhw.compile(
            subject.module, subject.arranged(samples(subject.shape, subject.steps, EXAMPLES, 2)[0]), target="loihi2"
        )
    assert caught.value.code == code
    assert text in caught.value.message
    keep(cell, refused=f"{code}: {caught.value.message}")


def absent(cell: str, reason: str) -> None:
    """A cell that the framework itself cannot express."""
    assert cell in CELLS
    keep(cell, absent=reason)


def keep(key: str, **result: Any) -> None:
    """Results for table.py, under .frontends, which git ignores: of a cell, or of 'layers' and 'refused' by name."""
    path = OVERLAYS / "results" / f"{os.environ[VARIABLE]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    old = {} if key in CELLS else known.get(key, {})
    path.write_text(json.dumps({**known, key: {**old, **result}}, indent=1, sort_keys=True), encoding="utf-8")
