"""lava-dl's `.net` files (HDF5, read by `lava.lib.dl.netx`): networks that are integers already.

The truth is what netx 0.6.0 makes of a file in Lava 0.10.0. What netx would ignore, clip or drop is refused.
"""

from __future__ import annotations

from snnhw.frontends.netx.load import load_net

__all__ = ["load_net"]
