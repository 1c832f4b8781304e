"""Adapters of sinabs, Norse and Rockpool on stand-ins with their attributes; with the packages: tests/frontends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.live import norse, rockpool, sinabs, snntorch, spikingjelly
from snnhw.frontends.live.adapter import GIVEN, OUT, Adapter, Call, comparison_of, given
from snnhw.frontends.live.counts import refuse_counts
from snnhw.frontends.live_module import load_module
from snnhw.frontends.simulate import run
from snnhw.network import Comparison
from snnhw.semantics import UNLIMITED, Semantics
from tests.unit.frontends.live.stand_in import Cellule, StandIn
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
    nodes = {"input": nir.Input({"input": np.array([N])}), "output": nir.Output({"output": np.array([N])})}
    nodes |= {f"leaf{name}": part.node for name, part in cell.parts.items()}
    reads = [(pre, f"leaf{name}") for name, part in cell.parts.items() for pre, _ in part.reads]
    edges = [("input" if pre == GIVEN else f"leaf{pre}", post) for pre, post in reads] + [("leaf", "output")]
    rules = replace(RULE, **cell.parts[""].semantics)
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


def test_a_threshold_that_is_no_number_goes_on_to_be_named() -> None:
    """`graph.validate` says not-finite, with the node's field."""
    cell = sinabs.ADAPTER.cell(sinabs_lif(spike_threshold=torch.tensor(float("nan"))), (N,), OUT, DT, "net.1")
    assert np.isnan(cell.parts[""].node.v_threshold).all()  # type: ignore[attr-defined]


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


def at_or_above(v: Tensor) -> Tensor:
    return (v >= 0).float()


def above(v: Tensor) -> Tensor:
    return (v > 0).float()


def snntorch_leaky(**changes: Any) -> nn.Module:
    said: dict[str, Any] = {
        "beta": 0.9,
        "threshold": 1.0,
        "reset_mechanism": "subtract",
        "inhibition": False,
        "state_quant": False,
        "graded_spikes_factor": 1.0,
        "spike_grad": above,
    }
    return layer_of("snntorch", "Leaky", ("SpikingNeuron",), **{**said, **changes})


def spikingjelly_if(name: str = "IFNode", **changes: Any) -> nn.Module:
    said: dict[str, Any] = {
        "v_threshold": 1.0,
        "v_reset": None,
        "surrogate_function": at_or_above,
        "_memories_rv": {"v": 0.0},
        "v_decay": 0.5,
        "c_decay": 0.5,
    }
    return layer_of("spikingjelly.neuron", name, **{**said, **changes})


def norse_box(**changes: Any) -> nn.Module:
    names = ("tau_mem_inv", "v_leak", "v_th", "v_reset")
    p = SimpleNamespace(**{name: torch.tensor(100.0 if name == "tau_mem_inv" else 0.5) for name in names})
    vars(p).update(changes.pop("p", {}))
    return layer_of("norse", "LIFBoxCell", ("SNNCell",), p=p, dt=DT, **changes)


def rockpool_lif() -> nn.Module:
    spikes = type("StepPWL", (torch.autograd.Function,), {}).apply
    return layer_of(
        "rockpool",
        "LIFNeuronTorch",
        bias=0.0,
        dt=DT,
        tau_mem=torch.tensor(0.01),
        threshold=1.0,
        noise_std=0.0,
        max_spikes_per_dt=1.0,
        spike_generation_fn=spikes,
    )


PLAIN: Mapping[str, tuple[Adapter, Callable[[], nn.Module]]] = {
    "snntorch": (snntorch.ADAPTER, snntorch_leaky),
    "spikingjelly": (spikingjelly.ADAPTER, spikingjelly_if),
    "sinabs": (sinabs.ADAPTER, sinabs_lif),
    "norse": (norse.ADAPTER, norse_box),
    "rockpool": (rockpool.ADAPTER, rockpool_lif),
}


def refusal(adapter: Adapter, layer: nn.Module) -> str:
    with pytest.raises(SourceError) as caught:
        adapter.cell(layer, (N,), OUT, DT, "net.1")
    assert (caught.value.code, caught.value.where) == ("unsupported-neuron", "net.1")
    assert caught.value.hint
    return str(caught.value.message)


@pytest.mark.parametrize("name", PLAIN)
def test_a_subclass_with_methods_of_its_own_is_no_neuron_of_the_framework(name: str) -> None:
    adapter, make = PLAIN[name]
    layer = make()
    base: Any = type(layer)
    base.forward = lambda self, x: x
    adapter.cell(layer, (N,), OUT, DT, "net.1")
    mine = type("Mine", (base,), {"__module__": "mine", "__init__": lambda self: None, "note": lambda self: 1})
    layer.__class__ = mine
    adapter.cell(layer, (N,), OUT, DT, "net.1")
    layer.__class__ = type("Mine", (mine,), {"__module__": "mine", "forward": lambda self, x: 2 * x})
    assert "Mine has a forward of its own: its equation is not known" in refusal(adapter, layer)
    layer.__class__ = base
    object.__setattr__(layer, "forward", lambda x: 2 * x)
    assert f"{base.__name__} has a forward of its own" in refusal(adapter, layer)


def test_spike_functions_are_told_by_what_they_give() -> None:
    layer = nn.Module()
    assert comparison_of(above, layer, "F", "n") is Comparison.GT
    assert comparison_of(at_or_above, layer, "F", "n") is Comparison.GE
    odd: list[Callable[[Tensor], Any]] = [
        torch.sigmoid,
        torch.sign,
        lambda v: (v > 0.3).float(),
        lambda v: (v > 1e-4).float(),
        lambda v: above(v) * 2,
        lambda v: torch.bernoulli(torch.sigmoid(5 * v)),
        lambda v, w: v,  # type: ignore[misc]
    ]
    state = torch.random.get_rng_state()
    for fire in odd:
        with pytest.raises(SourceError, match="gives other values than 0 below and 1 above the threshold") as caught:
            comparison_of(fire, layer, "F", "n")
        assert caught.value.code == "unsupported-neuron"
    assert torch.equal(state, torch.random.get_rng_state())


def test_comparisons_of_foreign_surrogates() -> None:
    for adapter, make, key in (
        (snntorch.ADAPTER, snntorch_leaky, "spike_grad"),
        (spikingjelly.ADAPTER, spikingjelly_if, "surrogate_function"),
    ):
        for fire, wanted in ((above, Comparison.GT), (at_or_above, Comparison.GE)):
            cell = adapter.cell(make(**{key: fire}), (N,), OUT, DT, "n")
            assert cell.parts[""].semantics["threshold"] is wanted
        assert "its spike function gives other values" in refusal(adapter, make(**{key: torch.sigmoid}))
    old = spikingjelly_if(surrogate_function=above)
    type(old).jit_eval_step = staticmethod(lambda: None)  # type: ignore[attr-defined]
    assert "in eval mode the layer fires at it" in refusal(spikingjelly.ADAPTER, old)


def test_spikingjelly_starts_at_the_reset_value_of_its_memory() -> None:
    adapter = spikingjelly.ADAPTER
    for start in (0.7, torch.full((1, N), 0.7, dtype=torch.float64)):
        layer = spikingjelly_if(_memories_rv={"v": start})
        assert adapter.cell(layer, (N,), OUT, DT, "n").parts[""].semantics["v_init"] == 0.7
    first = spikes_of(adapter, spikingjelly_if(_memories_rv={"v": 0.7}), np.full((1, 1, N), 0.4))
    assert first.all()
    differ = spikingjelly_if(_memories_rv={"v": torch.arange(3.0)})
    assert "neurons start at different membranes" in refusal(adapter, differ)
    current = spikingjelly_if("CUBALIFNode", _memories_rv={"v": 0.0, "c": 0.2})
    assert "the state c does not start at zero" in refusal(adapter, current)


def test_norse_steps_by_its_own_function_and_without_chance() -> None:
    assert "activation is above: its equation is not known" in refusal(norse.ADAPTER, norse_box(activation=above))
    assert "method 'logistic' spikes by chance" in refusal(norse.ADAPTER, norse_box(p={"method": "logistic"}))


class Leaf(nn.Module):
    def forward(self, input_: Tensor, mem: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return input_, input_ if mem is None else mem


class Anything(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


def test_calls_are_read_by_the_names_of_forward() -> None:
    x, m = torch.ones(2), torch.zeros(2)
    for args, kwargs in (((x, m), {}), ((x,), {"mem": m}), ((), {"mem": m, "input_": x})):
        found = given(Leaf(), args, kwargs)
        assert found[0] is x
        assert found[1] is m
    assert given(Anything(), (x, m), {"k": 1})[2] == 1

    def step(self: Any, input_: Tensor, mem: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return input_, input_

    for adapter, layer in ((snntorch.ADAPTER, snntorch_leaky()), (norse.ADAPTER, norse_box())):
        type(layer).forward = step  # type: ignore[method-assign,assignment]
        call = adapter.call(layer, (), {"mem": m, "input_": x}, (x, m))
        assert call.current is x
        assert [t is m for t in call.states] == [True]


class Handing(StandIn):
    """Its neurons keep no state: without one they start anew."""

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        return replace(super().call(layer, args, kwargs, result), handed=True)


class Forgets(nn.Module):
    """Hands the state back, or not."""

    def __init__(self, back: bool) -> None:
        super().__init__()
        self.n, self.back = Cellule("h"), back

    def forward(self, x: Tensor) -> Tensor:
        out, v = [], None
        for now in x:
            z, v = self.n(now, v if self.back else None)
            out.append(z)
        return torch.stack(out)


def test_a_state_that_is_not_handed_back_is_missed() -> None:
    x = torch.zeros(5, 2, 4)  # silent: no check of spikes can tell
    with pytest.MonkeyPatch.context() as patch:
        for place in ("load", "registry"):
            patch.setattr(f"snnhw.frontends.live.{place}.ADAPTERS", (Handing(),))
        load_module(Forgets(back=True), x)
        with pytest.raises(SourceError) as caught:
            load_module(Forgets(back=False), x)
    assert caught.value.code == "foreign-state"
    assert caught.value.message == (
        "a layer that keeps no state itself is called without it: it starts anew at every step"
    )
    assert (caught.value.where, caught.value.needed) == ("n", "step 1")
