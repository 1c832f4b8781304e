"""Adapters of sinabs, Norse and Rockpool on stand-ins with their attributes; with the packages: tests/frontends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from snnhw.errors import SourceError
from snnhw.frontends.live import norse, rockpool, sinabs
from snnhw.frontends.live.adapter import OUT, Adapter
from snnhw.frontends.live.counts import refuse_counts
from snnhw.frontends.simulate import run
from snnhw.semantics import UNLIMITED, Semantics
from tests.unit.frontends.live.test_equations import RULE

DT = 1e-3
N = 3


def layer_of(package: str, name: str, bases: tuple[str, ...] = (), **attributes: Any) -> nn.Module:
    """A module whose class is called so, in a package called so."""
    kind: type[nn.Module] = nn.Module
    for part in (*reversed(bases), name):
        kind = type(part, (kind,), {"__module__": f"{package}.layers"})
    layer = kind()
    for key, value in attributes.items():
        object.__setattr__(layer, key, value)
    return layer


def spikes_of(adapter: Adapter, layer: nn.Module, x: np.ndarray) -> np.ndarray:
    """What the nodes of a layer give for x (B, T, N)."""
    cell = adapter.cell(layer, (N,), OUT, DT, "leaf")
    nodes = {"input": nir.Input({"input": np.array([N])}), "leaf": cell.node}
    edges = [("input", "leaf"), ("leaf", "output")]
    if cell.recurrent is not None:
        nodes["back"] = cell.recurrent
        edges += [("leaf", "back"), ("back", "leaf")]
    nodes["output"] = nir.Output({"output": np.array([N])})
    rules = Semantics(**{**{name: getattr(RULE, name) for name in RULE.__dataclass_fields__}, **cell.semantics})
    return run(nir.NIRGraph(nodes, edges, type_check=False), rules, x)["output"]


def currents(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.6, 1.0, (4, 25, N))


def sinabs_lif(**changes: Any) -> nn.Module:
    said = {
        "alpha_mem_calculated": torch.tensor([0.9, 0.8, 0.5], dtype=torch.float64),
        "alpha_syn_calculated": torch.tensor(0.6, dtype=torch.float64),
        "norm_input": True,
        "spike_threshold": torch.tensor(0.4, dtype=torch.float64),
        "min_v_mem": torch.tensor(-0.3, dtype=torch.float64),
        "spike_fn": type("MultiSpike", (), {}),
        "reset_fn": type("MembraneSubtract", (), {"subtract_value": None})(),
    }
    return layer_of("sinabs", "LIF", ("StatefulLayer",), **{**said, **changes})


def test_sinabs_lif_is_its_equation() -> None:
    x, a = currents(), np.array([0.9, 0.8, 0.5])
    i, v, want = np.zeros((4, N)), np.zeros((4, N)), []
    for step in x.swapaxes(0, 1):
        i = 0.6 * (i + step)
        v = a * v + (1 - a) * i
        n = np.where(v > 0, np.trunc(v / 0.4), 0.0)
        v = np.maximum(v - n * 0.4, -0.3)
        want.append(n)
    have = spikes_of(sinabs.ADAPTER, sinabs_lif(), x)
    assert np.array_equal(have, np.stack(want, 1))
    assert have.max() > 1
    assert (np.stack(want, 1).mean((0, 1)) > 0).all()


def test_norse_lif_is_its_equation() -> None:
    p = SimpleNamespace(
        tau_syn_inv=torch.tensor(300.0, dtype=torch.float64),
        tau_mem_inv=torch.tensor(200.0, dtype=torch.float64),
        v_leak=torch.tensor(0.1, dtype=torch.float64),
        v_th=torch.tensor([0.6, 0.8, 1.0], dtype=torch.float64),
        v_reset=torch.tensor(-0.2, dtype=torch.float64),
    )
    x = currents(1)
    i, v, want = np.zeros((4, N)), np.full((4, N), 0.1), []
    for step in x.swapaxes(0, 1):
        i = i + step
        v = v + 0.2 * (0.1 - v + i)
        i = 0.7 * i
        z = v > np.array([0.6, 0.8, 1.0])
        v = np.where(z, -0.2, v)
        want.append(z)
    have = spikes_of(norse.ADAPTER, layer_of("norse", "LIFCell", ("SNNCell",), p=p, dt=DT), x)
    assert np.array_equal(have, np.stack(want, 1))
    assert 0 < have.mean() < 1


def test_rockpool_lif_is_its_equation() -> None:
    back = np.random.default_rng(3).normal(0, 0.2, (N, N))
    layer = layer_of(
        "rockpool",
        "LIFTorch",
        ("LIFBaseTorch",),
        alpha=torch.tensor([0.9, 0.8, 0.5], dtype=torch.float64),
        beta=torch.full((N, 1), 0.6, dtype=torch.float64),
        bias=torch.tensor(0.05, dtype=torch.float64),
        threshold=torch.tensor(0.7, dtype=torch.float64),
        n_synapses=1,
        noise_std=0.0,
        max_spikes_per_dt=torch.tensor(2.0),
        spike_generation_fn=type("StepPWL", (torch.autograd.Function,), {}).apply,
        w_rec=torch.from_numpy(back),
        _has_rec=True,
    )
    x = currents(2) * 0.5
    i, v, z, want = np.zeros((4, N)), np.zeros((4, N)), np.zeros((4, N)), []
    for step in x.swapaxes(0, 1):
        i = 0.6 * (i + step + z @ back)
        v = np.array([0.9, 0.8, 0.5]) * v + i + 0.05
        z = np.where(v >= 0.7, np.minimum(np.floor(v / 0.7), 2), 0.0)
        v = v - z * 0.7
        want.append(z)
    have = spikes_of(rockpool.ADAPTER, layer, x)
    assert np.array_equal(have, np.stack(want, 1))
    assert have.max() == 2


def test_layers_are_told_by_names_and_nothing_is_imported() -> None:
    assert sinabs.ADAPTER.claims(sinabs_lif())
    assert not sinabs.ADAPTER.claims(layer_of("elsewhere", "LIF", ("StatefulLayer",)))
    assert not norse.ADAPTER.claims(sinabs_lif())
    with pytest.raises(SourceError, match="ALIF has no form on a core") as caught:
        sinabs.ADAPTER.cell(layer_of("sinabs", "ALIF", ("StatefulLayer",)), (N,), OUT, DT, "net.1")
    assert (caught.value.code, caught.value.where) == ("unsupported-neuron", "net.1")


def test_a_threshold_that_is_subtracted_is_positive() -> None:
    with pytest.raises(SourceError, match="a threshold that is subtracted is not positive") as caught:
        sinabs.ADAPTER.cell(sinabs_lif(spike_threshold=torch.tensor(0.0)), (N,), OUT, DT, "net.1")
    assert (caught.value.code, caught.value.where) == ("bad-parameter", "net.1")


@pytest.mark.parametrize("most", [1, UNLIMITED])
def test_gates_take_single_spikes(most: int) -> None:
    nodes = {
        "neuron": nir.IF(np.ones(4), np.ones(4), np.zeros(4)),
        "window": nir.Linear(np.ones((1, 4))),
        "maximum": nir.Threshold(np.full(1, 0.5)),
    }
    graph = nir.NIRGraph(nodes, [("neuron", "window"), ("window", "maximum")], type_check=False)
    rules = Semantics(**{name: getattr(RULE, name) for name in RULE.__dataclass_fields__} | {"multispike": most})
    if most == 1:
        refuse_counts(graph, rules)
        return
    with pytest.raises(SourceError) as caught:
        refuse_counts(graph, rules)
    assert caught.value.code == "not-spikes"
    assert "a maximum or a product of a layer that sends several spikes a step is not supported" in caught.value.message
    assert caught.value.where == "maximum: neuron"
