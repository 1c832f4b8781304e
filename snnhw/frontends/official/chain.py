"""State dicts of SpikingJelly's chains: its PLIF networks, its spiking VGGs, and its two MNIST tutorials.

Keys are numbers in a Sequential (`conv_fc.0.weight`). Layers without weights (neurons, pools, flatten, dropout) have no
keys; these published networks leave one reading of the numbers that are left out:

    conv_fc     (conv, [norm], neuron, [max-pool 2]) ..., flatten, [dropout], (linear, neuron, [dropout]) ...
    layer       flatten, linear, neuron
    features    (conv, [norm], neuron, [max-pool 2]) ..., then classifier: (linear, neuron, dropout) ..., linear
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from snnhw.errors import SourceError
from snnhw.frontends.official.answers import Answers
from snnhw.frontends.official.found import Found
from snnhw.frontends.official.keys import Keys
from snnhw.semantics import Deployment
from snnhw.zoo.chain import votes

_WHOSE = "SpikingJelly's models"
_VOTERS = 10
"""Neurons of one class where SpikingJelly's PLIF networks vote."""

_KEY = re.compile(r"(\w+)\.(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked|w)$")
_VGG_SIDE = 7
"""Pixels (squared) that a VGG's pools leave of an image of 224; other sizes would be replicated to it."""

_VGG_DEPTHS = {8: 11, 10: 13, 13: 16, 16: 19}
"""Convolutions -> depth."""


@dataclass(frozen=True)
class _Part:
    """One Sequential: number -> 'conv', 'norm', 'linear' or 'spikes' (PLIF), for those with weights."""

    name: str
    kinds: dict[int, str]


def is_chain(keys: Keys) -> bool:
    """Every key is one of a numbered layer of `conv_fc`, `layer`, or `features` and `classifier`."""
    matches = [_KEY.match(key) for key in keys.state]
    names = {m[1] for m in matches if m}
    return all(matches) and names in ({"conv_fc"}, {"layer"}, {"features", "classifier"})


def read_chain(keys: Keys, answers: Answers) -> Found:
    """Layers from numbers and shapes; T, and whether neurons are IF or LIF, must be said."""
    if keys.has(r"layer\."):
        return _perceptron(keys, answers)
    return _vgg(keys, answers) if keys.has(r"features\.") else _conv_fc(keys, answers)


def _perceptron(keys: Keys, answers: Answers) -> Found:
    part = _part(keys, "layer")
    if part.kinds not in ({1: "linear"}, {1: "linear", 2: "spikes"}):
        raise LookupError("the tutorial's network has one layer")
    outputs, inputs = keys.shape("layer.1.weight")
    side = math.isqrt(inputs)
    square = (1, side, side) if side * side == inputs else (inputs,)
    shape = answers.ask("input_shape", assumed=square, why="SpikingJelly's tutorial")
    if math.prod(shape) != inputs:
        raise _other_size(shape, f"{inputs} values, as the Linear reads", "layer.1.weight")
    specs = [("flatten",), ("linear", inputs, outputs, _biased(keys, "layer.1")), ("spikes",)]
    deployment = _deployment(answers, shape, "bernoulli", "rate", "uint8/255")
    config = _config(specs, keys, answers)
    return Found("SpikingJelly's one layer of spiking neurons", "chain", config, deployment, _renamed({"layer": 0}))


def _conv_fc(keys: Keys, answers: Answers) -> Found:
    part = _part(keys, "conv_fc")
    specs, gaps = _walked(keys, part)
    dropout = any(gap == 1 for _, gap in gaps[1:]) or (bool(gaps) and gaps[0][1] == 3)
    first, gap = gaps[0] if gaps else (0, 0)
    pools = gap - 1 - dropout
    if pools not in (0, 1) or any(count != dropout for _, count in gaps[1:]):
        raise LookupError("other layers without weights than the published networks have")
    at = first - gap
    specs[at:first] = [("pool", 2)] * pools + [("flatten",)] + [("none",)] * dropout
    specs = [("none",) if spec == ("gap",) else spec for spec in specs] + [("spikes",)] * (specs[-1] != ("spikes",))
    shape = _square(keys, specs, answers, first, f"conv_fc.{first}.weight")
    classes, constants = _classes(specs), {}
    if dropout:
        if classes % _VOTERS:
            raise LookupError("these networks end in ten neurons a class")
        answers.constant("vote", f"mean of {_VOTERS} neurons", _WHOSE)
        constants = {f"conv_fc.{len(specs)}.weight": votes(classes, _VOTERS)}
        specs.append(("vote", classes, _VOTERS))
    frames = shape[0] == 2
    deployment = _deployment(answers, shape, "spikes" if frames else "direct", "mean" if dropout else "rate", "none")
    convs = sum(spec[0] == "conv" for spec in specs)
    name = f"SpikingJelly's {'PLIF network' if dropout else 'convolutional tutorial network'} of {convs} convolutions"
    config = _config(specs, keys, answers)
    return Found(name, "chain", config, deployment, _renamed({"conv_fc": 0}), constants=constants)


def _vgg(keys: Keys, answers: Answers) -> Found:
    features, rest = _walked(keys, _part(keys, "features"))
    part = _part(keys, "classifier")
    layers, gaps = _walked(keys, part)
    convs = sum(spec[0] == "conv" for spec in features)
    if convs not in _VGG_DEPTHS or rest or any(gap != 1 for _, gap in gaps) or layers[0][0] != "linear":
        raise LookupError("no VGG of SpikingJelly's")
    features = [*features, *[("spikes",)] * (features[-1] != ("spikes",)), ("pool", 2)]
    pools = sum(spec[0] == "pool" for spec in features)
    channels = features[0][1]
    shape = answers.image(channels, (_VGG_SIDE << pools, _VGG_SIDE << pools), _WHOSE)
    if shape[1] >> pools != _VGG_SIDE:
        raise _other_size(shape, f"images of {_VGG_SIDE << pools}: of others the average pool makes copies", "features")
    specs = [*features, ("flatten",), *[("none",) if spec == ("gap",) else spec for spec in layers]]
    deployment = _deployment(answers, shape, "direct", "mean", "none")
    places = {"features": 0, "classifier": len(features) + 1}
    config = _config(specs, keys, answers)
    return Found(f"Spiking VGG-{_VGG_DEPTHS[convs]}", "chain", config, deployment, _renamed(places))


def _part(keys: Keys, name: str) -> _Part:
    kinds: dict[int, str] = {}
    for key in keys.state:
        m = _KEY.match(key)
        if m is None or m[1] != name:
            continue
        shape = keys.shape(f"{name}.{m[2]}.weight")
        kind = "spikes" if m[3] == "w" else {4: "conv", 2: "linear", 1: "norm"}.get(len(shape))
        if kind is None:
            raise LookupError("a layer of another kind")
        kinds[int(m[2])] = kind
    if not kinds or max(kinds) > 6 * len(kinds):
        raise LookupError("layers numbered beyond reason")
    return _Part(name, kinds)


def _walked(keys: Keys, part: _Part) -> tuple[list[tuple[Any, ...]], list[tuple[int, int]]]:
    """Specs up to the last layer with weights, and per Linear behind spikes (its number, unknown layers before it).

    Unknown are ('gap',) until the caller, who knows the network, says what they are.
    """
    specs: list[tuple[Any, ...]] = []
    gaps: list[tuple[int, int]] = []
    for number in range(max(part.kinds) + 1):
        kind, before = part.kinds.get(number), specs[-1][0] if specs else None
        at = f"{part.name}.{number}"
        if kind == "conv":
            outputs, inputs, *kernel = keys.shape(f"{at}.weight")
            if kernel != [3, 3] or before not in (None, "spikes", "pool"):
                raise LookupError("a convolution of another kind or place")
            specs.append(("conv", inputs, outputs, _biased(keys, at)))
        elif kind == "linear":
            gap = len(list(takewhile(("gap",).__eq__, reversed(specs))))
            gaps += [(number, gap)] if specs else []
            outputs, inputs = keys.shape(f"{at}.weight")
            specs.append(("linear", inputs, outputs, _biased(keys, at)))
        elif kind == "norm":
            specs.append(("norm", keys.shape(f"{at}.weight")[0]))
        elif kind == "spikes" or before in ("conv", "norm", "linear"):
            specs.append(("spikes",))
        elif before == "spikes" and part.kinds.get(number + 1) == "conv":
            specs.append(("pool", 2))
        else:
            specs.append(("gap",))
    return specs, gaps


def _square(keys: Keys, specs: list[tuple[Any, ...]], answers: Answers, first: int, where: str) -> tuple[int, ...]:
    """The image's shape: what the pools leave of it is what the first Linear reads."""
    channels = next((spec[2] for spec in reversed(specs[:first]) if spec[0] == "conv"), 0)
    pools, width = sum(spec[0] == "pool" for spec in specs), keys.shape(where)[1]
    side = math.isqrt(width // max(channels, 1))
    if not channels or channels * side * side != width:
        raise LookupError("the Linear does not read a square image")
    inputs = specs[0][1]
    whole = 34 if (inputs, pools, side) == (2, 2, 8) else side << pools  # N-MNIST's 34 pixels leave 8
    shape = answers.image(inputs, (whole, whole), f"{_WHOSE}, and the Linear's width")
    if shape[1] >> pools != side:
        raise _other_size(shape, f"{side << pools} to {((side + 1) << pools) - 1} pixels a side", where)
    return shape


def _other_size(shape: tuple[int, ...], limit: str, where: str) -> SourceError:
    return SourceError(
        "flag-contradicts",
        "--input-shape does not fit the Linear behind the last layer of the image",
        where=where,
        needed=",".join(map(str, shape)),
        limit=limit,
        hint="give the shape of the samples that it was trained on",
    )


def _deployment(
    answers: Answers, shape: tuple[int, ...], encoding: str, readout: str, preprocessing: str
) -> Deployment:
    said = answers.ask("encoding", assumed=encoding, why=_WHOSE)
    return Deployment(
        steps=answers.ask("steps", args=("T",), why="T"),
        encoding=said,
        input_shape=shape,
        readout=answers.ask("readout", assumed=readout, among=("rate", "mean"), why=_WHOSE),
        preprocessing=preprocessing,
    )


def _config(specs: list[tuple[Any, ...]], keys: Keys, answers: Answers) -> dict[str, Any]:
    found: dict[str, Any] = {"layers": [list(spec) for spec in specs]}
    if any(key.endswith(".w") for key in keys.state):
        found["neuron"] = answers.told("neuron", "plif")
    else:
        why = "which neurons it has (IF and LIF have no weights, and neither has an ANN's ReLU)"
        found["neuron"] = answers.ask("neuron", among=("if", "lif"), why=why)
    if found["neuron"] == "lif":
        found["decay"] = answers.ask("decay", assumed=0.5, why="SpikingJelly's tau = 2, decay = 1 - 1/tau")
    found["v_threshold"] = answers.ask("threshold", assumed=1.0, why=_WHOSE)
    answers.constant("reset", "hard, to 0", _WHOSE)
    return found


def _classes(specs: list[tuple[Any, ...]]) -> int:
    """Outputs of the last Linear."""
    return int(next(spec[2] for spec in reversed(specs) if spec[0] == "linear"))


def _biased(keys: Keys, at: str) -> int:
    return int(f"{at}.bias" in keys.state)


def _renamed(places: dict[str, int]) -> Any:
    """`layers.7.0.weight` -> `classifier.0.weight`, where the classifier begins at 7; PLIF's `layers.2.w` likewise."""

    def rename(key: str) -> str:
        number = int(key.split(".")[1])
        name = max((name for name in places if places[name] <= number), key=lambda name: places[name])
        rest = key.split(".")[3:] or key.split(".")[2:]
        return ".".join((name, str(number - places[name]), *rest))

    return rename
