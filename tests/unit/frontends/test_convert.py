"""Single layers: BatchNorm folding, pools, padding, and the options NIR does not have."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.check import check_import
from snnhw.frontends.convert import affine, conv2d, converted, fold_batchnorm
from snnhw.frontends.dynamics import neuron_model
from snnhw.frontends.live import zoo
from snnhw.frontends.live.adapter import OUT
from snnhw.frontends.simulate import linear
from snnhw.semantics import Semantics
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, PLIF, IterativeLIF
from tests.unit.frontends.modules import Flow, imported, settled, values

NORMS: list[tuple[str, nn.Module, nn.Module, tuple[int, ...]]] = [
    ("conv", nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), (2, 6, 5)),
    ("conv without bias", nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, eps=0.1), (2, 6, 5)),
    ("grouped", nn.Conv2d(4, 4, (3, 1), groups=2, stride=2), nn.BatchNorm2d(4), (4, 6, 5)),
    ("linear", nn.Linear(5, 3), nn.BatchNorm1d(3), (5,)),
    ("linear without bias", nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3), (5,)),
]


@pytest.mark.parametrize(("layer", "norm", "shape"), [pytest.param(*rest, id=name) for name, *rest in NORMS])
def test_batchnorm_folds_exactly(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    layer, norm = layer.double(), settled(norm).double().eval()
    convert = affine if isinstance(layer, nn.Linear) else conv2d
    folded = fold_batchnorm(convert(layer, shape, "layer"), norm, "norm")  # type: ignore[arg-type, operator]
    x = torch.randn(7, *shape, dtype=torch.float64)
    torch.testing.assert_close(linear(folded, x, "layer"), norm(layer(x)), rtol=1e-13, atol=1e-13)


def test_batchnorm_without_affine_parameters() -> None:
    layer, norm = nn.Conv2d(2, 4, 3).double(), nn.BatchNorm2d(4, affine=False).double().eval()
    norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    folded = fold_batchnorm(conv2d(layer, (2, 6, 5), "layer"), norm, "norm")
    x = torch.randn(7, 2, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(linear(folded, x, "layer"), norm(layer(x)), rtol=1e-13, atol=1e-13)


def test_folding_uses_the_running_variance_and_eps() -> None:
    """gamma / sqrt(var + eps): 3 / sqrt(3.99 + 0.01) = 1.5."""
    norm = nn.BatchNorm1d(1, eps=0.01)
    norm.load_state_dict(
        {
            "weight": torch.tensor([3.0]),
            "bias": torch.tensor([0.25]),
            "running_mean": torch.tensor([2.0]),
            "running_var": torch.tensor([3.99]),
            "num_batches_tracked": torch.tensor(1),
        }
    )
    layer = nn.Linear(1, 1)
    layer.load_state_dict({"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])})
    folded = fold_batchnorm(affine(layer, (1,), "fc"), norm, "bn")
    np.testing.assert_allclose(folded.weight, [[3.0]], rtol=1e-6)
    np.testing.assert_allclose(folded.bias, [1.5 * (1.0 - 2.0) + 0.25], rtol=1e-6)


@pytest.mark.parametrize("layer", [nn.AvgPool2d(3, 2, 1), nn.AvgPool2d((2, 3)), nn.AdaptiveAvgPool2d((2, None))])
def test_pools_give_what_torch_gives(layer: nn.Module) -> None:
    shape = (2, 6, 6)
    node = converted(layer, shape, "pool")
    x = torch.randn(3, *shape, dtype=torch.float64)
    torch.testing.assert_close(linear(node, x, "pool"), layer(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding(padding: str) -> None:
    layer = nn.Conv2d(2, 3, (3, 5), padding=padding, dilation=(2, 1)).double()
    x = torch.randn(3, 2, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(linear(conv2d(layer, (2, 9, 8), "c"), x, "c"), layer(x), rtol=1e-13, atol=1e-13)


REFUSED: list[tuple[nn.Module, tuple[int, ...], str, str]] = [
    (
        nn.Conv2d(2, 2, 3, padding_mode="circular"),
        (2, 4, 4),
        "padding mode 'circular' is not supported",
        "use zero padding",
    ),
    (
        nn.Conv2d(2, 2, 2, padding="same"),
        (2, 4, 4),
        "padding='same' with an even kernel is not symmetric",
        "give the padding as numbers",
    ),
    (nn.Linear(4, 2), (2, 4, 4), "Linear over a tensor of shape (2, 4, 4) is not supported", "flatten before it"),
    (
        nn.AvgPool2d(2, ceil_mode=True),
        (2, 4, 4),
        "ceil_mode, divisor_override and count_include_pad=False are not in NIR",
        "use the defaults",
    ),
    (
        nn.AvgPool2d(3, padding=1, count_include_pad=False),
        (2, 4, 4),
        "ceil_mode, divisor_override and count_include_pad=False are not in NIR",
        "use the defaults",
    ),
    (
        nn.AdaptiveAvgPool2d(3),
        (2, 4, 6),
        "(4, 6) does not divide evenly into (3, 3)",
        "choose an output size that divides the input",
    ),
    (nn.Flatten(2), (2, 4, 4), "only Flatten(start_dim=1, end_dim=-1) is supported", "flatten all but the batch"),
]


@pytest.mark.parametrize(("layer", "shape", "message", "hint"), REFUSED)
def test_options_that_nir_lacks(layer: nn.Module, shape: tuple[int, ...], message: str, hint: str) -> None:
    with pytest.raises(SourceError) as caught:
        converted(layer, shape, "body.0")
    assert str(caught.value) == f"unsupported-option: {message}\n  where: body.0\n  hint: {hint}"


def test_batchnorm_without_running_statistics() -> None:
    node = conv2d(nn.Conv2d(2, 2, 1), (2, 4, 4), "c")
    with pytest.raises(SourceError) as caught:
        fold_batchnorm(node, nn.BatchNorm2d(2, track_running_stats=False), "body.1")
    assert str(caught.value) == (
        "unsupported-option: BatchNorm without running statistics cannot be folded\n"
        "  where: body.1\n"
        "  hint: train with track_running_stats=True"
    )


def test_a_negative_running_variance() -> None:
    norm = nn.BatchNorm2d(2)
    norm.running_var[1] = -1.0  # type: ignore[index]
    with pytest.raises(SourceError) as caught:
        fold_batchnorm(conv2d(nn.Conv2d(2, 2, 1), (2, 4, 4), "c"), norm, "body.1")
    assert str(caught.value) == (
        "bad-parameter: a running variance is negative\n  where: body.1.running_var\n  limit: var >= 0"
    )


def test_a_plif_reads_its_logit() -> None:
    """1 / tau = sigmoid(w): w = 0 is tau = 2, decay 0.5, gain 0.5."""
    layer = PLIF(init_tau=2.0)
    assert float(layer.w.detach()) == 0.0
    neuron, gain = neuron_model(node_of(layer), _semantics("zero"))
    assert (neuron.v_keep, float(gain)) == (0.5, 0.5)


@pytest.mark.parametrize("decay", [0.0, 0.2, 0.25, 0.3, 0.9, 0.999])
def test_decays_survive_the_way_through_tau(decay: float) -> None:
    neuron, gain = neuron_model(node_of(IterativeLIF(decay=decay)), _semantics("zero"))
    assert (neuron.v_keep, float(gain)) == (decay, 1.0)


def test_v_reset_shifts_out() -> None:
    neuron, _ = neuron_model(node_of(IF(v_threshold=1.0, v_reset=-0.5)), _semantics("v_reset"))
    assert (float(neuron.threshold), neuron.v_reset, neuron.v_init) == (1.5, 0.0, 0.0)


def node_of(layer: nn.Module) -> nir.NIRNode:
    (node,) = zoo.ADAPTER.cell(layer, (3,), OUT, 1e-4, "n").sent
    return node


def _semantics(reset: str) -> Semantics:
    options: dict[str, Any] = {"dt": 1e-4, "threshold": "ge", "reset": reset, "reset_timing": "same_step"}
    options |= {"multispike": "off", "v_min": None, "integrator": "euler", "current_order": "same_step"}
    return Semantics(**options, v_init="v_reset", time_layout="TNC")


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_silenced_and_negative_gammas(gamma: float) -> None:
    """Zero-initialised residual branches (gamma 0) leave a layer of zeros."""
    norm = settled(nn.BatchNorm2d(2))
    nn.init.constant_(norm.weight, gamma)  # type: ignore[arg-type]

    def flow(m: Any, x: Tensor) -> Any:
        return m.n(m.body(x) + x)

    source = imported(Flow(flow, body=PerStep(nn.Conv2d(2, 2, 3, padding=1), norm), n=IF()))
    assert check_import(source, values(source)).different == 0
    assert bool((source.graph.nodes["body.0"].weight == 0).all()) == (gamma == 0.0)
