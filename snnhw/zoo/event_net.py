"""The event networks of SEW ResNet (Fang et al. 2021): 7B-Net for DVS128 Gesture, Wide-7B-Net for CIFAR10-DVS.

Modules carry the names of the published code, so that its state_dict keys are ours (its containers' ``module.`` aside).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import PLIF
from snnhw.zoo.residual import CONNECTS, joined
from snnhw.zoo.surrogate import Surrogate

BLOCKS = ("sew", "basic", "plain")
KEYS = {"channels", "up_kernel_size", "mid_channels", "num_blocks", "k_pool"}


def _conv_bn(inputs: int, outputs: int, kernel: int) -> PerStep:
    return PerStep(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def _neuron(surrogate: str | Surrogate) -> PLIF:
    """Learnable leak from tau = 2, input scaled by 1/tau, hard reset to 0, spike at v >= 1."""
    return PLIF(init_tau=2.0, decay_input=True, v_threshold=1.0, v_reset=0.0, surrogate=surrogate)


def _conv_plif(inputs: int, outputs: int, kernel: int, surrogate: str | Surrogate) -> nn.Sequential:
    return nn.Sequential(_conv_bn(inputs, outputs, kernel), _neuron(surrogate))


class SEWBlock(nn.Module):
    """``g(a, s)`` of the branch's spikes a and the block's input s.

    ADD ``a + s`` (integers, one more than s at most), AND ``a s``, IAND ``s (1 - a)``: the branch is the negated one.
    """

    def __init__(self, channels: int, mid_channels: int, connect: str, surrogate: str | Surrogate) -> None:
        super().__init__()
        self.connect = connect
        self.conv = nn.Sequential(
            _conv_plif(channels, mid_channels, 3, surrogate), _conv_plif(mid_channels, channels, 3, surrogate)
        )

    def forward(self, s: Tensor) -> Tensor:
        """``[T, N, C, H, W]``, same shape out; s must be binary for AND and IAND."""
        return joined(self.connect, self.conv(s), s)


class BasicBlock(nn.Module):
    """Block of the Spiking ResNet (the paper's baseline): branch and input add as currents, then PLIF."""

    def __init__(self, channels: int, mid_channels: int, surrogate: str | Surrogate) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv_plif(channels, mid_channels, 3, surrogate), _conv_bn(mid_channels, channels, 3))
        self.sn = _neuron(surrogate)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, N, C, H, W]`` to spikes of the same shape."""
        out: Tensor = self.sn(self.conv(x) + x)
        return out


class PlainBlock(nn.Module):
    """Two convolutions with their neurons and no shortcut (the paper's PlainNet)."""

    def __init__(self, channels: int, mid_channels: int, surrogate: str | Surrogate) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv_plif(channels, mid_channels, 3, surrogate), _conv_plif(mid_channels, channels, 3, surrogate)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, N, C, H, W]`` to spikes of the same shape."""
        out: Tensor = self.conv(x)
        return out


class EventNet(nn.Module):
    """Event frames (integer counts) ``[T, N, C, H, W]`` to the Linear's output at every step ``[T, N, classes]``.

    The readout, the mean over T, is taken outside: Linear and mean commute.

    Args:
        layers: one mapping a layer: ``channels``; where they change, ``up_kernel_size`` (1 or 3) of the convolution
            that changes them; ``num_blocks`` blocks (default 0) with ``mid_channels`` inside (default ``channels``);
            then max-pool of size and stride ``k_pool`` (default 1: none).
        classes: outputs.
        in_channels: 2, the polarities.
        image_size: H = W of the input.
        connect: ADD, AND or IAND, of SEW blocks.
        block: ``sew``, ``basic`` or ``plain``.
        surrogate: of all neurons.
    """

    def __init__(
        self,
        layers: Sequence[Mapping[str, int]],
        classes: int = 11,
        in_channels: int = 2,
        image_size: int = 128,
        connect: str = "ADD",
        block: str = "sew",
        surrogate: str | Surrogate = "atan",
    ) -> None:
        super().__init__()
        _check(layers, connect, block)
        conv: list[nn.Module] = []
        width, side = in_channels, image_size
        for layer in layers:
            out, pool = layer["channels"], layer.get("k_pool", 1)
            if out != width:
                conv.append(_conv_plif(width, out, layer["up_kernel_size"], surrogate))
                width = out
            for _ in range(layer.get("num_blocks", 0)):
                conv.append(_block(block, width, layer.get("mid_channels", width), connect, surrogate))
            if pool > 1:
                conv.append(PerStep(nn.MaxPool2d(pool, pool)))
                side //= pool
        if side < 1:
            raise _bad(f"image_size={image_size}", "an image that survives the pools")
        conv.append(PerStep(nn.Flatten()))
        self.conv = nn.Sequential(*conv)
        self.out = nn.Linear(width * side * side, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, C, H, W]`` to ``[T, N, classes]``."""
        out: Tensor = self.out(self.conv(x))
        return out


class SevenBNet(EventNet):
    """7B-Net: conv1x1, then seven blocks, each followed by a max-pool (``pools``; 1 leaves it out)."""

    def __init__(self, channels: int = 32, classes: int = 11, pools: Sequence[int] = (2,) * 7, **options: Any) -> None:
        super().__init__(_stage(channels, pools), classes, **options)


class WideSevenBNet(EventNet):
    """Wide-7B-Net: as 7B-Net, with a second conv1x1 that widens the network after the fourth block."""

    def __init__(
        self,
        channels: Sequence[int] = (64, 128),
        classes: int = 10,
        pools: Sequence[int] = (2,) * 7,
        **options: Any,
    ) -> None:
        if len(channels) != 2:
            raise _bad(f"channels={tuple(channels)}", "two channel counts")
        narrow, wide = channels
        super().__init__(_stage(narrow, pools[:4]) + _stage(wide, pools[4:]), classes, **options)


def _stage(channels: int, pools: Sequence[int]) -> list[dict[str, int]]:
    blocks = [{"channels": channels, "num_blocks": 1, "k_pool": pool} for pool in pools]
    return [{"channels": channels, "up_kernel_size": 1}, *blocks]


def _block(kind: str, channels: int, mid: int, connect: str, surrogate: str | Surrogate) -> nn.Module:
    if kind == "sew":
        return SEWBlock(channels, mid, connect, surrogate)
    return (BasicBlock if kind == "basic" else PlainBlock)(channels, mid, surrogate)


def _check(layers: Sequence[Mapping[str, int]], connect: str, block: str) -> None:
    if connect not in CONNECTS or block not in BLOCKS:
        raise _bad(f"connect={connect!r}, block={block!r}", f"{', '.join(CONNECTS)}; {', '.join(BLOCKS)}")
    width = 0
    for layer in layers:
        unknown = set(layer) - KEYS
        if unknown or min(layer.values(), default=0) < 0 or layer.get("channels", 0) < 1:
            raise _bad(f"layer {dict(layer)}", f"channels >= 1 and of {', '.join(sorted(KEYS - {'channels'}))}")
        if layer["channels"] != width and layer.get("up_kernel_size") not in (1, 3):
            raise _bad(f"layer {dict(layer)}", "up_kernel_size 1 or 3 where the channels change")
        width = layer["channels"]
    if not layers:
        raise _bad("no layers", "at least one layer")


def _bad(found: str, limit: str) -> SnnhwError:
    hint = "for example layers=[dict(channels=32, up_kernel_size=1), dict(channels=32, num_blocks=1, k_pool=2)]"
    return SnnhwError(
        "bad-network", "the event network cannot be built", where="EventNet", needed=found, limit=limit, hint=hint
    )
