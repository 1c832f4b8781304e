"""What small networks look like after lowering, as committed text. `GOLDEN=write pytest …` writes them again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower
from snnhw.lowering.sums import Sums
from snnhw.network_text import format_network
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from snnhw.zoo.registry import build
from tests.unit.frontends.modules import Flow, conv, imported

FOLDER = Path(__file__).resolve().parents[2] / "golden"


def sew() -> Source:
    torch.manual_seed(0)
    return imported(build("sew_resnet", {"channels": [2, 4], "blocks": [2, 1], "image_size": 8}), (1, 8, 8), 4, "mean")


def stbp() -> Source:
    torch.manual_seed(0)
    return imported(build("stbp_scnn", {"channels": [2, 3], "hidden": 5, "image_size": 8}), (1, 8, 8), 4, "rate")


def joined(name: str) -> Source:
    """Two residual blocks with a join of their own and a max-pool behind the sum."""
    torch.manual_seed(0)
    joins: dict[str, Any] = {
        "add": lambda m, branch, x: m.pool(branch + x),
        "and": lambda m, branch, x: branch * x,
        "iand": lambda m, branch, x: x * (1 - branch),
    }

    def flow(m: Any, x: Any) -> Any:
        first = m.stem(m.c(x))
        second = joins[name](m, m.n1(m.c1(first)), first)
        return m.out(m.n2(m.c2(second)) + second)

    layers: dict[str, nn.Module] = {"c": conv(), "stem": IF(), "c1": conv(), "n1": IF(), "c2": conv(), "n2": IF()}
    side = 3 if name == "add" else 6
    layers |= {"out": PerStep(nn.AvgPool2d(side), nn.Flatten(), nn.Linear(2, 3))}
    layers |= {"pool": PerStep(nn.MaxPool2d(2))} if name == "add" else {}
    return imported(Flow(flow, **layers), (2, 6, 6), 4, "mean")


NETWORKS: dict[str, tuple[Callable[[], Source], int, int, Sums]] = {
    "stbp_scnn": (stbp, 63, 1, Sums.CHEAPEST),
    "sew_resnet": (sew, 63, 1, Sums.CHEAPEST),
    "sew_resnet_with_relays": (sew, 1, 1, Sums.CHEAPEST),
    "sew_add_max_pool": (lambda: joined("add"), 63, 1, Sums.CHEAPEST),
    "sew_add_max_pool_graded": (lambda: joined("add"), 63, 255, Sums.RELAYS),
    "sew_and": (lambda: joined("and"), 63, 255, Sums.CHEAPEST),
    "sew_iand": (lambda: joined("iand"), 63, 255, Sums.CHEAPEST),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_lowered_network(name: str) -> None:
    made, max_delay, payload, sums = NETWORKS[name]
    source = made()
    text = format_network(lower(source.graph, source.semantics, source.deployment, max_delay, payload, sums))
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
