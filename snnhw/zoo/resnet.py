"""SEW ResNet and Spiking ResNet at ImageNet size (Fang et al. 2021), with the layer names of the authors' code.

The state_dict keys are the published checkpoints' in their newer layout, in which a per-step layer is a plain
Sequential: ``conv1.weight``, ``bn1.*``, ``layerL.I.convJ.{0,1}.*``, ``layerL.0.downsample.*``, ``fc.*``. The stem is
conv7x7 stride 2, BN, neuron, max-pool 3x3 stride 2 over spikes; neurons own no keys unless they learn.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.residual import MakeNeuron, joined, neuron_maker, require_connect, start_as_identity
from snnhw.zoo.surrogate import Surrogate

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of the four stages by depth; from 50 on they are bottlenecks."""
DEEP = 50
EXPANSION = 4
"""Channels a bottleneck puts out, in widths."""


class Named(PerStep):
    """One layer per step whose keys lack the container's level: as ``conv1`` it has ``conv1.weight``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)
        self.register_state_dict_post_hook(_without_level)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_level)  # type: ignore[no-untyped-call]


def _without_level(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    inner = f"{prefix}0."
    for key in [key for key in state if key.startswith(inner)]:
        state[prefix + key.removeprefix(inner)] = state.pop(key)


def _with_level(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}0.{key.removeprefix(prefix)}"] = state.pop(key)


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> PerStep:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return PerStep(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A basic block (two 3x3 convolutions) or a bottleneck (1x1, 3x3, and 1x1 to four times the width).

    ``conv1``, ``sn1``, ``conv2``, ... and ``downsample`` where size or channels change; the 3x3 (first) convolution
    strides. ``connect`` None is Spiking ResNet's block: the shortcut's current is added before the last neuron,
    and ``downsample`` has no neuron of its own.
    """

    def __init__(
        self, inputs: int, width: int, stride: int, neuron: MakeNeuron, connect: str | None, bottleneck: bool
    ) -> None:
        super().__init__()
        self.connect = connect
        self.kernels = (1, 3, 1) if bottleneck else (3, 3)
        self.outputs = width * (EXPANSION if bottleneck else 1)
        before = inputs
        for index, kernel in enumerate(self.kernels):
            after = self.outputs if index + 1 == len(self.kernels) else width
            strides = index == self.kernels.index(3)
            self.add_module(f"conv{index + 1}", _conv_bn(before, after, kernel, stride if strides else 1))
            self.add_module(f"sn{index + 1}", neuron())
            before = after
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != self.outputs:
            down = _conv_bn(inputs, self.outputs, 1, stride)
            self.downsample = down if connect is None else nn.Sequential(down, neuron())

    def _layers(self) -> list[tuple[PerStep, Neuron]]:
        numbers = range(1, len(self.kernels) + 1)
        return [(getattr(self, f"conv{i}"), getattr(self, f"sn{i}")) for i in numbers]

    def forward(self, x: Tensor) -> Tensor:
        """Spikes or, after ADD, integers ``[T, N, C, H, W]`` to ``[T, N, C', H', W']``."""
        *first, (conv, sn) = self._layers()
        a = x
        for conv_i, sn_i in first:
            a = sn_i(conv_i(a))
        a = conv(a)
        if self.connect is None:
            out: Tensor = sn(a + self.downsample(x))
            return out
        return joined(self.connect, sn(a), self.downsample(x))

    def start_as_identity(self) -> None:
        """See ``residual.start_as_identity``."""
        conv, sn = self._layers()[-1]
        start_as_identity(conv[1], sn, self.connect or "ADD")


class ResNet(nn.Module):
    """Stem, four stages, global average pool, Linear; x ``[T, N, C, H, W]`` to ``[T, N, classes]``.

    The output is the Linear's at every step; the authors' mean over T is the readout, taken outside.
    Any image size runs (nothing depends on it); ``input_shape`` keeps it, 224 in the paper.
    """

    def __init__(
        self,
        depth: int,
        connect: str | None,
        neuron: MakeNeuron,
        classes: int,
        in_channels: int,
        image_size: int,
        width: int,
        zero_init: bool,
    ) -> None:
        super().__init__()
        _check(depth, classes, in_channels, image_size, width)
        self.input_shape = (in_channels, image_size, image_size)
        self.conv1 = Named(nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=False))
        self.bn1 = Named(nn.BatchNorm2d(width))
        self.sn1 = neuron()
        self.maxpool = PerStep(nn.MaxPool2d(3, 2, padding=1))
        channels = width
        for index, count in enumerate(BLOCKS[depth]):
            stage: list[Block] = []
            for place in range(count):
                stride = 2 if index > 0 and place == 0 else 1
                stage.append(Block(channels, width << index, stride, neuron, connect, depth >= DEEP))
                channels = stage[-1].outputs
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
        self.avgpool = PerStep(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = Named(nn.Linear(channels, classes))
        self._start(zero_init)

    def _start(self, zero_init: bool) -> None:
        """He initialisation of the convolutions by their outputs, as the authors' code has it."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # there it would only import, for seconds
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Block) and zero_init:
                module.start_as_identity()

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, C, H, W]`` to the Linear's output at every step ``[T, N, classes]``."""
        x = self.maxpool(self.sn1(self.bn1(self.conv1(x))))
        for index in range(len(BLOCKS[18])):
            x = getattr(self, f"layer{index + 1}")(x)
        out: Tensor = self.fc(self.avgpool(x))
        return out


def sew_resnet(
    depth: int = 18,
    connect: str = "ADD",
    classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    neuron: str = "if",
    v_threshold: float = 1.0,
    surrogate: str | Surrogate = "atan",
    width: int = 64,
    zero_init: bool = False,
) -> ResNet:
    """SEW ResNet of that depth; ``width`` is the stem's channels (64 in the paper)."""
    require_connect(connect)
    make = neuron_maker(neuron, surrogate, v_threshold)
    return ResNet(depth, connect, make, classes, in_channels, image_size, width, zero_init)


def spiking_resnet(
    depth: int = 18,
    classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    neuron: str = "if",
    v_threshold: float = 1.0,
    surrogate: str | Surrogate = "atan",
    width: int = 64,
    zero_init: bool = False,
) -> ResNet:
    """Spiking ResNet of that depth, which the paper trains from ``zero_init``."""
    make = neuron_maker(neuron, surrogate, v_threshold)
    return ResNet(depth, None, make, classes, in_channels, image_size, width, zero_init)


def _check(depth: int, classes: int, in_channels: int, image_size: int, width: int) -> None:
    sizes = {"classes": classes, "in_channels": in_channels, "image_size": image_size, "width": width}
    if depth not in BLOCKS or min(sizes.values()) < 1:
        raise SnnhwError(
            "bad-network",
            "no ResNet of this depth and size",
            where="ResNet",
            needed=f"depth {depth}, {sizes}",
            limit=f"depth {', '.join(map(str, BLOCKS))}; all sizes at least 1",
            hint="for example depth=18, classes=1000, in_channels=3, image_size=224",
        )
