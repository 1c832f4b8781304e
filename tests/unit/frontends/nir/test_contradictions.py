"""What a NIR file says against itself, or looks as if it had lost: read, and warned of."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest

import snnhw
from snnhw import SourceOptions
from snnhw.frontends.nir.file import load_nir
from snnhw.summary import summary

OPTIONS = SourceOptions(dialect="nir", steps=4, semantics={"dt": 1.0, "reset": "zero"})


def fires(*shape: int) -> nir.IF:
    return nir.IF(*(np.full(shape, x, np.float32) for x in (1.0, 1.0, 0.0)))


def convolution(tmp_path: Path, input_shape: tuple[int, int] | None) -> Path:
    conv = partial(nir.Conv2d, weight=np.ones((3, 2, 3, 3), np.float32), stride=1, padding=1, dilation=1, groups=1)
    nodes = {
        "input": nir.Input(np.array([2, 8, 6])),
        "c": conv(input_shape=(8, 6), bias=np.zeros(3, np.float32)),
        "i": fires(3, 8, 6),
        "output": nir.Output(np.array([3, 8, 6])),
    }
    nodes["c"].input_shape = input_shape or (8, 6)
    names = list(nodes)
    nir.write(tmp_path / "n.nir", nir.NIRGraph(nodes, list(pairwise(names)), type_check=False))
    return tmp_path / "n.nir"


def test_an_input_shape_that_is_not_what_arrives(tmp_path: Path) -> None:
    (said,) = load_nir(convolution(tmp_path, (5, 5)), OPTIONS).warnings
    assert (said.code, said.where) == ("input-shape", "c")
    assert said.what == "its input_shape says (5, 5), and (8, 6) arrives: what arrives counts"
    assert load_nir(convolution(tmp_path, (8, 6)), OPTIONS).warnings == ()
    artifact = snnhw.compile(convolution(tmp_path, (5, 5)), target="loihi2", options=OPTIONS)
    assert [w.code for w in artifact.warnings] == ["input-shape"]


def residual(tmp_path: Path, lost: bool) -> Path:
    """n2(fc2(n1) + n1) as it is, or as the legacy tracer writes it: the second layer has an input of its own."""
    nodes = {
        "input": nir.Input(np.array([4])),
        "fc1": nir.Linear(np.eye(4, dtype=np.float32)),
        "n1": fires(4),
        "fc2": nir.Linear(np.eye(4, dtype=np.float32)),
        "n2": fires(4),
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "fc1"), ("fc1", "n1"), ("fc2", "n2"), ("n2", "output")]
    if lost:
        nodes["input_fc2"] = nir.Input(np.array([4]))
        edges += [("input_fc2", "fc2"), ("n1", "output")]
    else:
        edges += [("n1", "fc2"), ("n1", "n2")]
    nir.write(tmp_path / "n.nir", nir.NIRGraph(nodes, edges, type_check=False))
    return tmp_path / "n.nir"


def test_what_is_left_of_a_lost_residual(tmp_path: Path) -> None:
    assert load_nir(residual(tmp_path, lost=False), OPTIONS).warnings == ()
    found = load_nir(residual(tmp_path, lost=True), OPTIONS).warnings
    assert [(w.code, w.where, w.size) for w in found] == [
        ("lost-residual", "input_fc2", "a second input, of fc2 alone"),
        ("lost-residual", "output", "2 edges into an output: n1, n2"),
    ]


@pytest.mark.parametrize("lost", [False, True])
def test_the_summary_says_what_the_inputs_are(tmp_path: Path, lost: bool) -> None:
    artifact = snnhw.compile(residual(tmp_path, lost), target="loihi2", options=OPTIONS)
    said = summary(artifact, "n.snnhw")
    parts = "2: input 4, input_fc2 4; one after another in this order in flat samples of 8 values, spikes"
    assert said["inputs"] == (parts if lost else "4, spikes")
    assert said["readout"] == ("mean of values of the last layer over the steps" if lost else "spike counts")
