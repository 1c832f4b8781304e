"""Published checkpoints that are refused: damaged, contradictory, or silent about what is needed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.options import SourceOptions
from tests.unit.frontends.official.files import SMALL, event_net, imagenet_file, resnet, tdbn_resnet

IMAGE = (3, 32, 32)
FRAMES = (2, 8, 8)


def without(key: str) -> Callable[[], dict[str, Any]]:
    def content() -> dict[str, Any]:
        state = resnet()
        del state[key]
        return imagenet_file(state)

    return content


def with_weight(key: str, value: Any) -> Callable[[], dict[str, Any]]:
    return lambda: imagenet_file({**resnet(), key: value})


REFUSED: list[tuple[str, Callable[[], Any], dict[str, Any], str]] = [
    (
        "missing weight",
        without("layer3.1.conv2.module.0.weight"),
        {},
        "bad-keys: the weights do not belong to the network: 1 missing (layer3.1.conv2.0.weight)\n  where: net.pth\n"
        "  hint: the keys look like SEW ResNet-18; these do not fit it",
    ),
    (
        "unknown weight",
        with_weight("layer1.0.gate.weight", torch.ones(2)),
        {},
        "bad-keys: the weights do not belong to the network: 1 unknown (layer1.0.gate.weight)\n",
    ),
    (
        "wrong shape",
        with_weight("layer2.0.conv1.module.1.bias", torch.ones(5)),
        {},
        "bad-shape: a weight has the wrong shape\n  where: net.pth: layer2.0.conv1.1.bias\n  needed: (8,)\n",
    ),
    ("NaN", with_weight("bn1.bias", torch.full((4,), float("nan"))), {}, "not-finite: 4 values are NaN or infinite\n"),
    (
        "a view that claims more than is stored",
        with_weight("fc.weight", torch.ones(1).expand(10, 32)),
        {},
        "bad-checkpoint: a weight is no plain tensor\n  where: net.pth: fc.weight\n",
    ),
    (
        "a view that claims more than any memory holds",
        with_weight("fc.weight", torch.ones(1).expand(10, 10**9)),
        {},
        "too-big: the file unpacks to too much\n  where: net.pth\n  needed: 4000",
    ),
    ("complex numbers", with_weight("fc.bias", torch.ones(10) * 1j), {}, "bad-checkpoint: a weight is no plain tensor"),
    ("no T", lambda: {"model": resnet()}, {"connect": "ADD"}, "needs-flag: the file does not say T\n"),
    (
        "no g",
        lambda: {"model": resnet()},
        {"steps": 4},
        "needs-flag: the file does not say which g its SEW blocks have",
    ),
    (
        "T that is no number",
        lambda: imagenet_file(resnet(), T="four"),
        {},
        "bad-flag: --steps has a value it cannot have\n  where: args in the file\n  needed: 'four'\n",
    ),
    (
        "a g that does not exist",
        lambda: imagenet_file(resnet(), connect_f="XOR"),
        {},
        "bad-flag: --connect has a value it cannot have\n  where: args in the file\n  needed: 'XOR'\n"
        "  limit: ADD, AND, IAND",
    ),
    (
        "another family",
        lambda: imagenet_file(resnet()),
        {"architecture": "spiking_resnet"},
        "flag-contradicts: --architecture contradicts the file's keys and shapes\n",
    ),
    (
        "a flag of tdBN",
        lambda: imagenet_file(resnet()),
        {"alpha": 0.5},
        "unused-flag: a flag says something that this source does not ask\n  where: net.pth\n  needed: --alpha\n"
        "  limit: SEW ResNet-18 asks for --architecture, --connect, --encoding, --input-shape, --neuron, ",
    ),
    (
        "an image of other channels",
        lambda: imagenet_file(resnet()),
        {"input_shape": (1, 32, 32)},
        "flag-contradicts: --input-shape does not fit this network\n  where: net.pth\n  needed: 1,32,32\n",
    ),
    ("no weights", lambda: {"epoch": 3, "args": Namespace(T=4)}, {}, "no-weights: the file holds no state dict\n"),
    (
        "weights of something else",
        lambda: {"encoder.weight": torch.ones(2, 2)},
        {},
        "unknown-architecture: the weights' names and shapes belong to no network that is known here\n",
    ),
    (
        "a layer numbered beyond reason",
        lambda: {"net": {**event_net(SMALL, 10, 16), "conv.99999999999.0.0.weight": torch.ones(4, 4, 1, 1)}},
        {"input_shape": FRAMES},
        "unknown-architecture: the weights' names and shapes belong to no network that is known here\n",
    ),
    (
        "a stem that is no convolution",
        lambda: {**tdbn_resnet(), "conv1.weight": torch.ones(4), "conv1_s.layer.weight": torch.ones(4)},
        {"threshold": 0.2},
        "unknown-architecture: the weights' names and shapes belong to no network that is known here\n",
    ),
]


@pytest.mark.parametrize(("content", "flags", "text"), [pytest.param(c, f, t, id=i) for i, c, f, t in REFUSED])
def test_refused(content: Callable[[], Any], flags: dict[str, Any], text: str, tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "net.pth")
    with pytest.raises(SnnhwError) as caught:
        load_source(tmp_path / "net.pth", SourceOptions(**({"input_shape": IMAGE} | flags)))
    assert str(caught.value).startswith(text)
