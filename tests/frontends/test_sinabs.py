"""sinabs 3.1.3: networks of the matrix, and what its layers can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import nir
import numpy as np
import pytest
import sinabs.layers as sl
import torch
from sinabs import from_model
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from torch import Tensor, nn

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends import simulate
from snnhw.frontends.check import check_import
from snnhw.frontends.live.adapter import MEMBRANE, OUT
from snnhw.frontends.live.sinabs import ADAPTER
from snnhw.frontends.live_module import load_module
from tests.frontends import random_networks
from tests.frontends.harness import CLASSES, EXAMPLES, FLAT, NT, Subject, check, check_left_alone, keep, randomise
from tests.frontends.leaves import DT, assert_same, node_names, spikes_in
from tests.frontends.random_networks import Kit, check_random
from tests.frontends.random_networks import spread as spread_of

STEPS = 20


def subject(
    module: nn.Module, shape: tuple[int, ...], layout: str, neurons: Mapping[str, str], readout: nn.Module, gain: float
) -> Subject:
    """A network with seeded weights whose state is zero before each run."""
    randomise(module, gain)
    module.eval()

    def reset() -> None:
        for layer in module.modules():
            if isinstance(layer, sl.StatefulLayer):
                for name, state in list(layer.named_buffers()):
                    layer.register_buffer(name, torch.zeros(0, dtype=state.dtype))

    return Subject(module, shape, layout, neurons, readout, steps=STEPS, reset=reset)


def mlp() -> Subject:
    """Several spikes a step, a membrane floor, normed input; the last layer integrates and resets to zero."""
    net = nn.Sequential(
        nn.Linear(24, 32),
        sl.LIF(tau_mem=8.0, min_v_mem=-0.5, spike_threshold=torch.tensor(0.7)),
        nn.Linear(32, 20),
        sl.IAF(min_v_mem=-1.0, spike_threshold=torch.tensor(1.5)),
        nn.Linear(20, CLASSES),
        sl.IAF(spike_fn=SingleSpike, reset_fn=MembraneReset()),
    )
    return subject(net, (24,), NT, {"1": NT, "3": NT, "5": NT}, net[4], 2.0)


def conv(batchnorm: bool = False) -> Subject:
    """Batch and time in one axis, max-pool over spikes, average pool (sum-pool where there is BatchNorm)."""

    def norm(channels: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(channels)] if batchnorm else []

    squeezed = {"num_timesteps": STEPS}
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=not batchnorm),
        *norm(8),
        sl.IAFSqueeze(spike_fn=SingleSpike, min_v_mem=-1.0, spike_threshold=torch.tensor(1.5), **squeezed),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        *norm(12),
        sl.LIFSqueeze(tau_mem=5.0, norm_input=False, spike_threshold=torch.tensor(3.0), **squeezed),
        sl.SumPool2d(2) if batchnorm else nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48, CLASSES),
        sl.IAFSqueeze(**squeezed),
    )
    neurons = {name: FLAT for name, layer in net.named_modules() if isinstance(layer, sl.StatefulLayer)}
    return subject(net, (2, 8, 8), FLAT, neurons, net[-2], 1.5)


class Residual(nn.Module):
    """A residual sum by Merge, and one by +."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0, self.lif0 = nn.Linear(24, 24), sl.LIF(tau_mem=6.0, spike_threshold=torch.tensor(0.5))
        self.fc1, self.lif1 = nn.Linear(24, 24), sl.LIF(tau_mem=6.0, spike_threshold=torch.tensor(0.5))
        self.merge = sl.Merge()
        self.fc2, self.lif2 = nn.Linear(24, 24), sl.IAF(spike_threshold=torch.tensor(2.0))
        self.readout, self.out = nn.Linear(24, CLASSES), sl.IAF()

    def forward(self, x: Tensor) -> Tensor:
        first = self.lif0(self.fc0(x))
        second = self.merge(first, self.lif1(self.fc1(first)))
        return self.out(self.readout(second + self.lif2(self.fc2(second))))


def residual() -> Subject:
    net = Residual()
    return subject(net, (24,), NT, dict.fromkeys(("lif0", "lif1", "lif2", "out"), NT), net.readout, 2.0)


def recurrent() -> Subject:
    """The bias of the way back is missing at the first step."""
    net = nn.Sequential(
        nn.Linear(24, 32),
        sl.LIFRecurrent(tau_mem=6.0, rec_connect=nn.Linear(32, 32), spike_threshold=torch.tensor(0.8)),
        nn.Linear(32, CLASSES),
        sl.IAF(),
    )
    found = subject(net, (24,), NT, {"1": NT, "3": NT}, net[2], 1.5)
    nn.init.uniform_(net[1].rec_connect.bias, -0.5, 1.0, generator=torch.Generator().manual_seed(2))
    return found


def cubalif() -> Subject:
    """Synaptic currents, normed and not, on a leaking and on an integrating membrane."""
    net = nn.Sequential(
        nn.Linear(24, 32),
        sl.LIF(tau_mem=8.0, tau_syn=4.0),
        nn.Linear(32, 24),
        sl.LIF(tau_mem=5.0, tau_syn=3.0, norm_input=False, spike_threshold=torch.tensor(4.0)),
        nn.Linear(24, 24),
        sl.IAF(tau_syn=2.0, spike_threshold=torch.tensor(2.0)),
        nn.Linear(24, CLASSES),
        sl.IAF(),
    )
    return subject(net, (24,), NT, {"1": NT, "3": NT, "5": NT, "7": NT}, net[6], 1.5)


def per_neuron() -> Subject:
    generator = torch.Generator().manual_seed(5)

    def between(low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    net = nn.Sequential(
        nn.Linear(24, 32),
        sl.LIF(tau_mem=between(3, 12, 32), tau_syn=between(2, 5, 32), spike_threshold=between(0.6, 1.2, 32)),
        nn.Linear(32, 24),
        sl.LIF(tau_mem=between(3, 12, 24), spike_threshold=between(0.4, 1.0, 24), train_alphas=True),
        nn.Linear(24, CLASSES),
        sl.IAF(),
    )
    return subject(net, (24,), NT, {"1": NT, "3": NT, "5": NT}, net[4], 2.0)


MATRIX = {
    "mlp": mlp,
    "conv": conv,
    "residual": residual,
    "recurrent": recurrent,
    "cubalif": cubalif,
    "per-neuron": per_neuron,
    "batchnorm": lambda: conv(batchnorm=True),
}


class TimeInAndOut(nn.Module):
    """Convolutions see batch and time in one axis, neurons see both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif = sl.Repeat(nn.Conv2d(2, 8, 3, padding=1)), sl.LIF(tau_mem=4.0, norm_input=False)
        self.fold, self.pool = sl.FlattenTime(), nn.AvgPool2d(2)
        self.readout, self.unfold, self.out = nn.Linear(128, CLASSES), sl.UnflattenTime(EXAMPLES), sl.IAF()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.fold(self.lif(self.conv(x))))
        self.unfold.batch_size = len(x)
        return self.out(self.unfold(self.readout(y.flatten(1))))


def reshaping() -> Subject:
    net = TimeInAndOut()
    found = subject(net, (2, 8, 8), NT, {"lif": NT, "out": NT}, net.readout, 1.5)
    return replace(found, readout_layout=FLAT)


def converted() -> Subject:
    """A ReLU network that sinabs made spiking: several spikes a step, a floor at -1."""
    ann = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, CLASSES), nn.ReLU()
    )
    randomise(ann, 1.0)
    net = from_model(ann, num_timesteps=STEPS, batch_size=None).spiking_model
    return subject(net, (2, 8, 8), FLAT, {"1": FLAT, "5": FLAT}, net[4], 1.0)


FURTHER = {"reshaping": reshaping, "from_model": converted}


@pytest.mark.parametrize("name", FURTHER)
def test_further_networks(name: str) -> None:
    check(name, FURTHER[name]())


@pytest.mark.parametrize("cell", MATRIX)
def test_spikes_and_predictions_are_those_of_sinabs(cell: str) -> None:
    check(cell, MATRIX[cell]())


def random_neuron(random: Random, count: int, vector: bool, squeezed: bool = False) -> nn.Module:
    """IAF or LIF, squeezed or recurrent, with any of their options."""
    each = count if vector else None
    leaking = random.random() < 0.6
    options = {
        "spike_threshold": spread_of(random, 0.3, 1.5, each),
        "spike_fn": SingleSpike if squeezed else random.choice([MultiSpike, SingleSpike, MaxSpike(2)]),
        "min_v_mem": random.choice([None, -0.5, 0.0]),
        "reset_fn": random.choice([MembraneSubtract(), MembraneReset()]),
    }
    if leaking:
        options |= {"tau_mem": spread_of(random, 2, 10, each), "norm_input": random.random() < 0.5}
        options |= {"train_alphas": random.random() < 0.5}
    if random.random() < 0.4:
        options["tau_syn"] = spread_of(random, 1.5, 6, each if leaking else None)
    if squeezed:
        return (sl.LIFSqueeze if leaking else sl.IAFSqueeze)(num_timesteps=random_networks.STEPS, **options)
    if vector and random.random() < 0.3 and (leaking or "tau_syn" not in options):
        back = nn.Linear(count, count, bias=random.random() < 0.5)
        return (sl.LIFRecurrent if leaking else sl.IAFRecurrent)(rec_connect=back, **options)
    return (sl.LIF if leaking else sl.IAF)(**options)


KITS = {
    "over time": Kit(random_neuron, lambda layers: nn.Sequential(*layers), NT),
    "squeezed": Kit(
        lambda random, count, vector: random_neuron(random, count, vector, squeezed=True),
        lambda layers: nn.Sequential(*layers),
        FLAT,
        pools=(lambda: nn.AvgPool2d(2), lambda: sl.SumPool2d(2), lambda: nn.MaxPool2d(2)),
    ),
}


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("seed", range(5))
def test_random_networks(kit: str, seed: int) -> None:
    check_random(KITS[kit], seed)


def test_the_module_is_left_as_it_was() -> None:
    check_left_alone(MATRIX["cubalif"])


def spread(low: float, high: float, count: int) -> Tensor:
    return torch.linspace(low, high, count)


LAYERS = {
    "IAF": sl.IAF,
    "IAF with a floor": lambda: sl.IAF(min_v_mem=-0.5),
    "IAF, one spike a step": lambda: sl.IAF(spike_fn=SingleSpike),
    "IAF, two spikes a step": lambda: sl.IAF(spike_fn=MaxSpike(2), spike_threshold=torch.tensor(0.3)),
    "IAF, reset to zero": lambda: sl.IAF(reset_fn=MembraneReset()),
    "IAF, current": lambda: sl.IAF(tau_syn=3.0),
    "LIF": lambda: sl.LIF(tau_mem=10.0, spike_threshold=torch.tensor(0.1)),
    "LIF, plain input": lambda: sl.LIF(tau_mem=10.0, norm_input=False, min_v_mem=-0.2),
    "LIF, current": lambda: sl.LIF(tau_mem=10.0, tau_syn=4.0),
    "LIF, current, plain input": lambda: sl.LIF(tau_mem=10.0, tau_syn=4.0, norm_input=False),
    "LIF, per neuron": lambda: sl.LIF(
        tau_mem=spread(3, 9, 5), tau_syn=spread(9, 3, 5), spike_threshold=spread(0.5, 1, 5), train_alphas=True
    ),
    "LIFSqueeze": lambda: sl.LIFSqueeze(tau_mem=5.0, num_timesteps=30, norm_input=False),
    "LIFRecurrent": lambda: sl.LIFRecurrent(
        tau_mem=5.0, tau_syn=3.0, rec_connect=nn.Linear(5, 5, bias=False), norm_input=False
    ),
    "IAFRecurrent": lambda: sl.IAFRecurrent(rec_connect=nn.Linear(5, 5, bias=False)),
    "ExpLeak": lambda: sl.ExpLeak(tau_mem=5.0),
    "ExpLeakSqueeze": lambda: sl.ExpLeakSqueeze(tau_mem=5.0, batch_size=8, norm_input=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_node(name: str) -> None:
    cell = assert_same(ADAPTER, LAYERS[name](), spikes_in((5,)))
    keep("layers", **{name: node_names(cell)})


def test_sum_pool_is_a_node() -> None:
    x = spikes_in((2, 6, 6)).abs()
    (node,) = ADAPTER.cell(sl.SumPool2d((2, 3)), (2, 3, 2), OUT, DT, "pool").sent
    assert node.kernel_size.tolist() == node.stride.tolist() == [2, 3]
    want = sl.SumPool2d((2, 3))(x.flatten(0, 1))
    assert np.allclose(simulate.linear(node, x.flatten(0, 1).double(), "pool").numpy(), want.numpy(), atol=1e-5)


REFUSED = {
    "ALIF has no form on a core": lambda: sl.ALIF(tau_mem=5.0, tau_adapt=5.0),
    "SpikingMaxPooling2dLayer has no form on a core": lambda: sl.SpikingMaxPooling2dLayer((2, 2)),
    "reset_fn is function": lambda: sl.IAF(reset_fn=lambda spikes, state, threshold: state),
    "MembraneReset(0.5): only the threshold is subtracted": lambda: sl.IAF(reset_fn=MembraneReset(0.5)),
    "MembraneSubtract(2): only the threshold is subtracted": lambda: sl.IAF(reset_fn=MembraneSubtract(2.0)),
    "min_v_mem differs between neurons": lambda: sl.IAF(min_v_mem=spread(-1, 0, 5)),
    "spike_fn is Odd": lambda: sl.IAF(spike_fn=type("Odd", (SingleSpike,), {})),
    "ExpLeak with min_v_mem": lambda: sl.ExpLeak(tau_mem=5.0, min_v_mem=-1.0),
    "rec_connect is Identity on neurons of shape (5,)": lambda: sl.LIFRecurrent(tau_mem=5.0, rec_connect=nn.Identity()),
    "IAFRecurrent with tau_syn on a membrane without leak": lambda: sl.IAFRecurrent(
        tau_syn=2.0, rec_connect=nn.Linear(5, 5, bias=False)
    ),
    "SumPool2d with ceil_mode": lambda: sl.SumPool2d(2, ceil_mode=True),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_the_layer_and_what_it_is(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        ADAPTER.cell(REFUSED[text](), (5,), OUT, DT, "net.3")
    assert caught.value.code == "unsupported-neuron"
    assert f"sinabs: {text}" in caught.value.message
    assert caught.value.where == "net.3"
    assert caught.value.hint
    keep("refused", **{text: caught.value.hint})


def test_a_threshold_that_is_subtracted_is_positive() -> None:
    with pytest.raises(SourceError, match="a threshold that is subtracted is not positive") as caught:
        ADAPTER.cell(sl.IAF(spike_threshold=torch.tensor(0.0)), (5,), OUT, DT, "net.3")
    assert caught.value.code == "bad-parameter"


def test_a_maximum_of_counts_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), sl.IAFSqueeze(num_timesteps=4), nn.MaxPool2d(2))
    text = "a maximum or a product of a layer that sends several spikes a step is not supported"
    with pytest.raises(SourceError, match=text) as caught:
        snnhw.compile(net, torch.rand(8, 2, 8, 8), target="loihi2")
    assert caught.value.code == "not-spikes"
    assert caught.value.where == "2: 1"


def test_a_filter_inside_a_network_is_refused_by_place() -> None:
    net = nn.Sequential(nn.Linear(10, 8), sl.ExpLeak(tau_mem=4.0), nn.Linear(8, 3), sl.LIF(tau_mem=5.0))
    with pytest.raises(SourceError, match="must feed one neuron") as caught:
        snnhw.compile(net, torch.rand(2, 5, 10), target="loihi2")
    assert caught.value.code == "filter-place"
    assert caught.value.where == "1 -> 2"


def test_a_filter_before_a_neuron_is_its_current() -> None:
    net = nn.Sequential(nn.Linear(10, 8), sl.ExpLeak(tau_mem=4.0), sl.LIF(tau_mem=5.0, norm_input=False))
    source = load_module(net, (torch.rand(3, 12, 10) < 0.5).float())
    assert isinstance(source.graph.nodes["1"], nir.LI)
    checked = check_import(source, (np.random.default_rng(0).random((3, 12, 10)) < 0.5).astype(float))
    assert (checked.compared, checked.different) == (3 * 12 * 8, 0)


def test_a_membrane_that_resets_is_no_output() -> None:
    with pytest.raises(SourceError, match="a membrane is read as an output"):
        ADAPTER.cell(sl.LIF(tau_mem=5.0), (5,), MEMBRANE, DT, "net.3")


def test_some_neurons_without_leak_are_refused() -> None:
    with pytest.raises(
        SourceError, match="membranes of a layer that do not leak, grow, or change their sign"
    ) as caught:
        ADAPTER.cell(sl.LIF(tau_mem=torch.tensor([3.0, np.inf])), (2,), OUT, DT, "net.3")
    assert caught.value.code == "no-leak"
