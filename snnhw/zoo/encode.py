"""Input encodings of training and of the float evaluation: uint8 images to ``[T, N, C, H, W]``."""

from __future__ import annotations

import torch
from torch import Tensor

from snnhw.errors import SnnhwError

ENCODINGS = ("bernoulli", "direct", "latency", "spikes")


def scale(images: Tensor) -> Tensor:
    """uint8 ``[n, ...]`` to float32 in 0..1: the preprocessing ``uint8/255`` of the checkpoints."""
    return images.to(torch.float32) / 255.0


def encode(x: Tensor, encoding: str, steps: int, generator: torch.Generator) -> Tensor:
    """Values in 0..1 ``[N, ...]`` to ``[T, N, ...]``.

    ``bernoulli`` draws anew at every step and spikes where ``x > rand()`` (strict; STBP). ``direct`` repeats
    x as a view of stride 0, which ``PerStep`` computes once. ``latency`` spikes once, the earlier the larger x:
    at step ``round((1 - x) (W - 1))`` of the first ``W = ceil(T / 2)``; 0 never spikes. ``spikes`` takes
    sequences ``[N, T, ...]`` as they are, T of their own.
    """
    if encoding == "bernoulli":
        return (x > torch.rand(steps, *x.shape, generator=generator)).to(x.dtype)
    if encoding == "direct":
        return x.expand(steps, *x.shape)
    if encoding == "latency":
        return latency(x, steps)
    if encoding == "spikes":
        return x.transpose(0, 1).to(torch.float32)
    raise SnnhwError(
        "unknown-encoding",
        "no input encoding of that name",
        where="encoding=",
        needed=repr(encoding),
        limit="one of " + ", ".join(ENCODINGS),
        hint="pick one of these",
    )


def latency(x: Tensor, steps: int) -> Tensor:
    """One spike a value, ``[N, ...]`` to ``[T, N, ...]``; see ``encode``."""
    window = -(-steps // 2)
    times = torch.round((1.0 - x) * (window - 1))
    at = torch.arange(steps, device=x.device).view(-1, *[1] * x.dim())
    return ((times == at) & (x > 0)).to(x.dtype)


def delete_steps(x: Tensor, kept: int, generator: torch.Generator) -> Tensor:
    """Random temporal delete (SEW ResNet, event networks): ``kept`` random steps of ``[T, ...]`` in order; 0: all."""
    if not kept or kept >= x.shape[0]:
        return x
    return x[torch.randperm(x.shape[0], generator=generator)[:kept].sort().values]


def augment(x: Tensor, flip: bool, shift: int, generator: torch.Generator) -> Tensor:
    """Per image a random flip and a shift by up to ``shift`` pixels (zeros move in); x ``[N, C, H, W]``."""
    n, _, height, width = x.shape
    if flip:
        chosen = torch.rand(n, generator=generator) < 0.5
        x = torch.where(chosen[:, None, None, None], x.flip(3), x)
    if shift:
        padded = torch.nn.functional.pad(x, (shift,) * 4)
        dy, dx = torch.randint(0, 2 * shift + 1, (2, n), generator=generator)
        rows = dy[:, None] + torch.arange(height)
        cols = dx[:, None] + torch.arange(width)
        image = torch.arange(n)[:, None, None]
        x = padded[image, :, rows[:, :, None], cols[:, None, :]].movedim(3, 1).contiguous()
    return x
