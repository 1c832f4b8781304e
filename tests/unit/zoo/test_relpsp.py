"""The ReL-PSP network: closed form of its spike times, learning, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.zoo.registry import RECIPES, build
from snnhw.zoo.relpsp import RelPsp
from snnhw.zoo.spike_times import spike_times
from snnhw.zoo.timed import FirstSpike
from snnhw.zoo.train import train


def closed_form(weights: list[float], times: list[int]) -> float:
    """``(1 + sum w t) / sum w`` of the first causal set that agrees with it; infinite where V never gets there."""
    for last in sorted(set(times)):
        causal = [(w, t) for w, t in zip(weights, times, strict=True) if t <= last]
        later = min((t for t in times if t > last), default=math.inf)
        total = sum(w for w, _ in causal)
        if total > 0:
            t = (1 + sum(w * t for w, t in causal)) / total
            if last < t <= later:
                return t
    return math.inf


def test_spikes_are_the_closed_form_rounded_up_less_one_step() -> None:
    torch.manual_seed(0)
    net = RelPsp(inputs=5, hidden=(8,), classes=3).double()
    layer, neurons = net.layers.fc1, net.layers.neurons1
    assert isinstance(neurons, FirstSpike)
    torch.nn.init.uniform_(layer[0].weight, -0.1, 0.15)  # type: ignore[index, union-attr, arg-type]
    times = torch.randint(0, 8, (10, 5))
    x = (torch.arange(24).view(-1, 1, 1) == times).double()
    found = spike_times(neurons(layer(x)))
    wanted = [
        [min(math.ceil(closed_form(w, row) - 1e-9) - 1 if closed_form(w, row) < math.inf else 24, 24) for w in weights]
        for row in times.tolist()
        for weights in [layer[0].weight.tolist()]  # type: ignore[index, union-attr]
    ]
    assert found.tolist() == wanted
    assert 0 < int((found == 24).sum()) < 60  # a neuron does not always fire, whatever the paper hopes


def test_it_reads_images_and_answers_with_one_spike_a_class() -> None:
    net = RelPsp(inputs=16, hidden=(7, 6), classes=4)
    out = net(torch.rand(12, 3, 1, 4, 4))
    assert out.shape == (12, 3, 4)
    assert out.sum(0).max() <= 1
    assert list(net.state_dict()) == ["layers.fc1.0.weight", "layers.fc2.0.weight", "layers.fc3.0.weight"]


def test_training_learns_digits(tmp_path: Path) -> None:
    recipe = replace(RECIPES["relpsp_digits"], epochs=4)
    metrics = train(recipe, tmp_path / "m.pt", log=lambda _: None)["metrics"]
    assert metrics["test_accuracy"] > 0.8


@pytest.mark.parametrize("config", [{"hidden": [0]}, {"reach": 0.0}])
def test_wrong_networks_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(SnnhwError, match="bad-network: the ReL-PSP network cannot be built\n  where: RelPsp"):
        build("relpsp", config)
