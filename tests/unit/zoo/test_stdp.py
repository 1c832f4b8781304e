"""STDP: the rule on numbers worked out by hand, the groups, training that resumes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.zoo import checkpoint
from snnhw.zoo.competition import Competing, StdpNet
from snnhw.zoo.datasets import dataset_of
from snnhw.zoo.evaluate import accuracy
from snnhw.zoo.registry import RECIPES
from snnhw.zoo.stdp import Plasticity, assign, learn
from snnhw.zoo.train import train

EXAMPLES = Path(__file__).parents[3] / "examples"
SMOKE = "stdp_digits_smoke"


def quiet(_: str) -> None:
    """Takes a log line and drops it."""


def test_a_spike_inhibits_the_others_one_step_later() -> None:
    layer = Competing(3, keep=0.5, inhibition=2.0)
    x = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.5], [0.0, 4.0, 3.0]])[:, None]
    # Step 1: 0.25 + 0.5 - 2 and 1.5 - 2; step 2: 4 - 0.625 and 3 - 0.25, nobody having spiked before.
    assert layer(x)[:, 0].tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    layer.thresholds.copy_(torch.tensor([1.0, 3.4, 1.0]))
    assert layer(x)[2, 0].tolist() == [0.0, 0.0, 1.0]
    assert torch.equal(layer.inhibiting(), torch.tensor([[0, -2, -2], [-2, 0, -2], [-2, -2, 0]], dtype=torch.float64))


def test_the_winner_learns_and_its_threshold_rises() -> None:
    model = StdpNet(inputs=2, neurons=2, classes=2, keep=1.0, threshold=1.0)
    model.weight.copy_(torch.tensor([[1.5, 0.5], [0.5, 1.5]]))
    learn(model, torch.tensor([[1.0, 0.0]]), 0.5, 1.0, Plasticity(trace=0.5, rise=0.25, decay=0.0))
    assert model.weight.tolist() == [[pytest.approx(2 * 2 / 2.5), pytest.approx(0.5 * 2 / 2.5)], [0.5, 1.5]]
    assert model.neurons.thresholds.tolist() == [1.25, 1.0]
    learn(model, torch.tensor([[0.0, 0.0]]), 0.5, 0.5, Plasticity(decay=0.2))
    assert model.neurons.thresholds.tolist() == [pytest.approx(1.225), 1.0]


def test_two_spikes_of_a_step_teach_one_neuron_and_tire_both() -> None:
    model = StdpNet(inputs=1, neurons=2, classes=2, total=2.0)
    model.neurons.thresholds.copy_(torch.tensor([1.5, 1.2]))
    before = model.weight.clone()
    learn(model, torch.tensor([[1.0]]), 0.5, 1.0, Plasticity(rise=0.1, decay=0.0))
    assert torch.equal(model.weight, before), "one synapse: the sum of the weights is its weight"
    assert model.neurons.thresholds.tolist() == [pytest.approx(1.6), pytest.approx(1.3)]


def test_learning_runs_the_network_that_is_deployed() -> None:
    """Without learning, the spikes by which thresholds rise (by next to nothing) are those of forward."""
    torch.manual_seed(0)
    model = StdpNet(inputs=16, neurons=12, inhibition=0.3)
    x = (torch.rand(20, 16) < 0.4).float()
    spikes = model.responses(x[:, None])[:, 0].sum(0)
    assert spikes.sum() > 20
    learn(model, x, 0.0, 1.0, Plasticity(rise=2.0**-20, decay=0.0))
    assert torch.equal((model.neurons.thresholds - 1) * 2**20, spikes)


def test_groups_by_the_mean_response_to_a_class() -> None:
    responses = torch.tensor([[4.0, 0, 1, 0], [4, 0, 1, 0], [4, 3, 1, 0], [3, 9, 1, 0]])
    y = torch.tensor([0, 0, 0, 2])
    assert assign(responses, y, 3).tolist() == [[0.5, 0, 0.5, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_training_learns_and_resumes_bit_by_bit(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    logged: list[dict[str, float]] = []
    split = dataset_of("digits")
    data = replace(split, x_train=split.x_train[:400], y_train=split.y_train[:400])
    whole = train(SMOKE, tmp_path / "whole.pt", data, log=quiet, logger=lambda row, step: logged.append(row))
    train(SMOKE, tmp_path / "half.pt", data, epochs=1, log=quiet)
    resumed = train(SMOKE, tmp_path / "half.pt", data, resume=True, log=quiet)
    assert resumed["history"] == whole["history"]
    for key, value in whole["model"].items():
        assert torch.equal(value, resumed["model"][key]), key
    assert whole["metrics"]["test_accuracy"] > 0.5
    assert [row["lr"] for row in logged] == [pytest.approx(0.05 * 0.505), pytest.approx(0.05 * 0.01)]
    model, _ = checkpoint.load_model(tmp_path / "whole.pt")
    assert isinstance(model, StdpNet)
    assert torch.allclose(model.weight.sum(1), torch.tensor(2.0), atol=1e-4)
    assert (model.weight >= 0).all()
    state = torch.load(tmp_path / "half.pt.resume", weights_only=True)
    state["model"]["neurons.thresholds"][0] = float("nan")
    checkpoint.write(tmp_path / "half.pt.resume", state)
    with pytest.raises(SnnhwError, match=r"bad-resume: .*\n.*\n.* it holds numbers that are not finite"):
        train(SMOKE, tmp_path / "half.pt", data, resume=True, log=quiet)


def test_the_shipped_checkpoint_classifies() -> None:
    pytest.importorskip("sklearn")
    model, content = checkpoint.load_model(EXAMPLES / "stdp_digits.pt")
    recipe = RECIPES["stdp_digits"]
    assert content["network"] == {"kind": recipe.kind, "config": recipe.config}
    data = dataset_of("digits")
    found = accuracy(model, data.x_test, data.y_test, encoding="bernoulli", steps=32, readout="mean")
    assert found == content["metrics"]["test_accuracy"]
    assert found >= 0.9
    thresholds = model.neurons.thresholds
    assert len(thresholds.unique()) > 150, "one of each neuron's own"


def test_what_stdp_does_not_train(tmp_path: Path) -> None:
    with pytest.raises(SnnhwError) as caught:
        train(SMOKE, tmp_path / "m.pt", log=quiet, health=lambda _: None)
    assert str(caught.value) == (
        "no-gradients: the recipe learns by STDP, without the gradients that the health of a training is about\n"
        "  where: stdp_digits_smoke\n  needed: health\n"
        "  hint: leave --health out; the checkpoint's history has the accuracies"
    )
    with pytest.raises(SnnhwError) as caught:
        train(replace(RECIPES["stbp_scnn_smoke"], optimizer="stdp"), tmp_path / "m.pt", log=quiet)
    assert str(caught.value).startswith(
        "not-for-stdp: STDP trains one layer of competing neurons, and the recipe has another network\n"
        "  where: stbp_scnn_smoke\n  needed: kind 'stbp_scnn'\n  limit: kind 'stdp_net'\n"
    )
    with pytest.raises(SnnhwError, match="bad-network: the competing neurons cannot be built\n  where: Competing"):
        Competing(0)
    with pytest.raises(SnnhwError, match="bad-network: the STDP network cannot be built\n  where: StdpNet"):
        StdpNet(total=0.0)
