"""The layers of a `.net` file as plain values, checked; nothing is built yet."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import h5py
import numpy as np

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends.netx.fields import HINT, Fields, bad, listed, unsupported
from snnhw.hdf5 import require_plain
from snnhw.limits import fault
from snnhw.network import Array, Shape

MAX_BYTES = 1 << 30
MAX_NEURONS = 1 << 24
MAX_STEPS = 1 << 20
KINDS = ("input", "dense", "dense_rec", "conv", "pool", "flatten", "average")
NEURONS = ("CUBA", "LOIHI")
DELAY_MAX = 62
DECAY_ONE = 4096
VTH_MANTISSA_MAX = (1 << 18) - 1
"""slayer's Affine block writes it, to say that its neurons never fire; registers have 17 bit."""


@dataclass(frozen=True)
class Cuba:
    """A current-based LIF neuron of Loihi; decays in 1/4096 a step, threshold in units of 64."""

    i_decay: int
    v_decay: int
    vth: int


@dataclass(frozen=True)
class Layer:
    """One layer.

    Args:
        where: file and path, for messages.
        shape: of its neurons, (n,) or (C, H, W); of a flatten layer unused.
        weight: integers; dense (post, pre), conv (C_out, C_in / groups, kh, kw), pool (1,), input (1,). A pool and an
            average (of groups of neurons that follow each other) are slayer's: netx itself has neither.
        bias: bias mantissas, one, one a channel, or one a neuron; of an input: added to weight * x.
        delay: steps, (post, pre).
        recurrent: dense_rec's (post, post).
        kernel: of a pool.
    """

    index: int
    kind: str
    where: str
    shape: Shape
    neuron: Cuba | None = None
    weight: Array | None = None
    bias: Array | None = None
    delay: Array | None = None
    recurrent: Array | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def name(self) -> str:
        """Of its population."""
        return f"layer{self.index}"

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)


@dataclass(frozen=True)
class NetFile:
    """All layers, and T where the file says it."""

    layers: tuple[Layer, ...]
    steps: int | None


def read_net(path: Path) -> NetFile:
    """Read and check; raises SourceError 'bad-net', 'unsupported-net' or 'too-big' with file and path."""
    try:
        with h5py.File(path, "r") as file:
            require_plain(file, path.name, HINT, MAX_BYTES)
            groups = Fields(file.get("layer"), f"{path.name}: layer")
            count = len(groups.group)
            odd = sorted(name for name in groups.group if not re.fullmatch("0|[1-9][0-9]*", name) or int(name) >= count)
            if odd or not count:
                raise bad("layers are not numbered from 0 without a gap", groups.where, listed(odd[:3]) or "none")
            layers = tuple(_layer(groups.inside(str(i)), i) for i in range(count))
            return NetFile(layers, _steps(file, path.name))
    except SnnhwError:
        raise
    except Exception as error:  # h5py raises many kinds; all mean the same to the user
        raise fault(error, str(path)) or SourceError(
            "bad-net", f"not a readable .net file: {type(error).__name__}: {error}", where=path.name, hint=HINT
        ) from error


def _steps(file: h5py.File, name: str) -> int | None:
    """T: the length of a sample over the length of a step."""
    if "simulation" not in file or "tSample" not in file["simulation"]:
        return None
    fields = Fields(file["simulation"], f"{name}: simulation")
    step = fields.whole("Ts", 1, MAX_STEPS) if "Ts" in fields else 1
    return max(1, fields.whole("tSample", 1, MAX_STEPS) // step)


def _layer(fields: Fields, index: int) -> Layer:
    kind = fields.text("type")
    if kind not in KINDS:
        raise unsupported(
            f"layers of type {kind!r} are not supported" + (", nor by netx" if kind in _NOT_IN_NETX else ""),
            fields.where,
            kind,
            listed(KINDS),
            "train and export the network without this layer",
        )
    if kind == "flatten":
        return Layer(index, kind, fields.where, ())
    if "weight" in fields and isinstance(fields.group["weight"], h5py.Group):
        raise unsupported("complex weights are not supported", fields.at("weight"), "real and imag", "real", _REAL)
    shape = fields.shape("shape")
    if prod(shape) > MAX_NEURONS:
        raise bad("the layer has too many neurons", fields.at("shape"), prod(shape), MAX_NEURONS)
    neuron = _neuron(fields.inside("neuron")) if "neuron" in fields else None
    made = Layer(index, kind, fields.where, shape, neuron, bias=fields.array("bias") if "bias" in fields else None)
    return _READERS[kind](fields, made) if kind in _READERS else made


_NOT_IN_NETX = ("convT", "unpool", "concat", "dense_comp")
_REAL = "train with CUBA neurons and real weights"


def _neuron(fields: Fields) -> Cuba:
    kind = fields.text("type")
    if kind not in NEURONS:
        raise unsupported(
            f"neurons of type {kind!r} are not supported",
            fields.where,
            kind,
            listed(NEURONS),
            "train with CUBA neurons",
        )
    _require_off(fields, "refDelay", 1, "Lava's LIF has no refractory period: netx ignores it")
    _require_off(fields, "gradedSpike", 0, "netx ignores it: its spikes are plain")
    for key in ("wgtExp", "weight_exp"):
        _require_off(fields, key, 0, "netx ignores weight exponents")
    decays = {key: fields.whole(key, 0, DECAY_ONE) for key in ("iDecay", "vDecay")}
    return Cuba(decays["iDecay"], decays["vDecay"], fields.whole("vThMant", 0, VTH_MANTISSA_MAX))


def _require_off(fields: Fields, key: str, off: int, why: str) -> None:
    if key in fields and (fields.array(key) != off).any():
        needed = fields.array(key).ravel()[:4].tolist()
        raise unsupported(f"{key} is set, and {why}", fields.at(key), needed, off, "train without")


def _dense(fields: Fields, layer: Layer) -> Layer:
    weight = _matrix(fields, "weight", layer)
    recurrent = _matrix(fields, "weight_rec", layer) if layer.kind == "dense_rec" else None
    if recurrent is not None and recurrent.shape[1] != layer.size:
        raise bad(
            "recurrent weights are not square", fields.at("weight_rec"), recurrent.shape, (layer.size, layer.size)
        )
    delay = _delays(fields, weight.shape) if "delay" in fields else None
    if delay is not None and recurrent is not None:
        raise unsupported(
            "a recurrent layer has delays, which netx lays on both of its matrices",
            fields.at("delay"),
            f"up to {delay.max()} steps",
            "none",
            "train the layer without delays",
        )
    _bias_fits(fields, layer, ((), (1,), (layer.size,)))
    return _with(layer, weight=weight, delay=delay, recurrent=recurrent)


def _matrix(fields: Fields, key: str, layer: Layer) -> Array:
    weight = fields.array(key)
    weight = weight.reshape(layer.size, -1) if weight.ndim == 1 and weight.size % layer.size == 0 else weight
    if weight.ndim != 2 or weight.shape[0] != layer.size:
        raise bad("the weights do not fit the layer's shape", fields.at(key), weight.shape, f"({layer.size}, inputs)")
    return weight


def _delays(fields: Fields, weights: Shape) -> Array:
    """As netx: one number, one a row (the layer's own axons), one a column, or one a synapse."""
    delay = fields.array("delay")
    if delay.min() < 0 or delay.max() > DELAY_MAX:
        worst = int(delay.min() if delay.min() < 0 else delay.max())
        raise unsupported(
            "a delay is out of range, where netx would clamp it", fields.at("delay"), worst, f"0 to {DELAY_MAX}", _CLAMP
        )
    if delay.shape == (weights[0],) and delay.size > 1:
        delay = delay[:, None]
    elif delay.size != 1 and delay.shape not in ((weights[1],), weights):
        raise bad("the delays do not fit the weights", fields.at("delay"), delay.shape, weights)
    return np.broadcast_to(delay if delay.size > 1 else delay.reshape(1, 1), weights)


_CLAMP = "train with shorter delays (slayer.axon.Delay(max_delay=62))"


def _conv(fields: Fields, layer: Layer) -> Layer:
    _image(fields, layer)
    _no_delay(fields)
    weight = fields.array("weight")
    weight = weight[..., 0] if weight.ndim == 5 and weight.shape[-1] == 1 else weight
    if weight.ndim != 4 or weight.shape[0] != layer.shape[0]:
        raise bad("the weights do not fit the layer's shape", fields.at("weight"), weight.shape, "(C, C_in, kh, kw)")
    groups = fields.whole("groups", 1, MAX_NEURONS) if "groups" in fields else 1
    _bias_fits(fields, layer, ((layer.shape[0],), layer.shape[::-1]))
    return _with(layer, weight=weight, groups=groups, **_window(fields))


def _pool(fields: Fields, layer: Layer) -> Layer:
    _image(fields, layer)
    _no_delay(fields)
    weight = fields.array("weight").ravel()
    if (weight != weight[0]).any():
        raise bad("a pool has more than one weight", fields.at("weight"), weight[:4].tolist(), "one value")
    if layer.bias is not None:
        raise bad("a pool has a bias", fields.at("bias"))
    kernel = fields.pair("kernelSize", 1)
    return _with(layer, weight=weight[:1], kernel=kernel, **_window(fields, kernel))


def _input(fields: Fields, layer: Layer) -> Layer:
    weight = fields.array("weight") if "weight" in fields else None
    for key, values in (("weight", weight), ("bias", layer.bias)):
        if values is not None and values.size != 1:
            raise bad("the input transform is not one number", fields.at(key), values.shape, "1 value")
    return _with(layer, weight=weight)


_READERS = {"dense": _dense, "dense_rec": _dense, "conv": _conv, "pool": _pool, "input": _input}


def _with(layer: Layer, **changes: object) -> Layer:
    return replace(layer, **changes)  # type: ignore[arg-type]


def _window(fields: Fields, stride: tuple[int, int] = (1, 1)) -> dict[str, tuple[int, int]]:
    return {
        "stride": fields.pair("stride", 1, stride),
        "padding": fields.pair("padding", 0, (0, 0)),
        "dilation": fields.pair("dilation", 1, (1, 1)),
    }


def _image(fields: Fields, layer: Layer) -> None:
    if len(layer.shape) != 3:
        raise bad("the layer's shape is not (C, H, W)", fields.at("shape"), layer.shape, "3 numbers")
    if layer.neuron is None:
        raise bad("the layer has no neuron", fields.at("neuron"))


def _no_delay(fields: Fields) -> None:
    if "delay" in fields and fields.array("delay").any():
        raise unsupported(
            "a convolution or pool has delays, which netx drops without a word",
            fields.at("delay"),
            f"up to {fields.array('delay').max()} steps",
            "none",
            "train the layer without delays",
        )


def _bias_fits(fields: Fields, layer: Layer, shapes: tuple[Shape, ...]) -> None:
    if layer.bias is not None and layer.bias.shape not in shapes:
        limit = " or ".join(map(str, shapes))
        raise bad("the bias does not fit the layer's shape", fields.at("bias"), layer.bias.shape, limit)
