"""The real netx in Lava gives our spikes, of the files it reads and of those we write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnhw import api
from snnhw.artifact import Artifact
from snnhw.export.netx import input_currents, write_net
from snnhw.frontends.options import SourceOptions
from snnhw.network import Kind
from tests.conformance.lavadl import FOLDER, ROOT
from tests.unit.frontends.netx.files import NETWORKS, matrix

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lava,
    pytest.mark.skipif(not FOLDER.exists(), reason="python -m tests.conformance.lavadl puts lava-dl there"),
]

TINY = ROOT / "tests/unit/frontends/netx/tinynet/tiny.net"
SECONDS = 600


def in_netx(path: Path, values: np.ndarray[Any, Any], folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What `run_netx.py` finds, by place of the layer; images in our axis order."""
    np.save(folder / "in.npy", values)
    command = [str(Path(__file__).with_name("run_netx.py")), str(FOLDER), str(path), str(folder / "in.npy")]
    done = subprocess.run(
        [sys.executable, *command, str(folder / "out.npz")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "out.npz") as found:
        return {key: np.swapaxes(found[key], -1, -3) if found[key].ndim > 3 else found[key] for key in found.files}


def assert_same(artifact: Artifact, path: Path, x: np.ndarray[Any, Any], folder: Path) -> int:
    """Spikes of every layer and the last layer's final v; returns how many spikes there were."""
    ours, netx = api.run(artifact, x, record="state"), in_netx(path, input_currents(artifact, x), folder)
    layers = artifact.network.computed
    for place, population in enumerate(layers):
        want = ours[f"spikes/{population.name}"] * (population.kind is Kind.NEURON)
        assert np.array_equal(want.ravel(), netx[f"layer{place}"].ravel()), population.name
    assert np.array_equal(ours[f"v/{layers[-1].name}"][:, -1].ravel(), netx["v"].ravel())
    return int(sum(netx[f"layer{place}"].sum() for place in range(len(layers))))


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks(name: str, target: str, tmp_path: Path) -> None:
    path = matrix(name, tmp_path / "m.net")
    artifact = api.compile(path, target=target)
    rng, d = np.random.default_rng(5), artifact.deployment
    shape = (2, artifact.steps, *d.input_shape)
    x = rng.random((2, *d.input_shape)) if d.encoding == "direct" else (rng.random(shape) < 0.35).astype(np.uint8)
    write_net(artifact, tmp_path / "out.net")
    for file in (path, tmp_path / "out.net"):
        assert assert_same(artifact, file, x, tmp_path) > 0


def test_recorded_network(tmp_path: Path) -> None:
    artifact = api.compile(TINY, target="loihi2", options=SourceOptions(steps=12))
    write_net(artifact, tmp_path / "out.net")
    for file in (TINY, tmp_path / "out.net"):
        assert assert_same(artifact, file, np.random.default_rng(0).random((2, 3, 16, 16)), tmp_path) > 1000


def test_trained_network(tmp_path: Path) -> None:
    artifact = api.compile(ROOT / "examples/stbp_scnn.pt", target="loihi1-netx")
    write_net(artifact, tmp_path / "out.net")
    x = np.load(ROOT / "examples/fashion_mnist_500.npz")["x"][:1]
    assert assert_same(artifact, tmp_path / "out.net", x, tmp_path) > 10000
