"""Rockpool 3.1.0: networks of the matrix, and what its modules can be told."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
import torch
from rockpool.nn.combinators import Residual, Sequential
from rockpool.nn.modules import (
    ExpSynTorch,
    LIFBitshiftTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    TorchModule,
    UpDownTorch,
    aLIFTorch,
)
from rockpool.nn.modules.torch.lif_torch import PeriodicExponential
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import MEMBRANE, OUT
from snnhw.frontends.live.rockpool import ADAPTER
from tests.frontends.harness import (
    CLASSES,
    NT,
    Subject,
    absent,
    check,
    check_left_alone,
    keep,
    random_weight,
    randomise,
)
from tests.frontends.leaves import DT, assert_same, node_names, spikes_in
from tests.frontends.random_networks import Kit, check_random
from tests.frontends.random_networks import spread as spread_of


def linear(inputs: int, outputs: int, seed: int, gain: float = 1.5, bias: bool = True) -> nn.Module:
    """LinearTorch holds (in, out)."""
    generator = torch.Generator().manual_seed(seed)
    weight = random_weight((outputs, inputs), gain, generator).T.contiguous()
    return LinearTorch((inputs, outputs), weight=weight, has_bias=bias, bias=torch.zeros(outputs) if bias else None)


def subject(module: nn.Module, neurons: Mapping[str, str], readout: nn.Module, call: bool = True) -> Subject:
    """Modules keep their state from run to run, and give (output, state, record)."""

    def set_readout(weight: Tensor, bias: Tensor) -> None:
        readout.weight.copy_(weight.T)
        readout.bias.copy_(bias)

    return Subject(
        module,
        (24,),
        NT,
        neurons,
        readout,
        drive=(0.0, 0.4),
        reset=module.reset_state,
        call=(lambda x: module(x)[0]) if call else None,
        set_readout=set_readout,
    )


def mlp() -> Subject:
    """Membranes without currents; several spikes a step, two at most in the second layer."""
    net = Sequential(
        linear(24, 32, 0),
        LIFNeuronTorch(32, tau_mem=8e-3, bias=torch.tensor(0.05)),
        linear(32, 20, 1),
        LIFNeuronTorch(20, tau_mem=5e-3, threshold=torch.tensor(0.8), max_spikes_per_dt=torch.tensor(2.0)),
        linear(20, CLASSES, 2),
        LIFNeuronTorch(CLASSES, tau_mem=20e-3),
    )
    return subject(net, dict.fromkeys(("1_LIFNeuronTorch", "3_LIFNeuronTorch", "5_LIFNeuronTorch"), NT), net[4])


def residual() -> Subject:
    """The Residual combinator adds its input to its output."""
    net = Sequential(
        linear(24, 24, 0),
        LIFNeuronTorch(24, tau_mem=8e-3),
        Residual(linear(24, 24, 1), LIFNeuronTorch(24, tau_mem=8e-3)),
        Residual(linear(24, 24, 2), LIFTorch(24, tau_mem=5e-3, tau_syn=3e-3, threshold=torch.tensor(6.0))),
        linear(24, CLASSES, 3),
        LIFNeuronTorch(CLASSES, tau_mem=20e-3),
    )
    names = ("1_LIFNeuronTorch", "2_TorchResidual.1_LIFNeuronTorch", "3_TorchResidual.1_LIFTorch", "5_LIFNeuronTorch")
    return subject(net, dict.fromkeys(names, NT), net[4])


def recurrent() -> Subject:
    weight = 0.15 * torch.randn((32, 32), generator=torch.Generator().manual_seed(4))
    net = Sequential(
        linear(24, 32, 0, gain=1.0),
        LIFTorch(32, tau_mem=6e-3, tau_syn=3e-3, has_rec=True, w_rec=weight, threshold=torch.tensor(2.0)),
        linear(32, CLASSES, 1),
        LIFNeuronTorch(CLASSES, tau_mem=20e-3),
    )
    return subject(net, {"1_LIFTorch": NT, "3_LIFNeuronTorch": NT}, net[2])


def cubalif() -> Subject:
    """Synaptic currents, with exponential and with bit-shift decays, a bias, and a synapse as the readout."""
    net = Sequential(
        linear(24, 32, 0, gain=1.0),
        LIFTorch(32, tau_mem=8e-3, tau_syn=4e-3, threshold=torch.tensor(3.0), bias=torch.full((32,), 0.1)),
        linear(32, 24, 1, gain=1.0),
        LIFBitshiftTorch(24, tau_mem=8e-3, tau_syn=4e-3, threshold=torch.tensor(4.0)),
        linear(24, CLASSES, 2),
        ExpSynTorch(CLASSES, tau=5e-3),
    )
    return subject(net, {"1_LIFTorch": NT, "3_LIFBitshiftTorch": NT}, net[4])


def per_neuron() -> Subject:
    generator = torch.Generator().manual_seed(5)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    net = Sequential(
        linear(24, 32, 0),
        LIFTorch(
            32,
            tau_mem=between(4e-3, 12e-3, 32),
            tau_syn=between(2e-3, 6e-3, 32, 1),
            threshold=between(2, 5, 32),
            bias=between(-0.1, 0.1, 32),
        ),
        linear(32, 24, 1),
        LIFNeuronTorch(24, tau_mem=between(4e-3, 12e-3, 24), threshold=between(0.5, 2, 24)),
        linear(24, CLASSES, 2),
        LIFNeuronTorch(CLASSES, tau_mem=20e-3),
    )
    return subject(net, dict.fromkeys(("1_LIFTorch", "3_LIFNeuronTorch", "5_LIFNeuronTorch"), NT), net[4])


class Normed(TorchModule):
    """BatchNorm is torch's, over batch and time in one axis; a convolution sees the input."""

    def __init__(self) -> None:
        super().__init__(shape=(128, CLASSES))
        self.conv, self.norm0 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool, self.lif0 = nn.AvgPool2d(2), LIFNeuronTorch(64, tau_mem=8e-3, threshold=torch.tensor(0.5))
        self.fc, self.norm1 = nn.Linear(64, 32), nn.BatchNorm1d(32)
        self.lif1 = LIFTorch(32, tau_mem=8e-3, tau_syn=4e-3, threshold=torch.tensor(5.0))
        self.readout, self.out = linear(32, CLASSES, 2), LIFNeuronTorch(CLASSES, tau_mem=20e-3)

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[:2]
        y = self.pool(self.norm0(self.conv(x.flatten(0, 1)))).flatten(1).unflatten(0, lead)
        y, _, _ = self.lif0(y)
        y = self.norm1(self.fc(y.flatten(0, 1))).unflatten(0, lead)
        y, _, _ = self.lif1(y)
        return self.out(self.readout(y)[0])[0]


def batchnorm() -> Subject:
    net = Normed()
    randomise(net, 1.5)
    nn.Module.eval(net)
    found = subject(net, dict.fromkeys(("lif0", "lif1", "out"), NT), net.readout)
    return replace(found, shape=(2, 8, 8))


MATRIX = {
    "mlp": mlp,
    "residual": residual,
    "recurrent": recurrent,
    "cubalif": cubalif,
    "per-neuron": per_neuron,
    "batchnorm": batchnorm,
}
ABSENT = {"conv": "neurons take (N, T, C): no convolutions or pools behind spikes; batchnorm has one of torch's before"}


@pytest.mark.parametrize("cell", MATRIX)
def test_spikes_and_predictions_are_those_of_rockpool(cell: str) -> None:
    check(cell, MATRIX[cell]())


def random_neuron(random: Random, count: int, vector: bool) -> nn.Module:
    """LIFTorch or LIFNeuronTorch with any parameters."""
    options = {
        "tau_mem": spread_of(random, 2e-3, 2e-2, count),
        "threshold": spread_of(random, 0.4, 1.5, count),
        "bias": spread_of(random, -0.1, 0.1, count),
        "max_spikes_per_dt": torch.tensor(float(random.choice([1, 2, 65536]))),
    }
    if random.random() < 0.4:
        return LIFNeuronTorch(count, **options)
    tau = spread_of(random, 2e-3, 2e-2, count)
    back = {"has_rec": True, "w_rec": 0.1 * torch.randn(count, count)} if random.random() < 0.3 else {}
    return LIFTorch(count, tau_syn=tau[:, None] if tau.dim() else tau, **options, **back)


KIT = Kit(
    random_neuron,
    lambda layers: Sequential(*layers),
    NT,
    linear=lambda inputs, outputs: LinearTorch((inputs, outputs), has_bias=True),
)


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(seed: int) -> None:
    check_random(KIT, seed)


@pytest.mark.parametrize("cell", ABSENT)
def test_some_networks_are_not_in_the_framework(cell: str) -> None:
    names = dir(importlib.import_module("rockpool.nn.modules"))
    assert not [name for name in names if "Conv" in name or "Pool" in name]
    absent(cell, ABSENT[cell])


def test_the_module_is_left_as_it_was() -> None:
    check_left_alone(MATRIX["cubalif"])


def spread(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, 5)


LAYERS = {
    "LIFTorch": lambda: LIFTorch(5),
    "LIFTorch, one spike a step": lambda: LIFTorch(5, max_spikes_per_dt=torch.tensor(1.0)),
    "LIFTorch, per neuron": lambda: LIFTorch(
        5,
        tau_mem=spread(3e-3, 2e-2),
        tau_syn=spread(2e-2, 3e-3)[:, None],
        bias=spread(-0.1, 0.1),
        threshold=spread(1, 3),
    ),
    "LIFTorch, recurrent": lambda: LIFTorch(5, has_rec=True, w_rec=0.1 * spikes_in((5,), 5, 1)[0]),
    "LIFTorch, decays": lambda: LIFTorch(5, leak_mode="decays"),
    "LIFTorch, bit shifts": lambda: LIFTorch(5, leak_mode="bitshifts", dash_mem=torch.full((5,), 3.0)),
    "LIFTorch, another gradient": lambda: LIFTorch(5, spike_generation_fn=PeriodicExponential),
    "LIFBitshiftTorch": lambda: LIFBitshiftTorch(5),
    "LIFNeuronTorch": lambda: LIFNeuronTorch(5),
    "LIFNeuronTorch, bias": lambda: LIFNeuronTorch(5, bias=torch.tensor(0.1), tau_mem=spread(3e-3, 2e-2)),
    "ExpSynTorch": lambda: ExpSynTorch(5),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_module_is_its_node(name: str) -> None:
    cell = assert_same(ADAPTER, LAYERS[name](), spikes_in((5,)))
    keep("layers", **{name: node_names(cell)})


REFUSED = {
    "aLIFTorch has no form on a core": lambda: aLIFTorch(5),
    "UpDownTorch has no form on a core": lambda: UpDownTorch(5),
    "noise_std is 0.1": lambda: LIFTorch(5, noise_std=0.1),
    "2 synapses a neuron": lambda: LIFTorch((10, 5)),
    "spike_generation_fn is Odd": lambda: LIFTorch(5, spike_generation_fn=type("Odd", (PeriodicExponential,), {})),
    "max_spikes_per_dt is 0.5": lambda: LIFTorch(5, max_spikes_per_dt=torch.tensor(0.5)),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_the_module_and_what_it_is(text: str) -> None:
    layer = REFUSED[text]()
    assert ADAPTER.claims(layer)
    with pytest.raises(SourceError) as caught:
        ADAPTER.cell(layer, (5,), OUT, DT, "net.3")
    assert caught.value.code == "unsupported-neuron"
    assert f"Rockpool: {text}" in caught.value.message
    assert caught.value.where == "net.3"
    assert caught.value.hint
    keep("refused", **{text: caught.value.hint})


def test_a_membrane_that_resets_is_no_output() -> None:
    with pytest.raises(SourceError, match="a membrane that resets is read"):
        ADAPTER.cell(LIFTorch(5), (5,), MEMBRANE, DT, "net.3")


def test_a_bias_without_leak_is_refused() -> None:
    with pytest.raises(SourceError, match="a bias on a membrane that does not leak") as caught:
        ADAPTER.cell(LIFNeuronTorch(5, tau_mem=torch.tensor(torch.inf), bias=torch.tensor(0.1)), (5,), OUT, DT, "n")
    assert caught.value.code == "no-leak"
