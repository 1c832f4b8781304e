"""Neuron models against the written equations, run as a plain Python loop on floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from snnhw.errors import SnnhwError
from snnhw.zoo.neurons import IF, LIF, PLIF, IterativeLIF, Neuron
from snnhw.zoo.surrogate import Atan

Loop = Callable[[list[float]], list[float]]


def spikingjelly(update: Callable[[float, float], float], vth: float, reset: float | None) -> Loop:
    """Charge, fire at >=, reset: SpikingJelly's order."""

    def run(xs: list[float]) -> list[float]:
        v, out = reset or 0.0, []
        for x in xs:
            h = update(v, x)
            s = 1.0 if h >= vth else 0.0
            v = h - vth * s if reset is None else (1 - s) * h + s * reset
            out.append(s)
        return out

    return run


def stbp(decay: float, threshold: float) -> Loop:
    """STBP's equation with its lazy reset: u = decay u (1 - o) + x, o = u > threshold."""

    def run(xs: list[float]) -> list[float]:
        u, o, out = 0.0, 0.0, []
        for x in xs:
            u = decay * u * (1 - o) + x
            o = 1.0 if u > threshold else 0.0
            out.append(o)
        return out

    return run


K = 1 / (1 + math.exp(math.log(3.0 - 1.0)))  # 1/tau of PLIF(init_tau=3)
CASES: list[tuple[Neuron, Loop]] = [
    (IF(), spikingjelly(lambda v, x: v + x, 1.0, 0.0)),
    (IF(v_threshold=0.7, v_reset=-0.2), spikingjelly(lambda v, x: v + x, 0.7, -0.2)),
    (IF(v_reset=None), spikingjelly(lambda v, x: v + x, 1.0, None)),
    (LIF(tau=3.0), spikingjelly(lambda v, x: v + (x - v) / 3.0, 1.0, 0.0)),
    (
        LIF(tau=2.0, decay_input=False, v_reset=0.1),
        spikingjelly(lambda v, x: v - (v - 0.1) / 2 + x, 1.0, 0.1),
    ),
    (LIF(tau=2.0, v_reset=-0.5), spikingjelly(lambda v, x: v + (x - (v + 0.5)) / 2, 1.0, -0.5)),
    (LIF(tau=2.5, v_reset=None), spikingjelly(lambda v, x: v + (x - v) / 2.5, 1.0, None)),
    (PLIF(init_tau=3.0), spikingjelly(lambda v, x: v + (x - v) * K, 1.0, 0.0)),
    (PLIF(init_tau=3.0, decay_input=False), spikingjelly(lambda v, x: v - v * K + x, 1.0, 0.0)),
    (IterativeLIF(), stbp(0.2, 0.5)),
    (IterativeLIF(decay=0.25, threshold=0.4), stbp(0.25, 0.4)),
]


@pytest.mark.parametrize(("neuron", "loop"), CASES, ids=lambda c: repr(c) if isinstance(c, Neuron) else "")
def test_spikes_are_those_of_the_written_equation(neuron: Neuron, loop: Loop) -> None:
    x = torch.randn(12, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.4
    found = neuron.double()(x)
    wanted = torch.tensor([loop(column) for column in x.flatten(1).T.tolist()], dtype=torch.float64)
    assert 0.02 < found.mean() < 0.98
    assert torch.equal(found.flatten(1).T, wanted)


@pytest.mark.parametrize("neuron", [c[0] for c in CASES], ids=repr)
def test_training_forward_equals_evaluation_forward(neuron: Neuron, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnhw.zoo.sequence.CHUNK", 10)
    neuron = neuron.float()
    x = torch.randn(9, 4, 8, generator=torch.Generator().manual_seed(2)) + 0.4
    with torch.no_grad():
        wanted = neuron(x)
    assert torch.equal(neuron(x.clone().requires_grad_()), wanted)


def reference(neuron: Neuron, x: Tensor, decay: Tensor, gain: Tensor) -> Tensor:
    """The textbook graph: one autograd operation per arithmetic operation, surrogate as a detached factor."""
    rest, v, out = neuron.v_reset or 0.0, None, []
    for x_t in x.unbind(0):
        h = rest + gain * x_t if v is None else rest + decay * (v - rest) + gain * x_t
        hard = ((h > neuron.v_threshold) if neuron.comparison == "gt" else (h >= neuron.v_threshold)).to(x.dtype)
        soft = h * neuron.surrogate(h.detach() - neuron.v_threshold)
        out.append(hard + soft - soft.detach())
        v = h - neuron.v_threshold * hard if neuron.v_reset is None else h * (1 - hard) + rest * hard
    return torch.stack(out)


@pytest.mark.parametrize("neuron", [c[0] for c in CASES], ids=repr)
def test_gradient_is_that_of_the_textbook_graph(neuron: Neuron, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnhw.zoo.sequence.CHUNK", 5)
    neuron = neuron.double()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(7, 3, 4, generator=generator, dtype=torch.float64) + 0.4
    weight = torch.randn(7, 3, 4, generator=generator, dtype=torch.float64)
    decay, gain = neuron.learnable()
    params = list(neuron.parameters())
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = torch.autograd.grad((neuron(one) * weight).sum(), [one, *params])
    d = torch.tensor(neuron.decay, dtype=torch.float64) if decay is None else decay
    g = torch.tensor(neuron.gain, dtype=torch.float64) if gain is None else gain
    wanted = torch.autograd.grad((reference(neuron, two, d, g) * weight).sum(), [two, *params])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_an_input_expanded_along_time_has_the_gradient_of_the_sum() -> None:
    x = torch.rand(2, 3).requires_grad_()
    neuron = IF(surrogate=Atan())
    (found,) = torch.autograd.grad(neuron(x.expand(4, 2, 3)).sum(), x)
    full = x.detach().expand(4, 2, 3).clone().requires_grad_()
    (wanted,) = torch.autograd.grad(neuron(full).sum(), full)
    torch.testing.assert_close(found, wanted.sum(0))


@pytest.mark.parametrize(
    ("neuron", "numbers"),
    [
        (IF(), (1.0, 1.0, 1.0, 0.0, "ge")),
        (IF(comparison="gt", v_reset=None), (1.0, 1.0, 1.0, None, "gt")),
        (LIF(tau=4.0), (0.75, 0.25, 1.0, 0.0, "ge")),
        (LIF(tau=4.0, decay_input=False), (0.75, 1.0, 1.0, 0.0, "ge")),
        (PLIF(), (0.5, 0.5, 1.0, 0.0, "ge")),
        (IterativeLIF(), (0.2, 1.0, 0.5, 0.0, "gt")),
    ],
)
def test_the_compiler_reads_these_numbers(neuron: Neuron, numbers: tuple[object, ...]) -> None:
    read = (neuron.decay, neuron.gain, neuron.v_threshold, neuron.v_reset, neuron.comparison)
    assert read == numbers


def test_the_numbers_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        IF().decay = 0.5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: LIF(tau=0.5),
            "bad-tau: the time constant cannot be used\n  where: LIF\n  needed: 0.5\n  limit: tau >= 1",
        ),
        (
            lambda: PLIF(init_tau=1.0),
            "bad-tau: the time constant cannot be used\n  where: PLIF\n  needed: 1.0",
        ),
        (
            lambda: IterativeLIF(decay=1.5),
            "bad-decay: the decay factor is out of range\n  where: IterativeLIF",
        ),
        (
            lambda: IF(v_threshold=0.0),
            "bad-threshold: the threshold cannot be used\n  where: IF\n  needed: 0.0",
        ),
        (
            lambda: IF(v_threshold=math.nan),
            "bad-threshold: the threshold cannot be used\n  where: IF\n  needed: nan",
        ),
        (lambda: IF(comparison=">="), "bad-comparison: unknown comparison\n  where: IF\n  needed: '>='"),  # type: ignore[arg-type]
        (
            lambda: IF(detach_reset=False),
            "reset-gradient: gradients through the reset are not there\n  where: IF",
        ),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], Neuron], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        make()
    assert str(caught.value).startswith(text)
