"""A module of the zoo to NIR: the same spikes, every edge, and names a user recognises."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.frontends.check import check_import, run_module
from snnhw.frontends.source import Source
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF, PLIF, IterativeLIF, Neuron
from snnhw.zoo.registry import build
from tests.unit.frontends.modules import Flow, conv, imported, random_module, settled, values


def assert_same_spikes(source: Source, high: float = 3.0) -> None:
    x = values(source, high=high)
    found = run_module(source, x)
    check = check_import(source, x)
    assert check.different == 0, check.detail
    assert check.samples == len(x)
    assert any(spikes.any() for name, spikes in found.items() if name != "output"), "silence proves nothing"


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_spike_alike(seed: int) -> None:
    module, shape, readout = random_module(seed)
    assert_same_spikes(imported(module, shape, readout=readout))


@pytest.mark.parametrize("comparison", ["ge", "gt"])
@pytest.mark.parametrize("v_reset", [0.0, None, -0.5])
@pytest.mark.parametrize(
    "kind",
    [
        IF,
        lambda **o: LIF(tau=3.0, decay_input=True, **o),
        lambda **o: LIF(tau=3.0, decay_input=False, **o),
        lambda **o: PLIF(init_tau=1.7, decay_input=True, **o),
        lambda **o: PLIF(init_tau=1.7, decay_input=False, **o),
        lambda **o: IterativeLIF(decay=0.25, threshold=o.pop("v_threshold"), **o),
    ],
    ids=["if", "lif", "lif-undecayed", "plif", "plif-undecayed", "iterative"],
)
def test_every_neuron(kind, v_reset, comparison) -> None:  # type: ignore[no-untyped-def]
    neuron = kind(v_threshold=0.75, v_reset=v_reset, comparison=comparison)
    assert_same_spikes(imported(Flow(lambda m, x: m.n(m.c(x)), c=conv(), n=neuron)))


@pytest.mark.parametrize("tau", [2.0, 3.0, 5.0, 7.0, 1.5, 2.3])
def test_thresholds_met_exactly_still_spike(tau: float) -> None:
    """x / tau sums to the threshold: a decay or gain that is off in the 13th digit loses those spikes."""
    source = imported(Flow(lambda m, x: m.n(x), n=LIF(tau=tau)), (50,), steps=6)
    whole = np.rint(values(source, samples=20, high=tau))
    assert check_import(source, whole).different == 0


def test_residual_add_is_two_edges() -> None:
    module = Flow(lambda m, x: m.n2(m.c2(m.n1(m.c1(x)) + x)), c1=conv(), n1=IF(), c2=conv(), n2=IF())
    source = imported(module)
    assert {("n1", "c2.0"), ("input", "c2.0")} <= set(source.graph.edges)
    assert_same_spikes(source)


def test_x_plus_x_is_a_scale() -> None:
    source = imported(Flow(lambda m, x: m.n(m.c(x + x)), c=conv(), n=IF()))
    scale = source.graph.nodes["c.0.times2.input"]
    assert isinstance(scale, nir.Scale)
    assert (scale.scale == 2).all()
    assert_same_spikes(source)


def test_a_block_that_adds_its_input_thrice() -> None:
    source = imported(Flow(lambda m, x: m.n(m.c((x + x) + x)), c=conv(), n=IF()))
    assert (source.graph.nodes["c.0.times3.input"].scale == 3).all()
    assert_same_spikes(source)


@pytest.mark.parametrize("add", [torch.add, lambda a, b: a.add(b), lambda a, b: a.add_(b), lambda a, b: a + b])
def test_ways_to_add(add) -> None:  # type: ignore[no-untyped-def]
    module = Flow(lambda m, x: m.n(m.c(add(m.n1(m.c1(x)), x))), c=conv(), n=IF(), c1=conv(), n1=IF())
    assert_same_spikes(imported(module))


class InPlace(nn.Module):
    """The usual residual block: `out += identity`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.neuron, self.last = conv(), IF(), IF()

    def forward(self, x: Tensor) -> Tensor:
        out = self.neuron(self.conv(x))
        out += x
        spikes: Tensor = self.last(out)
        return spikes


def test_in_place_add() -> None:
    assert_same_spikes(imported(InPlace()))


def test_nothing_layers_leave_no_node() -> None:
    body = PerStep(nn.Identity(), nn.Conv2d(2, 2, 3), nn.Dropout(0.9), nn.Dropout2d(0.9))
    source = imported(Flow(lambda m, x: m.n(m.d(m.i(m.b(x)))), b=body, i=nn.Identity(), d=nn.Dropout(), n=IF()))
    assert set(source.graph.nodes) == {"input", "b.1", "n", "output"}
    assert_same_spikes(source)


def test_nested_sequentials_inside_per_step() -> None:
    inner = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sequential(settled(nn.BatchNorm2d(4)), nn.AvgPool2d(2)))
    source = imported(Flow(lambda m, x: m.n(m.body(x)), body=PerStep(OrderedDict(inner=inner)), n=IF()))
    assert set(source.graph.nodes) == {"input", "body.inner.0", "body.inner.1.1", "n", "output"}
    assert_same_spikes(source)


def test_batchnorm_in_a_per_step_of_its_own() -> None:
    module = Flow(lambda m, x: m.n(m.b(m.c(x))), c=conv(), b=PerStep(settled(nn.BatchNorm2d(2))), n=IF())
    assert_same_spikes(imported(module))


def test_global_pool_and_linear() -> None:
    body = PerStep(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    source = imported(Flow(lambda m, x: m.body(m.n(x)), body=body, n=IF()), readout="mean")
    assert_same_spikes(source)


def test_an_unused_default_argument_is_no_input() -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = IF()

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            spikes: Tensor = self.neuron(x)
            return spikes

    assert_same_spikes(imported(Optional()))


class Halved(nn.Linear):
    """A layer of one's own: what its forward does is read."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0.5


class Mine(IF):
    """Parameters of one's own are read; a method would not be."""

    def __init__(self) -> None:
        super().__init__(v_threshold=0.75, v_reset=None)


def shared(m: Any, x: Tensor) -> Any:
    y = m.c(x)
    return m.n(m.b(y) + y)


def changed(m: Any, x: Tensor) -> Any:
    y = m.n(m.c(x))
    nn.Identity()(y).add_(x)
    return m.n2(m.c2(y))


FREE: dict[str, tuple[nn.Module, str]] = {
    "a linear layer of one's own": (Flow(lambda m, x: m.n(m.h(x)), h=PerStep(nn.Flatten(), Halved(50, 8)), n=IF()), ""),
    "a neuron with parameters of its own": (Flow(lambda m, x: m.n(x), n=Mine()), ""),
    "BatchNorm that is not folded": (Flow(shared, c=conv(), b=PerStep(settled(nn.BatchNorm2d(2))), n=IF()), ""),
    "numbers": (Flow(lambda m, x: m.n(2 * m.c(x) + 1), c=conv(), n=IF()), ""),
    "a linear layer twice": (Flow(lambda m, x: m.n2(m.c(m.n(m.c(x)))), c=conv(), n=IF(), n2=IF()), ""),
    "a tensor changed in place": (Flow(changed, c=conv(), c2=conv(), n=IF(), n2=IF()), ""),
    "a keyword": (Flow(lambda m, x: m.n(x=m.c(x)), c=conv(), n=IF()), ""),
    "a loop over the steps": (Flow(lambda m, x: m.n(torch.stack([m.c[0](now) for now in x])), c=conv(), n=IF()), ""),
    "the mean over time": (Flow(lambda m, x: m.n(m.c(x)).mean(0), c=conv(), n=IF()), ""),
    "a neuron alone": (IF(), "if"),
    "a neuron called output": (Flow(lambda m, x: m.output(x), output=IF()), "output_"),
    "numbers that forward makes": (Flow(lambda m, x: m.n(x * torch.ones(2).sum()), n=IF()), ""),
}


@pytest.mark.parametrize("name", FREE)
def test_what_forward_may_do(name: str) -> None:
    module, neuron = FREE[name]
    source = imported(module)
    assert_same_spikes(source)
    assert not neuron or neuron in source.graph.nodes


def test_names_are_module_paths() -> None:
    torch.manual_seed(0)
    source = imported(
        build("sew_resnet", {"channels": [2, 4], "blocks": [1, 1], "image_size": 6}), (1, 6, 6), 2, "mean"
    )
    neurons = {name for name, node in source.graph.nodes.items() if isinstance(node, (nir.IF, nir.LIF))}
    modules = {name for name, layer in source.module.named_modules() if isinstance(layer, Neuron)}  # type: ignore[union-attr]
    assert neurons == modules
    assert "stages.1.0.shortcut.neuron" in neurons


def test_the_module_is_not_touched() -> None:
    module = Flow(lambda m, x: m.n(m.c(x)), c=conv(), n=IF()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    imported(module)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert next(module.parameters()).dtype == torch.float32
