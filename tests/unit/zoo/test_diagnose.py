"""Health of spiking layers: networks whose dead neurons, saturated neurons and gradients are known by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from snnhw.zoo.containers import PerStep
from snnhw.zoo.diagnose import Health, LayerHealth, diagnose
from snnhw.zoo.neurons import IF
from snnhw.zoo.residual import neuron_maker
from snnhw.zoo.sew import SewBlock
from snnhw.zoo.spiking_resnet import SpikingBlock
from snnhw.zoo.timed import FirstSpike


def linear(weight: Tensor) -> PerStep:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data.copy_(weight)
    return PerStep(layer)


def chain(layers: int, weight: float, slope: float) -> nn.Sequential:
    """One neuron a layer whose surrogate is the same slope everywhere; a layer's factor is weight times slope."""
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [linear(torch.tensor([[weight]])), IF(surrogate=lambda x: torch.full_like(x, slope))]
    return nn.Sequential(*parts)


def summed(output: Tensor) -> Tensor:
    return output.sum()


def test_rates_dead_and_saturated_neurons() -> None:
    """Currents at each of 4 steps: 1 (fires always), 0.5 (every second step), 0 (never), 1 in one of two samples."""
    currents = torch.tensor([[1.0, 0.5, 0.0, 1.0], [1.0, 0.5, 0.0, 0.0]])
    layer = diagnose(nn.Sequential(linear(torch.eye(4)), IF()), currents.expand(4, 2, 4), summed).layers[0]
    assert (layer.dead, layer.saturated) == (0.25, 0.25)
    assert layer.rate == pytest.approx((8 + 4 + 0 + 4) / 32)


def test_a_place_is_one_neuron_in_all_samples() -> None:
    """Dead and saturated look at a neuron over the whole batch, channels and places apart."""
    x = torch.zeros(2, 3, 2, 2, 2)
    x[:, :, 0, 0, 0] = 1.0
    x[0, 0, 1] = 1.0
    layer = diagnose(IF(), x, lambda out: out.sum()).layers[0]
    assert (layer.dead, layer.saturated) == (3 / 8, 1 / 8)


@pytest.mark.parametrize(
    ("weight", "slope", "trend"), [(1.0, 0.05, "vanishing"), (1.0, 1.0, "steady"), (2.0, 10.0, "exploding")]
)
def test_gradients_through_a_chain(weight: float, slope: float, trend: str) -> None:
    health = diagnose(chain(5, weight, slope), torch.ones(1, 1, 1), summed)
    assert health.ratios() == pytest.approx((weight * slope,) * 4)
    assert health.reach == pytest.approx((weight * slope) ** 4)
    assert health.trend == trend
    assert health.layers[-1].input_gradient == pytest.approx(slope)
    assert any(line.startswith(f"gradients are {trend}") for line in health.warnings()) == (trend != "steady")


def test_a_gradient_cut_halfway_has_vanished() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach()

    health = diagnose(nn.Sequential(chain(2, 1.0, 1.0), Cut(), chain(2, 1.0, 1.0)), torch.ones(1, 1, 1), summed)
    assert [layer.input_gradient for layer in health.layers] == [0.0, 0.0, 1.0, 1.0]
    assert (health.reach, health.trend) == (0.0, "vanishing")
    assert math.isnan(health.ratios()[0])


def test_norms_equal_those_of_a_plain_backward() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(linear(torch.randn(5, 3)), IF(), linear(torch.randn(2, 5)), IF())
    x = torch.rand(4, 7, 3)
    health = diagnose(model, x, lambda out: out.mean(0).square().sum())
    current = model[0](x).detach().requires_grad_()
    model[3](model[2](model[1](current))).mean(0).square().sum().backward()
    assert current.grad is not None
    assert health.layers[0].input_gradient == pytest.approx(float(current.grad.norm()))
    model.zero_grad()
    model(x).mean(0).square().sum().backward()
    for index, layer in ((0, health.layers[0]), (2, health.layers[1])):
        assert layer.weight_gradient == pytest.approx(float(model[index][0].weight.grad.norm()))


def test_weights_belong_to_the_next_spiking_layer_that_runs() -> None:
    """SEW's shortcut has its neuron; Spiking ResNet's convolution and shortcut meet in one."""
    x = torch.rand(2, 3, 2, 4, 4).round()
    sew = nn.Sequential(SewBlock(2, 3, 2, neuron_maker("if")))
    assert [layer.layer for layer in diagnose(sew, x, summed).layers] == ["0.if1", "0.if2", "0.shortcut.neuron"]
    spiking = SpikingBlock(2, 3, 2, neuron_maker("if"))
    health = diagnose(spiking.eval(), x, lambda out: out.square().sum())
    spiking.train()(x).square().sum().backward()
    both = [spiking.conv2.conv.weight.grad, spiking.shortcut.conv.weight.grad]  # type: ignore[union-attr]
    assert health.layers[1].weight_gradient == pytest.approx(math.hypot(*(float(g.norm()) for g in both)), rel=1e-5)


def test_nothing_is_left_behind() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(PerStep(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)), IF())
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first = diagnose(model, torch.rand(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1)), summed)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.layers[0].rate > 0
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_probe_that_fails_leaves_nothing_either() -> None:
    model = nn.Sequential(PerStep(nn.Linear(2, 2)), IF()).eval()
    with pytest.raises(ZeroDivisionError):
        diagnose(model, torch.rand(1, 1, 2), lambda out: out.sum() / (1 // 0))
    assert not model[1].training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_cut_gradients_of_temporal_codes_are_counted() -> None:
    """Ramps of slope 1 and 0.05 at a threshold of 1: the second rises below the floor of 0.1 thresholds a step."""
    x = torch.zeros(30, 1, 3)
    x[0, 0] = torch.tensor([1.0, 0.05, 0.0])
    health = diagnose(FirstSpike(1.0, 1.0, 1.0), x, summed)
    assert health.layers[0].flat == 0.5
    assert health.layers[0].dead == pytest.approx(1 / 3)
    assert health.warnings() == (": 50% of the spikes rise too slowly for their gradient",)
    assert diagnose(IF(), x, summed).layers[0].flat is None


def test_networks_without_spikes_or_gradients() -> None:
    empty = diagnose(nn.Sequential(PerStep(nn.Linear(2, 2)), nn.ReLU()), torch.ones(1, 1, 2), summed)
    assert empty.layers == ()
    assert empty.warnings() == ("the network has no spiking layers",)
    cut = diagnose(IF(), torch.ones(1, 1, 2), lambda out: out.detach().sum())
    assert cut.layers[0].input_gradient == 0.0
    assert cut.layers[0].weight_gradient is None
    assert cut.trend == "absent"
    assert cut.warnings()[-1] == "no gradient reaches the first and the last layer"


def test_the_history_form_keeps_everything() -> None:
    layers = (LayerHealth("a", 0.1, 0.6, 0.0, 1e-6, 0.3), LayerHealth("b", 0.9, 0.0, 0.5, 1.0, None, 0.2))
    health = Health(layers, 2.5)
    assert health.columns()["dead"] == [0.6, 0.0]
    assert Health.of_columns({"epoch": 3, **health.columns()}) == health
    assert health.warnings() == (
        "a: 60% of the neurons are dead",
        "b: 50% of the neurons are saturated",
        "gradients are vanishing: first layer / last layer = 1.0e-06",
    )
