"""Norse 1.1.0: networks of the matrix, and what its cells can be told."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import norse.torch as norse
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends.check import check_import
from snnhw.frontends.live.adapter import MEMBRANE, OUT
from snnhw.frontends.live.norse import ADAPTER
from tests.frontends.harness import CLASSES, TN, Subject, check, check_left_alone, keep, randomise
from tests.frontends.leaves import DT, assert_same, node_names, spikes_in
from tests.frontends.random_networks import Kit, check_random
from tests.frontends.random_networks import spread as spread_of

LEAK = 200.0
"""1 / tau_mem in 1/s: with dt = 1 ms a membrane keeps four fifths of itself."""

BOX = norse.LIFBoxParameters(
    tau_mem_inv=torch.tensor(LEAK), v_th=torch.tensor(0.8), v_leak=torch.tensor(0.1), v_reset=torch.tensor(-0.1)
)
SOFT = norse.LIFBoxParameters(
    tau_mem_inv=torch.tensor(LEAK), v_th=torch.tensor(0.25), reset_method=norse.reset_subtract
)
CUBA = norse.LIFParameters(
    tau_mem_inv=torch.tensor(LEAK), tau_syn_inv=torch.tensor(300.0), v_th=torch.tensor(1.6), v_reset=torch.tensor(0.1)
)

QUICK = norse.LIParameters(tau_mem_inv=torch.tensor(300.0), tau_syn_inv=torch.tensor(500.0))
"""Of readouts: their sum over a short sample is to show the sum of their input."""


def subject(
    module: nn.Module, shape: tuple[int, ...], neurons: Mapping[str, str], readout: nn.Module, gain: float = 3.0
) -> Subject:
    """A network with seeded weights; Norse keeps states outside of its modules."""
    randomise(module, gain)
    module.eval()

    def call(x: Tensor) -> Tensor:
        out = module(x)
        return out[0] if isinstance(out, tuple) else out

    return Subject(module, shape, TN, neurons, readout, drive=(-0.2, 0.7), call=call)


def mlp() -> Subject:
    """Cells in a SequentialState, lifted over time."""
    net = norse.Lift(
        norse.SequentialState(
            nn.Linear(24, 32),
            norse.LIFBoxCell(BOX),
            nn.Linear(32, 20),
            norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(4.0), v_reset=torch.tensor(-0.5))),
            nn.Linear(20, CLASSES),
            norse.LIFBoxCell(SOFT),
        )
    )
    cells = dict.fromkeys(("lifted_module.1", "lifted_module.3", "lifted_module.5"), "step")
    return subject(net, (24,), cells, net.lifted_module[4])


def conv(batchnorm: bool = False) -> Subject:
    """Layers of the multi-step kind (time in front), stateless ones lifted."""

    def norm(channels: int) -> list[nn.Module]:
        return [norse.Lift(nn.BatchNorm2d(channels))] if batchnorm else []

    net = norse.SequentialState(
        norse.Lift(nn.Conv2d(2, 8, 3, padding=1, bias=not batchnorm)),
        *norm(8),
        norse.LIF(CUBA),
        norse.Lift(nn.MaxPool2d(2)),
        norse.Lift(nn.Conv2d(8, 12, 3, padding=1)),
        *norm(12),
        norse.IAF(norse.IAFParameters(v_th=torch.tensor(4.0))),
        norse.Lift(nn.AvgPool2d(2)),
        nn.Flatten(2),
        nn.Linear(48, CLASSES),
        norse.LI(QUICK),
    )
    spiking = {str(i): TN for i, layer in enumerate(net) if isinstance(layer, (norse.LIF, norse.IAF))}
    return subject(net, (2, 8, 8), spiking, net[-2], 2.0)


class Residual(nn.Module):
    """A loop over time in forward, states by hand, residual sums."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0, self.lif0 = nn.Linear(24, 24), norse.LIFBoxCell(BOX)
        self.fc1, self.lif1 = nn.Linear(24, 24), norse.LIFBoxCell(BOX)
        self.fc2, self.lif2 = nn.Linear(24, 24), norse.LIFCell(CUBA)
        self.readout, self.out = nn.Linear(24, CLASSES), norse.LIFBoxCell(SOFT)

    def forward(self, x: Tensor) -> Tensor:
        s0 = s1 = s2 = s3 = None
        spikes = []
        for step in range(x.shape[0]):
            z0, s0 = self.lif0(self.fc0(x[step]), s0)
            z1, s1 = self.lif1(self.fc1(z0), s1)
            z1 = z1 + z0
            z2, s2 = self.lif2(self.fc2(z1), s2)
            z3, s3 = self.out(self.readout(torch.add(z2, z1)), s3)
            spikes.append(z3)
        return torch.stack(spikes)


def residual() -> Subject:
    net = Residual()
    return subject(net, (24,), dict.fromkeys(("lif0", "lif1", "lif2", "out"), "step"), net.readout)


def recurrent(multi: bool = False) -> Subject:
    """Recurrent cells with weights of their own, step by step or over time; the second has autapses."""
    kind = norse.LIFRecurrent if multi else norse.LIFRecurrentCell
    layers = norse.SequentialState(
        kind(24, 32, CUBA),
        kind(32, 24, CUBA, autapses=True),
        nn.Linear(24, CLASSES),
        norse.LI(QUICK) if multi else norse.LIFBoxCell(SOFT),
    )
    generator = torch.Generator().manual_seed(3)
    for layer, inputs in ((layers[0], 24), (layers[1], 32)):
        with torch.no_grad():
            weight = torch.randn(layer.input_weights.shape, generator=generator) + 0.3
            layer.input_weights.copy_(weight * 1.5 / inputs**0.5)
            weight = torch.randn(layer.recurrent_weights.shape, generator=generator)
            layer.recurrent_weights.copy_(weight * (1 if layer.autapses else 1 - torch.eye(len(weight))) * 0.15)
    if multi:
        return subject(layers, (24,), {"0": TN, "1": TN}, layers[2])
    cells = dict.fromkeys(("lifted_module.0", "lifted_module.1", "lifted_module.3"), "step")
    return subject(norse.Lift(layers), (24,), cells, layers[2])


def cubalif() -> Subject:
    """Current-based cells, and a leaky integrator as the readout."""
    net = norse.Lift(
        norse.SequentialState(
            nn.Linear(24, 32),
            norse.LIFCell(CUBA),
            nn.Linear(32, 24),
            norse.LIFCell(CUBA),
            nn.Linear(24, CLASSES),
            norse.LICell(QUICK),
        )
    )
    return subject(net, (24,), dict.fromkeys(("lifted_module.1", "lifted_module.3"), "step"), net.lifted_module[4], 2.0)


def per_neuron() -> Subject:
    generator = torch.Generator().manual_seed(5)

    def between(low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    box = norse.LIFBoxParameters(
        tau_mem_inv=between(100, 400, 32), v_th=between(0.6, 1.0, 32), v_leak=between(-0.1, 0.1, 32)
    )
    cuba = norse.LIFParameters(
        tau_mem_inv=between(100, 400, 24), tau_syn_inv=between(200, 500, 24), v_th=between(1.6, 2.4, 24)
    )
    net = norse.Lift(
        norse.SequentialState(
            nn.Linear(24, 32),
            norse.LIFBoxCell(box),
            nn.Linear(32, 24),
            norse.LIFCell(cuba),
            nn.Linear(24, CLASSES),
            norse.LIFBoxCell(SOFT),
        )
    )
    cells = dict.fromkeys(("lifted_module.1", "lifted_module.3", "lifted_module.5"), "step")
    return subject(net, (24,), cells, net.lifted_module[4])


MATRIX = {
    "mlp": mlp,
    "conv": conv,
    "residual": residual,
    "recurrent": recurrent,
    "cubalif": cubalif,
    "per-neuron": per_neuron,
    "batchnorm": lambda: conv(batchnorm=True),
}


def test_recurrent_layers_over_time() -> None:
    check("recurrent over time", recurrent(multi=True))


@pytest.mark.parametrize("cell", MATRIX)
def test_spikes_and_predictions_are_those_of_norse(cell: str) -> None:
    check(cell, MATRIX[cell]())


def random_neuron(random: Random, count: int, vector: bool, over_time: bool) -> nn.Module:
    """A cell, or a layer over time, with any parameters."""
    each = count if vector else None
    kinds = ["lif", "iaf", *(["box"] if not over_time else []), *(["recurrent"] if vector else [])]
    kind = random.choice(kinds)
    tau, leak, floor = spread_of(random, 80, 500, each), spread_of(random, -0.1, 0.15), spread_of(random, -0.2, 0.1)
    if kind == "box":
        reset = random.choice([norse.reset_value, norse.reset_subtract])
        return norse.LIFBoxCell(
            norse.LIFBoxParameters(tau, leak, spread_of(random, 0.2, 0.6, each), floor, reset_method=reset)
        )
    if kind == "iaf":
        p = norse.IAFParameters(v_th=spread_of(random, 0.8, 3, each), v_reset=floor)
        return norse.IAF(p) if over_time else norse.IAFCell(p)
    p = norse.LIFParameters(spread_of(random, 100, 900, each), tau, leak, spread_of(random, 0.3, 1.2, each), floor)
    if kind == "lif":
        return norse.LIF(p) if over_time else norse.LIFCell(p)
    own = norse.LIFRecurrent if over_time else norse.LIFRecurrentCell
    return own(count, count, p, autapses=random.random() < 0.5)


POOLS = (lambda: nn.AvgPool2d(2), lambda: nn.MaxPool2d(2))
KITS = {
    "over time": Kit(
        lambda random, count, vector: random_neuron(random, count, vector, over_time=True),
        lambda layers: norse.SequentialState(*layers),
        TN,
        gain=4.0,
        lift=norse.Lift,
        pools=POOLS,
    ),
    "step by step": Kit(
        lambda random, count, vector: random_neuron(random, count, vector, over_time=False),
        lambda layers: norse.SequentialState(*layers),
        TN,
        gain=4.0,
    ),
}


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("seed", range(5))
def test_random_networks(kit: str, seed: int) -> None:
    check_random(KITS[kit], seed)


def test_the_module_is_left_as_it_was() -> None:
    check_left_alone(MATRIX["cubalif"])


def spread(low: float, high: float, count: int = 5) -> Tensor:
    return torch.linspace(low, high, count)


def box(**changes: object) -> norse.LIFBoxParameters:
    return norse.LIFBoxParameters(**{"v_th": torch.tensor(0.2), "v_leak": torch.tensor(0.05), **changes})


LAYERS = {
    "LIFBoxCell": lambda: norse.LIFBoxCell(box(v_reset=torch.tensor(-0.1))),
    "LIFBoxCell, soft reset": lambda: norse.LIFBoxCell(box(reset_method=norse.reset_subtract)),
    "LIFBoxCell, per neuron": lambda: norse.LIFBoxCell(
        box(tau_mem_inv=spread(50, 300), v_th=spread(0.2, 0.3), v_leak=spread(-0.1, 0.1), v_reset=spread(0.1, -0.1))
    ),
    "LIFBoxCell, dt": lambda: norse.LIFBoxCell(box(), dt=2e-3),
    "LIFCell": lambda: norse.LIFCell(CUBA),
    "LIF": lambda: norse.LIF(CUBA),
    "IAFCell": lambda: norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(4.0), v_reset=torch.tensor(-0.5))),
    "IAF": norse.IAF,
    "LIFRecurrentCell": lambda: norse.LIFRecurrentCell(5, 4, CUBA),
    "LIFRecurrent": lambda: norse.LIFRecurrent(5, 4, CUBA, autapses=True),
    "LICell": lambda: norse.LICell(norse.LIParameters(v_leak=torch.tensor(0.3))),
    "LI": norse.LI,
    "LIBoxCell": lambda: norse.LIBoxCell(norse.LIBoxParameters(v_leak=torch.tensor(0.3))),
    "LILinearCell": lambda: norse.LILinearCell(5, 3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_cell_is_its_node(name: str) -> None:
    cell = assert_same(ADAPTER, LAYERS[name](), spikes_in((5,), gain=2.0))
    keep("layers", **{name: node_names(cell)})


REFUSED = {
    "LIFAdExCell has no form on a core": norse.LIFAdExCell,
    "LSNNCell has no form on a core": norse.LSNNCell,
    "LConv2d has no form on a core": lambda: norse.LConv2d(2, 4, 3),
    "PoissonEncoder has no form on a core": lambda: norse.PoissonEncoder(10),
    "reset_method is function": lambda: norse.LIFBoxCell(box(reset_method=type("function", (), {})())),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_the_cell_and_what_it_is(text: str) -> None:
    layer = REFUSED[text]()
    assert ADAPTER.claims(layer)
    with pytest.raises(SourceError) as caught:
        ADAPTER.cell(layer, (5,), OUT, DT, "net.3")
    assert caught.value.code == "unsupported-neuron"
    assert f"Norse: {text}" in caught.value.message
    assert caught.value.where == "net.3"
    assert caught.value.hint
    keep("refused", **{text: caught.value.hint})


def test_a_membrane_that_resets_is_no_output() -> None:
    with pytest.raises(SourceError, match="a membrane that resets is read"):
        ADAPTER.cell(norse.LIFCell(), (5,), MEMBRANE, DT, "net.3")


def test_a_current_that_does_not_decay_is_refused() -> None:
    cell = norse.LIFCell(norse.LIFParameters(tau_syn_inv=torch.tensor(0.0)))
    with pytest.raises(
        SourceError, match="a synaptic current that does not decay, grows, or changes its sign"
    ) as caught:
        ADAPTER.cell(cell, (5,), OUT, DT, "net.3")
    assert caught.value.code == "no-leak"


def test_a_recurrent_cell_has_neurons_in_one_axis() -> None:
    with pytest.raises(SourceError, match="a cell with weights of its own has neurons in more than one axis") as caught:
        ADAPTER.cell(norse.LIFRecurrentCell(5, 4), (3, 4), OUT, DT, "net.3")
    assert caught.value.code == "bad-shape"


class Loop(nn.Module):
    """A cell called by names, with its state or without."""

    def __init__(self, back: bool) -> None:
        super().__init__()
        self.fc, self.cell, self.back = nn.Linear(5, 5), norse.LIFBoxCell(BOX), back

    def forward(self, x: Tensor) -> Tensor:
        out, state = [], None
        for now in x:
            z, state = self.cell(state=state, input_tensor=self.fc(now)) if self.back else self.cell(self.fc(now))
            out.append(z)
        return torch.stack(out)


def test_a_state_that_is_never_handed_back_is_refused() -> None:
    net = Loop(back=True)
    randomise(net, 3.0)
    found = check_import(snnhw.load_module(net, torch.rand(6, 2, 5)), np.random.default_rng(0).random((4, 6, 5)) * 3)
    assert (found.samples, found.different) == (4, 0)
    assert "silent" not in found.detail
    with pytest.raises(SourceError, match="keeps no state itself is called without it") as caught:
        snnhw.load_module(Loop(back=False), torch.zeros(6, 2, 5))
    assert (caught.value.code, caught.value.where) == ("foreign-state", "cell")
