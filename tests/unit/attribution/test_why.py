"""`snnhw why` on spoiled networks: the first line is the parameter that was spoiled, and its fix is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnhw
from snnhw.artifact import Artifact, save
from snnhw.attribution.explanation import Explanation
from snnhw.errors import SnnhwError
from snnhw.frontends.nir.file import nir_bytes
from tests.unit.attribution.spoiled import edited, parameters, samples, source
from tests.unit.commands.line import snnhw as line

X, TRAIN = samples(), samples(64, seed=2)


def compiled(
    p: dict[str, np.ndarray] | None = None, bits: Any = None, cal: np.ndarray = TRAIN, **form: Any
) -> Artifact:
    return snnhw.compile(source(p or parameters(), **form), target="loihi2", calibrate=cal, weight_bits=bits)


def asked(artifact: Artifact, p: dict[str, np.ndarray] | None = None, x: np.ndarray = X, **form: Any) -> Explanation:
    return snnhw.why(source(p or parameters(), **form), artifact, x, calibrate=TRAIN)


def first(found: Explanation) -> tuple[str, str]:
    cause = found.causes[0][0]
    assert found.lines[0].startswith(f"{cause.swap.layer}: {cause.swap.kind}: ")
    return cause.swap.layer, cause.swap.kind


@pytest.mark.parametrize(("layer", "current"), [("fc1", False), ("fc2", False), ("fc3", True)])
def test_few_bits_of_one_layer(layer: str, current: bool) -> None:
    found = asked(compiled(bits=f"{layer}=2,*=8", current=current), current=current)
    assert first(found) == (layer, "weight")
    fix = found.causes[0][1]
    assert fix is not None
    assert fix.option == "--weight-bits *=8"
    assert fix.healed > 0.6
    assert fix.harm.samples == found.apart.samples < len(X)


SPOILED: dict[str, tuple[str, str, Callable[[Any], Any], str]] = {
    "threshold": ("l2", "vth", lambda v: (v * 1.3).astype(np.int64), "threshold"),
    "decay": ("l1", "dv", lambda v: v // 4, "decay"),
    "bias": ("l2", "bias", lambda v: v * 0 + 4000, "bias"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_integers_that_compile_would_not_make(what: str) -> None:
    population, field, change, kind = SPOILED[what]
    found = asked(edited(compiled(), population, field, change))
    assert first(found) == (population, kind)
    fix = found.causes[0][1]
    assert fix is not None
    assert fix.said == "compile again, as it was compiled"
    assert fix.healed > 0.6


def test_a_readout_at_two_bits() -> None:
    found = asked(compiled(bits="fc3=2,*=8", mean=True), mean=True)
    assert first(found) == ("fc3", "readout")


def test_inputs_calibrated_on_another_range() -> None:
    found = asked(compiled(cal=TRAIN * 60))
    assert first(found) == ("in", "input")
    fix = found.causes[0][1]
    assert fix is not None
    assert fix.option == "--calibrate x"
    assert fix.harm.drift < found.apart.drift / 3


def test_an_outlier_in_every_row() -> None:
    """Weights apart have a scale of their own: the same function at the same bits, written as a changed source."""
    p = parameters()
    p["fc2"][:, 0] *= 400
    found = asked(compiled(p, bits="*=8"), p)
    assert first(found) == ("fc2", "weight")
    fix = found.causes[0][1]
    assert fix is not None
    assert fix.change.startswith("move the ")
    again = snnhw.compile(found.fixed_source, target="loihi2", calibrate=TRAIN)
    assert sorted(again.network.layers.values())[:3] == [("fc1",), ("fc2",), ("fc2.large",)]


def test_one_huge_bias_of_a_filtered_current() -> None:
    p = parameters()
    p["fc2.bias"] *= 5
    p["fc2.bias"][3] = 1e5
    found = asked(compiled(p, current=True), p, current=True)
    assert first(found) == ("l2", "bias")
    fix = found.causes[0][1]
    assert fix is not None
    assert fix.change.startswith("clamp the 1 biases of fc2 beyond ")
    assert fix.healed > 0.5


def test_a_hard_reset_on_a_target_without_soft_ones() -> None:
    p, x = source(parameters(), mean=True), X
    artifact = snnhw.compile(p, target="loihi1", calibrate=TRAIN, hard_reset=True)
    found = snnhw.why(p, artifact, x, calibrate=TRAIN)
    assert first(found)[1] == "reset"
    assert found.causes[0][1] is None
    assert "no remedy on this target" in found.lines[1]


def test_what_is_refused() -> None:
    artifact = compiled()
    with pytest.raises(SnnhwError, match=r"too-few-samples.*causes and fixes are told from different samples"):
        asked(artifact, x=X[:7])
    with pytest.raises(SnnhwError, match=r"no-scales: the artifact does not say what its integers stand for"):
        asked(replace(artifact, scales={}))
    with pytest.raises(SnnhwError, match=r"different-networks.*was not compiled from this source"):
        asked(artifact, parameters(seed=5))
    with pytest.raises(SnnhwError, match=r"no-change.*no fix changes the source"):
        _ = asked(artifact).fixed_source


def test_the_command(tmp_path: Path) -> None:
    p = parameters()
    p["fc2"][:, 0] *= 400
    (tmp_path / "net.nir").write_bytes(nir_bytes(source(p).nir_graph()))
    np.savez(tmp_path / "x.npz", x=X, y=np.zeros(len(X), np.int64))
    np.savez(tmp_path / "train.npz", x=TRAIN)
    net, data, train = (tmp_path / name for name in ("net.nir", "x.npz", "train.npz"))
    done = line("compile", net, "--target", "loihi2", "--calibrate", train, "-o", tmp_path / "net.snnhw")
    assert done.code == 0, done.err
    words = ("why", net, tmp_path / "net.snnhw", "--data", data, "--calibrate", train)
    files = ("--fixed", tmp_path / "fixed.nir", "--html", tmp_path / "why.html", "--markdown", tmp_path / "why.md")
    done = line(*words, *files)
    assert done.code == 0, done.err
    assert done.out.startswith("fc2: weight: ")
    assert "<h2>Causes</h2>" in (tmp_path / "why.html").read_text()
    assert "## Fixes" in (tmp_path / "why.md").read_text()
    found = line(*words, "--json").json
    assert [found["causes"][0][key] for key in ("layer", "parameter")] == ["fc2", "weight"]
    again = line(
        "compile", tmp_path / "fixed.nir", "--target", "loihi2", "--calibrate", train, "-o", tmp_path / "b.snnhw"
    )
    assert again.code == 0, again.err
    healed = line("compare", tmp_path / "fixed.nir", tmp_path / "b.snnhw", "--data", data, "--json")
    assert healed.json["agreement"] >= found["apart"]["agreement"]


def test_the_answer_is_given_where_no_source_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "net.nir").write_bytes(nir_bytes(source(parameters()).nir_graph()))
    np.savez(tmp_path / "x.npz", x=X)
    net, data, page = (tmp_path / name for name in ("net.nir", "x.npz", "why.html"))
    given = ("--target", "loihi2", "--calibrate", data, "-o", tmp_path / "net.snnhw")
    assert line("compile", net, *given).code == 0
    words = ("why", net, tmp_path / "net.snnhw", "--data", data, "--fixed", tmp_path / "fixed.nir", "--html", page)
    done = line(*words)
    assert done.code == 1
    assert done.err.startswith("error: no-change: no fix changes the source")
    assert f"written: {page}" in done.out
    assert "kept apart agreement" in done.out
    assert "<h2>Causes</h2>" in page.read_text()
    assert not (tmp_path / "fixed.nir").exists()
    assert line(*words, "--json").json["error"]["code"] == "no-change"


def test_scales_are_kept_in_the_file(tmp_path: Path) -> None:
    artifact = compiled()
    save(artifact, tmp_path / "a.snnhw")
    again = snnhw.load(tmp_path / "a.snnhw")
    assert again.scales.keys() == artifact.scales.keys() == {"l1", "l2", "l3"}
    odd = replace(artifact, scales={"l1": np.ones(7)})
    save(odd, tmp_path / "odd.snnhw")
    with pytest.raises(SnnhwError, match=r"bad-artifact: the artifact does not fit together: a scale of no population"):
        snnhw.load(tmp_path / "odd.snnhw")
