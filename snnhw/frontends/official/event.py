"""SEW ResNet's event networks (Fang et al. 2021): 7B-Net (DVS Gesture), Wide-7B-Net (CIFAR10-DVS), and their kin.

The published code builds them from a list of layers. Keys say all of it but the pools, which have none: a number that
is left out between two layers is a max-pool of 2, and the Linear's width tells whether one follows the last block.
"""

from __future__ import annotations

import re
from typing import Any

from snnhw.errors import SourceError
from snnhw.frontends.official.answers import Answers
from snnhw.frontends.official.found import Found
from snnhw.frontends.official.keys import Keys
from snnhw.semantics import Deployment

_POOL = 2
_WHOSE = "the SEW ResNet authors' code"
_SEVEN = [(32, 32)] * 7
_WIDE = [(64, 64)] * 4 + [(128, 128)] * 3
_BLOCKS = {"sew_resnet": "sew", "spiking_resnet": "basic", "plain_net": "plain"}


def is_event(keys: Keys) -> bool:
    """A sequence `conv` of conv-BN-PLIF and blocks, and `out`."""
    return keys.has(r"conv\.0\.0\.0\.weight$", r"conv\.\d+\.conv\.0\.0\.0\.weight$", r"out\.weight$")


def read_event(keys: Keys, answers: Answers) -> Found:
    """The list of layers, g from flags or `connect_f` / `cnf`, T from flags or `T`."""
    inputs = keys.shape("conv.0.0.0.weight")[1]
    shape = answers.image(inputs, (128, 128), _WHOSE)
    layers, blocks = _layers(keys)
    last = layers[-1]["channels"]
    pools = sum("k_pool" in layer for layer in layers)
    if _pool_behind(keys, shape[1], last, pools):
        layers.append({"channels": last, "k_pool": _POOL})
    answers.constant("pool", f"max {_POOL}x{_POOL}", _WHOSE)
    family = _family(keys, answers)
    config: dict[str, Any] = {
        "layers": layers,
        "classes": keys.shape("out.weight")[0],
        "in_channels": inputs,
        "image_size": shape[1],
        "block": _BLOCKS[family],
    }
    if family == "sew_resnet":
        config["connect"] = answers.ask("connect", args=("connect_f", "cnf"), why="which g its SEW blocks have")
    deployment = Deployment(
        steps=answers.ask("steps", args=("T",), why="T"),
        encoding=answers.ask("encoding", assumed="spikes", why=_WHOSE),
        input_shape=shape,
        readout=answers.ask("readout", assumed="mean", among=("rate", "mean"), why=_WHOSE),
    )
    name = "7B-Net" if blocks == _SEVEN else "Wide-7B-Net" if blocks == _WIDE else "event network"
    return Found(f"{name} ({family})", "event_net", config, deployment)


def _layers(keys: Keys) -> tuple[list[dict[str, int]], list[tuple[int, int]]]:
    """The authors' list of layers up to the last that has weights; (channels, mid channels) of its blocks."""
    numbers = {int(m[1]) for key in keys.state if (m := re.match(r"conv\.(\d+)\.", key))}
    layers: list[dict[str, int]] = []
    blocks: list[tuple[int, int]] = []
    if max(numbers) > 3 * len(numbers):
        raise LookupError("more pools than an image of any size survives")
    for number in range(max(numbers) + 1):
        first = keys.shape(f"conv.{number}.conv.0.0.0.weight")
        alone = keys.shape(f"conv.{number}.0.0.weight")
        if first:
            layers.append({"channels": first[1], "mid_channels": first[0], "num_blocks": 1})
            blocks.append((first[1], first[0]))
        elif alone:
            layers.append({"channels": alone[0], "up_kernel_size": alone[2]})
        else:
            layers.append({"channels": layers[-1]["channels"], "k_pool": _POOL})
    return layers, blocks


def _pool_behind(keys: Keys, side: int, channels: int, before: int) -> bool:
    """Whether a pool stands between the last block and the Linear, told by the Linear's width."""
    width = keys.shape("out.weight")[1]
    side //= _POOL**before
    for behind in (True, False):
        last = side // _POOL if behind else side
        if last and channels * last * last == width:
            return behind
    raise SourceError(
        "bad-shape",
        "the Linear's width does not fit frames of this size",
        where="out.weight",
        needed=f"{width} features = {channels} channels x side x side",
        limit=f"side {side}, or {side // _POOL} after another pool",
        hint="give --input-shape C,H,W of the frames it was trained on",
    )


def _family(keys: Keys, answers: Answers) -> str:
    """Spiking ResNet's blocks have a neuron of their own; SEW and plain blocks have the same keys."""
    if keys.has(r"conv\.\d+\.sn\.w$"):
        return str(answers.told("architecture", "spiking_resnet"))
    plain = "plain" in str(answers.arg("model")).lower()
    if plain and not answers.flagged("architecture"):
        return str(answers.told("architecture", "plain_net", by="args"))
    why = "whether its blocks are SEW blocks (--connect ADD|AND|IAND) or plain ones (--architecture plain_net)"
    return answers.family(("sew_resnet", "plain_net"), why)
