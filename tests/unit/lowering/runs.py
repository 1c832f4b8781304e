"""Lowered networks made integer and run: u, v and spikes of every population; and small modules that read spikes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from snnhw.encoding import encode
from snnhw.engines.base import Engine
from snnhw.engines.fast import FastEngine
from snnhw.engines.observe import Recorder
from snnhw.engines.reference import ReferenceEngine
from snnhw.frontends.check import check_import, require_equal, run_module
from snnhw.frontends.checkpoint import import_module
from snnhw.frontends.graph import readout_of
from snnhw.frontends.source import Source
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower, lower_for
from snnhw.lowering.sums import Sums
from snnhw.machine import load_target
from snnhw.network import Array, IntNeuron, Network
from snnhw.quantize.quantize import Quantized, quantize
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, Neuron
from snnhw.zoo.registry import build
from tests.generate import machine
from tests.unit.frontends.modules import Flow, imported


@dataclass(frozen=True)
class Integers:
    """A quantised network with samples (B, ...) for it."""

    made: Quantized
    x: Array
    target: str

    def run(self, engine: Engine, network: Network[IntNeuron] | None = None) -> dict[str, Array]:
        used = network or self.made.network
        recorder = Recorder(used, spikes=True, state=True)
        profile = load_target(self.target).profile
        engine.run(used, machine(profile), [encode(self.x, self.made.inputs, used.steps)], [recorder])
        return recorder.arrays()

    def real_output(self, found: dict[str, Array]) -> Array:
        """Output of every step in the float network's unit."""
        readout = self.made.network.readout
        unit = readout.scale * self.made.network.steps if readout.kind == "mean" else 1.0
        return np.asarray(found["output"] * unit)

    def run_fast(self) -> dict[str, Array]:
        return self.run(FastEngine())

    def differences(self, network: Network[IntNeuron] | None = None) -> list[str]:
        """Names of the arrays in which reference and fast engine disagree."""
        one, other = self.run(ReferenceEngine(), network), self.run(FastEngine(), network)
        assert one.keys() == other.keys()
        return [name for name in one if not np.array_equal(one[name], other[name])]


def integers(source: Source, target: str, max_delay: int, samples: int = 3) -> Integers:
    """Quantised with uint8 samples, calibrated on them."""
    d = source.deployment
    x = np.random.default_rng(0).integers(0, 256, (samples, *d.input_shape)).astype(np.uint8)
    real = np.broadcast_to((x / 255.0)[:, None], (samples, d.steps, *d.input_shape))
    network = lower(source.graph, source.semantics, d, max_delay)
    return Integers(quantize(network, load_target(target), d, real), x, target)


TARGETS = ("loihi1", "loihi2")


def made_for(source: Source, target: str, x: Array, sums: str = Sums.CHEAPEST) -> Integers:
    """Quantised for a shipped target as `compile` does it; x (B, T, ...) are spikes or counts, and the calibration."""
    chip = load_target(target)
    network = lower_for(source, chip, sums)
    require_equal(check_lowering(source, network, x))
    return Integers(quantize(network, chip, source.deployment, x), x, target)


def everywhere(module: nn.Module, x: Array, sums: str = Sums.CHEAPEST, targets: Sequence[str] = TARGETS) -> Array:
    """The module's output (B, T, ...) on spikes x, after: module = graph = lowered; reference = fast; and in each
    target's integers every spike and every output equal the module's."""
    source = of_spikes(module, x)
    require_equal(check_import(source, x))
    want = run_module(source, x)
    for target in targets:
        made = made_for(source, target, x, sums)
        assert made.differences() == [], target
        found = made.run_fast()
        for name, spikes in want.items():
            if name != "output" and f"spikes/{name}" in found:
                np.testing.assert_array_equal(found[f"spikes/{name}"], spikes, err_msg=f"{target} {name}")
        np.testing.assert_allclose(made.real_output(found), want["output"], atol=1e-2, err_msg=target)
    return want["output"]


def of_spikes(module: nn.Module, x: Array) -> Source:
    """A module that takes spikes (B, T, *shape), with the readout that fits its end."""
    deployment = Deployment(x.shape[1], "spikes", tuple(x.shape[2:]), "rate")
    graph = import_module(module, deployment).graph
    return import_module(module, replace(deployment, readout=readout_of(graph)))


def picked(count: int, flow: Callable[..., Any], **layers: nn.Module) -> Flow:
    """flow(m, s0, s1, ...) of `count` spike trains: s_k is channel k of the input, made spikes by an IF neuron."""

    def forward(m: Any, x: Any) -> Any:
        return flow(m, *(getattr(m, f"s{k}")(getattr(m, f"p{k}")(x)) for k in range(count)))

    picks = {f"p{k}": PerStep(_channel(k, count)) for k in range(count)}
    return Flow(forward, **picks, **{f"s{k}": IF() for k in range(count)}, **layers)


def _channel(index: int, count: int) -> nn.Conv2d:
    layer = nn.Conv2d(count, 1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    nn.init.ones_(layer.weight[:, index])
    return layer


def small_sew(blocks: Any = (2, 1), threshold: float = 0.3) -> Source:
    """A residual network in which every population fires: low thresholds, BatchNorms that lift."""
    torch.manual_seed(0)
    module = build("sew_resnet", {"channels": [2, 4], "blocks": list(blocks), "image_size": 6, "classes": 3})
    for layer in module.modules():
        if isinstance(layer, Neuron):
            layer._v_threshold = threshold
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.bias, -0.1, 0.3)
    return imported(module, (1, 6, 6), 4, "mean")
