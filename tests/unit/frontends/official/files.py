"""Checkpoints with random numbers under the keys that published files have, written out by hand from their layouts.

The layouts: SEW ResNet's repository (the old one with SeqToANNContainer's `module.`, the new one without), its
DVS folders, SpikingJelly's models, STBP's `.t7`, and STBP-simple's ResNet with its aliased `tdLayer`s.
"""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]
BASIC18 = (2, 2, 2, 2)


def conv(state: State, key: str, outputs: int, inputs: int, kernel: int) -> None:
    state[f"{key}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * (2.0 / (inputs * kernel * kernel)) ** 0.5


def norm(state: State, key: str, channels: int) -> None:
    """Numbers of a trained BatchNorm: none is 0 or 1, so that a fold that forgets one is seen."""
    state[f"{key}.weight"] = 0.5 + torch.rand(channels)
    state[f"{key}.bias"] = 0.4 * torch.rand(channels)
    state[f"{key}.running_mean"] = 0.2 * torch.randn(channels)
    state[f"{key}.running_var"] = 0.3 + torch.rand(channels)
    state[f"{key}.num_batches_tracked"] = torch.tensor(7)


def linear(state: State, key: str, outputs: int, inputs: int) -> None:
    state[f"{key}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
    state[f"{key}.bias"] = 0.1 * torch.randn(outputs)


def resnet(
    layout: str = "old",
    family: str = "sew",
    counts: tuple[int, ...] = BASIC18,
    bottleneck: bool = False,
    width: int = 4,
    classes: int = 10,
    plif: bool = False,
) -> State:
    """`layout`: 'old' (`conv1.module.0`), 'new' (`conv1.0`), 'jelly' (`conv1` and `bn1`)."""
    torch.manual_seed(3)
    state: State = {}
    conv(state, "conv1", width, 3, 7)
    norm(state, "bn1", width)
    inputs = width
    for stage, count in enumerate(counts):
        inner = width << stage
        outputs = inner * 4 if bottleneck else inner
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            sizes = (inner, inner, outputs) if bottleneck else (inner, inner)
            before = inputs
            for n, (kernel, after) in enumerate(zip(kernels, sizes, strict=True), start=1):
                first = {"old": f"conv{n}.module.0", "new": f"conv{n}.0", "jelly": f"conv{n}"}[layout]
                second = {"old": f"conv{n}.module.1", "new": f"conv{n}.1", "jelly": f"bn{n}"}[layout]
                conv(state, f"{at}.{first}", after, before, kernel)
                norm(state, f"{at}.{second}", after)
                if plif:
                    state[f"{at}.sn{n}.w"] = torch.tensor([0.3])
                before = after
            if block == 0 and (stage > 0 or inputs != outputs):
                deep = "downsample.0" if family == "sew" else "downsample"
                down = {"old": f"{deep}.module", "new": deep, "jelly": "downsample"}[layout]
                conv(state, f"{at}.{down}.0", outputs, inputs, 1)
                norm(state, f"{at}.{down}.1", outputs)
                if plif and family == "sew":
                    state[f"{at}.downsample_sn.w" if layout == "jelly" else f"{at}.downsample.1.w"] = torch.tensor(
                        [0.3]
                    )
            inputs = outputs
    if plif:
        state["sn1.w"] = torch.tensor([0.3])
    linear(state, "fc", classes, inputs)
    return state


def imagenet_file(state: State, **args: Any) -> dict[str, Any]:
    """As the training script saves it: optimiser and Namespace beside the weights, the model's name misleading."""
    said = {"model": "spiking_resnet18", "T": 4, "connect_f": "add", "amp": True, "output_dir": "./logs10"}
    return {
        "model": OrderedDict(state),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
        "lr_scheduler": {"T_max": 320, "base_lrs": [0.1], "_last_lr": [0.0]},
        "epoch": 319,
        "args": Namespace(**{**said, **args}),
        "max_test_acc1": 63.18,
        "test_acc5_at_max_test_acc1": 84.5,
    }


def event_net(
    layers: list[tuple[str, int]], classes: int, features: int, block: str = "sew", old: bool = True
) -> State:
    """`layers`: ('up1', channels) or ('up3', channels), ('block', 0), ('pool', 0), as the published list has them."""
    torch.manual_seed(4)
    state: State = {}
    middle = ".module" if old else ""
    width = 2

    def conv_plif(at: str, outputs: int, inputs: int, kernel: int) -> None:
        conv(state, f"{at}.0{middle}.0", outputs, inputs, kernel)
        norm(state, f"{at}.0{middle}.1", outputs)
        state[f"{at}.1.w"] = torch.tensor([0.4]) if old else torch.tensor(0.4)

    for number, (kind, channels) in enumerate(layers):
        if kind.startswith("up"):
            conv_plif(f"conv.{number}", channels, width, int(kind[2:]))
            width = channels
        elif kind == "block":
            conv_plif(f"conv.{number}.conv.0", width, width, 3)
            if block == "basic":
                conv(state, f"conv.{number}.conv.1{middle}.0", width, width, 3)
                norm(state, f"conv.{number}.conv.1{middle}.1", width)
                state[f"conv.{number}.sn.w"] = torch.tensor([0.4]) if old else torch.tensor(0.4)
            else:
                conv_plif(f"conv.{number}.conv.1", width, width, 3)
    linear(state, "out", classes, features)
    return state


SEVEN_B: list[tuple[str, int]] = [("up1", 32), *([("block", 0), ("pool", 0)] * 7)]
WIDE: list[tuple[str, int]] = [
    ("up1", 64),
    *([("block", 0), ("pool", 0)] * 4),
    ("up1", 128),
    *([("block", 0), ("pool", 0)] * 3),
]
SMALL: list[tuple[str, int]] = [("up3", 4), ("block", 0), ("pool", 0), ("block", 0), ("pool", 0)]
"""For frames of 8 x 8: 4 channels of 2 x 2 reach the Linear."""


def tdbn_resnet(
    stem: int = 4,
    channels: tuple[int, ...] = (8, 8),
    blocks: tuple[int, ...] = (1, 1),
    aliased: bool = True,
    hidden: int = 16,
) -> State:
    """STBP-simple's ResNet-19, narrower: every layer named twice, shortcuts once."""
    torch.manual_seed(5)
    state: State = {}

    def layer(at: str, n: int, outputs: int, inputs: int) -> None:
        conv(state, f"{at}conv{n}", outputs, inputs, 3)
        norm(state, f"{at}bn{n}", outputs)
        if aliased:
            state[f"{at}conv{n}_s.layer.weight"] = state[f"{at}conv{n}.weight"]
            for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                state[f"{at}conv{n}_s.bn.{part}"] = state[f"{at}bn{n}.{part}"]

    layer("", 1, stem, 3)
    inputs = stem
    for stage, (width, count) in enumerate(zip(channels, blocks, strict=True), start=1):
        for block in range(count):
            at = f"layer{stage}.{block}."
            layer(at, 1, width, inputs)
            layer(at, 2, width, width)
            if block == 0 and (stage > 1 or inputs != width):
                conv(state, f"{at}downsample.layer", width, inputs, 1)
                norm(state, f"{at}downsample.bn", width)
            inputs = width
    for name, outputs in (("fc1", hidden), ("fc2", 10)):
        linear(state, name, outputs, inputs)
        if aliased:
            for part in ("weight", "bias"):
                state[f"{name}_s.layer.{part}"] = state[f"{name}.{part}"]
        inputs = outputs
    return state


def stbp() -> dict[str, Any]:
    """The `.t7`'s four entries, with the official sizes."""
    torch.manual_seed(6)
    state: State = {}
    for name, outputs, inputs in (("conv1", 32, 1), ("conv2", 32, 32)):
        conv(state, name, outputs, inputs, 3)
        state[f"{name}.bias"] = 0.1 * torch.randn(outputs)
    linear(state, "fc1", 128, 1568)
    linear(state, "fc2", 10, 128)
    return {"net": OrderedDict(state), "acc": 99.43, "epoch": 99, "acc_record": [99.0, 99.43]}
