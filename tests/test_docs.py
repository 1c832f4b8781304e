"""What pages and sources refer to is there: sections by their headings, pages by their paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutants import NEAR

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SOURCES = [path for room in ("snnhw", "tests", "benchmarks") for path in sorted((ROOT / room).rglob("*.py"))]
LINK = re.compile(r"\]\(([\w./-]+\.md)?(#[\w-]+)?\)")


def headings(page: Path) -> list[str]:
    fenced = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"^#+ (.*)$", fenced, re.MULTILINE)


def anchor(heading: str) -> str:
    """As GitHub writes it."""
    return "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_sections_that_are_named_are_there() -> None:
    """A page, a comma and the beginning of a heading between double quotes."""
    found, missing = 0, []
    for path in [*SOURCES, *PAGES]:
        text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
        for page, heading in re.findall(r'docs/(\w+\.md)`?, "([^"]+)"', text):
            found += 1
            target = ROOT / "docs" / page
            if not target.exists() or not any(h.startswith(heading) for h in headings(target)):
                missing.append(f"{path.relative_to(ROOT)}: {page}, {heading!r}")
    assert found > 5, "the search finds references"
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for path, part in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not part or part in map(anchor, headings(target)), f"{path}{part}"


def test_what_make_mutants_names_is_there() -> None:
    for name, near in NEAR.items():
        assert (ROOT / "snnhw" / f"{name}.py").exists(), name
        assert all((ROOT / word).exists() for word in near.split() if word.startswith("tests/")), near


def test_sections_are_named_not_numbered() -> None:
    """Headings have no numbers: a section sign is a reference to nothing."""
    signs = [path.relative_to(ROOT) for path in [*SOURCES, *PAGES] if "\N{SECTION SIGN}" in path.read_text("utf-8")]
    assert not signs
