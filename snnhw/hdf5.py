"""HDF5 files of strangers: nothing outside the file is followed, nothing twice, and sizes are summed before reading."""

from __future__ import annotations

import h5py
import numpy as np

from snnhw.errors import SourceError
from snnhw.limits import MAX_BYTES, require_bytes

MAX_ITEMS = 1 << 20
"""Groups and datasets of one file."""

SUM = 4
"""Bytes of a chunk's Fletcher-32 sum."""

HELD = 8
"""Bytes of a value once it is read: all arithmetic here is float64 or int64."""


def require_plain(file: h5py.File, name: str, hint: str, most: int | None = MAX_BYTES) -> None:
    """Refuse links, external and virtual data, groups that contain themselves, and more than `most` bytes of arrays.

    Arrays that unpack to far more than the file holds are refused as well, as those of a zip are (`limits`), and chunks
    that are shorter than their checksum, past whose end the library reads.

    Args:
        name: of the file, for messages.
        hint: what to give instead.
        most: None for arrays that are read in slices, whose sizes do not matter.
    """
    seen: set[int] = set()
    total, items, rest = 0, 0, [file["/"]]
    while rest:
        group = rest.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen:
            raise _refusal("a group of the file is there twice", name, group.name, hint)
        seen.add(place)
        for key in group:
            items += 1
            if items > MAX_ITEMS:
                raise _refusal("the file has too many parts", name, group.name, hint, str(MAX_ITEMS))
            where = f"{group.name}/{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise _elsewhere(name, where, hint)
            item = group[key]
            if isinstance(item, h5py.Group):
                rest.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise _elsewhere(name, where, hint)
                if not _holds_sums(item):
                    raise _refusal("a chunk of the file is shorter than its checksum", name, where, hint)
                total += size_of(item)
    if most is not None:
        require_bytes(total, int(file.id.get_filesize()), name, most)


def _holds_sums(item: h5py.Dataset) -> bool:
    """Whether all that the library takes for a chunk with a Fletcher-32 sum at its end has room for one."""
    if not item.fletcher32:
        return True
    made = item.id.get_create_plist()
    if made.get_filter(made.get_nfilters() - 1)[0] != h5py.h5z.FILTER_FLETCHER32:
        return False  # a sum of what is unpacked, of a length that nobody knows beforehand
    sizes: list[int] = []
    item.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
    return min(sizes, default=SUM) >= SUM


def size_of(item: h5py.Dataset) -> int:
    """Bytes that a dataset becomes, by the shape it declares."""
    return int(np.prod(item.shape or (), dtype=object)) * max(int(item.dtype.itemsize), HELD)


def _elsewhere(name: str, where: str, hint: str) -> SourceError:
    return _refusal("the file links to data outside it, which are not followed", name, where, hint)


def _refusal(what: str, name: str, where: str, hint: str, limit: str | None = None) -> SourceError:
    return SourceError("bad-hdf5", what, where=f"{name}: {where.replace('//', '/')}", limit=limit, hint=hint)
