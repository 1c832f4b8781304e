"""What a `.net` file says wrongly, or what netx would drop, clip or ignore: refused with the path of the dataset."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from snnhw import api
from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends import load_model
from snnhw.frontends.netx import load_net
from snnhw.frontends.options import SourceOptions
from tests.unit.frontends.netx.files import conv, dense, layer, matrix, neuron, written

I2 = layer("input", (2,))
IMG = layer("input", (2, 4, 4))
W = np.array([[2, -4], [6, 8], [10, 12]])
K = np.full((3, 2, 3, 3), 2)
WINDOW = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
POOL = {"weight": np.full((1, 1, 2, 2), 8.0), "kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], **neuron()}


def pool(**changes: Any) -> dict[str, Any]:
    return layer("pool", (2, 2, 2), **{**POOL, **changes})


def rec(**changes: Any) -> dict[str, Any]:
    return layer("dense_rec", (3,), **{"weight": W, "weight_rec": np.full((3, 3), 2), **neuron(), **changes})


def vth(value: int) -> dict[str, Any]:
    return neuron(vThMant=value)


BAD: list[tuple[str, list[dict[str, Any]], str]] = [
    ("only the last layer can be without neurons", [I2, layer("dense", (3,), weight=W), dense(W.T)], "layer/1/neuron"),
    (
        "the input's weight is 0, so that no sample reaches the network",
        [layer("input", (2,), weight=0, **neuron()), dense(W)],
        "layer/0/weight",
    ),
    ("the weights do not fit the layer before", [I2, dense(W.T)], "layer/1/weight"),
    (
        "the weights do not fit the layer before",
        [IMG, conv(np.full((3, 1, 3, 3), 2), (3, 2, 2), **WINDOW)],
        "layer/1/weight",
    ),
    ("a dense layer reads an image", [IMG, dense(np.full((3, 32), 2))], "layer/1"),
    (
        "the average does not divide the layer before into groups",
        [I2, dense(W), layer("average", (2, 1, 1))],
        "layer/2/shape",
    ),
    ("a convolution or pool does not read an image", [I2, conv(K, (3, 2, 2), **WINDOW)], "layer/1"),
    ("a convolution or pool does not read an image", [IMG, layer("flatten", (32, 1, 1)), pool()], "layer/2"),
    (
        "the layer's shape is not what its window makes of the one before",
        [IMG, conv(K, (3, 2, 3), **WINDOW)],
        "layer/1",
    ),
    ("a hidden layer cannot fire", [I2, dense(W, **vth((1 << 18) - 1)), dense(W.T)], "layer/1/neuron/vThMant"),
    (
        "a group is missing or is not a group",
        [I2, dense(W, **dict.fromkeys(neuron())) | {"neuron": 3}],
        "layer/1/neuron",
    ),
    ("the field is not one string", [I2, dense(W) | {"type": 5}], "layer/1/type"),
    ("the field is not one string", [I2, dense(W) | {"type": np.array([b"\xff\xfe"])}], "layer/1/type"),
    ("the field is not one number", [I2, dense(W, **neuron(iDecay=[1, 2, 3]))], "layer/1/neuron/iDecay"),
    ("a number is out of range", [I2, dense(W, **neuron(vDecay=5000))], "layer/1/neuron/vDecay"),
    ("a number is out of range", [I2, dense(W, **vth(-3))], "layer/1/neuron/vThMant"),
    (
        "the field is not one or two numbers",
        [IMG, conv(K, (3, 2, 2), **{**WINDOW, "stride": [0, 1]})],
        "layer/1/stride",
    ),
    ("the shape is not (neurons) or (C, H, W)", [layer("input", (2, 3)), dense(W)], "layer/0/shape"),
    ("the field does not hold numbers", [I2, dense(W) | {"weight": np.array([b"x"])}], "layer/1/weight"),
    ("the field does not hold numbers", [I2, dense(W) | {"weight": np.zeros((0, 2))}], "layer/1/weight"),
    ("a value is not finite", [I2, dense(W * np.nan)], "layer/1/weight"),
    ("a value is not finite", [I2, dense(W, bias=[1, np.inf, 0])], "layer/1/bias"),
    ("a value is not a whole number", [I2, dense(W + 0.5)], "layer/1/weight"),
    ("a value is too large", [I2, dense(W, bias=[1 << 30])], "layer/1/bias"),
    (
        "the field holds too many values",
        [I2, dense(W) | {"weight": np.zeros((1 << 26) + 1, np.uint8)}],
        "layer/1/weight",
    ),
    ("a dataset is missing", [I2, {k: v for k, v in dense(W).items() if k != "weight"}], "layer/1/weight"),
    (
        "a dataset is missing",
        [I2, {k: v for k, v in dense(W).items() if k != "neuron/iDecay"}],
        "layer/1/neuron/iDecay",
    ),
    ("the layer has too many neurons", [layer("input", (4096, 4096, 4096)), dense(W)], "layer/0/shape"),
    ("recurrent weights are not square", [I2, rec(weight_rec=W)], "layer/1/weight_rec"),
    ("the weights do not fit the layer's shape", [I2, dense(W) | {"shape": (4,)}], "layer/1/weight"),
    ("the weights do not fit the layer's shape", [IMG, conv(K, (4, 2, 2), **WINDOW)], "layer/1/weight"),
    ("a pool has more than one weight", [IMG, pool(weight=np.arange(4.0))], "layer/1/weight"),
    ("a pool has a bias", [IMG, pool(bias=[1])], "layer/1/bias"),
    ("the layer's shape is not (C, H, W)", [IMG, conv(K, (3,), **WINDOW)], "layer/1/shape"),
    ("the layer has no neuron", [IMG, layer("conv", (3, 2, 2), weight=K, **WINDOW)], "layer/1/neuron"),
    ("the bias does not fit the layer's shape", [I2, dense(W, bias=[1, 2])], "layer/1/bias"),
    ("the bias does not fit the layer's shape", [IMG, conv(K, (3, 2, 2), bias=[1], **WINDOW)], "layer/1/bias"),
    (
        "the bias does not fit the layer's shape",
        [IMG, conv(K, (3, 2, 2), bias=np.ones((3, 2, 2)), **WINDOW)],
        "layer/1/bias",
    ),
    ("the delays do not fit the weights", [I2, dense(W, delay=[1, 2, 3, 4])], "layer/1/delay"),
    (
        "the input transform is not one number",
        [layer("input", (2,), weight=[1, 2], **neuron()), dense(W)],
        "layer/0/weight",
    ),
    ("the network does not end in neurons", [I2], ""),
    ("the network does not end in neurons", [I2, dense(W), layer("flatten", (3, 1, 1))], ""),
    ("only the first layer can be an input", [I2, dense(W), I2], "layer/2"),
]

UNSUPPORTED: list[tuple[str, list[dict[str, Any]], str]] = [
    (
        "a layer without neurons has a bias, which netx adds once, not at every step",
        [I2, layer("dense", (3,), weight=W, bias=[1])],
        "layer/1/bias",
    ),
    (
        "weights do not fit 8 bit: netx clips them, so that it does not run what was trained",
        [I2, dense(W * 30)],
        "layer/1/weight",
    ),
    (
        "weights do not fit 8 bit: netx clips them, so that it does not run what was trained",
        [I2, dense(-np.abs(W) * 40)],
        "layer/1/weight",
    ),
    ("netx cannot pack odd weights below -128 beside zeros", [I2, dense([[0, -201]])], "layer/1/weight"),
    ("slayer's pools mix channels unless their windows tile the image", [IMG, pool(padding=[1, 1])], "layer/1"),
    ("slayer's pools mix channels unless their windows tile the image", [layer("input", (2, 5, 4)), pool()], "layer/1"),
    ("layers of type 'concat' are not supported, nor by netx", [I2, layer("concat", (3,))], "layer/1"),
    ("layers of type 'sparse' are not supported", [I2, layer("sparse", (3,))], "layer/1"),
    (
        "complex weights are not supported",
        [I2, layer("dense", (3,), **{"weight/real": W, "weight/imag": W}, **neuron())],
        "layer/1/weight",
    ),
    ("neurons of type 'SDNN' are not supported", [I2, dense(W, **neuron(type="SDNN"))], "layer/1/neuron"),
    ("neurons of type 'RF_ZERO' are not supported", [I2, dense(W, **neuron(type="RF_ZERO"))], "layer/1/neuron"),
    (
        "refDelay is set, and Lava's LIF has no refractory period: netx ignores it",
        [I2, dense(W, **neuron(refDelay=3))],
        "layer/1/neuron/refDelay",
    ),
    (
        "gradedSpike is set, and netx ignores it: its spikes are plain",
        [I2, dense(W, **neuron(gradedSpike=True))],
        "layer/1/neuron/gradedSpike",
    ),
    ("wgtExp is set, and netx ignores weight exponents", [I2, dense(W, **neuron(wgtExp=2))], "layer/1/neuron/wgtExp"),
    ("a recurrent layer has delays, which netx lays on both of its matrices", [I2, rec(delay=1)], "layer/1/delay"),
    ("a delay is out of range, where netx would clamp it", [I2, dense(W, delay=63)], "layer/1/delay"),
    ("a delay is out of range, where netx would clamp it", [I2, dense(W, delay=[-1, 0, 0])], "layer/1/delay"),
    (
        "a convolution or pool has delays, which netx drops without a word",
        [IMG, conv(K, (3, 2, 2), delay=[1, 2, 3], **WINDOW)],
        "layer/1/delay",
    ),
]


def refused(path: Path, options: SourceOptions | None = None) -> SnnhwError:
    with pytest.raises(SnnhwError) as caught:
        load_net(path, options)
    return caught.value


@pytest.mark.parametrize(
    ("code", "text", "layers", "where"),
    [("bad-net", *case) for case in BAD] + [("unsupported-net", *case) for case in UNSUPPORTED],
)
def test_named_with_its_path(code: str, text: str, layers: list[dict[str, Any]], where: str, tmp_path: Path) -> None:
    error = refused(written(tmp_path / "m.net", *layers))
    assert (error.code, error.message) == (code, text)
    assert error.where == (f"m.net: {where}" if where else "m.net")
    assert error.hint


def test_layers_are_numbered(tmp_path: Path) -> None:
    path = written(tmp_path / "m.net", I2, dense(W))
    with h5py.File(path, "a") as file:
        file.move("layer/1", "layer/02")
    assert refused(path).message == "layers are not numbered from 0 without a gap"


def test_flags(tmp_path: Path) -> None:
    path = written(tmp_path / "m.net", IMG, conv(K, (3, 2, 2), **WINDOW))
    error = refused(path, SourceOptions(input_shape=(1, 4, 4)))
    assert (error.code, error.message) == ("bad-net", "the file says another shape of samples than the flag")
    with pytest.raises(SourceError, match=r"unused-flag(.|\n)*limit: a .net file takes --encoding, "):
        load_model(path, SourceOptions(connect="ADD"))
    error = refused(path, SourceOptions(semantics={"reset": "subtract"}))
    assert (error.code, error.message) == ("unsupported-net", "a .net file's neurons have Lava's rules")
    error = refused(path, SourceOptions(readout="mean"))
    assert (error.code, error.message) == ("unsupported-net", "readout 'mean' does not fit the last layer")
    error = refused(path, SourceOptions(encoding="direct"))
    assert (error.code, error.message) == ("bad-encoding", "the first layer takes plain spikes")
    analog = written(tmp_path / "a.net", layer("input", (2,), **neuron()), dense(W))
    error = refused(analog, SourceOptions(encoding="spikes"))
    assert (error.code, error.message) == ("bad-encoding", "an input layer with neurons takes analog values")


def test_what_the_file_leaves_open(tmp_path: Path) -> None:
    path = written(tmp_path / "m.net", conv(K, (3, 2, 2), **WINDOW), steps=None)
    error = refused(path)
    assert (error.code, error.needed) == ("needs-flag", "--input-shape C,H,W")
    assert error.message == "the file does not say the shape of a sample: it has no input layer"
    error = refused(path, SourceOptions(input_shape=(2, 4, 4)))
    assert (error.code, error.needed) == ("needs-flag", "--steps T")
    assert error.message == "the file does not say how many steps a sample has"


@pytest.mark.parametrize(
    ("target", "layers", "code", "text", "where"),
    [
        (
            "loihi2",
            [IMG, conv(K * 101 + 1, (3, 2, 2), **WINDOW)],
            "weight-range",
            "weights do not fit the target's format, and imported integers are not rounded",
            "input->layer1",
        ),
        (
            "loihi1",
            [I2, dense(W, **neuron(vDecay=4096))],
            "unsupported-neuron",
            "target loihi1 has no membrane without memory",
            "layer1",
        ),
        ("loihi1", [I2, dense(W, bias=[1 << 14])], "bias-range", "a bias does not fit its format", "layer1"),
        (
            "loihi1",
            [I2, dense(W, delay=62)],
            "delay-range",
            "a synaptic delay of the input is longer than the target allows",
            "input->layer1 after 62",
        ),
    ],
)
def test_what_a_target_cannot_hold(
    target: str, layers: list[dict[str, Any]], code: str, text: str, where: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "m.net", *layers)
    with pytest.raises(SnnhwError) as caught:
        api.compile(path, target=target)
    assert (caught.value.code, caught.value.message, caught.value.where) == (code, text, where)


def test_greater_or_equal_needs_programmable_neurons(tmp_path: Path) -> None:
    path = matrix("dense", tmp_path / "m.net")
    with pytest.raises(SnnhwError) as caught:
        api.compile(path, target="loihi1", options=SourceOptions(semantics={"threshold": "ge"}))
    assert caught.value.message == "target loihi1 has no such comparison"


def test_integers_are_not_quantised_again(tmp_path: Path) -> None:
    path = matrix("dense", tmp_path / "m.net")
    with pytest.raises(SnnhwError) as caught:
        api.compile(path, target="loihi2", weight_bits=4)
    assert caught.value.code == "unused-flag"
    assert caught.value.message == "the network is integers already: they are taken as they are"
    with pytest.raises(SnnhwError) as caught:
        load_net(path).nir_graph()
    assert caught.value.code == "no-graph"
    assert caught.value.message == "a network that is integers already is not written as a NIR graph"


OUTSIDE = ("external link", "soft link", "external data", "virtual data", "loop")


def damaged(kind: str, path: Path) -> Path:
    """A hostile file."""
    written(path, I2, dense(W))
    match kind:
        case "not HDF5":
            path.write_bytes(b"PK\x03\x04 not a .net file")
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(path.read_bytes()[:-400])
        case "external link":
            with h5py.File(path, "a") as file:
                del file["layer/1/weight"]
                file["layer/1/weight"] = h5py.ExternalLink("/etc/passwd", "x")
        case "soft link":
            with h5py.File(path, "a") as file:
                del file["layer/1/weight"]
                file["layer/1/weight"] = h5py.SoftLink("/layer/0/shape")
        case "external data":
            with h5py.File(path, "a") as file:
                del file["layer/1/weight"]
                file["layer/1"].create_dataset("weight", (3, 2), "f4", external=[("/etc/passwd", 0, 24)])
        case "virtual data":
            with h5py.File(path, "a") as file:
                del file["layer/1/weight"]
                layout = h5py.VirtualLayout((3, 2), "f4")
                layout[:] = h5py.VirtualSource("other.h5", "x", (3, 2))
                file["layer/1"].create_virtual_dataset("weight", layout)
        case "absurd shape":
            with h5py.File(path, "a") as file:
                del file["layer/1/weight"]
                file["layer/1"].create_dataset("weight", (1 << 20, 1 << 20), "f4", chunks=(64, 64), compression="gzip")
        case "no layers":
            with h5py.File(path, "a") as file:
                del file["layer"]
        case "loop":
            with h5py.File(path, "a") as file:
                file["layer/1/self"] = file["layer"]
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "not HDF5",
        "empty",
        "truncated",
        "external link",
        "soft link",
        "external data",
        "virtual data",
        "absurd shape",
        "no layers",
        "loop",
    ],
)
def test_hostile_files(kind: str, tmp_path: Path) -> None:
    error = refused(damaged(kind, tmp_path / "m.net"))
    expected = {"absurd shape": "too-big"} | dict.fromkeys(OUTSIDE, "bad-hdf5")
    assert error.code == expected.get(kind, "bad-net")
    assert str(error.where).startswith("m.net")
    if kind in ("not HDF5", "empty", "truncated"):
        assert error.message.startswith("not a readable .net file: OSError")
    if kind in OUTSIDE[:4]:
        assert error.where == "m.net: /layer/1/weight"
        assert error.message == "the file links to data outside it, which are not followed"


def test_every_cut_of_a_file_is_an_error_or_the_file(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.net", I2, dense(W)).read_bytes()
    path = tmp_path / "m.net"
    for end in range(0, len(whole), 211):
        path.write_bytes(whole[:end])
        assert refused(path).code == "bad-net"


def test_every_flipped_byte_is_an_error_or_a_network(tmp_path: Path) -> None:
    path = tmp_path / "m.net"
    shutil.copy(written(tmp_path / "whole.net", I2, dense(W)), path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.choice(len(whole), 120, replace=False).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            load_net(path)
        except SnnhwError:
            continue


def test_an_average_of_too_many_neurons(tmp_path: Path) -> None:
    big = conv(np.full((1, 1, 1, 1), 2), (1, 256, 256), **WINDOW)
    layers = [layer("input", (1, 256, 256)), big, layer("average", (32768, 1, 1), **neuron())]
    error = refused(written(tmp_path / "m.net", *layers))
    assert str(error) == (
        "unsupported-net: the average joins more neurons than its matrix can hold\n"
        "  where: m.net: layer/2/shape\n  needed: 32768 x 65536 weights\n  limit: 67108864\n"
        "  hint: put a pool, or a smaller layer, before it"
    )


def test_padding_that_no_memory_holds(tmp_path: Path) -> None:
    far = {**WINDOW, "padding": 1 << 22, "stride": 1 << 22}
    error = refused(written(tmp_path / "m.net", IMG, conv(np.full((3, 2, 3, 3), 2), (3, 3, 3), **far)))
    assert error.code == "too-big"
    assert error.message == "the windows of a convolution or pool hold too many values"
    assert error.where == "m.net: layer/1"
