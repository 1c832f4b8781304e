"""Chains of layers, as SpikingJelly's models and tutorials are: imported from checkpoints, not trained here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from snnhw.zoo.chain import Chain
from snnhw.zoo.recipe import Recipe

KINDS: dict[str, Callable[..., nn.Module]] = {"chain": Chain}

RECIPES: tuple[Recipe, ...] = ()
