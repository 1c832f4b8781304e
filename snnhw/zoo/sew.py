"""SEW ResNet (Fang et al. 2021, "Deep Residual Learning in Spiking Neural Networks") for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from snnhw.zoo.surrogate import Surrogate


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> PerStep:
    """Convolution without bias and its BatchNorm, padded to keep the size at stride 1."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return PerStep(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs)))


class SewBlock(nn.Module):
    """SEW basic block with g = ADD: ``out = A(s) + s``, a sum of spike trains (integers, not binary)."""

    def __init__(self, inputs: int, outputs: int, stride: int, surrogate: str | Surrogate) -> None:
        super().__init__()
        self.conv1 = conv_bn(inputs, outputs, 3, stride)
        self.if1 = IF(surrogate=surrogate)
        self.conv2 = conv_bn(outputs, outputs, 3)
        self.if2 = IF(surrogate=surrogate)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            down = conv_bn(inputs, outputs, 1, stride)
            self.shortcut = nn.Sequential(OrderedDict(down=down, neuron=IF(surrogate=surrogate)))

    def forward(self, x: Tensor) -> Tensor:
        """Integers ``[T, N, C, H, W]`` (at most k+1 after k blocks) to ``[T, N, C', H', W']``."""
        a: Tensor = self.if2(self.conv2(self.if1(self.conv1(x))))
        s: Tensor = self.shortcut(x)
        return a + s


class SewResNet(nn.Module):
    """Stem, stages of SEW blocks, global average pool, Linear; x ``[T, N, C, H, W]`` to ``[T, N, classes]``.

    The output is the Linear's at every step; the readout (mean over T) is taken outside: the two commute.
    """

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        channels: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (2, 2, 2),
        classes: int = 10,
        connect: str = "ADD",
        surrogate: str | Surrogate = "atan",
    ) -> None:
        super().__init__()
        _check(channels, blocks, image_size, connect)
        self.stem = conv_bn(in_channels, channels[0], 3)
        self.stem_if = IF(surrogate=surrogate)
        stages: list[nn.Module] = []
        width = channels[0]
        for index, (out, count) in enumerate(zip(channels, blocks, strict=True)):
            stage: list[nn.Module] = []
            for block in range(count):
                stride = 2 if index > 0 and block == 0 else 1
                stage.append(SewBlock(width, out, stride, surrogate))
                width = out
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.pool = PerStep(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = PerStep(nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, C, H, W]`` to the Linear's output at every step ``[T, N, classes]``."""
        out: Tensor = self.fc(self.pool(self.stages(self.stem_if(self.stem(x)))))
        return out


def _check(channels: Sequence[int], blocks: Sequence[int], image_size: int, connect: str) -> None:
    if connect != "ADD":
        raise SnnhwError(
            "unsupported-connect",
            "this SEW connect function is not there yet",
            where="SewResNet(connect=)",
            needed=repr(connect),
            limit="'ADD'",
            hint="use connect='ADD'",
        )
    if not channels or len(channels) != len(blocks) or min(blocks) < 1 or image_size < 2 ** (len(channels) - 1):
        raise SnnhwError(
            "bad-network",
            "the SEW ResNet cannot be built",
            where="SewResNet",
            needed=f"channels={tuple(channels)}, blocks={tuple(blocks)}, image_size={image_size}",
            limit="as many block counts (each >= 1) as channel counts, an image that survives the strides",
            hint="for example channels=(16, 32, 64), blocks=(2, 2, 2), image_size=28",
        )
