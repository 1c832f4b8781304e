"""Small float networks for the quantiser's tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnhw.encoding import encode, real_steps
from snnhw.engines.observe import Recorder
from snnhw.engines.reference import ReferenceEngine
from snnhw.evaluate import evaluate
from snnhw.machine import Machine, load_target
from snnhw.network import (
    Array,
    Comparison,
    Dense,
    FloatNeuron,
    Kind,
    LinearOp,
    Network,
    Population,
    Projection,
    Readout,
    Shape,
)
from snnhw.quantize.quantize import Quantized, quantize
from snnhw.semantics import Deployment
from tests.generate import machine


def neuron(threshold: Any = 1.0, bias: Any = 0.0, keep: float = 1.0, **more: Any) -> FloatNeuron:
    """An integrate-and-fire neuron of trained networks: fires at the threshold."""
    more.setdefault("comparison", Comparison.GE)
    return FloatNeuron(keep, np.asarray(threshold, float), np.asarray(bias, float), **more)


def layer(
    weight: Array,
    model: FloatNeuron,
    op: LinearOp | None = None,
    pre: Shape | None = None,
    post: Shape | None = None,
    kind: Kind = Kind.NEURON,
    steps: int = 6,
) -> Network[FloatNeuron]:
    """One input, one operator, one population."""
    pre, post = pre or (weight.shape[1],), post or (weight.shape[0],)
    cells = (Population("in", pre, Kind.INPUT), Population("n", post, kind, model, 1))
    links = (Projection("in->n", "in", "n", op or Dense("w")),)
    readout = Readout("rate" if kind is Kind.NEURON else "mean", "n")
    return Network(cells, links, {"w": np.asarray(weight, float)}, steps, readout)


def with_constant(w: Array, each: Array, model: FloatNeuron) -> Network[FloatNeuron]:
    """A layer that a constant drives beside its input: one neuron that fires at every step."""
    base = layer(w, model, steps=6)
    ever = FloatNeuron(0.0, np.asarray(0.5), np.asarray(1.0))
    one = Population("n.constant", (1,), Kind.GATE, ever, 0)
    link = Projection("n.constant->n", "n.constant", "n", Dense("c"), 1)
    weights = {**base.weights, "c": np.asarray(each, float)[:, None]}
    return replace(base, populations=(one, *base.populations), projections=(*base.projections, link), weights=weights)


def deployment(network: Network[Any], encoding: str = "spikes", preprocessing: str = "none") -> Deployment:
    return Deployment(network.steps, encoding, network.inputs[0].shape, network.readout.kind, preprocessing)


def quantized(
    network: Network[FloatNeuron],
    target: str | Machine,
    samples: Array | None = None,
    bits: int | None = None,
    encoding: str = "spikes",
    preprocessing: str = "none",
) -> Quantized:
    """Quantised for a target; samples are those of a user (B, ...)."""
    used = deployment(network, encoding, preprocessing)
    real = None if samples is None else real_steps(samples, used.input_shape, encoding, used.steps, 0)
    return quantize(network, load_target(target) if isinstance(target, str) else target, used, real, bits)


def spikes(result: Quantized, x: Array) -> dict[str, Array]:
    """Everything the reference engine records of the integer network."""
    recorder = Recorder(result.network, spikes=True, state=True)
    values = encode(x, result.inputs, result.network.steps)
    ReferenceEngine().run(result.network, machine("programmable"), [values], [recorder])
    return recorder.arrays()


def float_spikes(network: Network[FloatNeuron], x: Array) -> dict[str, Array]:
    """Float spikes of a network with one input, in float64."""
    return dict(evaluate(network, {network.inputs[0].name: np.asarray(x, float)}))
