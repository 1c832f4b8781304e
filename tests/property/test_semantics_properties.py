"""Every field of Semantics, drawn at random, against the equations of its docstring written out once more."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from snnhw.encoding import real_inputs
from snnhw.evaluate import evaluate
from snnhw.frontends.check import require_equal
from snnhw.frontends.simulate import run
from snnhw.frontends.source import Source
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower, lower_for
from snnhw.machine import load_target
from snnhw.network import Array
from snnhw.semantics import Deployment, Semantics, to_metadata
from tests.unit.frontends.graphs import semantics
from tests.unit.lowering.runs import made_for
from tests.unit.lowering.timing import alone_equals_stream, bits

DT, STEPS, INPUTS, NEURONS, OUTPUTS = 1e-3, 7, 4, 5, 3


def drawn(seed: int) -> tuple[Source, dict[str, Any]]:
    """input -> affine -> neuron (loop through an affine) -> affine -> LI, CubaLI, linear or spiking output."""
    rng = np.random.default_rng(seed)

    def level(low: float, high: float, size: int = NEURONS) -> Array:
        one = rng.uniform(low, high, size if rng.random() < 0.5 else 1)
        return np.array(np.broadcast_to(one, size))

    reset = str(rng.choice(["zero", "subtract", "v_reset"]))
    fields: dict[str, Any] = {
        "dt": DT,
        "reset": reset,
        "reset_timing": str(rng.choice(["same_step", "next_step"])) if reset == "subtract" else "same_step",
        "threshold": str(rng.choice(["gt", "ge"])),
        "multispike": int(rng.choice([1, 3])) if reset == "subtract" else "off",
        "v_min": float(rng.uniform(-2, -0.5)) if rng.random() < 0.4 else None,
        "integrator": str(rng.choice(["euler", "exp"])),
        "current_order": str(rng.choice(["same_step", "next_step"])),
        "v_init": [0.0, "v_reset", "v_leak", 0.25][rng.integers(4)],
    }
    parts: dict[str, Any] = {"v_threshold": level(0.8, 1.5), "r": level(0.8, 2.5)}
    parts["v_reset"] = level(-0.5, 0.3) if reset == "v_reset" else np.zeros(NEURONS)
    kind = ("IF", "LIF", "CubaLIF")[seed % 3]
    if kind != "IF":
        parts["v_leak"] = level(-0.3, 0.3)
    if kind == "LIF":
        parts["tau"] = level(1.5 * DT, 8 * DT)
    if kind == "CubaLIF":
        parts |= {"tau_syn": level(1.5 * DT, 6 * DT), "tau_mem": level(1.5 * DT, 8 * DT), "w_in": level(0.8, 2.0)}
    if kind == "IF":
        parts["r"] = parts["r"] / DT
    weights = {
        "w": (rng.normal(0.4, 0.8, (NEURONS, INPUTS)), rng.normal(0, 0.2, NEURONS)),
        "back": (rng.normal(0, 0.6, (NEURONS, NEURONS)), rng.normal(0, 0.2, NEURONS)),
        "head": (rng.normal(0.3, 0.8, (OUTPUTS, NEURONS)), rng.normal(0, 0.2, OUTPUTS)),
    }
    nodes: dict[str, nir.NIRNode] = {name: nir.Affine(weight=w, bias=b) for name, (w, b) in weights.items()}
    nodes |= {"input": nir.Input({"input": np.array([INPUTS])}), "output": nir.Output({"output": np.array([OUTPUTS])})}
    nodes["n"] = {"IF": nir.IF, "LIF": nir.LIF, "CubaLIF": nir.CubaLIF}[kind](**parts)
    end = ("mean", "membrane", "membrane")[seed // 3 % 3]
    edges = [("input", "w"), ("w", "n"), ("n", "back"), ("back", "n"), ("n", "head")]
    if end == "membrane":
        leak = {"r": level(0.8, 2.0, OUTPUTS), "v_leak": level(-0.2, 0.2, OUTPUTS)}
        times = {"tau_mem": level(1.5 * DT, 8 * DT, OUTPUTS), "tau_syn": level(1.5 * DT, 6 * DT, OUTPUTS)}
        nodes["leak"] = nir.CubaLI(**times, **leak) if seed % 2 else nir.LI(tau=times["tau_mem"], **leak)
        edges += [("head", "leak"), ("leak", "output")]
    else:
        edges += [("head", "output")]
    own = semantics(**fields)
    deployment = Deployment(STEPS, "spikes", (INPUTS,), end)
    graph = nir.NIRGraph(nodes, edges, metadata=to_metadata(own, deployment), type_check=False)
    return Source(graph, own, deployment), {"kind": kind, "end": end}


def plainly(made: Source, kind: str, end: str, x: Array) -> tuple[Array, Array]:
    """Spikes of `n` and values at the output, neuron by neuron as the docstring of Semantics has it."""
    rule, nodes = made.semantics, made.graph.nodes
    cell, out = Membrane(nodes["n"], kind, rule, len(x)), np.zeros((len(x), STEPS, OUTPUTS))
    last = None
    if end == "membrane":
        leak = nodes["leak"]
        last = Membrane(leak, "CubaLIF" if isinstance(leak, nir.CubaLI) else "LIF", rule, len(x))
    spikes, before = np.zeros((len(x), STEPS, NEURONS)), np.zeros((len(x), NEURONS))
    for t in range(STEPS):
        arriving = (
            x[:, t] @ nodes["w"].weight.T + nodes["w"].bias + before @ nodes["back"].weight.T + nodes["back"].bias
        )
        before = spikes[:, t] = cell.fire(arriving)
        value = before @ nodes["head"].weight.T + nodes["head"].bias
        out[:, t] = value if last is None else last.integrate(value)
    return spikes, out


class Membrane:
    """One layer, step by step."""

    def __init__(self, node: Any, kind: str, rule: Semantics, batch: int) -> None:
        self.node, self.kind, self.rule = node, kind, rule
        start = rule.v_init
        if isinstance(start, str):
            start = getattr(node, start, 0.0)  # an IF has no v_leak, an LI no v_reset
        self.v = np.zeros((batch, np.size(node.r))) + start
        self.i = np.zeros_like(self.v)
        self.owed = np.zeros_like(self.v)

    def lam(self, tau: Array) -> Array:
        return DT / tau if self.rule.integrator == "euler" else 1 - np.exp(-DT / tau)

    def integrate(self, x: Array) -> Array:
        n = self.node
        if self.kind == "CubaLIF":
            lam, old = self.lam(n.tau_syn), self.i
            self.i = (1 - lam) * self.i + lam * n.w_in * x
            x = self.i if self.rule.current_order == "same_step" else old
        if self.kind == "IF":
            self.v = self.v + n.r * DT * x
        else:
            lam = self.lam(n.tau if self.kind == "LIF" else n.tau_mem)
            self.v = (1 - lam) * self.v + lam * (n.v_leak + n.r * x)
        self.v = self.v - self.owed
        return self.v

    def fire(self, x: Array) -> Array:
        n, rule = self.node, self.rule
        v = self.integrate(x)
        over = v >= n.v_threshold if rule.threshold == "ge" else v > n.v_threshold
        s = np.where(over, np.minimum(np.floor(v / n.v_threshold), rule.multispike), 0.0)
        if rule.reset == "subtract" and rule.reset_timing == "next_step":
            self.owed = s * n.v_threshold
        elif rule.reset == "subtract":
            self.v = v - s * n.v_threshold
        else:
            self.v = np.where(s > 0, n.v_reset if rule.reset == "v_reset" else 0.0, v)
        if rule.v_min is not None:
            self.v = np.maximum(self.v, rule.v_min)
        return s


@pytest.mark.parametrize("seed", range(90))
def test_floats_are_the_equations(seed: int) -> None:
    made, drawn_as = drawn(seed)
    x = bits(seed, 6, STEPS, INPUTS, rate=0.5)
    spikes, out = plainly(made, x=x, **drawn_as)
    found = run(made.graph, made.semantics, x)
    np.testing.assert_array_equal(found["n"], spikes)
    np.testing.assert_allclose(found["output"], out, atol=1e-12)
    network = lower(made.graph, made.semantics, made.deployment)
    require_equal(check_lowering(made, network, x))
    values = dict(evaluate(network, real_inputs(network, x)))
    np.testing.assert_allclose(values[network.readout.population], out, atol=1e-12)


def test_the_draws_are_not_silent() -> None:
    rates = []
    for seed in range(90):
        made, drawn_as = drawn(seed)
        rates.append(plainly(made, x=bits(seed, 6, STEPS, INPUTS, rate=0.5), **drawn_as)[0].mean())
    assert np.mean(np.array(rates) > 0.05) > 0.8


@pytest.mark.parametrize("seed", range(45))
def test_integers_follow_and_agree_with_each_other(seed: int) -> None:
    made, drawn_as = drawn(seed)
    x = bits(seed, 24, STEPS, INPUTS, rate=0.5)
    spikes, out = plainly(made, x=x, **drawn_as)
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
    alone_equals_stream(integers)
    found = integers.run_fast()
    assert np.abs(found["spikes/n"] - spikes).mean() < 0.06
    real = integers.real_output(found)
    assert np.corrcoef(real.ravel(), out.ravel())[0, 1] > 0.8
    assert lower_for(made, load_target("loihi2")).readout.kind == drawn_as["end"]
