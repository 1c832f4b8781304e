"""First spikes and delayed synapses: the discrete network as a plain loop, gradients as the written formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.spike_times import spike_times
from snnhw.zoo.timed import Constants, Delayed, FirstSpike, impulse_response

A = math.exp(-1 / 5)


def loop(xs: list[float], threshold: float, u_keep: float, v_keep: float, strict: bool) -> list[float]:
    """One neuron, its equations in the order the docstring gives."""
    u = v = 0.0
    done, out = False, []
    for x in xs:
        u = u_keep * u + x
        v = v_keep * v + u
        fires = not done and (v > threshold if strict else v >= threshold)
        done = done or fires
        out.append(float(fires))
    return out


@pytest.mark.parametrize("keeps", [(1.0, 1.0), (A, A), (0.5, 0.9)])
@pytest.mark.parametrize("comparison", ["ge", "gt"])
def test_the_neuron_is_its_equations(keeps: tuple[float, float], comparison: Any) -> None:
    x = torch.randint(-2, 4, (12, 3, 4), generator=torch.Generator().manual_seed(1)).double()
    neuron = FirstSpike(4.0, *keeps, comparison)
    assert (neuron.threshold, neuron.u_keep, neuron.v_keep, neuron.comparison) == (4.0, *keeps, comparison)
    spikes = neuron(x)
    for n in range(3):
        for f in range(4):
            wanted = loop(x[:, n, f].tolist(), 4.0, *keeps, comparison == "gt")
            assert spikes[:, n, f].tolist() == wanted
    assert 0 < spikes.sum() < 12
    assert torch.equal(neuron(x), spikes)  # nothing is kept from call to call


def test_comparison_decides_at_the_threshold() -> None:
    x = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)  # v is 1, 2, 3
    assert FirstSpike(2.0, 1.0, 1.0, "ge")(x).flatten().tolist() == [0, 1, 0]
    assert FirstSpike(2.0, 1.0, 1.0, "gt")(x).flatten().tolist() == [0, 0, 1]


def test_the_response_is_the_alpha_kernel_one_step_early() -> None:
    tau = 7.0
    response = impulse_response(20, FirstSpike(1.0, math.exp(-1 / tau), math.exp(-1 / tau)).constants)
    t = torch.arange(1, 21, dtype=torch.float64)
    eps = (t / tau) * torch.exp(1 - t / tau)
    torch.testing.assert_close(response, tau * math.exp(1 / tau - 1) * eps)
    ramp = impulse_response(20, FirstSpike(1.0, 1.0, 1.0).constants)
    assert ramp.tolist() == list(range(1, 21))


def test_delayed_synapses() -> None:
    torch.manual_seed(0)
    layer = Delayed(3, 2, (0, 2, 9)).double()
    assert layer.weight.shape == (3, 2, 3)
    assert layer.delays == (0, 2, 9)
    x = torch.rand(6, 4, 3, dtype=torch.float64)
    wanted = torch.zeros(6, 4, 2, dtype=torch.float64)
    for t in range(6):
        for k, d in enumerate((0, 2, 9)):
            if t >= d:
                wanted[t] += x[t - d] @ layer.weight[k].detach().T
    torch.testing.assert_close(layer(x), wanted)


# The written formulas, in continuous time -----------------------------------------------------------------------


def crossing(weights: Tensor, arrivals: Tensor, kernel: Callable[[Tensor], Tensor], threshold: float) -> float:
    """First time at which ``sum w kernel(t - arrival)`` reaches the threshold, by scanning and bisection."""

    def v(t: float) -> float:
        return float((weights * kernel(t - arrivals)).sum())

    low = 0.0
    while v(low + 1e-2) < threshold:
        low += 1e-2
        assert low < 100
    high = low + 1e-2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if v(middle) < threshold else (low, middle)
    return high


def differences(weights: Tensor, arrivals: Tensor, kernel: Any, threshold: float) -> tuple[Tensor, Tensor]:
    """d crossing / d weights and / d arrivals by central differences."""
    h = 1e-5
    found = []
    for which in (0, 1):
        rows = []
        for i in range(len(weights)):
            ends = []
            for sign in (1, -1):
                changed = [weights.clone(), arrivals.clone()]
                changed[which][i] += sign * h
                ends.append(crossing(*changed, kernel, threshold))
            rows.append((ends[0] - ends[1]) / (2 * h))
        found.append(torch.tensor(rows, dtype=torch.float64))
    return found[0], found[1]


def ramp(s: Tensor) -> Tensor:
    return s.clamp(min=0)


def alpha(s: Tensor, tau: float = 5.0) -> Tensor:
    return torch.where(s > 0, (s / tau) * torch.exp(1 - s / tau), 0.0)


def alpha_slope(s: Tensor, tau: float = 5.0) -> Tensor:
    return torch.where(s > 0, torch.exp(1 - s / tau) * (1 - s / tau) / tau, 0.0)


WEIGHTS = torch.tensor([0.3, -0.1, 0.5, 0.2], dtype=torch.float64)
ARRIVALS = torch.tensor([0.4, 1.3, 2.2, 60.0], dtype=torch.float64)  # the last comes too late


def relpsp_formula(weights: Tensor, arrivals: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """dt/dw = (t_i - t) / sum_causal w, dt/dt_i = w / sum_causal w."""
    causal = (arrivals < t).double()
    total = (weights * causal).sum()
    return causal * (arrivals - t) / total, causal * weights / total


def test_relpsp_formula_is_the_derivative_of_the_spike_time() -> None:
    t = crossing(WEIGHTS, ARRIVALS, ramp, 1.0)
    causal = t > ARRIVALS
    closed = (1.0 + (WEIGHTS * ARRIVALS)[causal].sum()) / WEIGHTS[causal].sum()
    assert t == pytest.approx(float(closed))
    formula = relpsp_formula(WEIGHTS, ARRIVALS, t)
    for wanted, found in zip(differences(WEIGHTS, ARRIVALS, ramp, 1.0), formula, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


def test_spikeprop_formula_is_the_derivative_of_the_spike_time() -> None:
    """dt/dw = -eps / sum w eps', dt/dt_i = w eps' / sum w eps' (SpikeProp's delta for E = t)."""
    weights = 2 * WEIGHTS
    t = crossing(weights, ARRIVALS, alpha, 0.8)
    total = (weights * alpha_slope(t - ARRIVALS)).sum()
    formula = -alpha(t - ARRIVALS) / total, weights * alpha_slope(t - ARRIVALS) / total
    for wanted, found in zip(differences(weights, ARRIVALS, alpha, 0.8), formula, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


# The implementation against the formulas ------------------------------------------------------------------------


def spikes_at(times: Tensor, steps: int) -> Tensor:
    """Steps ``[N, F]`` to spikes ``[T, N, F]``."""
    return (torch.arange(steps).view(-1, 1, 1) == times).double()


def time_gradient(grad: Tensor, times: Tensor) -> Tensor:
    """dL/dt_i of dL/ds as timed.py defines it: the difference of the gradient at the spike."""
    padded = torch.cat([grad, torch.zeros_like(grad[:1])])
    return padded.gather(0, times[None] + 1)[0] - padded.gather(0, times[None])[0]


def test_relpsp_layer_has_the_gradient_of_the_formula() -> None:
    torch.manual_seed(3)
    layer, neuron = nn.Linear(6, 4, bias=False).double(), FirstSpike(1.0, 1.0, 1.0, slope_floor=1e-9)
    nn.init.uniform_(layer.weight, -0.05, 0.2)
    times = torch.randint(0, 10, (5, 6))
    s = spikes_at(times, 32).requires_grad_()
    found = spike_times(neuron(PerStep(layer)(s)))
    assert found.max() < 32
    scale = torch.rand_like(found)
    (scale * found).sum().backward()
    in_weights, in_times = torch.zeros(4, 6, dtype=torch.float64), torch.zeros(5, 6, dtype=torch.float64)
    for n in range(5):
        for j in range(4):
            at = found[n, j].item() + 1  # step f ends at f + 1, where the ramps reach the threshold
            dw, dt = relpsp_formula(layer.weight[j].detach(), times[n].double(), at)
            in_weights[j] += scale[n, j] * dw
            in_times[n] += scale[n, j] * dt
    torch.testing.assert_close(layer.weight.grad, in_weights)
    assert s.grad is not None
    torch.testing.assert_close(time_gradient(s.grad, times), in_times)


@pytest.mark.parametrize("u_keep", [A, 0.6])
def test_delayed_srm_layer_has_the_gradient_of_the_formula(u_keep: float) -> None:
    """SpikeProp's formula; the slope of the response is that of straight lines between steps."""
    torch.manual_seed(4)
    delays = (0, 1, 4)
    layer, neuron = Delayed(3, 2, delays).double(), FirstSpike(1.0, u_keep, A, slope_floor=1e-9)
    nn.init.uniform_(layer.weight, -0.1, 0.5)
    times = torch.randint(0, 6, (5, 3))
    s = spikes_at(times, 20).requires_grad_()
    found = spike_times(neuron(layer(s)))
    assert found.max() < 20
    scale = torch.rand_like(found)
    (scale * found).sum().backward()
    k = [0.0, *impulse_response(20, neuron.constants).tolist()]  # k[n + 1]: n steps after the current; k[0]: before
    in_weights, in_times = torch.zeros_like(layer.weight), torch.zeros(5, 3, dtype=torch.float64)
    for n in range(5):
        for j in range(2):
            w = layer.weight[:, j].detach()
            ages = found[n, j].long() - times[n] - torch.tensor(delays)[:, None]
            eps = torch.tensor([[k[max(a + 1, 0)] for a in row] for row in ages.tolist()]).double()
            slope = eps - torch.tensor([[k[max(a, 0)] for a in row] for row in ages.tolist()]).double()
            total = (w * slope).sum()
            in_weights[:, j] -= scale[n, j] * eps / total
            in_times[n] += scale[n, j] * (w * slope).sum(0) / total
    torch.testing.assert_close(layer.weight.grad, in_weights.detach())
    assert s.grad is not None
    torch.testing.assert_close(time_gradient(s.grad, times), in_times)


def straight(ages: Tensor, c: Constants) -> Tensor:
    """Response after ``ages`` (continuous, differentiable): straight lines through its values at steps, 0 before."""
    table = torch.cat([torch.zeros(1, dtype=torch.float64), impulse_response(64, c)])
    behind = (ages.detach() + 1).ceil().clamp(min=1).long()
    late = (ages > -1).double()
    return late * (table[behind] + (ages + 1 - behind) * (table[behind] - table[behind - 1]))


def crossing_of(weights: Tensor, arrivals: Tensor, at: float, c: Constants) -> Tensor:
    """Spike time ``at`` with its derivatives by weights and arrivals: one Newton step from a crossing is exact."""
    now = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    v = (weights * straight(now - arrivals, c)).sum()
    (slope,) = torch.autograd.grad(v, now, retain_graph=True)
    v = (weights * straight(at - arrivals, c)).sum()
    return at - (v - v.detach()) / slope.detach()


@pytest.mark.parametrize("keep", [1.0, A])
def test_a_network_has_the_gradient_of_its_continuous_spike_times(keep: float) -> None:
    torch.manual_seed(5)
    delays = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    layers = [Delayed(3, 4, (1, 3)).double(), Delayed(4, 2, (1, 3)).double()]
    neuron = FirstSpike(1.0, keep, keep, slope_floor=1e-9)
    for layer in layers:
        nn.init.uniform_(layer.weight, -0.05, 0.4)
    times = torch.tensor([[0, 2, 5]])
    hidden = neuron(layers[0](spikes_at(times, 40)))
    out = spike_times(neuron(layers[1](hidden)))
    at = [spike_times(hidden.detach())[0].tolist(), out[0].tolist()]
    assert max(at[0] + at[1]) < 40
    (out[0, 0] ** 2 + 3 * out[0, 1]).backward()
    weights = [layer.weight.detach().clone().requires_grad_() for layer in layers]
    arrivals = times[0].double()
    for w, steps in zip(weights, at, strict=True):
        arrivals = torch.stack(
            [crossing_of(w[:, j], arrivals + delays, f, neuron.constants) for j, f in enumerate(steps)]
        )
    (arrivals[0] ** 2 + 3 * arrivals[1]).backward()
    for layer, w in zip(layers, weights, strict=True):
        assert w.grad is not None
        assert w.grad.abs().max() > 0
        torch.testing.assert_close(layer.weight.grad, w.grad)


# Where there is no derivative -----------------------------------------------------------------------------------


def test_small_slopes_count_as_the_floor() -> None:
    x = torch.tensor([0.99, -0.98, 0.0, 0.0], dtype=torch.float64).view(4, 1, 1)  # v: .99, 1.0, 1.01, ...
    for floor, slope in ((1e-3, 0.01), (0.1, 0.1)):
        leaf = x.clone().requires_grad_()
        spike_times(FirstSpike(1.0, 1.0, 1.0, slope_floor=floor)(leaf)).sum().backward()
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad.flatten(), -torch.tensor([2.0, 1.0, 0.0, 0.0]).double() / slope)


def test_silent_neurons_are_revived() -> None:
    """Pushed up before their highest potential where an earlier spike lowers the loss, or where the batch is silent."""
    x = torch.zeros(5, 2, 2, dtype=torch.float64)
    x[:, :, 0] = torch.tensor([0.5, -0.2, -0.6, 0.0, 0.0]).double()[:, None]  # v: .5 .8 .5 .2 -.1
    x[0, 1, 0] = 2.0  # neuron 0 spikes in sample 1, neuron 1 never does

    def gradient(sign: float, revival: float) -> Tensor:
        leaf = x.clone().requires_grad_()
        neuron = FirstSpike(1.0, 1.0, 1.0, revival=revival)
        (sign * spike_times(neuron(leaf))[0]).sum().backward()
        assert leaf.grad is not None
        return leaf.grad[:, 0]

    assert gradient(1.0, 0.0)[:, 0].tolist() == [-2, -1, 0, 0, 0]  # the loss wants it earlier
    assert gradient(-1.0, 0.4).abs()[:, 0].sum() == 0  # it wants it later, and another sample makes it spike
    assert gradient(-1.0, 0.4)[:, 1].tolist() == [-0.2, 0, 0, 0, 0]  # dead in the whole batch of two


def test_a_dead_network_learns_to_spike() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(PerStep(nn.Linear(4, 3, bias=False)), FirstSpike(1.0, 1.0, 1.0))
    nn.init.constant_(net[0][0].weight, -0.01)
    x = spikes_at(torch.randint(0, 4, (6, 4)), 16).float()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    assert net(x).sum() == 0
    for _ in range(30):
        optimizer.zero_grad()
        (spike_times(net(x)) - 9.0).square().mean().backward()
        optimizer.step()
    assert (spike_times(net(x)) - 9.0).abs().max() <= 2


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FirstSpike(1.0, 1.0, 1.0, "eq"), "bad-comparison: unknown comparison\n  where: FirstSpike"),  # type: ignore[arg-type]
        (lambda: FirstSpike(0.0, 1.0, 1.0), "bad-threshold: the threshold of a first spike cannot be used"),
        (lambda: FirstSpike(math.nan, 1.0, 1.0), "bad-threshold: the threshold of a first spike cannot be used"),
        (lambda: FirstSpike(1.0, 0.0, 1.0), "bad-decay: the keep factors are out of range\n  where: FirstSpike"),
        (lambda: FirstSpike(1.0, 1.0, 1.5), "bad-decay: the keep factors are out of range\n  where: FirstSpike"),
        (
            lambda: FirstSpike(1.0, 1.0, 1.0, slope_floor=0.0),
            "bad-training: the guards of the gradient cannot be used\n  where: FirstSpike\n  needed: (0.0, 0.1)",
        ),
        (lambda: Delayed(1, 1, ()), "bad-delays: the delays of a connection cannot be used\n  where: Delayed(delays=)"),
        (lambda: Delayed(1, 1, (1, -2)), "bad-delays: the delays of a connection cannot be used"),
        (lambda: Delayed(1, 1, (1.5,)), "bad-delays: the delays of a connection cannot be used"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        make()
    assert str(caught.value).startswith(text)
