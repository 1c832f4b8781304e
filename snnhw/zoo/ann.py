"""Plain ReLU networks to convert: no time, no spikes, ``[N, C, H, W]`` to ``[N, classes]``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from snnhw.errors import SnnhwError

ORDERS = ("after", "before")


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and its BatchNorm, padded to keep the size at stride 1."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs)))


class ReluBlock(nn.Module):
    """Residual block of two 3x3 convolutions with ReLU after or before the addition.

    ``after``: ``ReLU(F(x) + x)`` (He et al. 2016), what is converted. ``before``: ``ReLU(F(x)) + x``, the RBA
    block that Fang et al. 2021 (SEW ResNet, section 3.3) set SEW against: nothing bounds what it adds to x.
    """

    def __init__(self, channels: int, order: str = "after") -> None:
        super().__init__()
        if order not in ORDERS:
            raise SnnhwError(
                "bad-network",
                "the ReLU block cannot be built",
                where="ReluBlock(order=)",
                needed=repr(order),
                limit=", ".join(ORDERS),
                hint="pick one of these",
            )
        self.order = order
        self.conv1 = conv_bn(channels, channels, 3)
        self.relu1 = nn.ReLU()
        self.conv2 = conv_bn(channels, channels, 3)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the same shape."""
        branch: Tensor = self.conv2(self.relu1(self.conv1(x)))
        out: Tensor = self.relu2(branch + x) if self.order == "after" else self.relu2(branch) + x
        return out


class AnnCnn(nn.Sequential):
    """Stages of conv-BN-ReLU, residual blocks and average pooling; global average pool; Linear.

    Images ``[N, C, H, W]`` to logits ``[N, classes]``.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (0, 1, 0),
        classes: int = 10,
        order: str = "after",
    ) -> None:
        if not channels or len(channels) != len(blocks) or min(blocks) < 0:
            raise SnnhwError(
                "bad-network",
                "the ReLU network cannot be built",
                where="AnnCnn",
                needed=f"channels={tuple(channels)}, blocks={tuple(blocks)}",
                limit="as many block counts (each >= 0) as channel counts",
                hint="for example channels=(16, 32, 64), blocks=(0, 1, 0)",
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = in_channels
        for index, (out, count) in enumerate(zip(channels, blocks, strict=True), 1):
            layers[f"conv{index}"] = conv_bn(width, out, 3)
            layers[f"relu{index}"] = nn.ReLU()
            for block in range(1, count + 1):
                layers[f"block{index}_{block}"] = ReluBlock(out, order)
            if index < len(channels):
                layers[f"pool{index}"] = nn.AvgPool2d(2)
            width = out
        layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(width, classes)}
        super().__init__(layers)
