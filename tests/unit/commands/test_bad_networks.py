"""Networks that cannot be, in files that can be read: exit 1, a message with the node's path, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

from snnhw.semantics import Deployment, to_metadata
from tests.unit.commands.line import Done, snnhw
from tests.unit.frontends.checkpoints import content
from tests.unit.frontends.graphs import graph, semantics

Change = Callable[[h5py.Group], None]
NODE = "node/nodes/"


def to(field: str, value: Any) -> Change:
    """Another value of one field, whatever its shape."""

    def change(file: h5py.Group) -> None:
        file.pop(NODE + field, None)
        file[NODE + field] = value

    return change


def without(field: str) -> Change:
    def change(file: h5py.Group) -> None:
        del file[NODE + field]

    return change


def edges(*more: tuple[str, str], less: tuple[tuple[str, str], ...] = ()) -> Change:
    def change(file: h5py.Group) -> None:
        held = [tuple(name.decode() for name in row) for row in file["node/edges"][()].tolist()]
        del file["node/edges"]
        file["node/edges"] = np.array([row for row in held if row not in less] + list(more), "S")

    return change


def linear_loop(file: h5py.Group) -> None:
    """fc -> back -> fc: no neuron on the way."""
    file.copy(file[NODE + "fc"], file[NODE], "back")
    del file[NODE + "back/weight"], file[NODE + "back/bias"]
    file[NODE + "back/weight"], file[NODE + "back/bias"] = np.ones((3, 2)), np.zeros(3)
    edges(("fc", "back"), ("back", "fc"))(file)


NAN = float("nan")
GRAPHS: dict[str, tuple[Change, str, str, str]] = {
    "NaN weight": (to("fc/weight", [[1, NAN, 1], [1, 1, 1]]), "not-finite", "fc", "NaN or infinite"),
    "infinite bias": (to("fc/bias", [0, np.inf]), "not-finite", "fc", "NaN or infinite"),
    "NaN threshold": (to("neuron/v_threshold", [1, NAN]), "not-finite", "neuron", "NaN or infinite"),
    "tau of zero": (to("neuron/tau", [0.0, 0.0]), "bad-parameter", "neuron", "time constant"),
    "negative tau": (to("neuron/tau", [-1e-3, 1e-3]), "bad-parameter", "neuron", "time constant"),
    "NaN tau": (to("neuron/tau", [NAN, 1e-3]), "not-finite", "neuron", "NaN or infinite"),
    "tau below dt": (to("neuron/tau", [1e-5, 1e-5]), "bad-decay", "neuron", "grows or changes sign"),
    "negative threshold": (
        to("neuron/v_threshold", [-1.0, -1.0]),
        "bad-parameter",
        "neuron.v_threshold",
        "fires for ever",
    ),
    "threshold of one neuron": (
        to("neuron/v_threshold", [1.0, -0.5]),
        "bad-parameter",
        "neuron.v_threshold",
        "fires for ever",
    ),
    "reset above the threshold": (
        to("neuron/v_reset", [2.0, 2.0]),
        "bad-parameter",
        "neuron.v_threshold",
        "fires for ever",
    ),
    "loop without a neuron": (linear_loop, "loop-without-neuron", "back", "no defined value"),
    "bias of another length": (to("fc/bias", [0.0, 0, 0]), "bad-shape", "fc", "bias"),
    "weight of three axes": (to("fc/weight", np.ones((2, 3, 1))), "bad-shape", "fc", "axes"),
    "weight that reads more": (to("fc/weight", np.ones((2, 4))), "bad-shape", "fc", ""),
    "neurons of another number": (to("neuron/tau", [1e-3] * 3), "bad-shape", "neuron", ""),
    "weights that are text": (to("fc/weight", "many"), "bad-", "fc", ""),
    "unknown type": (to("fc/type", "Quantum"), "unknown-node", "fc", "Quantum"),
    "no type": (without("fc/type"), "bad-nir", "fc", "the node has no type"),
    "parameter that lacks": (without("neuron/r"), "bad-nir", "neuron.r", "lacks a parameter"),
    "parameter of another type": (to("neuron/gain", 1.0), "bad-nir", "neuron.gain", "does not have"),
    "edge to nowhere": (edges(("neuron", "ghost")), "bad-edge", "ghost", ""),
    "one edge twice": (edges(("input", "fc")), "bad-edge", "fc", ""),
    "node that nothing feeds": (edges(less=(("input", "fc"),)), "no-input", "fc", ""),
}
"""Name -> (what is changed, code, node in the message, text in it)."""


def checked(path: Path) -> Done:
    return snnhw("check", path, "--target", "loihi2", "--json")


def require(done: Done, file: str, code: str, node: str, text: str) -> None:
    assert done.code == 1, done
    assert done.err.startswith(f"error: {code}"), done.err
    assert "Traceback" not in done.err
    assert node in done.err
    assert text in done.err


@pytest.mark.parametrize("name", GRAPHS)
def test_nir(name: str, tmp_path: Path) -> None:
    change, code, node, text = GRAPHS[name]
    metadata = to_metadata(semantics(), Deployment(4, "spikes", (3,), "rate"))
    nir.write(tmp_path / "net.nir", graph(metadata=metadata))
    assert checked(tmp_path / "net.nir").code == 0
    with h5py.File(tmp_path / "net.nir", "r+") as file:
        change(file)
    require(checked(tmp_path / "net.nir"), "net.nir", code, node, text)


def weight(key: str, value: float) -> Callable[[dict[str, Any]], None]:
    def change(parts: dict[str, Any]) -> None:
        parts["model"][key].view(-1)[0] = value

    return change


def config(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts["network"].update(config={**parts["network"]["config"], **changes})


def replaced(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts["model"].update({key: value})


CHECKPOINTS: dict[str, tuple[Callable[[dict[str, Any]], None], str, str, str]] = {
    "NaN weight": (weight("fc1.0.weight", NAN), "not-finite", "fc1.0.weight", "1 values are NaN or infinite"),
    "infinite bias": (weight("conv1.0.bias", np.inf), "not-finite", "conv1.0.bias", "1 values are NaN or infinite"),
    "negative threshold": (config(threshold=-0.5), "bad-threshold", "net.pt", "threshold"),
    "decay above one": (config(decay=1.5), "bad-decay", "net.pt", ""),
    "decay that is text": (config(decay="slow"), "bad-", "net.pt", ""),
    "wrong bias shape": (replaced("fc1.0.bias", torch.zeros(7)), "bad-shape", "fc1.0.bias", "wrong shape"),
    "a weight that is text": (replaced("fc1.0.bias", "zeros"), "bad-shape", "fc1.0.bias", "got str"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint(name: str, tmp_path: Path) -> None:
    change, code, node, text = CHECKPOINTS[name]
    parts = content()
    change(parts)
    torch.save(parts, tmp_path / "net.pt")
    require(checked(tmp_path / "net.pt"), "net.pt", code, node, text)


def test_a_variance_below_zero(tmp_path: Path) -> None:
    """BatchNorm would make NaN of it."""
    parts = content("sew_resnet")
    key = next(key for key in parts["model"] if key.endswith("running_var"))
    parts["model"][key][0] = -1.0
    torch.save(parts, tmp_path / "net.pt")
    require(checked(tmp_path / "net.pt"), "net.pt", "bad-parameter", key.removesuffix(".running_var"), "variance")


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of numpy and of torch, which has no class for it."""
    errors = (
        MemoryError("Unable to allocate 8 TiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 TiB"),
    )
    for error in errors:

        def fail(*_: Any, _error: Exception = error) -> None:
            raise _error

        monkeypatch.setattr("snnhw.pipeline.load_model", fail)
        done = checked(tmp_path / "net.pt")
        require(done, "", "out-of-memory", "8 TiB", "there is not enough memory for this network and these samples")
        assert done.json["error"]["code"] == "out-of-memory"
    monkeypatch.setattr("snnhw.pipeline.load_model", lambda *_: (_ for _ in ()).throw(RuntimeError("a defect")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert checked(tmp_path / "net.pt").code == 3
