"""The networks by kind, and the recipes that train them, gathered from `families/`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.errors import SnnhwError, nearest
from snnhw.zoo.families import ann, chain, event, sew, spiking_resnet, stbp, stdp, tdbn, timed
from snnhw.zoo.recipe import Recipe

_FAMILIES = (stbp, sew, spiking_resnet, timed, tdbn, event, stdp, ann, chain)

KINDS: dict[str, Callable[..., nn.Module]] = {kind: make for family in _FAMILIES for kind, make in family.KINDS.items()}

RECIPES: dict[str, Recipe] = {recipe.name: recipe for family in _FAMILIES for recipe in family.RECIPES}


_TITLES = {recipe.name: (family.__doc__ or "").partition("\n")[0] for family in _FAMILIES for recipe in family.RECIPES}


def family_of(recipe: Recipe) -> str:
    """The first line of the family's file: the system and its paper."""
    return _TITLES[recipe.name]


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """The untrained network of that kind; ``config`` holds the constructor's arguments."""
    if kind not in KINDS:
        raise _unknown("network", kind, KINDS)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Initializing zero-element tensors")
            return KINDS[kind](**config)
    except (TypeError, UserWarning) as error:
        raise SnnhwError(
            "bad-network",
            "the network does not take this configuration",
            where=f"{kind} config",
            needed=", ".join(sorted(config)),
            limit="one neuron or more in each layer" if isinstance(error, UserWarning) else str(error),
            hint=f"see the constructor's arguments: help(snnhw.zoo.registry.KINDS[{kind!r}])",
        ) from error


def recipe_of(recipe: str | Recipe) -> Recipe:
    """The shipped recipe of that name, or the recipe itself."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise _unknown("recipe", recipe, RECIPES)
    return RECIPES[recipe]


def _unknown(what: str, name: str, known: dict[str, Any]) -> SnnhwError:
    return SnnhwError(
        f"unknown-{what}",
        f"no {what} of that name",
        where=what,
        needed=repr(name),
        limit="one of " + ", ".join(sorted(known)),
        hint=nearest(name, known) or "pick one of these",
    )
