"""Samples step by step through `snnhw.open`: the same bits, outputs so far, early stops, resumed states."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw.artifact import Artifact
from snnhw.errors import DataError, EngineError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import LIF
from tests.unit.frontends.modules import Flow

T = 5


def compiled(readout: str) -> Artifact:
    """Six inputs, five neurons, three outputs."""
    torch.manual_seed(0)
    first, last = PerStep(nn.Linear(6, 5)), PerStep(nn.Linear(5, 3))
    if readout == "mean":
        net = Flow(lambda m, x: m.f2(m.n1(m.f1(x))).mean(0), f1=first, n1=LIF(v_threshold=0.2), f2=last)
    else:
        net = Flow(lambda m, x: m.n2(m.f2(m.n1(m.f1(x)))), f1=first, n1=LIF(v_threshold=0.2), f2=last, n2=LIF())
    made = snnhw.compile(net, torch.rand(T, 2, 6), target="loihi2")
    if readout == "first":
        return replace(made, network=replace(made.network, readout=replace(made.network.readout, kind="first")))
    return made


@pytest.fixture(scope="module", params=["rate", "mean", "first"])
def artifact(request: pytest.FixtureRequest) -> Artifact:
    return compiled(request.param)


def samples(steps: int = T) -> Any:
    return (np.random.default_rng(1).random((4, steps, 6)) < 0.6).astype(np.float64)


@pytest.mark.parametrize("engine", ["fast", "reference", "onnx"])
@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1), (2, 0, 3), (5,)])
def test_cut_runs_are_whole_runs(artifact: Artifact, engine: str, cuts: tuple[int, ...]) -> None:
    x, done, outputs = samples(), 0, []
    whole = snnhw.run(artifact, x, record="state")
    stream = snnhw.open(artifact, engine, record="state")
    for k in cuts:
        found = stream.advance(x[:, done : done + k])
        for p in artifact.network.computed:
            for state in ("u", "v"):
                want = whole[f"{state}/{p.name}"][:, done : done + k]
                np.testing.assert_array_equal(found[p.name].state[state], want)
        outputs.append(found.output)
        done += k
    np.testing.assert_array_equal(np.concatenate(outputs, axis=1), whole["output"])
    np.testing.assert_array_equal(found.predictions, whole["predictions"])
    assert stream.steps == T
    assert stream.saturations == int(whole["saturations"])


def test_a_stop_gives_the_first_outputs(artifact: Artifact) -> None:
    x = samples()
    whole = snnhw.run(artifact, x)["output"]
    found = snnhw.open(artifact).advance(x[:, :2])
    np.testing.assert_array_equal(found.output, whole[:, :2])
    kind, scale = artifact.network.readout.kind, artifact.network.readout.scale
    if kind == "first":
        fired = whole[:, :2] > 0
        np.testing.assert_array_equal(found.scores, np.where(fired.any(1), fired.argmax(1), 2))  # silence: 2 steps
    else:
        np.testing.assert_allclose(found.scores, whole[:, :2].sum(1) * scale * (T / 2 if kind == "mean" else 1))


def test_a_state_resumes_in_another_engine(artifact: Artifact) -> None:
    x = samples()
    one, other = snnhw.open(artifact, "fast"), snnhw.open(artifact, "reference")
    one.advance(x[:, :3])
    other.state = one.state
    want, have = one.advance(x[:, 3:]), other.advance(x[:, 3:])
    np.testing.assert_array_equal(have.output, want.output)
    np.testing.assert_array_equal(have.predictions, want.predictions)
    np.testing.assert_array_equal(have.scores, want.scores)


@pytest.mark.parametrize("end", ["reset", "drain"])
def test_new_samples_begin_at_rest(artifact: Artifact, end: str) -> None:
    x = samples()
    stream = snnhw.open(artifact, "reference")
    want = stream.advance(x).output
    getattr(stream, end)()
    assert stream.steps == 0
    np.testing.assert_array_equal(stream.advance(x).output, want)


def test_beyond_the_proof_is_said_once() -> None:
    made = compiled("rate")
    with snnhw.open(made) as stream:
        stream.advance(samples())
        with pytest.warns(snnhw.BeyondProof, match="step 6 of a sample: ranges are proven for 5 steps"):
            stream.advance(samples(1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stream.advance(samples(2))
        assert stream.steps == 8
    assert stream.steps == 0


def test_static_samples_are_shown_for_some_steps() -> None:
    made = snnhw.compile(
        Flow(lambda m, x: m.n1(m.f1(x)), f1=PerStep(nn.Linear(6, 3)), n1=LIF(v_threshold=0.1)),
        torch.rand(T, 2, 6),
        target="loihi2",
    )
    x = np.random.default_rng(0).random((3, 6)).astype(np.float32)
    for encoding in ("bernoulli", "latency"):
        inputs = tuple(replace(spec, encoding=encoding, low=0, high=1, scale=1.0) for spec in made.inputs)
        drawn = replace(made, inputs=inputs)
        want = snnhw.run(drawn, x)["output"]
        stream = snnhw.open(drawn)
        have = [stream.advance(x, steps=k).output for k in (1, 1, 3)]  # Bernoulli draws 6 numbers a step
        np.testing.assert_array_equal(np.concatenate(have, axis=1), want)
    with pytest.raises(DataError) as caught:
        stream.advance(x, steps=1)
    assert str(caught.value).startswith("bad-steps: latency-coded samples end with the steps they were compiled for")


def test_refusals() -> None:
    stream = snnhw.open(compiled("rate"))
    for x, steps, text in (
        (samples(), 2, "the data have their own steps"),
        (samples()[:, 0], None, "static samples do not say for how many steps they are shown"),
        (samples()[:, 0], -1, "static samples do not say for how many steps they are shown"),
    ):
        with pytest.raises(DataError) as caught:
            stream.advance(x, steps)
        assert text in str(caught.value)
    with pytest.raises(EngineError):
        snnhw.open(compiled("rate"), "float")


def test_the_example_of_the_readme(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    (block,) = (part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "snnhw.open" in part)
    seen: dict[str, Any] = {"snnhw": snnhw, "np": np, "artifact": compiled("rate"), "x": samples()}
    exec(block, seen)
    done = seen["t"] + 1
    np.testing.assert_array_equal(
        seen["found"].scores, snnhw.run(seen["artifact"], samples())["output"][:, :done].sum(1)
    )
