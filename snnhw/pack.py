"""Dataclass trees to JSON and arrays, and back: no pickle, only classes that the caller names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from snnhw.network import Array


def pack(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """JSON form of a tree; arrays go into `arrays` under their path in it."""
    match value:
        case np.ndarray():
            arrays[path] = value
            return {"$array": path}
        case np.generic():
            return value.item()
        case StrEnum():
            return str(value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            kept = {f.name: pack(getattr(value, f.name), f"{path}/{f.name}", arrays) for f in fields(value) if f.init}
            return {"$class": type(value).__name__, **kept}
        case Mapping():
            return {str(key): pack(item, f"{path}/{key}", arrays) for key, item in value.items()}
        case tuple() | list():
            return [pack(item, f"{path}/{i}", arrays) for i, item in enumerate(value)]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"{path} is a {type(value).__name__}, which an artifact cannot hold")


def unpack(value: Any, arrays: Mapping[str, Array], classes: Mapping[str, type]) -> Any:
    """The tree again; sequences come back as tuples. Raises KeyError or TypeError for anything unexpected."""
    match value:
        case {"$array": path}:
            return arrays[path]
        case {"$class": name, **rest}:
            kind = classes[name]
            made = {str(key): unpack(item, arrays, classes) for key, item in rest.items()}
            return kind(**{key: _restored(kind, key, item) for key, item in made.items()})
        case dict():
            return {key: unpack(item, arrays, classes) for key, item in value.items()}
        case list():
            return tuple(unpack(item, arrays, classes) for item in value)
        case _:
            return value


def _restored(kind: type, key: str, item: Any) -> Any:
    """Strings back to the enum a field is declared with."""
    declared = {f.name: f.type for f in fields(kind)}.get(key)  # a string: annotations are postponed
    enum = getattr(sys.modules[kind.__module__], str(declared), None)
    if isinstance(item, str) and isinstance(enum, type) and issubclass(enum, StrEnum):
        return enum(item)
    return item
