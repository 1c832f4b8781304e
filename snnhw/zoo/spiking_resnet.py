"""The networks SEW ResNet is compared with (Fang et al. 2021): Spiking ResNet and, without shortcuts, PlainNet."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from snnhw.zoo.residual import MakeNeuron, SmallResNet, conv_bn, neuron_maker, start_as_identity
from snnhw.zoo.surrogate import Surrogate


class SpikingBlock(nn.Module):
    """Spiking ResNet's basic block ``out = SN(F(s) + s)``: currents are added before the last neuron.

    F is conv-BN-neuron-conv-BN. Where size or channels change, s passes conv1x1-BN (no neuron); else the raw spikes
    are added to the current.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: MakeNeuron, zero_init: bool = False) -> None:
        super().__init__()
        self.conv1 = conv_bn(inputs, outputs, 3, stride)
        self.if1 = neuron()
        self.conv2 = conv_bn(outputs, outputs, 3)
        changes = stride != 1 or inputs != outputs
        self.shortcut: nn.Module = conv_bn(inputs, outputs, 1, stride) if changes else nn.Identity()
        self.if2 = neuron()
        if zero_init:
            start_as_identity(self.conv2[1], self.if2)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, N, C, H, W]`` to spikes ``[T, N, C', H', W']``."""
        out: Tensor = self.if2(self.conv2(self.if1(self.conv1(x))) + self.shortcut(x))
        return out


class PlainBlock(nn.Module):
    """Conv-BN-neuron twice, no shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: MakeNeuron) -> None:
        super().__init__()
        self.conv1 = conv_bn(inputs, outputs, 3, stride)
        self.if1 = neuron()
        self.conv2 = conv_bn(outputs, outputs, 3)
        self.if2 = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, N, C, H, W]`` to spikes ``[T, N, C', H', W']``."""
        out: Tensor = self.if2(self.conv2(self.if1(self.conv1(x))))
        return out


class SpikingResNet(SmallResNet):
    """Stem, stages of Spiking ResNet blocks, pool, Linear; arguments as ``SewResNet``'s."""

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        channels: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (2, 2, 2),
        classes: int = 10,
        surrogate: str | Surrogate = "atan",
        neuron: str = "if",
        zero_init: bool = False,
    ) -> None:
        make = neuron_maker(neuron, surrogate)

        def block(inputs: int, outputs: int, stride: int) -> nn.Module:
            return SpikingBlock(inputs, outputs, stride, make, zero_init)

        super().__init__(block, make, in_channels, image_size, channels, blocks, classes)


class PlainNet(SmallResNet):
    """Stem, stages of plain blocks, pool, Linear: the control without shortcuts."""

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        channels: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (2, 2, 2),
        classes: int = 10,
        surrogate: str | Surrogate = "atan",
        neuron: str = "if",
    ) -> None:
        make = neuron_maker(neuron, surrogate)

        def block(inputs: int, outputs: int, stride: int) -> nn.Module:
            return PlainBlock(inputs, outputs, stride, make)

        super().__init__(block, make, in_channels, image_size, channels, blocks, classes)
