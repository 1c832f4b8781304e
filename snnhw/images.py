"""A folder of images as samples: what is done to an image before it is a sample is said, never guessed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnhw.errors import DataError, SnnhwError
from snnhw.extras import require
from snnhw.limits import fault, require_sample
from snnhw.network import Array
from snnhw.rows import Rows, require_regular

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

STEPS = "resize=N (shorter side), resize=HxW, crop=N or crop=HxW (centre), gray, rgb, normalize=imagenet"

IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
"""Mean and standard deviation of ImageNet's pixels in [0, 1], as torchvision states them."""


def of_folder(folder: Path, preprocess: str | None) -> tuple[Rows, Array | None]:
    """Images of a folder as uint8 samples (C, H, W) (float32 where they are normalised), with labels.

    Sub-folders are classes, numbered in the order of their names; without any, there are no labels.

    Args:
        preprocess: steps in order, joined by commas; see STEPS.

    Raises:
        DataError: no images, steps that are none, or an image that differs in size from the first.
    """
    classes = sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    groups = [sorted(p for p in part.iterdir() if p.suffix.lower() in ENDINGS) for part in classes or [folder]]
    paths = [path for group in groups for path in group]
    if not paths:
        raise DataError("no-samples", "the folder holds no samples", where=str(folder), limit=", ".join(ENDINGS))
    require("images", "reading images")
    steps = [_step(word.strip(), preprocess or "") for word in (preprocess or "rgb").split(",")]
    like = _read(paths[0], steps)

    def read(first: int, last: int) -> Array:
        found = np.empty((last - first, *like.shape), like.dtype)
        for place, path in enumerate(paths[first:last]):
            image = _read(path, steps)
            if image.shape != like.shape:
                raise DataError(
                    "bad-shape",
                    "an image has another size than the first",
                    where=str(path),
                    needed=like.shape,
                    limit=f"got {image.shape}",
                    hint="say how images become one size: --preprocess resize=256,crop=224",
                )
            found[place] = image
        return found

    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups]) if classes else None
    return Rows((len(paths), *like.shape), like.dtype, read, folder.name), labels


def _step(word: str, said: str) -> Callable[[Any], Any]:
    """One step; `normalize`, if any, is the last."""
    name, _, value = word.partition("=")
    sizes = value.split("x") if value else []
    if (
        name in ("resize", "crop")
        and 1 <= len(sizes) <= 2
        and all(s.isascii() and s.isdigit() and int(s) for s in sizes)
    ):
        size = [int(s) for s in sizes]
        return (lambda image: _resized(image, size)) if name == "resize" else (lambda image: _cropped(image, size))
    if word in ("gray", "rgb"):
        return lambda image: image.convert("L" if word == "gray" else "RGB")
    if word == "normalize=imagenet":
        return lambda image: (np.asarray(image.convert("RGB"), np.float32) / 255 - IMAGENET[0]) / IMAGENET[1]
    raise DataError("bad-preprocess", f"no step of preprocessing: {word!r}", where=said, limit=STEPS)


def _resized(image: Image, size: list[int]) -> Image:
    """Bilinear; one number is the shorter side's."""
    width, height = image.size
    if len(size) == 1:
        short = min(width, height)
        size = [max(1, size[0] * height // short), max(1, size[0] * width // short)]
    require_sample(1, (3, *size), "resize")
    return image.resize((size[1], size[0]), 2)  # BILINEAR


def _cropped(image: Image, size: list[int]) -> Image:
    """The middle."""
    height, width = size[0], size[-1]
    left, top = (image.size[0] - width) // 2, (image.size[1] - height) // 2
    if left < 0 or top < 0:
        raise DataError(
            "bad-shape",
            "an image is smaller than the crop",
            needed=f"{height}x{width}",
            limit=f"{image.size[1]}x{image.size[0]}",
            hint="resize it first: resize=256,crop=224",
        )
    return image.crop((left, top, left + width, top + height))


def _read(path: Path, steps: list[Callable[[Any], Any]]) -> Array:
    """One image (C, H, W)."""
    from PIL import Image

    require_regular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.verify()  # of PNG: the CRCs, which reading pixels does not look at
            with Image.open(path) as opened:
                found: Any = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
                for step in steps:
                    found = step(found)
                values = np.asarray(found)
    except SnnhwError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(
            "too-big",
            "an image has more pixels than are read; its file may unpack to fill the memory",
            limit=f"{Image.MAX_IMAGE_PIXELS:,} pixels",
            where=str(path),
            hint="cut or shrink it before",
        ) from error
    except Exception as error:  # a damaged image raises many kinds
        raise fault(error, str(path)) or DataError(
            "bad-data", f"not a readable image: {type(error).__name__}: {error}", where=str(path)
        ) from error
    return values[None] if values.ndim == 2 else np.ascontiguousarray(np.moveaxis(values, -1, 0))
