"""Lowered networks made integer and run: u, v and spikes of every population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from snnhw.encoding import encode
from snnhw.engines.base import Engine
from snnhw.engines.fast import FastEngine
from snnhw.engines.observe import Recorder
from snnhw.engines.reference import ReferenceEngine
from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower
from snnhw.network import Array, IntNeuron, Network
from snnhw.quantize.quantize import Quantized, quantize
from snnhw.target import load_target
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.registry import build
from tests.generate import artifact
from tests.unit.frontends.modules import imported


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
        engine.run(artifact(used, profile), [encode(self.x, self.made.inputs, used.steps)], [recorder])
        return recorder.arrays()

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
