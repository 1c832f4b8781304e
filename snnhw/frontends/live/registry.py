"""The frameworks whose modules can be read, and how one finds out which of them a module is of."""

from __future__ import annotations

from torch import nn

from snnhw.frontends.live import norse, rockpool, sinabs, snntorch, spikingjelly, zoo
from snnhw.frontends.live.adapter import Adapter
from snnhw.frontends.live.recorder import leaves

ADAPTERS: tuple[Adapter, ...] = (
    spikingjelly.ADAPTER,
    snntorch.ADAPTER,
    sinabs.ADAPTER,
    norse.ADAPTER,
    rockpool.ADAPTER,
    zoo.ADAPTER,
)

ZOO = zoo.ADAPTER.name


def frameworks(module: nn.Module) -> list[str]:
    """Names of the frameworks whose neurons are in a module."""
    return sorted({adapter.name for _, _, adapter in leaves(module, ADAPTERS)})
