"""One group of a `.net` file as checked values: every refusal names the dataset it happened at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from snnhw.errors import SourceError
from snnhw.network import Array

HINT = "give a .net file of lava-dl's net.export_hdf5"

LARGEST = 1 << 24
"""No whole number of a .net file is larger: states have 24 bit."""

MAX_VALUES = 1 << 26
"""Values of one dataset."""


class Fields:
    """Typed access to one HDF5 group.

    Args:
        where: file and path of the group, for messages ('mnist.net: layer/1').
    """

    def __init__(self, group: Any, where: str) -> None:
        if not isinstance(group, h5py.Group):
            raise bad("a group is missing or is not a group", where)
        self.group, self.where = group, where

    def __contains__(self, key: str) -> bool:
        return key in self.group

    def at(self, key: str) -> str:
        """File and path of one field."""
        return f"{self.where}/{key}"

    def inside(self, key: str) -> Fields:
        """A group in this one."""
        return Fields(self.group.get(key), self.at(key))

    def text(self, key: str) -> str:
        """A string, or the only one of an array of strings."""
        found = np.asarray(self._read(key)).ravel()
        if found.size != 1 or not isinstance(found[0], bytes | str):
            raise bad("the field is not one string", self.at(key))
        said = found[0]
        try:
            return said.decode("ascii") if isinstance(said, bytes) else str(said)
        except UnicodeDecodeError:
            raise bad("the field is not one string", self.at(key)) from None

    def whole(self, key: str, low: int, high: int) -> int:
        """One whole number from low to high; an array may hold one."""
        values = self.array(key)
        if values.size != 1:
            raise bad("the field is not one number", self.at(key), f"{values.size} values", "1")
        value = int(values.ravel()[0])
        if not low <= value <= high:
            raise bad("a number is out of range", self.at(key), value, f"{low} to {high}")
        return value

    def pair(self, key: str, low: int, otherwise: tuple[int, int] | None = None) -> tuple[int, int]:
        """(vertical, horizontal); one number means both."""
        if otherwise is not None and key not in self:
            return otherwise
        values = self.array(key).ravel()
        if values.size not in (1, 2) or values.min() < low:
            raise bad("the field is not one or two numbers", self.at(key), values[:4].tolist(), f"{low} or more")
        return int(values[0]), int(values[-1])

    def shape(self, key: str) -> tuple[int, ...]:
        """Neurons, (n,) or (C, H, W)."""
        values = self.array(key).ravel()
        if values.size not in (1, 3) or values.min() < 1:
            raise bad(
                "the shape is not (neurons) or (C, H, W)", self.at(key), values[:4].tolist(), "whole numbers >= 1"
            )
        return tuple(int(n) for n in values)

    def array(self, key: str) -> Array:
        """Whole numbers as int32, however the file stores them: netx would drop fractions without a word."""
        values = np.asarray(self._read(key))
        if values.dtype.kind not in "iufb" or values.size == 0:
            raise bad(
                "the field does not hold numbers", self.at(key), f"{values.dtype}, {values.size} values", "numbers"
            )
        if values.dtype.kind == "f":
            if not np.isfinite(values).all():
                raise bad("a value is not finite", self.at(key), _first(values, ~np.isfinite(values)), "finite numbers")
            fraction = values != np.rint(values)
            if fraction.any():
                raise bad("a value is not a whole number", self.at(key), _first(values, fraction), "whole numbers")
        low, high = values.min().item(), values.max().item()
        if low < -LARGEST or high > LARGEST:
            raise bad("a value is too large", self.at(key), high if high > LARGEST else low, LARGEST)
        return values.astype(np.int32)

    def _read(self, key: str) -> Any:
        item = self.group.get(key)
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            raise bad("a dataset is missing", self.at(key))
        if item.size > MAX_VALUES:
            raise bad("the field holds too many values", self.at(key), item.size, MAX_VALUES)
        return item[()]


def _first(values: Array, where: Array) -> str:
    return f"{values[where].ravel()[0]:g}"


def bad(what: str, where: str, needed: Any = None, limit: Any = None, hint: str = HINT) -> SourceError:
    """The file does not say what a .net file says."""
    return SourceError("bad-net", what, where=where, needed=needed, limit=limit, hint=hint)


def unsupported(what: str, where: str, needed: Any, limit: Any, hint: str) -> SourceError:
    """The file says something that has no exact counterpart here (or in netx itself)."""
    return SourceError("unsupported-net", what, where=where, needed=needed, limit=limit, hint=hint)


def listed(names: Sequence[str]) -> str:
    """Names as one text."""
    return ", ".join(names)
