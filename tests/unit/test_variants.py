"""What other targets and fewer bits would give, as rows of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnhw
from snnhw import api
from tests.unit.frontends.checkpoints import content, saved
from tests.unit.test_api import artifact, module, spikes

__all__ = ["artifact"]


@pytest.fixture(scope="module")
def report(artifact: snnhw.Artifact) -> snnhw.ComparisonReport:
    x, y = spikes(), np.zeros(4, np.int64)
    compared = snnhw.compare(module(), artifact, x, y)
    return snnhw.what_if(compared, module(), artifact, x, y, targets=["generic", "loihi1", "loihi2"], bits=(8, 3))


def test_each_variant_is_what_compile_and_compare_give(
    report: snnhw.ComparisonReport, artifact: snnhw.Artifact
) -> None:
    own, fewer, generic, loihi1 = report.what_if
    assert (own.point.target, own.bits_per_weight, own.energy_j) == ("loihi2", 8.0, report.energy.total_j)
    assert (fewer.point.target, generic.point.target, loihi1.point.target) == ("loihi2", "generic", "loihi1")
    assert fewer.bits_per_weight is not None
    assert fewer.bits_per_weight < 8
    assert (own.energy_grade, own.time_grade) == (report.energy.grade, report.latency.grade)
    assert own.refused is fewer.refused is generic.refused is loihi1.refused is None
    made = snnhw.compile(module(), spikes()[:, :1].swapaxes(0, 1).repeat(5, 0), target="generic")
    alone = snnhw.compare(module(), made, spikes(), np.zeros(4, np.int64))
    assert (generic.energy_j, generic.latency_s) == (alone.energy.total_j, alone.latency.seconds)
    assert report.to_frame("what_if").target.tolist() == ["loihi2", "loihi2", "generic", "loihi1"]
    assert "loihi2 (this report)" in report.to_html()


def test_a_refused_variant_says_why(artifact: snnhw.Artifact) -> None:
    compared = snnhw.compare(module(), artifact, spikes())
    found = snnhw.what_if(compared, module(), artifact, spikes(), targets=[], bits=(1,)).what_if
    assert [row.refused is None for row in found] == [True, False]
    assert found[1].refused is not None
    assert found[1].refused.startswith("bad-weight-bits: ")
    assert found[1].energy_j is None


def test_without_it_the_report_prints_the_command(artifact: snnhw.Artifact) -> None:
    page = snnhw.compare(module(), artifact, spikes()).to_markdown()
    assert "not tried here; snnhw compare SOURCE ARTIFACT --data D.npz --what-if tries them" in page


def test_variants_are_counted_as_the_report_is(artifact: snnhw.Artifact) -> None:
    compared = snnhw.compare(module(), artifact, spikes(), boundary="board")
    own, variant = snnhw.what_if(compared, module(), artifact, spikes(), targets=[], bits=(7,)).what_if
    made = snnhw.compile(module(), spikes()[:, :1].swapaxes(0, 1).repeat(5, 0), target="loihi2", weight_bits=7)
    alone, core = (snnhw.compare(module(), made, spikes(), boundary=name) for name in ("board", "core"))
    assert own.energy_j == compared.energy.total_j
    assert (variant.energy_j, variant.latency_s) == (alone.energy.total_j, alone.latency.seconds)
    assert variant.energy_j != core.energy.total_j


def test_variants_get_the_input_of_the_report(tmp_path: Path) -> None:
    net = saved(tmp_path / "net.pt", content("stbp_scnn"))
    x = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    asked = api.with_input(snnhw.compile(net, target="loihi2"), "bernoulli", 3, 5)
    compared = snnhw.compare(net, asked, x)
    variant = snnhw.what_if(compared, net, asked, x, targets=[], bits=(6,)).what_if[1]
    made = api.with_input(snnhw.compile(net, target="loihi2", weight_bits=6), "bernoulli", 3, 5)
    alone = snnhw.compare(net, made, x)
    assert variant.spikes == sum(layer.spikes for layer in alone.quantized.layers)
    assert variant.energy_j == alone.energy.total_j
