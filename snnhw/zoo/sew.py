"""SEW ResNet (Fang et al. 2021, "Deep Residual Learning in Spiking Neural Networks") for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from snnhw.zoo.residual import (
    MakeNeuron,
    SmallResNet,
    conv_bn,
    joined,
    neuron_maker,
    require_connect,
    start_as_identity,
)
from snnhw.zoo.surrogate import Surrogate


class SewBlock(nn.Module):
    """SEW basic block ``out = g(A(s), s)``: g = ADD sums spike trains (integers); AND and IAND stay binary.

    A is conv-BN-neuron-conv-BN-neuron. Where size or channels change, s passes conv1x1-BN-neuron.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        neuron: MakeNeuron,
        connect: str = "ADD",
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        require_connect(connect)
        self.connect = connect
        self.conv1 = conv_bn(inputs, outputs, 3, stride)
        self.if1 = neuron()
        self.conv2 = conv_bn(outputs, outputs, 3)
        self.if2 = neuron()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            down = conv_bn(inputs, outputs, 1, stride)
            self.shortcut = nn.Sequential(OrderedDict(down=down, neuron=neuron()))
        if zero_init:
            start_as_identity(self.conv2[1], self.if2, connect)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, N, C, H, W]`` (ADD: integers, at most k+1 after k blocks) to ``[T, N, C', H', W']``."""
        a: Tensor = self.if2(self.conv2(self.if1(self.conv1(x))))
        return joined(self.connect, a, self.shortcut(x))


class SewResNet(SmallResNet):
    """Stem, stages of SEW blocks, global average pool, Linear; x ``[T, N, C, H, W]`` to ``[T, N, classes]``.

    ``zero_init`` makes every block start as its shortcut; ``neuron`` is ``if``, ``lif`` or ``plif``.
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
        neuron: str = "if",
        zero_init: bool = False,
    ) -> None:
        make = neuron_maker(neuron, surrogate)

        def block(inputs: int, outputs: int, stride: int) -> nn.Module:
            return SewBlock(inputs, outputs, stride, make, connect, zero_init)

        super().__init__(block, make, in_channels, image_size, channels, blocks, classes)
