"""Delay nodes with a delay per neuron; and messages that name the element that is wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnhw
from snnhw import SourceOptions
from snnhw.errors import SourceError
from snnhw.frontends.nir.file import load_nir

T, DT = 90, 1e-3
OPTIONS = SourceOptions(dialect="nir", steps=T, semantics={"dt": DT, "reset": "zero"})


def neurons(size: int, **fields: Any) -> nir.LIF:
    """No memory beyond a step, fires above 1/2."""
    plain = {"tau": DT, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0}
    values = {key: np.full(size, value) for key, value in plain.items()}
    for key, (at, value) in fields.items():
        values[key][at] = value
    return nir.LIF(**values)


def written(folder: Path, *layers: nir.NIRNode, size: int = 4, out: int = 4) -> Path:
    names = ["input", *(f"n{i}" for i in range(len(layers))), "output"]
    nodes = dict(zip(names, (nir.Input(np.array([size])), *layers, nir.Output(np.array([out]))), strict=True))
    nir.write(folder / "net.nir", nir.NIRGraph(nodes, list(pairwise(names)), type_check=False))
    return folder / "net.nir"


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("lags", [(0, 3, 3, 7), (1, 70, 2, 64)])
def test_a_delay_per_neuron(lags: tuple[int, ...], linear: bool, tmp_path: Path) -> None:
    """Also longer than loihi2's 63 steps."""
    between = [nir.Linear(np.eye(4)[[1, 0, 2, 3]])] if linear else []
    path = written(tmp_path, neurons(4), nir.Delay(np.array(lags) * DT), *between, neurons(4))
    x = (np.random.default_rng(0).random((3, T, 4)) < 0.3).astype(float)
    shifted = np.stack([np.pad(x[:, : T - lag, i], ((0, 0), (lag, 0))) for i, lag in enumerate(lags)], 2)
    want = shifted[..., [1, 0, 2, 3]] if linear else shifted
    source = load_nir(path, OPTIONS)
    artifact = snnhw.compile(source, target="loihi2")
    np.testing.assert_array_equal(snnhw.run(artifact, x)["counts"], want.sum(1))
    np.testing.assert_array_equal(snnhw.run_float(source, x)["counts"], want.sum(1))


def test_one_delay_for_all_stays_one_node(tmp_path: Path) -> None:
    source = load_nir(written(tmp_path, neurons(4), nir.Delay(np.full(4, 2 * DT)), neurons(4)), OPTIONS)
    assert set(source.graph.nodes) == {"input", "n0", "n1", "n2", "output"}


@pytest.mark.parametrize(
    ("layer", "code", "where"),
    [
        (neurons(4, r=(2, np.nan)), "not-finite", "n0.r[2]"),
        (neurons(4, tau=(3, 0.0)), "bad-parameter", "n0.tau[3]"),
        (neurons(4, tau=(1, 1e-5)), "bad-parameter", "n0.tau[1]"),
        (neurons(4, v_threshold=(1, -1.0)), "bad-parameter", "n0.v_threshold[1]"),
        (neurons(4, v_threshold=(1, np.inf)), "not-finite", "n0.v_threshold[1]"),
        (nir.Linear(np.where(np.arange(16) == 6, np.nan, 1.0).reshape(4, 4)), "not-finite", "n0.weight[1, 2]"),
    ],
)
def test_the_element_is_named(layer: nir.NIRNode, code: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        load_nir(written(tmp_path, layer, neurons(4)), OPTIONS)
    assert (caught.value.code, caught.value.where) == (code, where)


def test_a_delay_of_half_a_step_is_named(tmp_path: Path) -> None:
    source = load_nir(written(tmp_path, neurons(4), nir.Delay(np.array([1, 1.5, 1, 1]) * DT), neurons(4)), OPTIONS)
    with pytest.raises(SourceError, match="a delay is not one whole number of steps") as caught:
        snnhw.compile(source, target="loihi2")
    assert caught.value.where == "n1.after1.5"
