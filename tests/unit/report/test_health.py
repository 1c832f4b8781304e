"""The page of a training's health."""

from __future__ import annotations

from typing import Any

from snnhw.report.health import LINES, health_html, write_health


def epochs(count: int, layers: int = 3) -> list[dict[str, Any]]:
    names = [f"layer<{i}>" for i in range(layers)]
    quantities: dict[str, Any] = {
        "rate": [0.125] * layers,
        "dead": [0.5] * layers,
        "saturated": [0.0] * layers,
        "input_gradient": [0.0, *[1e-3] * (layers - 1)],
        "weight_gradient": [None, *[2.0] * (layers - 1)],
        "flat": [None] * layers,
    }
    return [{"epoch": epoch + 1, "loss": 1.0, "layer": names, **quantities} for epoch in range(count)]


def test_the_page_stands_alone(tmp_path: Any) -> None:
    write_health(tmp_path / "h.html", "net, seed 0", epochs(2), ["a: <all> dead"])
    page = (tmp_path / "h.html").read_text(encoding="utf-8")
    assert "http" not in page
    assert "<script" not in page
    assert "a: &lt;all&gt; dead" in page
    assert "<td>layer&lt;0&gt;</td><td>12.5%</td><td>50.0%</td><td>0.0%</td><td>0.00e+00</td><td>-</td></tr>" in page
    assert "spikes with a cut gradient" not in page
    assert page == health_html("net, seed 0", epochs(2), ["a: <all> dead"]), "same numbers, same page"


def test_a_column_for_temporal_codes_where_they_are() -> None:
    rows = epochs(1)
    rows[0]["flat"] = [0.25, None, None]
    page = health_html("net", rows, [])
    assert "<th>spikes with a cut gradient</th>" in page
    assert "<td>25.0%</td></tr>" in page


def test_many_epochs_and_layers_stay_readable() -> None:
    page = health_html("net", epochs(40, layers=60), [])
    labels = {f"epoch {n}" for n in range(1, 41) if f">epoch {n}<" in page}
    assert len(labels) == LINES
    assert {"epoch 1", "epoch 40"} <= labels
    assert "spiking layer, from the input" in page


def test_a_network_without_spikes_has_a_page() -> None:
    page = health_html("ann", [{**_empty(), "epoch": 1}], ["the network has no spiking layers"])
    assert "<svg" not in page
    assert "the network has no spiking layers" in page


def _empty() -> dict[str, Any]:
    names = ("layer", "rate", "dead", "saturated", "input_gradient", "weight_gradient", "flat")
    return {name: [] for name in names}
