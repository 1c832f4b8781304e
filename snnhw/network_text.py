"""A network as stable text: golden tests and `snnhw inspect`."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnhw.network import Array, Comparison, FloatNeuron, IntNeuron, Network, Shape


def format_network(network: Network[Any]) -> str:
    """The network as stable text, one line a population and one a projection (golden tests, `inspect`)."""
    lines = [f"network steps={network.steps} readout={network.readout.kind}({network.readout.population})"]
    for p in network.populations:
        lines.append(f"  {p.kind:<11} {p.name} {_shape(p.shape)} start={p.start}{_model(p.neuron)}")
    for q in network.projections:
        lines.append(
            f"  {q.pre} -> {q.post} {q.op.text} delay={q.delay}"
            + (f" lag={q.lag}" if q.lag else "")
            + (f" exp={q.weight_exp}" if q.weight_exp else "")
        )
    return "\n".join(lines) + "\n"


def _shape(shape: Shape) -> str:
    return "x".join(str(n) for n in shape)


def _range(values: Array) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _model(neuron: FloatNeuron | IntNeuron | None) -> str:
    if neuron is None:
        return ""
    sign = ">=" if neuron.comparison is Comparison.GE else ">"
    if isinstance(neuron, IntNeuron):
        return (
            f" du={_range(np.asarray(neuron.du))} dv={_range(np.asarray(neuron.dv))}"
            f" v{sign}{_range(np.asarray(neuron.vth))} bias={_range(np.asarray(neuron.bias))}"
            f" reset={neuron.reset} shift={neuron.act_shift}"
        )
    u_keep, v_keep = np.asarray(neuron.u_keep), np.asarray(neuron.v_keep)
    current = f" u_keep={_range(u_keep)}" if u_keep.any() else ""
    return f"{current} keep={_range(v_keep)} v{sign}{_range(np.asarray(neuron.threshold))} reset={neuron.reset}"
