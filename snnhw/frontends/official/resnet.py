"""SEW ResNet and Spiking ResNet for ImageNet (Fang et al. 2021), of the authors' code and of SpikingJelly's models.

IF neurons own no weights: T, g, Vth and the neuron itself are not in a state dict. `args.model` is not believed: the
authors' own logs call SEW networks `spiking_resnet18`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.errors import SourceError
from snnhw.frontends.official.answers import Answers
from snnhw.frontends.official.found import Found
from snnhw.frontends.official.keys import Keys
from snnhw.semantics import Deployment
from snnhw.zoo.neurons import LIF

DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
"""(bottleneck, blocks of each stage) -> depth."""

_WHOSE = "the SEW ResNet authors' code"
_NAMES = {"sew_resnet": "SEW ResNet", "spiking_resnet": "Spiking ResNet"}


def is_resnet(keys: Keys) -> bool:
    """conv1, bn1, layer1 to layer4, fc."""
    return keys.has(r"conv1\.weight$", r"bn1\.weight$", r"layer1\.0\.conv1\.", r"layer4\.0\.conv1\.", r"fc\.weight$")


def read_resnet(keys: Keys, answers: Answers) -> Found:
    """Depth, widths and family from the keys; g, T and neuron from flags or args."""
    jelly = bool(keys.shape("layer1.0.conv1.weight"))
    depth, inputs = _depth(keys), keys.shape("conv1.weight")[1]
    shape = answers.image(inputs, (224, 224), "ImageNet")
    family = _family(keys, answers, jelly)
    config: dict[str, Any] = {
        "depth": depth,
        "classes": keys.shape("fc.weight")[0],
        "in_channels": inputs,
        "image_size": shape[1],
        "width": keys.shape("conv1.weight")[0],
    }
    if family == "sew_resnet":
        config["connect"] = answers.ask("connect", args=("connect_f", "cnf"), why="which g its SEW blocks have")
        if jelly and depth >= 50 and config["connect"] == "IAND":
            raise _swapped()
    config["neuron"], adjust = _neuron(keys, answers)
    config["v_threshold"] = answers.ask("threshold", assumed=1.0, why=_WHOSE)
    deployment = Deployment(
        steps=answers.ask("steps", args=("T",), why="T"),
        encoding=answers.ask("encoding", assumed="direct", why=_WHOSE),
        input_shape=shape,
        readout=answers.ask("readout", assumed="mean", among=("rate", "mean"), why=_WHOSE),
    )
    name = f"{_NAMES[family]}-{depth}" + (" (SpikingJelly's keys)" if jelly else "")
    rename = _jelly_key(keys, family) if jelly else str
    return Found(name, f"{family}_imagenet", config, deployment, rename, adjust)


def _depth(keys: Keys) -> int:
    blocks = tuple(keys.count(rf"layer{n}\.(\d+)\.") for n in range(1, 5))
    bottleneck = keys.has(r"layer1\.0\.conv3\.")
    if (bottleneck, blocks) not in DEPTHS:
        raise SourceError(
            "unknown-architecture",
            "no ResNet of the published code has these blocks",
            where="layer1 to layer4",
            needed=f"{blocks} {'bottleneck' if bottleneck else 'basic'} blocks",
            limit=", ".join(f"{depth}: {counts}" for (_, counts), depth in DEPTHS.items()),
        )
    return DEPTHS[bottleneck, blocks]


def _family(keys: Keys, answers: Answers, jelly: bool) -> str:
    """SEW's shortcut is a Sequential of conv-BN and a neuron, so that its keys are one level deeper."""
    if not jelly:
        sew = keys.has(r"layer\d\.0\.downsample\.0\.0\.weight$")
        return str(answers.told("architecture", "sew_resnet" if sew else "spiking_resnet"))
    if keys.has(r"layer\d\.0\.(downsample_sn|downsample\.2)\.w$"):
        return str(answers.told("architecture", "sew_resnet"))
    why = (
        "whether it is a sew_resnet or a spiking_resnet: in SpikingJelly's models both have these keys "
        "(and so has the ANN of torchvision)"
    )
    return answers.family(tuple(_NAMES), why)


def _neuron(keys: Keys, answers: Answers) -> tuple[str, Callable[[nn.Module], None]]:
    """PLIF has weights of its own; IF and LIF have none."""
    if keys.has(r"sn1\.w$"):
        return str(answers.told("neuron", "plif")), _keep
    name = str(answers.ask("neuron", among=("if", "lif"), assumed="if", why=_WHOSE))
    if name != "lif":
        return name, _keep
    decay = answers.ask("decay", assumed=0.5, why="SpikingJelly's tau = 2, decay = 1 - 1/tau")

    def adjust(module: nn.Module) -> None:
        for parent in list(module.modules()):
            for child, layer in list(parent.named_children()):
                if isinstance(layer, LIF):
                    setattr(parent, child, LIF(tau=1.0 / (1.0 - decay), v_threshold=layer.v_threshold))

    return name, adjust


def _keep(module: nn.Module) -> None:
    pass


def _jelly_key(keys: Keys, family: str) -> Callable[[str], str]:
    """`layer1.0.conv2.1.bias` -> `layer1.0.bn2.bias`; SEW's `downsample.0.1.bias` -> `downsample.1.bias`."""
    neuron = "downsample.2" if keys.has(r"layer\d\.0\.downsample\.2\.") else "downsample_sn"

    def rename(key: str) -> str:
        key = re.sub(r"\.conv(\d)\.0\.", r".conv\1.", key)
        key = re.sub(r"\.conv(\d)\.1\.", r".bn\1.", key)
        if family == "sew_resnet":
            key = re.sub(r"\.downsample\.1\.", f".{neuron}.", key)
            key = re.sub(r"\.downsample\.0\.", ".downsample.", key)
        return key

    return rename


def _swapped() -> SourceError:
    return SourceError(
        "unsupported-connect",
        "SpikingJelly's bottleneck computes IAND with its operands swapped: out (1 - identity)",
        where="--connect",
        needed="IAND in a bottleneck block",
        limit="identity (1 - out), as the SEW ResNet authors have it",
        hint="there is no such block here; ADD, AND and basic blocks are the same in both codes",
    )
