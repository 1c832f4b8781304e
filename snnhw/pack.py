"""Dataclass trees to JSON and arrays, and back: no pickle, only classes that the caller names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import GenericAlias
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

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
            return kind(**checked(kind, {key: _restored(kind, key, item) for key, item in made.items()}))
        case dict():
            return {key: unpack(item, arrays, classes) for key, item in value.items()}
        case list():
            return tuple(unpack(item, arrays, classes) for item in value)
        case _:
            return value


def checked(kind: type, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields of a dataclass, as they are; raises TypeError where one has not the type that it is declared with."""
    for key, item in values.items():
        if key not in _types(kind):
            raise TypeError(f"{kind.__name__} has no {key}")
        try:
            _types(kind)[key].validate_python((item,))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, (kind.__name__, key, *first["loc"][1:])))
            raise TypeError(f"{place}: {first['msg']}") from None
    return values


@cache
def _types(kind: type) -> dict[str, TypeAdapter[Any]]:
    """Field -> validator of a tuple that holds its value (pydantic takes no options for a dataclass alone)."""
    hints, config = get_type_hints(kind), ConfigDict(arbitrary_types_allowed=True, strict=True)
    held: dict[str, Any] = {name: GenericAlias(tuple, (_written(hint),)) for name, hint in hints.items()}
    return {f.name: TypeAdapter(held[f.name], config=config) for f in fields(kind) if f.init}


def _written(hint: Any) -> Any:
    """What stands for a type in JSON: a number for an array of one, too."""
    arrays = [kind for kind in (hint, *get_args(hint)) if get_origin(kind) is np.ndarray]
    return hint | int | float if arrays else hint


def _restored(kind: type, key: str, item: Any) -> Any:
    """Strings back to the enum a field is declared with."""
    declared = {f.name: f.type for f in fields(kind)}.get(key)  # a string: annotations are postponed
    words = (getattr(sys.modules[base.__module__], str(declared), None) for base in kind.__mro__)  # of who declared it
    enum = next((word for word in words if word is not None), None)
    if isinstance(item, str) and isinstance(enum, type) and issubclass(enum, StrEnum):
        return enum(item)
    return item
