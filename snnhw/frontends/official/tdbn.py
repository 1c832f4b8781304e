"""Clones of STBP-tdBN's residual networks (STBP-simple and those made after it).

Vth, alpha, tau_decay and T live in a settings file beside the checkpoint, never in it.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from snnhw.frontends.official.answers import Answers
from snnhw.frontends.official.found import Found
from snnhw.frontends.official.keys import Keys
from snnhw.semantics import Deployment
from snnhw.zoo.tdbn import BRANCH, ThresholdDependentBatchNorm2d

_WHOSE = "STBP-simple"
_SIDES = {1: (28, 28), 3: (32, 32)}
"""Height and width by channels: MNIST, CIFAR-10."""

_OURS = (
    (re.compile(r"^stem\.conv\."), "conv1."),
    (re.compile(r"^stem\.bn\."), "bn1."),
    (re.compile(r"\.branch\.conv(\d)\.conv\."), r".conv\1."),
    (re.compile(r"\.branch\.conv(\d)\.bn\."), r".bn\1."),
    (re.compile(r"\.shortcut\.conv\."), ".downsample.layer."),
    (re.compile(r"\.shortcut\.bn\."), ".downsample.bn."),
)


def is_tdbn(keys: Keys) -> bool:
    """Residual stages whose shortcuts are `tdLayer`s."""
    return keys.has(r"conv1\.weight$", r"bn1\.running_var$", r"layer\d\.0\.downsample\.layer\.weight$")


def read_tdbn(keys: Keys, answers: Answers) -> Found:
    """Widths and depths from shapes; Vth and T must be said."""
    stem = keys.shape("conv1.weight")
    shape = answers.image(stem[1], _SIDES.get(stem[1]), _WHOSE if stem[1] in _SIDES else "the size of its frames")
    hidden = keys.shape("fc1.weight")[0] if keys.shape("fc2.weight") else 0
    last = "fc2" if hidden else "fc1" if keys.shape("fc1.weight") else "fc"
    config: dict[str, Any] = {
        "in_channels": stem[1],
        **_stages(keys),
        "stem": stem[0],
        "large_stem": stem[2] == 7,
        "hidden": hidden,
        "classes": (*keys.shape(f"{last}.weight"), 0)[0],
        "threshold": answers.ask("threshold", why="Vth, of which published codes have .2, .4 and .5"),
        "decay": answers.ask("decay", assumed=0.25, why=_WHOSE),
        "dialect": answers.ask("tdbn_dialect", assumed="forward", why=f"{_WHOSE}, whose shortcuts these are"),
    }
    frames = stem[1] == 2
    deployment = Deployment(
        steps=answers.ask("steps", why="T"),
        encoding=answers.ask("encoding", assumed="spikes" if frames else "direct", why=_WHOSE),
        input_shape=shape,
        readout=answers.ask("readout", assumed="rate", among=("rate", "mean"), why=_WHOSE),
    )
    alpha = BRANCH
    if config["dialect"] == "forward":  # in the other dialect alpha is in the weights
        alpha = answers.ask("alpha", assumed=BRANCH, why=f"{_WHOSE}: 1/sqrt(2) on both branches of a block, else 1")

    def adjust(module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, ThresholdDependentBatchNorm2d) and layer.alpha == BRANCH:
                layer.alpha = alpha

    layers = 2 + sum(config["blocks"]) * (3 if config["block"] == "bottleneck" else 2) + bool(hidden)
    name = f"tdBN ResNet-{layers}"
    return Found(name, "tdbn_resnet", config, deployment, lambda key: _file_key(key, last, bool(hidden)), adjust)


def _stages(keys: Keys) -> dict[str, Any]:
    numbers = range(1, keys.count(r"layer(\d+)\.") + 1)
    return {
        "channels": [(*keys.shape(f"layer{n}.0.conv1.weight"), 0)[0] for n in numbers],
        "blocks": [keys.count(rf"layer{n}\.(\d+)\.") for n in numbers],
        "block": "bottleneck" if keys.has(r"layer1\.0\.conv3\.weight$") else "basic",
    }


def _file_key(key: str, last: str, hidden: bool) -> str:
    """`stages.0.1.branch.conv2.bn.weight` -> `layer1.1.bn2.weight`."""
    for pattern, new in _OURS:
        key = pattern.sub(new, key)
    key = re.sub(r"^stages\.(\d+)\.", lambda m: f"layer{int(m[1]) + 1}.", key)
    heads = {"head.0.0.": "fc1." if hidden else f"{last}.", "head.2.0.": f"{last}."}
    for ours, theirs in heads.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key
