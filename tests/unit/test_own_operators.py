"""Operators that NIR has no node for, from a live module to every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw.artifact import load, save
from snnhw.engines.lava import compat
from snnhw.errors import SourceError
from snnhw.frontends.nir.file import load_nir, write_nir
from snnhw.lowering.lower import lower_for
from snnhw.machine import load_target
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF
from tests.unit.frontends.modules import Flow, imported, settled

STEPS, SHAPE = 3, (2, 5, 4)


def network(*first: nn.Module, sequence: bool = False) -> nn.Module:
    """Layers, a neuron, a matrix."""
    shape = SHAPE[:1] + SHAPE[1:][: 1 if sequence else 2]
    stem = nn.Sequential(*first)
    out = stem(torch.zeros(1, *shape))
    return nn.Sequential(
        PerStep(stem),
        IF(v_threshold=0.4, v_reset=None),
        PerStep(nn.Flatten(), nn.Linear(out[0].numel(), 3)),
        LIF(tau=2.0, v_threshold=0.3),
    )


def upsampled(**options: Any) -> nn.Module:
    return Flow(lambda m, x: nn.functional.interpolate(x, **options))


MODULES: dict[str, tuple[str, list[nn.Module]]] = {
    "transposed": ("ConvTranspose", [nn.ConvTranspose2d(2, 4, 3, 2, 1, output_padding=1)]),
    "transposed, groups, dilation": (
        "ConvTranspose",
        [nn.ConvTranspose2d(2, 4, (2, 3), (3, 1), groups=2, dilation=(1, 2), bias=False)],
    ),
    "transposed, BatchNorm": ("ConvTranspose", [nn.ConvTranspose2d(2, 3, 2, 2), settled(nn.BatchNorm2d(3))]),
    "upsampling": ("Upsample", [nn.Upsample(scale_factor=(2, 3))]),
    "upsampling to a size": ("Upsample", [upsampled(size=(10, 4))]),
    "upsampling, then a convolution": ("Sparse", [nn.UpsamplingNearest2d(scale_factor=2), nn.Conv2d(2, 2, 3)]),
    "padding": ("Pad", [nn.ZeroPad2d((0, 2, 1, 0))]),
    "even padding is a convolution's": ("Conv", [nn.ZeroPad2d(1), nn.Conv2d(2, 3, 3, 2)]),
    "uneven padding, then a convolution": ("Sparse", [nn.ZeroPad2d((0, 1, 2, 1)), nn.Conv2d(2, 3, 3, 2)]),
    "cutting": ("Pad", [Flow(lambda m, x: nn.functional.pad(x, (-1, 0)))]),
}
each_module = pytest.mark.parametrize(("name", "layers"), [pytest.param(*v, id=k) for k, v in MODULES.items()])


def spikes_in(shape: tuple[int, ...]) -> np.ndarray:
    return (np.random.default_rng(0).random((3, STEPS, *shape)) < 0.5).astype(np.float64)


def require_equal(module: nn.Module, shape: tuple[int, ...], operator: str) -> Any:
    """All engines give the same bits, from an artifact that was saved; the first projection has that operator."""
    x = spikes_in(shape)
    used = Deployment(STEPS, "spikes", shape, "rate")
    artifact = snnhw.compile(module, target="loihi2", calibrate=x, deployment=used)
    assert type(artifact.network.projections[0].op).__name__ == operator
    want = snnhw.run(artifact, x, engine="reference", record="state")
    assert any(values.any() for name, values in want.items() if name.startswith("spikes/"))
    for engine in ("fast", "onnx"):
        have = snnhw.run(artifact, x, engine=engine, record="state")
        for key, values in want.items():
            np.testing.assert_array_equal(have[key], values, err_msg=f"{engine} {key}")
    return artifact


@each_module
def test_a_live_module_gives_the_same_bits_in_every_engine(name: str, layers: list[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    artifact = require_equal(network(*layers), SHAPE, name)
    save(artifact, tmp_path / "a.snnhw")
    assert load(tmp_path / "a.snnhw").network.projections == artifact.network.projections


def test_a_convolution_of_sequences_has_an_operator_of_its_own() -> None:
    layers = [nn.Conv1d(2, 4, 3, 2, 1, groups=2)]
    require_equal(network(*layers, sequence=True), SHAPE[:2], "Conv1d")


def decoder() -> nn.Module:
    """One network with every operator that NIR lacks."""
    torch.manual_seed(0)
    return nn.Sequential(
        PerStep(nn.ConvTranspose2d(2, 2, 2, 2)),
        IF(v_threshold=0.2),
        PerStep(nn.Upsample(scale_factor=(1, 2))),
        IF(v_threshold=0.5),
        PerStep(nn.ZeroPad2d((1, 0, 0, 2))),
        IF(v_threshold=0.5),
        PerStep(nn.Flatten(), nn.Linear(2 * 6 * 9, 3)),
        IF(v_threshold=0.02),
    )


@pytest.mark.lava
@pytest.mark.skipif(not compat.lava_status()[0], reason="Lava is not installed")
def test_lava_gives_the_same_bits() -> None:
    x = spikes_in((2, 2, 2))
    artifact = snnhw.compile(
        decoder(), target="loihi2", calibrate=x, deployment=Deployment(STEPS, "spikes", (2, 2, 2), "rate")
    )
    want, have = (snnhw.run(artifact, x, engine=engine, record="state") for engine in ("reference", "lava"))
    assert want["spikes/7"].any()
    for key, values in want.items():
        np.testing.assert_array_equal(have[key], values, err_msg=key)


def test_a_nir_file_holds_them_only_where_that_is_asked_for(tmp_path: Path) -> None:
    source = imported(decoder(), (2, 2, 2), STEPS)
    with pytest.raises(SourceError) as caught:
        write_nir(source.graph, tmp_path / "a.nir")
    assert str(caught.value) == (
        "cannot-say: NIR has no node for ConvTranspose\n  where: 0.0\n"
        "  hint: give --with-own-nodes to write a node of snnhw's own, which other readers reject"
    )
    write_nir(source.graph, tmp_path / "a.nir", own=True)
    again = load_nir(tmp_path / "a.nir")
    machine = load_target("loihi2")
    one, other = lower_for(source, machine), lower_for(again, machine)
    assert one.projections == other.projections
    for name, array in one.weights.items():
        np.testing.assert_array_equal(other.weights[name], array)


def test_a_node_of_ours_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    source = imported(decoder(), (2, 2, 2), STEPS)
    write_nir(source.graph, tmp_path / "a.nir", own=True)
    with h5py.File(tmp_path / "a.nir", "r+") as file:
        node = file["node/nodes/0.0"]
        del node["operator"]
        node["operator"] = "Fold"
    with pytest.raises(
        SourceError, match="there is no operator 'Fold': known are Candidate, Conv, Conv1d, ConvTranspose, Dense"
    ):
        load_nir(tmp_path / "a.nir")
    with h5py.File(tmp_path / "a.nir", "r+") as file:
        del file["node/nodes/0.0/operator"], file["node/nodes/0.0/after"]
        file["node/nodes/0.0/operator"], file["node/nodes/0.0/after"] = "ConvTranspose", np.array([2, 5, 4])
    with pytest.raises(SourceError, match=r"ConvTranspose does not make \(2, 5, 4\) of \(2, 2, 2\)"):
        load_nir(tmp_path / "a.nir")


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (
            nn.Upsample(scale_factor=2, mode="bilinear"),
            "unsupported-option: only nearest upsampling by whole factors is supported\n  where: 0.0.0: interpolate\n"
            "  needed: bilinear by 2, 2\n  limit: mode 'nearest', factors 1, 2, 3, ...\n"
            "  hint: use mode='nearest' and sizes that are multiples of the input's, or a transposed convolution",
        ),
        (
            nn.ConstantPad2d(1, 0.5),
            "unsupported-option: only padding of an image's own axes with zeros is supported\n  where: 0.0.0: pad\n"
            "  needed: mode 'constant', value 0.5, 2 axes\n  limit: mode 'constant', value 0, 2 axes\n"
            "  hint: use zero padding",
        ),
    ],
)
def test_options_that_an_operator_lacks_are_refused(layer: nn.Module, text: str) -> None:
    with pytest.raises(SourceError) as caught:
        imported(network(layer), SHAPE, STEPS)
    assert str(caught.value) == text


def test_channels_of_a_transposed_convolution_have_scales_of_their_own() -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(2, 3, 3, 2)
    with torch.no_grad():
        layer.weight *= torch.tensor([1.0, 0.1, 0.01])[None, :, None, None]
    x = spikes_in(SHAPE)
    artifact = snnhw.compile(
        network(layer), target="loihi2", calibrate=x, deployment=Deployment(STEPS, "spikes", SHAPE, "rate")
    )
    weights = artifact.network.array(artifact.network.projections[0].op)
    assert (np.abs(weights).max(axis=(1, 2, 3)) > 60).all()
