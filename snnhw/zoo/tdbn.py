"""Threshold-dependent BatchNorm and its residual networks (Zheng et al. 2021, STBP-tdBN)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IterativeLIF
from snnhw.zoo.surrogate import Surrogate

DIALECTS = ("forward", "init")
RATE = 0.159
"""P(x > Vth) of N(0, Vth^2): the rate that tdBN aims at."""
BRANCH = 1.0 / math.sqrt(2.0)
"""alpha of n = 2 parallel branches, 1/sqrt(n): their sum has the variance of a single one."""


class ThresholdDependentBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm towards N(0, (alpha Vth)^2) per channel: ``y = weight alpha Vth (x - mu)/sqrt(var + eps) + bias``.

    Two dialects with equal outputs at the start, told apart by what ``weight`` means in a file. ``forward``
    (STBP-simple): the factor alpha Vth is multiplied in at every pass, ``weight`` starts at 1. ``init``
    (SpikingJelly): a plain BatchNorm whose ``weight`` starts at alpha Vth. Read as the other dialect, a file's
    layers are all scaled by alpha Vth.

    Statistics are over T, N, H and W: ``PerStep`` folds T into the batch, so x is ``[T N, C, H, W]``. The running
    variance is the unbiased one, n counting T too (an input that is the same at every step counts once).
    """

    def __init__(self, features: int, v_threshold: float, alpha: float = 1.0, dialect: str = "forward") -> None:
        super().__init__(features)
        if dialect not in DIALECTS:
            raise SnnhwError(
                "bad-dialect",
                "no such dialect of tdBN",
                where=type(self).__name__,
                needed=repr(dialect),
                limit=" or ".join(map(repr, DIALECTS)),
                hint="'forward' for STBP-simple's files (weights near 1), 'init' for SpikingJelly's (near alpha Vth)",
            )
        self.v_threshold, self.alpha, self.dialect = v_threshold, alpha, dialect
        if dialect == "init":
            nn.init.constant_(self.weight, alpha * v_threshold)

    @property
    def factor(self) -> float:
        """What multiplies ``weight`` at every pass; folding into a convolution needs it."""
        return self.alpha * self.v_threshold if self.dialect == "forward" else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T N, C, H, W]``, same shape out."""
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        gain, momentum = self.weight * self.factor, self.momentum or 0.0
        return functional.batch_norm(
            x, self.running_mean, self.running_var, gain, self.bias, self.training, momentum, self.eps
        )

    def extra_repr(self) -> str:
        """The layer's numbers in ``repr``."""
        return f"{self.num_features}, v_threshold={self.v_threshold}, alpha={self.alpha:g}, dialect={self.dialect}"


class _Maker:
    """Layers of one network: they share threshold, decay, dialect and surrogate."""

    def __init__(self, decay: float, threshold: float, dialect: str, surrogate: str | Surrogate) -> None:
        self.decay, self.threshold, self.dialect, self.surrogate = decay, threshold, dialect, surrogate

    def neuron(self) -> IterativeLIF:
        """The paper's iterative LIF: hard reset, spikes strictly above the threshold."""
        return IterativeLIF(decay=self.decay, threshold=self.threshold, surrogate=self.surrogate)

    def conv(self, inputs: int, outputs: int, kernel: int, stride: int = 1, alpha: float = 1.0) -> PerStep:
        """Convolution without bias and its tdBN, padded to keep the size at stride 1."""
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        return PerStep(OrderedDict(conv=conv, bn=self.norm(outputs, alpha)))

    def norm(self, features: int, alpha: float) -> ThresholdDependentBatchNorm2d:
        """tdBN of this network's threshold and dialect."""
        return ThresholdDependentBatchNorm2d(features, self.threshold, alpha, self.dialect)


class TdbnBlock(nn.Module):
    """Residual block: branch and shortcut add as currents, then one LIF fires (the paper's fig. 4).

    The branch ends in tdBN with alpha = 1/sqrt(2). A shortcut that changes the shape is conv1x1-tdBN with the same
    alpha; an identity shortcut adds the spikes as they are (STBP-simple).
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, make: _Maker) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.branch = self._branch(inputs, width, stride, make)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = make.conv(inputs, outputs, 1, stride, BRANCH)
        self.lif = make.neuron()

    def _branch(self, inputs: int, width: int, stride: int, make: _Maker) -> nn.Sequential:
        return nn.Sequential(
            OrderedDict(
                conv1=make.conv(inputs, width, 3, stride),
                lif1=make.neuron(),
                conv2=make.conv(width, width, 3, 1, BRANCH),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, N, C, H, W]`` to spikes ``[T, N, C', H', W']``."""
        out: Tensor = self.lif(self.branch(x) + self.shortcut(x))
        return out


class TdbnBottleneck(TdbnBlock):
    """The block of ResNet-50: conv1x1, conv3x3 with the stride, conv1x1 to four times the width."""

    expansion = 4

    def _branch(self, inputs: int, width: int, stride: int, make: _Maker) -> nn.Sequential:
        return nn.Sequential(
            OrderedDict(
                conv1=make.conv(inputs, width, 1),
                lif1=make.neuron(),
                conv2=make.conv(width, width, 3, stride),
                lif2=make.neuron(),
                conv3=make.conv(width, width * self.expansion, 1, 1, BRANCH),
            )
        )


BLOCKS: dict[str, type[TdbnBlock]] = {"basic": TdbnBlock, "bottleneck": TdbnBottleneck}


class TdbnResNet(nn.Module):
    """Stem, stages of residual blocks, global average pool, hidden FC-LIF if asked for, FC-LIF.

    x ``[T, N, C, H, W]`` (images repeated along T: direct encoding) to output spikes ``[T, N, classes]``; the
    readout is their rate over T.

    Args:
        in_channels: C of the input.
        channels: width of every stage.
        blocks: blocks in every stage.
        strides: stride of the first block of every stage; by default 1, then 2.
        stem: channels of the stem.
        large_stem: 7x7 convolution of stride 2 and 3x3 max-pool of stride 2 (ImageNet) in place of 3x3.
        block: ``basic`` or ``bottleneck``.
        hidden: neurons of the hidden FC layer; 0 leaves it out.
        classes: output neurons.
        decay: membrane factor per step (0.25 in the paper).
        threshold: Vth of neurons and of tdBN. It differs between published codes: 0.5 (paper), 0.2, 0.4.
        dialect: of tdBN, see there.
        surrogate: of all neurons.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (128, 256, 512),
        blocks: Sequence[int] = (3, 3, 2),
        strides: Sequence[int] = (),
        stem: int = 64,
        large_stem: bool = False,
        block: str = "basic",
        hidden: int = 256,
        classes: int = 10,
        decay: float = 0.25,
        threshold: float = 0.5,
        dialect: str = "forward",
        surrogate: str | Surrogate = "rectangular",
    ) -> None:
        super().__init__()
        strides = strides or [1] + [2] * (len(channels) - 1)
        _check(channels, blocks, strides, block)
        make = _Maker(decay, threshold, dialect, surrogate)
        self.stem = make.conv(in_channels, stem, 7 if large_stem else 3, 2 if large_stem else 1)
        self.stem_lif = make.neuron()
        self.stem_pool = PerStep(nn.MaxPool2d(3, 2, 1)) if large_stem else nn.Identity()
        stages, width = [], stem
        for out, count, stride in zip(channels, blocks, strides, strict=True):
            layers = []
            for index in range(count):
                layers.append(BLOCKS[block](width, out, stride if index == 0 else 1, make))
                width = out * BLOCKS[block].expansion
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.pool = PerStep(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        head: list[nn.Module] = []
        for size in (hidden, classes) if hidden else (classes,):
            head += [PerStep(nn.Linear(width, size)), make.neuron()]
            width = size
        self.head = nn.Sequential(*head)
        _start(head, threshold)

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, C, H, W]`` to spikes ``[T, N, classes]``."""
        x = self.stem_pool(self.stem_lif(self.stem(x)))
        out: Tensor = self.head(self.pool(self.stages(x)))
        return out


def tdbn_resnet19(**changes: object) -> TdbnResNet:
    """ResNet-19 for CIFAR-10, input ``[T, N, 3, 32, 32]``; stem 64 (published code) or 128 (the paper's table)."""
    return TdbnResNet(**changes)  # type: ignore[arg-type]


def tdbn_resnet34(**changes: object) -> TdbnResNet:
    """ResNet-34 for ImageNet, input ``[T, N, 3, 224, 224]``."""
    shape = {"channels": (64, 128, 256, 512), "blocks": (3, 4, 6, 3), "large_stem": True, "hidden": 0, "classes": 1000}
    return TdbnResNet(**{**shape, **changes})  # type: ignore[arg-type]


def tdbn_resnet50(**changes: object) -> TdbnResNet:
    """ResNet-50 for ImageNet, input ``[T, N, 3, 224, 224]``."""
    return tdbn_resnet34(**{"block": "bottleneck", **changes})


def _start(head: Sequence[nn.Module], threshold: float) -> None:
    """Starts the FC layers, which have no tdBN, at currents of N(0, Vth^2) too; torch's default leaves them silent.

    The first reads averages of spikes (second moment about RATE squared), the others spikes (second moment RATE).
    """
    moment = RATE * RATE
    for layer in nn.Sequential(*head).modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=threshold / math.sqrt(layer.in_features * moment))
            nn.init.zeros_(layer.bias)
            moment = RATE


def _check(channels: Sequence[int], blocks: Sequence[int], strides: Sequence[int], block: str) -> None:
    same = len(channels) == len(blocks) == len(strides)
    if not channels or not same or min(*channels, *blocks, *strides) < 1 or block not in BLOCKS:
        raise SnnhwError(
            "bad-network",
            "the tdBN ResNet cannot be built",
            where="TdbnResNet",
            needed=f"channels={tuple(channels)}, blocks={tuple(blocks)}, strides={tuple(strides)}, block={block!r}",
            limit="as many block counts and strides (each >= 1) as channel counts; block basic or bottleneck",
            hint="for example channels=(16, 32), blocks=(1, 1), strides=(1, 2), block='basic'",
        )
