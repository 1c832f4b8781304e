"""NIR files of ours, read and run by the framework of this environment: its spikes are ours, one by one.

And the stored files of tests/frontends/files are what the framework's exporter writes today.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from nirtorch import nir_to_torch

import snnhw
from snnhw.export.nir import write_graph
from snnhw.frontends.nir.file import load_nir
from snnhw.frontends.nir.read import read_graph
from snnhw.frontends.options import SourceOptions
from tests.frontends import nir_files
from tests.frontends.environments import VARIABLE
from tests.frontends.nir_readers import run_in
from tests.unit.export.test_importers import WORKS, branched, looped, source
from tests.unit.frontends.foreign import FILES, unpacked

HERE = os.environ.get(VARIABLE, "")
TOLD = [key for key in sorted(WORKS) if HERE in WORKS[key]]

pytestmark = pytest.mark.filterwarnings("ignore")


def same(have: np.ndarray, want: np.ndarray) -> bool:
    """Some importers leave a sample's axes flat."""
    return want.any() and np.array_equal(have.reshape(want.shape), want)


@pytest.mark.parametrize(("framework", "case"), TOLD)
def test_float_networks(framework: str, case: str, tmp_path: Path) -> None:
    network, x = source(framework, case, tmp_path)
    want = snnhw.run_float(network, x)["output"]
    write_graph(network, tmp_path / "out.nir", HERE)
    assert same(run_in(HERE, tmp_path / "out.nir", x), want)


@pytest.mark.skipif(HERE not in ("spikingjelly", "norse"), reason="reads no loops")
def test_loops(tmp_path: Path) -> None:
    network, x = looped()
    write_graph(network, tmp_path / "out.nir", HERE)
    assert same(run_in(HERE, tmp_path / "out.nir", x), snnhw.run_float(network, x)["output"])


@pytest.mark.skipif(HERE not in ("snntorch", "spikingjelly", "norse"), reason="reads no sums")
def test_sums(tmp_path: Path) -> None:
    """Whatever the order of edges in the source."""
    network = branched(shortcut=False)
    x = (np.random.default_rng(0).random((5, 6, 2)) < 0.7).astype(np.float64) * 2
    write_graph(network, tmp_path / "out.nir", HERE)
    assert same(run_in(HERE, tmp_path / "out.nir", x), snnhw.run_float(network, x)["output"])


@pytest.mark.skipif(HERE not in ("snntorch", "spikingjelly", "norse"), reason="reads no IF neurons with a hard reset")
@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_quantised_networks(target: str, tmp_path: Path) -> None:
    """The chip's own spikes: nothing leaks, and every number is a whole one times a power of two."""
    path, x, _ = unpacked("norse", "iaf", tmp_path)
    artifact = snnhw.compile(path, target=target, calibrate=x, options=SourceOptions(dialect="norse"))
    if target == "loihi2" and HERE != "norse":
        with pytest.raises(snnhw.SnnhwError, match="a v_threshold of its own for every neuron"):
            write_graph(artifact, tmp_path / "out.nir", HERE)
        return
    write_graph(artifact, tmp_path / "out.nir", HERE)
    assert same(run_in(HERE, tmp_path / "out.nir", x), snnhw.run(artifact, x)["output"])


def test_nirtorch_reads_our_files(tmp_path: Path) -> None:
    """Its own map has no spiking neurons: a graph of linear layers, without biases (it loses them)."""
    import nir

    parts = {
        "input": nir.Input({"input": np.array([3])}),
        "fc": nir.Linear(np.arange(6.0).reshape(2, 3)),
        "output": nir.Output({"output": np.array([2])}),
    }
    nir.write(tmp_path / "in.nir", nir.NIRGraph(parts, [("input", "fc"), ("fc", "output")], metadata={}))
    write_graph(load_nir(tmp_path / "in.nir", SourceOptions(steps=2)), tmp_path / "out.nir")
    net = nir_to_torch(nir.read(tmp_path / "out.nir"), {})
    x = torch.rand(1, 3)
    found = net(x)
    out = found[0] if isinstance(found, tuple) else found
    assert torch.allclose(out.double(), x.double() @ torch.arange(6.0).double().reshape(2, 3).T)


def test_stored_files_are_what_the_exporter_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nir_files, "FILES", tmp_path)
    nir_files.main(HERE)
    with zipfile.ZipFile(tmp_path / f"{HERE}.zip") as new, zipfile.ZipFile(FILES / f"{HERE}.zip") as old:
        assert sorted(new.namelist()) == sorted(old.namelist())
        for folder, archive in (("new", new), ("old", old)):
            archive.extractall(tmp_path / folder)
    for path in sorted((tmp_path / "old").glob("*.nir")):
        one, other = read_graph(path), read_graph(tmp_path / "new" / path.name)
        assert sorted(one.edges) == sorted(other.edges)
        for name, node in one.nodes.items():
            for key, value in vars(node).items():
                if isinstance(value, np.ndarray):
                    stored = getattr(other.nodes[name], key)  # CPUs differ in the last digit of exp
                    assert np.allclose(value, stored, rtol=1e-6, atol=0), (path.name, name, key)
        with np.load(path.with_suffix(".npz")) as a, np.load(tmp_path / "new" / f"{path.stem}.npz") as b:
            assert all(np.array_equal(a[key], b[key]) for key in a.files)
