"""A framework small enough to read: one neuron with every way of keeping time and state, and its adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.frontends.live import load, registry
from snnhw.frontends.live.adapter import MEMBRANE, Call, Cell, Shape, cell_of, refused, tensors
from snnhw.frontends.live.equations import Membrane, silent, spiking
from snnhw.network import Comparison, Reset, ResetTiming

KEEP = 0.75


class Cellule(nn.Module):
    """v = KEEP v + x, [v >= 1], hard reset; kept inside (mode 's'), handed over ('h'), or over all steps ('m')."""

    def __init__(self, mode: str = "s", fires: bool = True) -> None:
        super().__init__()
        self.mode, self.fires = mode, fires
        self.v: Tensor | float = 0.0

    def step(self, x: Tensor, v: Tensor | float) -> tuple[Tensor, Tensor]:
        u = KEEP * v + x
        z = (u >= 1.0).to(x)
        return z, (u * (1 - z) if self.fires else u)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Any:
        if self.mode == "h":
            return self.step(x, 0.0 if state is None else state)
        if self.mode == "s":
            z, self.v = self.step(x, self.v)
            return z
        out = []
        for now in x:
            z, self.v = self.step(now, self.v)
            out.append(z)
        return torch.stack(out)


class StandIn:
    """The adapter; as any other it refuses some, here what is odd."""

    name = "StandIn"

    def claims(self, layer: nn.Module) -> bool:
        return isinstance(layer, Cellule)

    def keeps_time(self, layer: nn.Module) -> bool:
        return getattr(layer, "mode", "s") == "m"

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        given = [*args, *kwargs.values()]
        if getattr(layer, "mode", "s") != "h":
            return Call(given[0], result, "TN" if self.keeps_time(layer) else "N")
        return Call(given[0], result[0], "N", tuple(tensors(given[1:])), membrane=result[1])

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        if getattr(layer, "odd", False):
            raise refused(layer, self.name, where, "Odd has no form on a core", "a Cellule", ("Cellule",))
        one = np.ones(shape)
        equation = Membrane(KEEP * one, one, 0 * one)
        if read == MEMBRANE:
            return cell_of(silent(equation, dt, where), {"v_init": 0.0})
        node, _ = spiking(equation, one, 0 * one, dt, where)
        semantics = {
            "reset": Reset.ZERO,
            "reset_timing": ResetTiming.SAME_STEP,
            "threshold": Comparison.GE,
            "multispike": 1,
            "v_min": None,
            "v_init": 0.0,
        }
        return cell_of(node, semantics)

    def reset(self, layer: nn.Module) -> None:
        assert isinstance(layer, Cellule)
        layer.v = 0.0

    def threads(self, module: nn.Module) -> bool:
        return bool(getattr(module, "threaded", False))


@contextmanager
def only_stand_in() -> Iterator[None]:
    """The registry with this framework only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "ADAPTERS", (StandIn(),))
        patch.setattr(registry, "ADAPTERS", (StandIn(),))
        yield
