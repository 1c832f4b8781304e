"""A comparison shows itself: short in a terminal, whole in frames, files and figures, with the numbers of the tree."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from snnhw.chip.band import ZERO
from snnhw.commands.common import provenance
from snnhw.comparison import compare
from snnhw.comparison.tree import CoreRow, Drift, Shown
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import DataError, SnnhwError
from snnhw.report.coremap import NUMBERED
from snnhw.report.frames import FRAMES, to_csv
from snnhw.report.latex import escape
from snnhw.report.numbers import interval
from snnhw.report.objects import PICTURES, ComparisonReport
from snnhw.report.plots import FLOAT, QUANTIZED
from snnhw.report.tables import by_name
from snnhw.report.verdict import verdict
from tests.unit.chip.nets import residual, residual_input
from tests.unit.comparison.sides import Twin


@pytest.fixture(scope="module")
def report() -> ComparisonReport:
    artifact = residual()
    sides = Twin(artifact, wrong=(1,)), artifact
    return ComparisonReport.of(compare(*sides, residual_input(4), np.zeros(4, np.int64), ReferenceEngine()))


def test_repr_fits_a_cell(report: ComparisonReport) -> None:
    assert len(repr(report).splitlines()) <= 15
    assert "on 75.00 % of 4 samples" in repr(report)
    assert "<table>" in report._repr_html_()


def test_artifact_fits_a_cell() -> None:
    artifact = residual()
    lines = repr(artifact).splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 110
    assert artifact._repr_html_().startswith("<table>")
    named = replace(artifact, source={"file": "<b>\n\x1b[31m"})
    assert "\\n\\x1b[31m" in repr(named).splitlines()[0]
    assert "<b>\n" not in named._repr_html_()


def test_frames_re_add_to_the_tree(report: ComparisonReport) -> None:
    tree = report.to_dict()
    assert report.to_frame("energy").joules.sum() == pytest.approx(tree["energy"]["total_j"])
    assert report.to_frame("projections").synops.sum() == pytest.approx(tree["synops"])
    assert report.to_frame("layers").spikes_quantized.tolist() == [r["spikes"] for r in tree["quantized"]["layers"]]
    assert report.to_frame("cores").generation_s.tolist() == [row["generation_s"] for row in tree["cores"]]
    assert report.to_frame("constants").key.tolist() == [row["key"] for row in tree["constants"]]


@pytest.mark.parametrize("name", FRAMES)
def test_csv_holds_the_same_numbers(report: ComparisonReport, name: str) -> None:
    frame = report.to_frame(name)
    found = list(csv.DictReader(io.StringIO(report.to_csv(name))))
    assert len(found) == len(frame)
    for key in frame.select_dtypes("number"):
        assert [float(row[key]) for row in found] == frame[key].tolist()


def test_csv_runs_no_formula() -> None:
    assert to_csv([{"layer": "=1+2", "x": -1.5}]) == "layer,x\n'=1+2,-1.5\n"


def test_unknown_table(report: ComparisonReport) -> None:
    with pytest.raises(DataError, match="the comparison has no such table") as caught:
        report.to_frame("layer")
    assert caught.value.code == "no-such-table"
    with pytest.raises(DataError, match="the comparison has no such table"):
        report.to_latex("steps")


@pytest.mark.parametrize(
    ("package", "show", "message"),
    [
        ("pandas", lambda r: r.to_frame(), "to_frame needs packages of the extra 'frames'"),
        ("matplotlib", lambda r: r.to_html(), "an HTML report needs packages of the extra 'report'"),
        ("matplotlib", lambda r: r.plot_rates(), "a picture needs packages of the extra 'report'"),
    ],
)
def test_without_an_extra(
    report: ComparisonReport,
    package: str,
    show: Callable[[ComparisonReport], object],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SnnhwError, match=message) as caught:
        show(report)
    assert caught.value.code == "needs-extra"


def test_latex_is_printed_as_it_stands(report: ComparisonReport) -> None:
    assert escape("a_b & 5 % ~ [x] \\") == r"a\_b \& 5 \% \textasciitilde{} {[}x] \textbackslash{}"
    text = report.to_latex("layers")
    assert text.count("\\\\") == len(report.quantized.layers) + 1
    assert text.splitlines()[1] == r"\begin{tabular}{lrrrrrrrr}"


def test_figures_stand_alone(report: ComparisonReport, tmp_path: Path) -> None:
    paths = report.figures(tmp_path / "figures")
    assert {p.stem for p in paths if p.suffix == ".pdf"} == set(PICTURES)
    for path in paths:
        if path.suffix == ".svg":
            root = ElementTree.parse(path).getroot()
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert not root.findall(".//{http://www.w3.org/2000/svg}text"), "glyphs are outlines"
            assert not root.findall(".//{http://www.w3.org/2000/svg}image"), "rasters are vectors"
        elif path.suffix == ".pdf":
            assert b"/FontFile2" in path.read_bytes() or b"/Type0" in path.read_bytes()
    for kind in ("pdf", "svg"):
        assert report._picture("accuracy").file(kind) == (tmp_path / "figures" / f"accuracy.{kind}").read_bytes()


def test_plots_return_axes(report: ComparisonReport) -> None:
    axes = Figure().add_subplot()
    assert report.plot_rates(axes) is axes
    assert [t.get_text() for t in axes.get_xticklabels()] == [layer.name for layer in report.quantized.layers]
    assert {name for name in dir(report) if name.startswith("plot_")} == {f"plot_{name}" for name in PICTURES}


def test_the_raster_tells_both_networks_apart(report: ComparisonReport) -> None:
    rows = tuple(replace(row, events=((0, 0), (1, 0)), float_=((0, 0), (2, 0))) for row in report.raster[:1])
    axes = replace(report, raster=rows, steps=4).plot_raster(Figure().add_subplot())
    boxes = {
        tuple(p.get_facecolor()): p.get_path().vertices[::5, 0].tolist() for p in axes.patches if len(p.get_path())
    }
    left, right = boxes[to_rgba(FLOAT)], boxes[to_rgba(QUANTIZED)]
    assert left == [2 - 0.46], "float alone, on the left"
    assert right == [4 + 1 + 1 - 0.46], "integers alone, behind the gap"
    page = replace(report, shown=Shown(3, 7, 2, 7)).to_html()
    assert "Sample 3; label 7; float decides 2; integers decide 7." in page


def test_thousands_of_cores_make_no_page_of_many_megabytes(report: ComparisonReport) -> None:
    """SEW-ResNet-50 takes 4,983 cores; a page may have 6 MB. No numbers in the map, but tips."""
    (one,) = (row for row in report.cores[:1])
    many = tuple(replace(one, core=i, x=i % report.mesh.width) for i in range(NUMBERED + 1))
    picture = replace(report, cores=many)._picture("load").svg("load")
    assert len(picture) / len(many) < 350
    assert f"<title>core {NUMBERED}: " in picture
    assert f">{NUMBERED}</text>" not in picture
    assert f">{one.core}</text>" in report._picture("load").svg("load")


def test_page_has_tips_and_no_id_twice(report: ComparisonReport) -> None:
    page = report.to_html()
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len({i for i in ids if "tip" not in i}) == len([i for i in ids if "tip" not in i])
    for row in report.cores:
        assert f"<title>core {row.core}: " in page


def test_files_are_written(report: ComparisonReport, tmp_path: Path) -> None:
    for text, path in (
        (report.to_html(tmp_path / "r.html"), tmp_path / "r.html"),
        (report.to_markdown(tmp_path / "r.md"), tmp_path / "r.md"),
        (report.to_csv("cores", tmp_path / "c.csv"), tmp_path / "c.csv"),
        (report.to_latex("energy", tmp_path / "e.tex"), tmp_path / "e.tex"),
    ):
        assert path.read_text(encoding="utf-8") == text


def test_verdict(report: ComparisonReport) -> None:
    busy = CoreRow(3, 0, 0, 0, 0, {"a": 1, "b": 9}, 0.0, 0.0, 1.0, ZERO, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    cores = (busy, *(replace(busy, core=i, load=0.2) for i in range(4)))
    block = report.convention_45nm
    dear = replace(block, float_snn=replace(block.float_snn, energy_j=2e-6), ann=replace(block.ann, energy_j=1e-6))
    said = verdict(replace(report, cores=cores, drift=(Drift("a", 0.0), Drift("b", 0.25)), convention_45nm=dear))
    assert said[0].startswith("The integers decide as the float network on 75.00 % of 4 samples; accuracy")
    assert said[1] == "Firing rates moved most in b: 0.2500 spikes per neuron and step."
    assert said[2].startswith("Core 3 (b) is the busiest, 2.8 times the mean of the 5 cores in use; b on more cores")
    assert said[3].endswith("costs more than its dense twin: 2 µJ against 1 µJ.")
    assert said[4] == report.bottleneck
    even = replace(report, cores=cores[1:], drift=(), convention_45nm=replace(dear, ann=dear.float_snn))
    assert verdict(even)[1].endswith("the load is even.")


def test_decisions(report: ComparisonReport) -> None:
    """Of four samples of label 0 the toy networks decide one differently."""
    found = report.decisions
    assert found is not None
    assert sum(cell.samples for cell in found.float_) == sum(cell.samples for cell in found.quantized) == 4
    (apart,) = found.disagreements
    assert (apart.sample, apart.label) == (1, 0)
    assert apart.float_ != apart.quantized
    right = sum(cell.samples for cell in found.quantized if cell.label == cell.prediction)
    assert right / 4 == report.quantized.accuracy
    shown = by_name(report)
    assert shown["classes"].rows[0][:2] == ("0", "4")
    assert shown["disagreements"].rows == (("1", str(apart.float_), str(apart.quantized), "0"),)
    assert 'id="confusion"' in report.to_html()
    bare = replace(report, decisions=replace(found, float_=(), quantized=(), disagreements=()))
    assert by_name(bare)["classes"].note == "no labels, or outputs that are no classes"
    assert 'id="confusion"' not in bare.to_html()
    assert "classes" not in by_name(replace(report, decisions=None))


def test_provenance_follows_the_epoch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    (tmp_path / "x.npz").write_bytes(b"abc")
    said = provenance(data=tmp_path / "x.npz", more=tmp_path)
    assert said["date"] == "1970-01-01 00:00 UTC"
    assert said["data"] == "x.npz sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert said["more"] == tmp_path.name


def test_provenance_stands_in_the_page(report: ComparisonReport) -> None:
    page = replace(report, provenance={"snnhw": "0.1.0", "command": "snnhw compare <x>"}).to_html()
    assert "snnhw compare &lt;x&gt;" in page


def test_interval_is_wilsons() -> None:
    low, high = interval(0.9, 20)
    assert (low, high) == pytest.approx((0.6990, 0.9721), abs=1e-4)
    assert interval(1.0, 10)[1] == pytest.approx(1.0)
