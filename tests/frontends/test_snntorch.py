"""snnTorch 1.0.0: networks of the matrix, and what its layers can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends.check import check_import, require_equal
from snnhw.frontends.live.adapter import MEMBRANE, OUT
from snnhw.frontends.live.snntorch import ADAPTER
from tests.frontends.harness import CLASSES, TN, Subject, check, check_left_alone, keep, randomise
from tests.frontends.leaves import DT, node_names

STEPS = 20


def subject(
    module: nn.Module,
    shape: tuple[int, ...],
    readout: nn.Module,
    gain: float,
    call: Callable[[Tensor], Tensor] | None = None,
) -> Subject:
    """A network with seeded weights whose states are zero before each run."""
    randomise(module, gain)
    module.eval()
    neurons = {name: "step" for name, layer in module.named_modules() if isinstance(layer, snn.SpikingNeuron)}

    def reset() -> None:
        for layer in module.modules():
            if isinstance(layer, snn.SpikingNeuron):
                ADAPTER.reset(layer)

    return Subject(module, shape, TN, neurons, readout, steps=STEPS, reset=reset, call=call)


def stepped(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """A module that keeps its states and takes one step a call, over (T, N, ...)."""

    def call(x: Tensor) -> Tensor:
        outs = [module(step) for step in x]
        return torch.stack([out[0] if isinstance(out, tuple) else out for out in outs])

    return call


class Looped(nn.Module):
    """As in the tutorials: a loop over time, states handed over, spikes and membranes returned as lists."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(24, 32), snn.Leaky(beta=0.9, learn_beta=True)
        self.fc2, self.lif2 = nn.Linear(32, 24), snn.Leaky(beta=0.8, reset_mechanism="zero", threshold=0.8)
        self.fc3, self.lif3 = nn.Linear(24, 24), snn.Leaky(beta=0.7)
        self.readout, self.out = nn.Linear(24, CLASSES), snn.Leaky(beta=0.95)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2, mem3, mem = (lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3, self.out))
        spikes, membranes = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk3, mem3 = self.lif3(self.fc3(spk2), mem3)
            spk, mem = self.out(self.readout(spk3), mem)
            spikes.append(spk)
            membranes.append(mem)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


def mlp() -> Subject:
    net = Looped()
    return subject(net, (24,), net.readout, 1.0, lambda x: net(x)[0])


def conv(batchnorm: bool = False) -> Subject:
    """Hidden states inside the layers, called step by step by us; both pools."""

    def norm(channels: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(channels)] if batchnorm else []

    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=not batchnorm),
        *norm(8),
        snn.Leaky(beta=0.8, init_hidden=True, threshold=1.5),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        *norm(12),
        snn.Leaky(beta=0.6, init_hidden=True, reset_mechanism="zero", threshold=2.0),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(48, CLASSES),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    )
    return subject(net, (2, 8, 8), net[-2], 0.8 if batchnorm else 1.0, stepped(net))


class Residual(nn.Module):
    """Sums of spikes, written in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0, self.lif0 = nn.Linear(24, 24), snn.Leaky(beta=0.8)
        self.fc1, self.lif1 = nn.Linear(24, 24), snn.Leaky(beta=0.8)
        self.fc2, self.lif2 = nn.Linear(24, 24), snn.Leaky(beta=0.7)
        self.readout, self.out = nn.Linear(24, CLASSES), snn.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        mem0 = mem1 = mem2 = mem = None
        spikes = []
        for step in x:
            first, mem0 = self.lif0(self.fc0(step), mem0)
            second, mem1 = self.lif1(self.fc1(first), mem1)
            second += first
            third, mem2 = self.lif2(self.fc2(second), mem2)
            spk, mem = self.out(self.readout(torch.add(second, third)), mem)
            spikes.append(spk)
        return torch.stack(spikes)


def residual() -> Subject:
    net = Residual()
    return subject(net, (24,), net.readout, 0.7)


class Recurrent(nn.Module):
    """A loop inside a layer, one that forward closes itself, and one of a layer with a current."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0, self.lif0 = nn.Linear(24, 32), snn.RLeaky(beta=0.8, linear_features=32)
        self.fc1, self.back, self.lif1 = nn.Linear(32, 24), nn.Linear(24, 24), snn.Leaky(beta=0.7)
        self.fc3, self.lif3 = nn.Linear(24, 20), snn.RSynaptic(alpha=0.5, beta=0.7, linear_features=20)
        self.readout, self.out = nn.Linear(20, CLASSES), snn.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        spk0, mem0 = self.lif0.init_rleaky()
        spk3, syn3, mem3 = self.lif3.init_rsynaptic()
        spk1, mem1, mem = torch.zeros(x.size(1), 24), None, None
        spikes = []
        for step in x:
            spk0, mem0 = self.lif0(self.fc0(step), spk0, mem0)
            spk1, mem1 = self.lif1(self.fc1(spk0) + self.back(spk1), mem1)
            spk3, syn3, mem3 = self.lif3(self.fc3(spk1), spk3, syn3, mem3)
            spk, mem = self.out(self.readout(spk3), mem)
            spikes.append(spk)
        return torch.stack(spikes)


def recurrent() -> Subject:
    net = Recurrent()
    found = subject(net, (24,), net.readout, 0.8)
    with torch.no_grad():
        for way in (net.lif0.recurrent, net.back, net.lif3.recurrent):
            way.weight.sub_(way.weight.mean()).mul_(0.4)
            way.bias.fill_(0.05)
    return found


def cubalif() -> Subject:
    """Synaptic currents; subtraction a step later, and reset to zero at once."""
    net = nn.Sequential(
        nn.Linear(24, 32),
        snn.Synaptic(alpha=0.7, beta=0.8, init_hidden=True, threshold=2.0),
        nn.Linear(32, 24),
        snn.Synaptic(alpha=0.5, beta=0.9, init_hidden=True, threshold=2.0),
        nn.Linear(24, 24),
        snn.Synaptic(alpha=0.6, beta=0.7, init_hidden=True, reset_mechanism="zero", reset_delay=False),
        nn.Linear(24, CLASSES),
        snn.Leaky(beta=0.9, init_hidden=True),
    )
    return subject(net, (24,), net[6], 0.6, stepped(net))


def per_neuron() -> Subject:
    generator = torch.Generator().manual_seed(5)

    def between(low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    net = nn.Sequential(
        nn.Linear(24, 32),
        snn.Leaky(beta=between(0.5, 0.95, 32), threshold=between(0.6, 1.4, 32), init_hidden=True),
        nn.Linear(32, 24),
        snn.Synaptic(
            alpha=between(0.3, 0.8, 24), beta=between(0.5, 0.9, 24), threshold=between(1, 2, 24), init_hidden=True
        ),
        nn.Linear(24, CLASSES),
        snn.Leaky(beta=0.9, init_hidden=True),
    )
    return subject(net, (24,), net[4], 0.7, stepped(net))


MATRIX = {
    "mlp": mlp,
    "conv": conv,
    "residual": residual,
    "recurrent": recurrent,
    "cubalif": cubalif,
    "per-neuron": per_neuron,
    "batchnorm": lambda: conv(batchnorm=True),
}


@pytest.mark.parametrize("cell", MATRIX)
def test_spikes_and_predictions_are_those_of_snntorch(cell: str) -> None:
    check(cell, MATRIX[cell]())


def test_the_module_is_left_as_it_was() -> None:
    check_left_alone(MATRIX["cubalif"])


class Static(nn.Module):
    """As in the first tutorials: an image is shown at every step, and a membrane that never resets is the result."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 32), snn.Leaky(beta=0.9)
        self.readout, self.out = nn.Linear(32, CLASSES), snn.Leaky(beta=0.8, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        mem, membrane, found = self.lif.init_leaky(), self.out.init_leaky(), []
        for _ in range(STEPS):
            spk, mem = self.lif(self.fc(x.flatten(1)), mem)
            _, membrane = self.out(self.readout(spk), membrane)
            found.append(membrane)
        return torch.stack(found)


def test_a_static_input_and_a_membrane_as_output() -> None:
    torch.manual_seed(0)
    net = Static()
    source = snnhw.load_module(net, torch.rand(3, 1, 8, 8))
    assert (source.deployment.steps, source.deployment.encoding) == (STEPS, "direct")
    assert source.deployment.readout == "membrane"
    x = np.broadcast_to(np.random.default_rng(0).random((8, 1, 1, 8, 8)), (8, STEPS, 1, 8, 8))
    found = check_import(source, x)
    assert found.samples == 8
    assert found.different == 0
    assert source.replay is not None
    assert source.replay(x)["lif"].mean() > 0.05
    membranes = snnhw.run_float(source, x[:, 0])["output"]
    with torch.no_grad():
        want = net(torch.from_numpy(x[:, 0].copy()).float()).transpose(0, 1).numpy()
    assert np.allclose(membranes, want, atol=1e-4)
    snnhw.compile(net, torch.rand(3, 1, 8, 8), target="loihi2", calibrate=x[:, 0])


LAYERS: dict[str, Callable[[], Any]] = {
    "Leaky": lambda: snn.Leaky(beta=0.9, init_hidden=True),
    "Leaky, reset at once": lambda: snn.Leaky(beta=0.9, init_hidden=True, reset_delay=False, threshold=3.0),
    "Leaky, reset to zero": lambda: snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero"),
    "Leaky, reset to zero at once": lambda: snn.Leaky(
        beta=0.9, init_hidden=True, reset_mechanism="zero", reset_delay=False
    ),
    "Leaky without leak": lambda: snn.Leaky(beta=1.0, init_hidden=True),
    "Leaky without memory": lambda: snn.Leaky(beta=0.0, init_hidden=True),
    "Leaky, beta above 1": lambda: snn.Leaky(beta=1.2, init_hidden=True),
    "Synaptic": lambda: snn.Synaptic(alpha=0.8, beta=0.7, init_hidden=True),
    "Synaptic, reset at once": lambda: snn.Synaptic(
        alpha=0.5, beta=0.7, init_hidden=True, reset_delay=False, threshold=4.0
    ),
    "Synaptic, reset to zero at once": lambda: snn.Synaptic(
        alpha=0.8, beta=0.7, init_hidden=True, reset_mechanism="zero", reset_delay=False
    ),
    "Synaptic, membrane without leak": lambda: snn.Synaptic(alpha=0.8, beta=1.0, init_hidden=True),
    "RLeaky": lambda: snn.RLeaky(beta=0.8, linear_features=5, init_hidden=True),
    "RLeaky, reset at once": lambda: snn.RLeaky(
        beta=0.8, linear_features=5, init_hidden=True, reset_delay=False, threshold=2.5
    ),
    "RLeaky, one to one": lambda: snn.RLeaky(beta=0.8, all_to_all=False, V=0.4, init_hidden=True),
    "RSynaptic": lambda: snn.RSynaptic(alpha=0.5, beta=0.8, linear_features=5, init_hidden=True),
    "RSynaptic, reset 'at once'": lambda: snn.RSynaptic(
        alpha=0.5, beta=0.8, linear_features=5, reset_delay=False, init_hidden=False
    ),
    "Lapicque": lambda: snn.Lapicque(beta=0.9, init_hidden=True, reset_mechanism="subtract", threshold=0.1),
    "Lapicque, R and C": lambda: snn.Lapicque(
        R=2.0, C=3.0, init_hidden=True, reset_mechanism="subtract", threshold=0.3
    ),
}


class Alone(nn.Module):
    """One layer over all steps, its states handed over where it does not keep them."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        states = () if self.layer.init_hidden else tuple(torch.zeros_like(x[0]) for _ in range(3))
        found = []
        for step in x:
            out = self.layer(step, *states)
            states = () if self.layer.init_hidden else out
            found.append(out if self.layer.init_hidden else out[0])
        return torch.stack(found)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_node(name: str) -> None:
    torch.manual_seed(3)
    layer = LAYERS[name]()
    net = Alone(layer)
    source = snnhw.load_module(net, torch.rand(30, 4, 5))
    generator = np.random.default_rng(1)
    x = generator.standard_normal((16, 30, 5)) * 0.8 + 0.3
    found = check_import(source, x)
    assert (found.samples, found.different, found.excepted) == (16, 0, 0), found
    assert source.replay is not None
    assert 0.02 < source.replay(x)["layer"].mean() < 0.9
    keep("layers", **{name: node_names(ADAPTER.cell(layer, (5,), OUT, DT, "layer"))})


@pytest.mark.parametrize("kind", ["Leaky", "RLeaky", "Synaptic"])
def test_a_reset_at_once_above_two_thresholds(kind: str) -> None:
    """snnTorch charges the threshold before the comparison, and gives it back: the spikes are its own all the same."""
    torch.manual_seed(2)
    options: dict[str, Any] = {
        "Leaky": {"beta": 0.9}, "RLeaky": {"beta": 0.8, "linear_features": 5}, "Synaptic": {"alpha": 0.5, "beta": 0.9},
    }  # fmt: skip
    neuron = getattr(snn, kind)(init_hidden=True, reset_delay=False, **options[kind])
    net = nn.Sequential(nn.Linear(5, 5, bias=False), neuron)
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(5))
    source = snnhw.load_module(net, 6.0 * (torch.rand(12, 4, 5) < 0.3))
    x = 8.0 * (np.random.default_rng(0).random((16, 12, 5)) < 0.3)
    found = require_equal(check_import(source, x), source)
    assert (found.samples, found.different, found.excepted) == (16, 0, 0), found
    plain = {key: {**row, "reset_timing": "same_step"} for key, row in source.semantics.nodes.items()}
    other = replace(source, semantics=replace(source.semantics, reset_timing="same_step", nodes=plain))
    assert check_import(other, x).different, "the plain neuron would be wrong here"


def test_a_convolution_feeds_back() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), snn.RLeaky(beta=0.8, conv2d_channels=3, kernel_size=3, init_hidden=True)
    )
    source = snnhw.load_module(net, torch.rand(10, 2, 1, 6, 6))
    x = np.random.default_rng(1).random((4, 10, 1, 6, 6)) * 6
    found = check_import(source, x)
    assert found.samples == 4
    assert found.different == 0
    assert source.replay is not None
    assert source.replay(x)["1"].mean() > 0.03


REFUSED: Mapping[str, Callable[[], nn.Module]] = {
    "Alpha has no form on a core": lambda: snn.Alpha(alpha=0.9, beta=0.8),
    "inhibition: only the highest membrane fires": lambda: snn.Leaky(beta=0.9, inhibition=True),
    "state_quant quantises states in forward": lambda: snn.Leaky(beta=0.9, state_quant=lambda x: x),
    "graded_spikes_factor is 2": lambda: snn.Leaky(beta=0.9, graded_spikes_factor=2.0),
    "reset_mechanism 'none' of a layer whose spikes are read": lambda: snn.Leaky(beta=0.9, reset_mechanism="none"),
    "reset_mechanism 'zero' of Synaptic drops the input of the step after a spike": lambda: snn.Synaptic(
        alpha=0.5, beta=0.9, reset_mechanism="zero"
    ),
    "RSynaptic with beta = 1 and alpha < 1": lambda: snn.RSynaptic(alpha=0.5, beta=1.0, linear_features=5),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_the_layer_and_what_it_is(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        ADAPTER.cell(REFUSED[text](), (5,), OUT, DT, "net.3")
    assert caught.value.code == "unsupported-neuron"
    assert f"snnTorch: {text}" in caught.value.message
    assert caught.value.where == "net.3"
    assert caught.value.hint
    keep("refused", **{text: caught.value.hint})


def test_membranes_that_reset_or_feed_back_are_no_output() -> None:
    with pytest.raises(SourceError, match="the membrane of a layer that resets is read"):
        ADAPTER.cell(snn.Leaky(beta=0.9), (5,), MEMBRANE, DT, "net.3")
    with pytest.raises(SourceError, match="the membrane of a recurrent layer is read"):
        ADAPTER.cell(snn.RLeaky(beta=0.9, linear_features=5, reset_mechanism="none"), (5,), MEMBRANE, DT, "net.3")


def test_an_odd_way_back_is_refused() -> None:
    layer = snn.RLeaky(beta=0.9, linear_features=5)
    layer.recurrent = nn.Sequential(nn.Linear(5, 5))
    with pytest.raises(SourceError, match="layers of type Sequential are not supported") as caught:
        ADAPTER.cell(layer, (5,), OUT, DT, "net.3")
    assert caught.value.code == "unknown-layer"
    assert caught.value.where == "net.3.recurrent"


def test_a_neuron_with_a_fire_of_its_own_is_refused() -> None:
    mine = type("Mine", (snn.Leaky,), {"__module__": "mine", "fire": lambda self, mem: (mem > 0.5).float()})
    for layer, text in ((mine(0.9), "Mine has a fire"), (snn.Leaky(0.9, spike_grad=torch.sigmoid), "spike function")):
        with pytest.raises(SourceError, match=text):
            ADAPTER.cell(layer, (5,), OUT, DT, "net.3")
