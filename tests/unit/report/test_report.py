"""Renderers say what the tree says, and the HTML needs nothing but itself."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from snnhw.cautions import Caution
from snnhw.comparison import Comparison, compare
from snnhw.comparison.tree import Overflow
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import printable
from snnhw.report.html import html, write_html
from snnhw.report.markdown import markdown, write_markdown
from snnhw.report.numbers import count, magnitude, percent, si
from snnhw.report.terminal import show
from tests.unit.chip.nets import residual, residual_input
from tests.unit.comparison.sides import Twin


@pytest.fixture(scope="module")
def tree() -> Comparison:
    artifact = residual()
    return compare(Twin(artifact, wrong=(1,)), artifact, residual_input(4), np.zeros(4, np.int64), ReferenceEngine())


@pytest.fixture(scope="module")
def page(tree: Comparison) -> str:
    return html(tree)


def printed(tree: Comparison, *, everything: bool = False) -> str:
    out = io.StringIO()
    show(tree, Console(file=out, width=160), everything=everything)
    return out.getvalue()


def flagged(tree: Comparison) -> Comparison:
    return replace(tree, saturations=1.5, overflow=(Overflow("b", 4, 2),))


def essentials(tree: Comparison) -> list[str]:
    """What every renderer must show: engine, energy with its grade, agreement, every layer."""
    energy = f"{si(tree.energy.total_j, 'J')} per sample [{tree.energy.grade}]"
    names = [layer.name for layer in tree.quantized.layers]
    return [tree.engine, energy, percent(tree.agreement), count(tree.synops), tree.convention_45nm.label, *names]


def test_terminal(tree: Comparison) -> None:
    text, everything = printed(tree), printed(tree, everything=True)
    assert all(part in everything for part in essentials(tree))
    assert "toy synop.conv" in everything
    assert "WARNING" not in text
    assert "toy synop.conv" not in text
    for said in (tree.engine, f"{si(tree.energy.total_j, 'J')} per sample [{tree.energy.grade}]", count(tree.synops)):
        assert said in text


def test_the_short_form_fits_a_screen(tree: Comparison) -> None:
    out = io.StringIO()
    show(tree, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


def test_markdown(tree: Comparison) -> None:
    text = markdown(tree)
    assert all(part in text for part in essentials(tree))
    assert all(row.source in text for row in tree.constants)


def test_html(tree: Comparison, page: str) -> None:
    assert all(part in page.replace("&#39;", "'") for part in essentials(tree))
    assert all(f">{row.grade}<" in page and f">{row.source}<" in page for row in tree.constants)
    assert page.count("<svg") == 12


def test_html_is_self_contained(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"<(link|iframe|object|embed)\b", page)
    assert page.count("<script") == 1, "sortable tables: without it the page says the same"
    targets = re.findall(r'(?:\bsrc|href)\s*=\s*"([^"]*)"', page)
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert all(target.startswith(("#", "'#", '"#')) for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page


def test_html_tags_close(page: str) -> None:
    class Checker(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "br", "hr", "img"):
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_html_is_deterministic(tree: Comparison, page: str) -> None:
    assert html(tree) == page


def test_names_are_escaped(tree: Comparison) -> None:
    layers = tuple(replace(layer, name=f"<b>{layer.name}") for layer in tree.quantized.layers)
    drift = tuple(replace(d, name=f"<b>{d.name}") for d in tree.drift)
    page = html(replace(tree, quantized=replace(tree.quantized, layers=layers), drift=drift))
    assert "<b>a" not in page
    assert "&lt;b&gt;a" in page


@pytest.mark.parametrize("render", [printed, markdown, html])
def test_warnings_come_first(render, tree: Comparison) -> None:
    page = render(replace(tree, warnings=(Caution("some-code", "conv1", "something is lost", fix="mend it"),)))
    assert "some-code: conv1: something is lost; mend it" in page
    assert page.index("some-code") < page.index("neuron updates")


@pytest.mark.parametrize("render", [printed, markdown, html])
def test_saturations_are_flagged(render, tree: Comparison) -> None:
    assert "WARNING: 4 wraps of u, 2 clips of v in 4 samples" in render(flagged(tree))


def test_without_labels(tree: Comparison) -> None:
    bare = replace(tree, float_=replace(tree.float_, accuracy=None), quantized=replace(tree.quantized, accuracy=None))
    for text in (printed(bare), markdown(bare), html(bare)):
        assert "no labels" in text


def test_files_appear_whole(tree: Comparison, page: str, tmp_path: Path) -> None:
    write_html(tree, tmp_path / "new" / "report.html")
    write_markdown(tree, tmp_path / "report.md")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "report.md"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0, "J", "0 J"), (1.5e-9, "J", "1.5 nJ"), (23.6e-12, "J", "23.6 pJ"), (0.001, "s", "1 ms"), (2.5e7, "", "25 M")],
)
def test_si(value: float, unit: str, text: str) -> None:
    assert si(value, unit) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234.5", 1234.5), ("428.4 µJ", 428.4e-6), ("3.1 ns", 3.1e-9), ("83.83 %", 83.83), ("12", 12), ("-0.5", -0.5),
     ("0.0014", 0.0014), ("5 lif1", None), ("lif1", None), ("", None), ("24 pJ", 24e-12),
     ("37.59 ms of core", 0.03759)],
)  # fmt: skip
def test_columns_are_sorted_by_magnitude(text: str, value: float | None) -> None:
    assert magnitude(text) == (None if value is None else pytest.approx(value))


def test_count() -> None:
    assert [count(n) for n in (0, 1234567.0, 12.345678, 1234.56, 1234567.8)] == [
        "0",
        "1,234,567",
        "12.35",
        "1,234.6",
        "1,234,568",
    ]


HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07 a$\\frac{x$b <script>alert(1)</script>",
    "_x_ [/x] [x](javascript:alert(1)) `a` **b** | c",
    "\u202eabc\u732b\ud800\x00\x85",
)


def named(value: Any, name: str) -> Any:
    """The same comparison with another name for its first layer, in every field that says it."""
    match value:
        case str():
            return name if value == "a" else value
        case tuple() | list():
            return type(value)(named(item, name) for item in value)
        case Mapping():
            return {named(key, name): named(item, name) for key, item in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: named(getattr(value, f.name), name) for f in fields(value)})
        case _:
            return value


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_data(tree: Comparison, name: str) -> None:
    """Nothing that a terminal, a Markdown reader, a browser or matplotlib would obey."""
    hostile = replace(named(tree, name), target=name, source={"file": name}, notes=(name,))
    assert hostile.quantized.layers[0].name == name
    page = html(hostile)
    assert page.count("<script") == 1
    for text in (printed(hostile, everything=True), markdown(hostile), page):
        assert printable(text) == text
        text.encode()
    written = markdown(hostile)
    assert "<script" not in written
    assert "](java" not in written.replace("\\](", "")
    if name == HOSTILE[0]:
        assert "a\\$\\\\frac{x\\$b" in written
        assert "a$\\frac{x$b" in page
    if name == HOSTILE[1]:
        assert "\\_x\\_" in written
