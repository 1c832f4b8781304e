"""What the residual networks share: conv-BN, neurons by name, how a block ends, identity initialisation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF, PLIF, Neuron
from snnhw.zoo.surrogate import Surrogate

MakeNeuron = Callable[[], Neuron]
MakeBlock = Callable[[int, int, int], nn.Module]
"""``make(inputs, outputs, stride)``: a block of that many channels."""

NEURONS: dict[str, Callable[..., Neuron]] = {"if": IF, "lif": LIF, "plif": PLIF}
CONNECTS = ("ADD", "AND", "IAND")


def neuron_maker(name: str, surrogate: str | Surrogate = "atan", v_threshold: float = 1.0) -> MakeNeuron:
    """Makes neurons of that name (``if``, ``lif``, ``plif``) with SpikingJelly's defaults (tau 2, hard reset, >=)."""
    if name not in NEURONS:
        raise SnnhwError(
            "unknown-neuron",
            "no neuron of that name for residual networks",
            where="neuron=",
            needed=repr(name),
            limit="one of " + ", ".join(NEURONS),
            hint="pick one of these",
        )
    return lambda: NEURONS[name](surrogate=surrogate, v_threshold=v_threshold)


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> PerStep:
    """Convolution without bias and its BatchNorm, padded to keep the size at stride 1."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return PerStep(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs)))


def require_connect(connect: str) -> None:
    """Refuses what is not a SEW connect function."""
    if connect not in CONNECTS:
        raise SnnhwError(
            "unknown-connect",
            "no SEW connect function of that name",
            where="connect=",
            needed=repr(connect),
            limit=", ".join(CONNECTS),
            hint="pick one of these (capital letters)",
        )


def joined(connect: str, a: Tensor, s: Tensor) -> Tensor:
    """SEW's g(A, S) of the branch's spikes a and the identity s; IAND keeps s where the branch is silent.

    The operand order is that of the authors' code (SpikingJelly's bottleneck has IAND's swapped).
    """
    if connect == "ADD":
        return a + s
    if connect == "AND":
        return a * s
    return s * (1 - a)


def start_as_identity(bn: nn.Module, neuron: Neuron, connect: str = "ADD") -> None:
    """Sets a branch's last BatchNorm so that the untrained block hands on its identity (SEW paper, section 3.2).

    ADD, IAND and Spiking ResNet need a silent branch (gamma = beta = 0). AND needs one that spikes at every step:
    gamma = 0 and beta = threshold / gain, the constant drive that just reaches the threshold from rest. That is
    the official beta of 1 for IF, and 2 for a LIF of tau 2, which 1 would never make spike. It rests on ``>=``.
    """
    assert isinstance(bn, nn.BatchNorm2d)
    nn.init.zeros_(bn.weight)
    nn.init.constant_(bn.bias, neuron.v_threshold / neuron.gain if connect == "AND" else 0.0)


class SmallResNet(nn.Module):
    """Stem, stages of blocks, global average pool, Linear; x ``[T, N, C, H, W]`` to ``[T, N, classes]``.

    The output is the Linear's at every step; the readout (mean over T) is taken outside: the two commute.
    Every stage but the first halves the size in its first block.
    """

    def __init__(
        self,
        block: MakeBlock,
        neuron: MakeNeuron,
        in_channels: int,
        image_size: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        classes: int,
    ) -> None:
        super().__init__()
        _check(type(self).__name__, channels, blocks, image_size)
        self.stem = conv_bn(in_channels, channels[0], 3)
        self.stem_if = neuron()
        stages: list[nn.Module] = []
        width = channels[0]
        for index, (out, count) in enumerate(zip(channels, blocks, strict=True)):
            stage: list[nn.Module] = []
            for place in range(count):
                stage.append(block(width, out, 2 if index > 0 and place == 0 else 1))
                width = out
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.pool = PerStep(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = PerStep(nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, C, H, W]`` to the Linear's output at every step ``[T, N, classes]``."""
        out: Tensor = self.fc(self.pool(self.stages(self.stem_if(self.stem(x)))))
        return out


def _check(where: str, channels: Sequence[int], blocks: Sequence[int], image_size: int) -> None:
    if not channels or len(channels) != len(blocks) or min(blocks) < 1 or image_size < 2 ** (len(channels) - 1):
        raise SnnhwError(
            "bad-network",
            "the residual network cannot be built",
            where=where,
            needed=f"channels={tuple(channels)}, blocks={tuple(blocks)}, image_size={image_size}",
            limit="as many block counts (each >= 1) as channel counts, an image that survives the strides",
            hint="for example channels=(16, 32, 64), blocks=(2, 2, 2), image_size=28",
        )
