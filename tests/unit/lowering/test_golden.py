"""What small networks look like after lowering, as committed text. `GOLDEN=write pytest …` writes them again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower
from snnhw.network import format_network
from snnhw.zoo.registry import build
from tests.unit.frontends.modules import imported

FOLDER = Path(__file__).resolve().parents[2] / "golden"


def sew() -> Source:
    torch.manual_seed(0)
    return imported(build("sew_resnet", {"channels": [2, 4], "blocks": [2, 1], "image_size": 8}), (1, 8, 8), 4, "mean")


def stbp() -> Source:
    torch.manual_seed(0)
    return imported(build("stbp_scnn", {"channels": [2, 3], "hidden": 5, "image_size": 8}), (1, 8, 8), 4, "rate")


NETWORKS = {"stbp_scnn": (stbp, 63), "sew_resnet": (sew, 63), "sew_resnet_with_relays": (sew, 1)}


@pytest.mark.parametrize("name", NETWORKS)
def test_lowered_network(name: str) -> None:
    made, max_delay = NETWORKS[name]
    source = made()
    text = format_network(lower(source.graph, source.semantics, source.deployment, max_delay))
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
