"""Axis order: ours is (C, H, W), Lava's Conv wants (W, H, C) and kernels (C_out, W, H, C_in), flipped in space.

Populations keep one order in the whole network: (W, H, C) for three axes where a stock Conv takes part, else flat.
"""

from __future__ import annotations

from math import prod

import numpy as np

from snnhw.network import Array, Shape


def lava_shape(shape: Shape, spatial: bool) -> Shape:
    """Shape of a population in Lava; `spatial` where stock Conv takes part in the network."""
    if spatial and len(shape) == 3:
        return shape[::-1]
    return (prod(shape),)


def to_lava(x: Array, lava: Shape) -> Array:
    """One array in our order (any shape of the right size) as Lava's; inverse of `from_lava`."""
    if len(lava) == 3:
        return x.reshape(lava[::-1]).transpose(2, 1, 0)
    return x.reshape(lava)


def from_lava(x: Array) -> Array:
    """One array in Lava's order, flat in ours (C order)."""
    return x.transpose(2, 1, 0).ravel() if x.ndim == 3 else x


def order(lava: Shape) -> Array:
    """For every position of Lava's flat order, the position in our flat order."""
    return to_lava(np.arange(prod(lava)), lava).ravel()


def dense_weights(w: Array, pre: Shape, post: Shape) -> Array:
    """(post, pre) weights over our flat order, as weights over Lava's flat order."""
    return w[order(post)][:, order(pre)]


def conv_weights(w: Array) -> Array:
    """(C_out, C_in, kh, kw) of a correlation as Lava's (C_out, W, H, C_in) of a convolution (spatially flipped)."""
    return np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(0, 3, 2, 1))
