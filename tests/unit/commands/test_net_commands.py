"""lava-dl's .net files through the commands: in, explained, run in floats, compared, and out again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.commands.line import snnhw
from tests.unit.frontends.netx.files import dense, layer, matrix, neuron, written


def test_in_and_out_again(tmp_path: Path) -> None:
    net, artifact, again, data = (tmp_path / name for name in ("n.net", "n.snnhw", "again.net", "d.npz"))
    matrix("dense", net)
    x = (np.random.default_rng(0).random((6, 12, 8)) < 0.4).astype(np.uint8)
    np.savez(data, x=x, y=np.zeros(6, np.int64))
    done = snnhw("compile", net, "--target", "loihi1", "-o", artifact, "--json")
    assert (done.code, done.json["checks"]) == (0, ["netx rules = integers: equal"])
    assert "from the file: n.net: layer/1/neuron/iDecay" in snnhw("explain", artifact, "--json").out
    assert snnhw("check", net, "--target", "loihi2").code == 0
    floats = snnhw("run", net, "--engine", "float", "--input", data, "--json")
    integers = snnhw("run", artifact, "--input", data, "--json")
    assert (floats.code, integers.code, integers.json["saturations"]) == (0, 0, 0)
    assert snnhw("compare", net, artifact, "--data", data, "--json").json["agreement"] >= 0.5
    bench = snnhw("compare", net, artifact, "--data", data, "--neurobench", tmp_path / "bench.json")
    assert bench.code == 1
    assert "no-float-network: NeuroBench's metrics are of a network in floats" in bench.err
    assert not (tmp_path / "bench.json").exists()
    asked = snnhw("why", net, artifact, "--data", data)
    assert (asked.code, "nothing-rounded: the network is integers already: they are taken" in asked.err) == (1, True)
    assert snnhw("export", artifact, "--to", "netx", "-o", again).code == 0
    assert snnhw("compile", again, "--target", "loihi1", "-o", tmp_path / "again.snnhw").code == 0


def test_semantics_are_remembered(tmp_path: Path) -> None:
    net, artifact, data = tmp_path / "n.net", tmp_path / "n.snnhw", tmp_path / "d.npz"
    written(net, layer("input", (1,)), dense([[20]], **neuron(iDecay=4096, vDecay=0)), steps=3)
    np.savez(data, x=np.ones((2, 3, 1), np.uint8), y=np.zeros(2, np.int64))
    words = ("--semantics", '{"threshold": "ge"}')
    assert snnhw("compile", net, "--target", "loihi2", "-o", artifact, *words).code == 0
    both = snnhw("compare", net, artifact, "--data", data, "--json").json
    assert [both[side]["layers"][-1]["spikes"] for side in ("float", "quantized")] == [3.0, 3.0]


@pytest.mark.parametrize("machine", [False, True])
def test_refused_with_exit_1(machine: bool, tmp_path: Path) -> None:
    net = written(tmp_path / "n.net", layer("input", (2,)), dense(np.full((3, 2), np.nan)))
    done = snnhw("compile", net, "--target", "loihi2", "-o", tmp_path / "n.snnhw", *(["--json"] * machine))
    assert done.code == 1
    assert (done.json["error"]["where"] if machine else done.err).count("n.net: layer/1/weight") == 1
    assert not (tmp_path / "n.snnhw").exists()


def test_emit_nir_is_refused(tmp_path: Path) -> None:
    net = matrix("dense", tmp_path / "n.net")
    words = ("--target", "loihi2", "-o", tmp_path / "n.snnhw", "--emit-nir", tmp_path / "n.nir")
    done = snnhw("compile", net, *words)
    assert done.code == 1
    assert "no-graph: a network that is integers already is not written as a NIR graph" in done.err
    assert not (tmp_path / "n.snnhw").exists()


def test_what_netx_cannot_hold_exits_with_1(tmp_path: Path) -> None:
    artifact = tmp_path / "sew.snnhw"
    assert snnhw("compile", "examples/sew_resnet.pt", "--target", "loihi1", "-o", artifact).code == 0
    done = snnhw("export", artifact, "--to", "netx", "-o", tmp_path / "sew.net")
    assert (done.code, (tmp_path / "sew.net").exists()) == (1, False)
    assert "netx-cannot: a layer reads others than the one before it (a residual)" in done.err
