"""ReLU networks as sources: from a module or an ONNX file to integers on the chip."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw.errors import SnnhwError
from snnhw.frontends.ann import MOST_SAMPLES, convert_source
from snnhw.network import Array
from snnhw.zoo.ann import AnnCnn

EXAMPLES = Path(__file__).parents[3] / "examples"


def network() -> nn.Module:
    torch.manual_seed(0)
    ann = AnnCnn(channels=(4, 6), blocks=(1, 0), classes=3)
    for _ in range(20):
        ann(torch.rand(32, 1, 8, 8))
    return ann.eval()


def samples(count: int = 24, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def test_a_module_becomes_a_source_that_compiles() -> None:
    x = samples()
    source = convert_source(network(), x, 16)
    assert source.deployment.steps == 16
    assert (source.deployment.encoding, source.deployment.readout) == ("direct", "mean")
    assert source.deployment.preprocessing == "uint8/255"
    assert source.origin["conversion"] == {"reset": "subtract", "percentile": 99.5}
    assert source.calibration is not None
    assert source.calibration.shape == x.shape
    artifact = snnhw.compile(source, target="loihi2")
    assert {check["stage"]: check["status"] for check in artifact.checks[:2]} == {
        "source = NIR": "equal",
        "NIR = lowered": "equal",
    }
    for name in ("relu1", "block1_1_relu1", "block1_1_relu2", "relu2"):
        model = artifact.network[name].model
        assert model.v_init == pytest.approx(float(np.min(model.vth)) / 2, abs=1), "membranes start half way"
        assert str(model.reset) == "subtract"


def test_engines_agree_and_integers_follow_the_float_network() -> None:
    x = samples(40)
    source = convert_source(network(), x, 16)
    artifact = snnhw.compile(source, target="loihi2")
    fast, reference = (snnhw.run(artifact, x[:6], engine=engine)["predictions"] for engine in ("fast", "reference"))
    assert np.array_equal(fast, reference)
    real = torch.tensor(x, dtype=torch.float64)[None].expand(16, -1, -1, -1, -1) / 255.0
    assert source.module is not None
    with torch.no_grad():
        wanted = source.module(real).mean(0).argmax(1).numpy()
    assert np.mean(snnhw.run(artifact, x, engine="fast")["predictions"] == wanted) >= 0.8


def test_float_samples_keep_their_own_range() -> None:
    x = (samples().astype(np.float64) / 255.0 - 0.3) / 0.5
    source = convert_source(network(), x, 4)
    assert source.deployment.preprocessing == "none"
    artifact = snnhw.compile(source, target="loihi2")
    assert artifact.inputs[0].low == -127


def test_hard_reset_starts_at_zero_so_that_stock_neurons_take_it() -> None:
    source = convert_source(network(), samples(), 8, reset="zero", percentile=99.0)
    artifact = snnhw.compile(source, target="loihi1")
    assert all(p.model.v_init == 0 for p in artifact.network.computed)
    with pytest.raises(SnnhwError, match="unsupported-neuron: target loihi1"):
        snnhw.compile(convert_source(network(), samples(), 8), target="loihi1")


def test_of_many_samples_an_even_choice_sets_the_thresholds() -> None:
    x = samples(2 * MOST_SAMPLES)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 2))
    chosen = x[np.linspace(0, len(x) - 1, MOST_SAMPLES).astype(int)]
    many, few = (convert_source(ann, part, 4).module for part in (x, chosen))
    assert many is not None
    assert few is not None
    assert many.scales == few.scales


def test_an_onnx_file_becomes_the_source_its_module_becomes(tmp_path: Path) -> None:
    ann, path = network(), tmp_path / "ann.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated, and needs nothing else installed
        torch.onnx.export(ann, (torch.rand(1, 1, 8, 8),), str(path), dynamo=False)
    file, live = (convert_source(given, samples(), 8) for given in (path, ann))
    assert file.origin["file"] == "ann.onnx"
    assert len(file.origin["sha256"]) == 64
    assert file.module is not None
    assert live.module is not None
    assert list(file.module.scales.values()) == pytest.approx(list(live.module.scales.values()), rel=1e-5)
    x = torch.rand(1, 5, 1, 8, 8, dtype=torch.float64).expand(8, -1, -1, -1, -1)
    have, want = file.module(x).mean(0), live.module(x).mean(0)
    assert float((have - want).detach().abs().max()) < 0.2 * float(want.detach().std())


@pytest.mark.parametrize(
    "bad",
    [np.zeros((0, 1, 8, 8)), np.zeros(4), np.array([["a", "b"]]), np.full((2, 1, 8, 8), np.nan)],
)
def test_samples_that_cannot_be_used_are_refused(bad: Array) -> None:
    with pytest.raises(SnnhwError, match="needs-calibration: converting a ReLU network needs training samples"):
        convert_source(network(), bad, 8)


def test_the_shipped_onnx_file_is_the_shipped_checkpoint_s_network() -> None:
    with np.load(EXAMPLES / "fashion_mnist_500.npz") as file:
        x, y = file["x"][:100], file["y"][:100]
    with np.load(EXAMPLES / "fashion_mnist_calibration.npz") as file:
        source = convert_source(EXAMPLES / "ann_cnn.onnx", file["x"], 32)
    shipped = snnhw.frontends.load_source(EXAMPLES / "ann_cnn.pt")
    real = (torch.tensor(x, dtype=torch.float64) / 255.0)[None].expand(32, -1, -1, -1, -1)
    assert source.module is not None
    assert shipped.module is not None
    with torch.no_grad():
        ours, theirs = (module(real).mean(0).argmax(1).numpy() for module in (source.module, shipped.module))
    assert np.mean(ours == y) > 0.8
    assert np.mean(ours == theirs) > 0.9


CAPPED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], float]] = {
    "ReLU6": (nn.functional.relu6, 6.0),
    "Hardtanh": (nn.Hardtanh(0.0, 1.0), 1.0),
    "clamp": (lambda x: x.clamp(0, 1), 1.0),
    "clamp, by name": (lambda x: torch.clamp(x, min=0.0, max=2.0), 2.0),
}


class Capped(nn.Module):
    """Many of its activations are above the maximum."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], residual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.function = nn.Linear(64, 12), nn.Linear(12, 3), function
        self.residual = nn.Linear(64, 12) if residual else None
        with torch.no_grad():
            self.a.weight.mul_(30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        y = self.function(self.a(x))
        return self.b(y if self.residual is None else y + torch.relu(30 * self.residual(x)))


@pytest.mark.parametrize("name", CAPPED)
def test_a_relu_with_a_maximum_saturates_as_a_rate_does(name: str) -> None:
    function, top = CAPPED[name]
    x, net = samples(), Capped(function).eval()
    with torch.no_grad():
        hidden = net.a(torch.tensor(x / 255.0, dtype=torch.float32).flatten(1))
        want = net(torch.tensor(x / 255.0, dtype=torch.float32)).numpy()
    assert (hidden > top).float().mean() > 0.1, "the maximum matters"
    errors = []
    for steps in (32, 256):
        found = snnhw.run_float(convert_source(net, x, steps, percentile=100.0), x)["counts"] / steps
        errors.append(float(np.abs(found - want).max()))
    assert errors[1] < 0.02 * top
    assert errors[1] < errors[0] / 3, "it falls as 1 / T"


def test_a_maximum_beside_larger_values_is_refused() -> None:
    with pytest.raises(SnnhwError, match="a ReLU with a maximum is added to larger values") as caught:
        convert_source(Capped(CAPPED["clamp"][0], residual=True).eval(), samples(), 16)
    assert (caught.value.code, caught.value.needed) == ("unconvertible", "a maximum of 1")


@pytest.mark.parametrize("low", [-1.0, None])
def test_a_clamp_below_zero_is_no_relu(low: float | None) -> None:
    with pytest.raises(SnnhwError, match="an operation cannot be converted to spikes") as caught:
        convert_source(Capped(lambda x: x.clamp(low, 1.0)).eval(), samples(), 16)
    assert "ReLU6" in str(caught.value.limit)
