"""SpikingJelly's chains: layers told from the numbers of a Sequential, spikes against plain loops over the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.check import check_import
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.source import Source
from snnhw.zoo.registry import build
from tests.unit.frontends.official.files import State, conv, linear, norm

T = 3
Layer = tuple[Any, ...]


def chain(prefix: str, layers: list[Layer], plif: bool = False) -> State:
    """Weights by number: ('conv', in, out), ('norm', n), ('spikes',), ('linear', in, out), anything else without."""
    torch.manual_seed(7)
    state: State = {}
    for number, (kind, *sizes) in enumerate(layers):
        at = f"{prefix}.{number}"
        if kind == "conv":
            conv(state, at, sizes[1], sizes[0], 3)
        elif kind == "norm":
            norm(state, at, sizes[0])
            state[f"{at}.bias"] += 1.0  # so that all layers spike
        elif kind == "linear":
            linear(state, at, sizes[1], sizes[0])
            state[f"{at}.weight"] *= 8
            state[f"{at}.bias"] += 0.5
            if len(sizes) > 2:
                del state[f"{at}.bias"]
        elif kind == "spikes" and plif:
            state[f"{at}.w"] = torch.tensor(0.4)
    return state


def convs(inputs: int, width: int, count: int) -> list[Layer]:
    """conv, norm, spikes and pool, `count` times."""
    return [
        layer
        for i in range(count)
        for layer in (("conv", width if i else inputs, width), ("norm", width), ("spikes",), ("pool",))
    ]


def plif_net(inputs: int, side: int, count: int = 2, width: int = 4, classes: int = 30) -> list[Layer]:
    """SpikingJelly's PLIF networks: dropout before every Linear, then a vote."""
    left = width * (side >> count) ** 2
    head = [("flatten",), ("dropout",), ("linear", left, 16), ("spikes",), ("dropout",), ("linear", 16, classes)]
    return [*convs(inputs, width, count), *head, ("spikes",), ("vote",)]


def tutorial(width: int = 4) -> list[Layer]:
    """conv_fashion_mnist: no dropout, no vote, no biases."""
    left = width * 49
    head = [("flatten",), ("linear", left, 16, 0), ("spikes",), ("linear", 16, 10, 0), ("spikes",)]
    return [*convs(1, width, 2), *head]


def looped(state: State, prefix: str, layers: list[Layer], x: Tensor, decay: float, gain: float) -> Tensor:
    """What the layers give for (T, N, ...), step by step, straight from the file's tensors."""
    state = {key: value.double() for key, value in state.items()}
    v: dict[int, Tensor] = {}
    found = []
    for value in x:
        for number, (kind, *_) in enumerate(layers):
            at = f"{prefix}.{number}"
            if kind == "conv":
                value = F.conv2d(value, state[f"{at}.weight"], state.get(f"{at}.bias"), padding=1)
            elif kind == "norm":
                parts = ("running_mean", "running_var", "weight", "bias")
                value = F.batch_norm(value, *(state[f"{at}.{part}"] for part in parts))
            elif kind == "linear":
                value = F.linear(value, state[f"{at}.weight"], state.get(f"{at}.bias"))
            elif kind == "pool":
                value = F.max_pool2d(value, 2)
            elif kind == "flatten":
                value = value.flatten(1)
            elif kind == "vote":
                value = value.view(len(value), -1, 10).mean(2)
            elif kind == "spikes":
                w = state.get(f"{at}.w")
                keep, share = (decay, gain) if w is None else (1 - torch.sigmoid(w), torch.sigmoid(w))
                h = keep * v.get(number, torch.zeros_like(value)) + share * value
                value = (h >= 1.0).double()
                v[number] = h * (1 - value)
        found.append(value)
    return torch.stack(found)


def loaded(folder: Path, content: Any, **flags: Any) -> Source:
    torch.save(content, folder / "net.pth")
    return load_source(folder / "net.pth", SourceOptions(steps=T, **flags))


def refused(folder: Path, content: Any, **flags: Any) -> str:
    with pytest.raises(SnnhwError) as caught:
        loaded(folder, content, **flags)
    return str(caught.value)


NETS: dict[str, tuple[str, list[Layer], bool, dict[str, Any], tuple[float, float], tuple[Any, ...]]] = {
    "tutorial": (
        "conv_fc",
        tutorial(),
        False,
        {"neuron": "if"},
        (1.0, 1.0),
        ("convolutional tutorial network of 2 convolutions", (1, 28, 28), "direct", "rate"),
    ),
    "MNIST": (
        "conv_fc",
        plif_net(1, 28),
        False,
        {"neuron": "lif"},
        (0.5, 0.5),
        ("PLIF network of 2 convolutions", (1, 28, 28), "direct", "mean"),
    ),
    "N-MNIST": (
        "conv_fc",
        plif_net(2, 34),
        False,
        {"neuron": "lif", "decay": 0.75},
        (0.75, 0.25),
        ("PLIF network of 2 convolutions", (2, 34, 34), "spikes", "mean"),
    ),
    "PLIF": (
        "conv_fc",
        plif_net(2, 32, 3),
        True,
        {},
        (0.0, 0.0),
        ("PLIF network of 3 convolutions", (2, 32, 32), "spikes", "mean"),
    ),
    "one layer": (
        "layer",
        [("flatten",), ("linear", 784, 10, 0), ("spikes",)],
        False,
        {"neuron": "lif"},
        (0.5, 0.5),
        ("one layer of spiking neurons", (1, 28, 28), "bernoulli", "rate"),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_same_spikes(name: str, tmp_path: Path) -> None:
    prefix, layers, plif, flags, (decay, gain), (title, shape, encoding, readout) = NETS[name]
    state = chain(prefix, layers, plif)
    source = loaded(tmp_path, {"net": state, "epoch": 3, "max_test_acc": 0.9}, **flags)
    assert source.origin["architecture"] == f"SpikingJelly's {title}"
    told = (source.deployment.input_shape, source.deployment.encoding, source.deployment.readout)
    assert told == (shape, encoding, readout)
    assert source.origin["flags"]["neuron"]["from"] == ("keys" if plif else "flag")
    x = (torch.rand(T, 2, *shape) < 0.6).double()
    want = looped(state, prefix, layers, x, decay, gain)
    assert source.module is not None
    with torch.no_grad():
        found = source.module(x)
    assert 0 < float(want.mean()) < 1
    assert torch.equal(found > 0, want > 0)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-15)
    check = check_import(source, x.transpose(0, 1).numpy())
    assert (check.samples, check.different) == (2, 0)


def test_a_vgg(tmp_path: Path) -> None:
    """Of eleven layers, narrow; the pool to 7 x 7 is nothing for images of 224."""
    widths, pools = (2, 2, 2, 2, 3, 3, 3, 3), (0, 1, 3, 5, 7)
    features: list[Layer] = []
    for i, width in enumerate(widths):
        features += [("conv", widths[i - 1] if i else 3, width), ("norm", width), ("spikes",)] + [("pool",)] * (
            i in pools
        )
    rest: list[Layer] = [("linear", 147, 8), ("spikes",), ("dropout",), ("linear", 8, 8), ("spikes",), ("dropout",)]
    rest += [("linear", 8, 5)]
    state = chain("features", features) | chain("classifier", rest)
    source = loaded(tmp_path, state, neuron="if")
    assert source.origin["architecture"] == "Spiking VGG-11"
    x = torch.rand(T, 1, 3, 224, 224).double()
    inside = looped(state, "features", features, x, 1.0, 1.0)
    want = looped(state, "classifier", rest, inside.flatten(2), 1.0, 1.0)
    assert source.module is not None
    with torch.no_grad():
        torch.testing.assert_close(source.module(x), want, rtol=0, atol=1e-12)
    text = refused(tmp_path, state, neuron="if", input_shape=(3, 32, 32))
    assert text.startswith("flag-contradicts: --input-shape does not fit the Linear behind the last layer of the image")
    assert "limit: images of 224: of others the average pool makes copies" in text


def test_neurons_must_be_said(tmp_path: Path) -> None:
    """IF, LIF and the ANN it could have been trained as have the same keys."""
    text = refused(tmp_path, chain("conv_fc", tutorial()))
    assert text.startswith("needs-flag: the file does not say which neurons it has (IF and LIF have no weights, and")
    assert "needed: --neuron" in text
    assert "limit: the keys say plif" in refused(tmp_path, chain("conv_fc", plif_net(2, 32), True), neuron="if")


def test_image_sizes(tmp_path: Path) -> None:
    state = chain("conv_fc", plif_net(2, 34))
    other = loaded(tmp_path, state, neuron="if", input_shape=(2, 35, 35))
    assert other.deployment.input_shape == (2, 35, 35)
    text = refused(tmp_path, state, neuron="if", input_shape=(2, 36, 36))
    assert text.startswith("flag-contradicts: --input-shape does not fit the Linear behind the last layer of the image")
    assert "limit: 32 to 35 pixels a side" in text
    one = chain("layer", [("flatten",), ("linear", 700, 10)])
    assert loaded(tmp_path, one, neuron="if").deployment.input_shape == (700,)
    assert loaded(tmp_path, one, neuron="if", input_shape=(7, 10, 10)).deployment.input_shape == (7, 10, 10)
    assert "limit: 700 values" in refused(tmp_path, one, neuron="if", input_shape=(1, 28, 28))


ODD: dict[str, State] = {
    "two layers left out": chain("conv_fc", [("conv", 1, 4), ("spikes",), ("?",), ("?",), *tutorial()]),
    "a larger kernel": {**chain("conv_fc", tutorial()), "conv_fc.0.weight": torch.ones(4, 1, 5, 5)},
    "four layers before the Linear": chain("conv_fc", [*plif_net(1, 28)[:9], ("?",), *plif_net(1, 28)[9:]]),
    "classes that cannot vote": chain("conv_fc", plif_net(1, 28, classes=31)),
    "no square image": chain("conv_fc", [*tutorial()[:9], ("linear", 4 * 50, 10)]),
    "another name": chain("body", tutorial()),
    "numbers beyond reason": {**chain("conv_fc", tutorial()), "conv_fc.99999999999.weight": torch.ones(4, 1, 3, 3)},
    "a hidden layer in the tutorial": chain("layer", [("flatten",), ("linear", 784, 9), ("?",), ("linear", 9, 10)]),
    "a VGG of seven": chain("features", convs(3, 2, 4)) | chain("classifier", [("linear", 98, 5)]),
}


@pytest.mark.parametrize("name", ODD)
def test_other_networks_are_not_guessed(name: str, tmp_path: Path) -> None:
    text = refused(tmp_path, ODD[name], neuron="if")
    assert text.startswith(
        "unknown-architecture: the weights' names and shapes belong to no network that is known here"
    )
    assert "SpikingJelly's PLIF networks, spiking VGGs and MNIST tutorials" in text


def test_layers_of_a_chain_that_do_not_exist() -> None:
    with pytest.raises(SnnhwError, match="bad-network: the chain has no such layer") as caught:
        build("chain", {"layers": [["conv", 1, 2, 0], ["magic"]]})
    assert caught.value.where == "layers[1]"


def test_compiled_from_file(tmp_path: Path) -> None:
    """Through integers: the vote is a layer like others."""
    import snnhw

    source = loaded(tmp_path, chain("conv_fc", plif_net(2, 16), plif=True))
    x = (torch.rand(6, T, 2, 16, 16) < 0.5).numpy().astype("uint8")
    artifact = snnhw.compile(source, target="loihi2", calibrate=x)
    assert artifact.network.readout.kind == "mean"
    compared = snnhw.compare(source, artifact, x)
    assert compared.quantized.layers[0].spikes > 0
