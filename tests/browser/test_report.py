"""The report in Chromium: nothing overflows, contrast and structure pass axe, tables sort, tips are there, no errors.

Needs Debian's package chromium and the extra `browser`: `make browser` installs the latter and runs these.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright", reason="the extra `browser` is not installed")
pytest.importorskip("axe_playwright_python", reason="the extra `browser` is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore"),
]

WIDTHS = (400, 800, 1400)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import snnhw

    data, path = np.load(snnhw.example("fashion_mnist_500")), tmp_path_factory.mktemp("page") / "report.html"
    artifact = snnhw.compile(snnhw.example("stbp_scnn"), target="loihi2")
    snnhw.compare(snnhw.example("stbp_scnn"), artifact, data["x"][:8], data["y"][:8]).to_html(path)
    assert path.stat().st_size < 2 << 20
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.goto(report.as_uri())
    yield opened
    opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_can_be_read(browser: Any, report: Path, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    narrow = "[...document.querySelectorAll('td.name')].filter(e => e.offsetParent && e.clientWidth < 60).length"
    assert page.evaluate(narrow) == 0, "letters stand under each other"
    found = Axe().run(page).response["violations"]
    assert not [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]
    assert not said
    page.close()


def test_it_fits_on_paper(page: Any) -> None:
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_click_sorts_by_magnitude(page: Any) -> None:
    energies = "[...document.querySelectorAll('#energy tbody tr td:nth-child(2)')].map(e => +e.dataset.sort)"
    page.click("#energy thead th:nth-child(2)")
    page.wait_for_timeout(100)
    falling = page.evaluate(energies)
    page.click("#energy thead th:nth-child(2)")
    page.wait_for_timeout(100)
    assert falling == sorted(falling, reverse=True)
    assert page.evaluate(energies) == sorted(falling)
    assert len(set(falling)) > 3


def test_cores_have_tips(page: Any) -> None:
    tips = page.evaluate("[...document.querySelectorAll('#floor title')].map(e => e.textContent)")
    assert {tip.split()[0] for tip in tips} == {"core"}
    assert all("lif" in tip and "; load " in tip for tip in tips)


def test_it_says_the_same_without_scripts(browser: Any, report: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(report.as_uri())
    assert page.locator("#layers tbody tr").count() == 4
    page.close()


@pytest.mark.parametrize("name", ["accuracy", "energy", "rates", "raster", "confusion", "load", "population"])
def test_a_figure_stands_alone(browser: Any, name: str, tmp_path: Path) -> None:
    import snnhw

    artifact = snnhw.compile(snnhw.example("spikeprop_xor"), target="loihi2")
    x = np.zeros((2, artifact.steps, *artifact.inputs[0].shape), np.float32)
    report = snnhw.compare(snnhw.example("spikeprop_xor"), artifact, x, np.zeros(2, np.int64))
    path = tmp_path / f"{name}.svg"
    path.write_bytes(report._picture(name).file("svg"))
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.tagName") == "svg"
    assert page.evaluate("document.querySelectorAll('parsererror').length") == 0
    page.close()
