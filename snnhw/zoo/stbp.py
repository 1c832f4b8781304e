"""The spiking CNN of STBP (Wu et al. 2018, "Spatio-temporal backpropagation", MNIST network)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IterativeLIF
from snnhw.zoo.surrogate import Surrogate


class StbpScnn(nn.Module):
    """conv3x3-LIF-avg2-conv3x3-LIF-avg2-fc-LIF-fc-LIF.

    Input spikes ``[T, N, C, H, W]`` to output spikes ``[T, N, classes]``; the rate over T is the readout.
    """

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        channels: Sequence[int] = (32, 32),
        hidden: int = 128,
        classes: int = 10,
        decay: float = 0.2,
        threshold: float = 0.5,
        surrogate: str | Surrogate = "rectangular",
    ) -> None:
        super().__init__()
        if len(channels) != 2 or image_size < 4:
            raise SnnhwError(
                "bad-network",
                "the STBP network cannot be built",
                where="StbpScnn",
                needed=f"channels={tuple(channels)}, image_size={image_size}",
                limit="two channel counts, image_size >= 4",
                hint="for example channels=(32, 32), image_size=28",
            )
        first, second = channels
        side = image_size // 2 // 2

        def neuron() -> IterativeLIF:
            return IterativeLIF(decay=decay, threshold=threshold, surrogate=surrogate)

        self.conv1 = PerStep(nn.Conv2d(in_channels, first, 3, padding=1))
        self.lif1 = neuron()
        self.pool1 = PerStep(nn.AvgPool2d(2))
        self.conv2 = PerStep(nn.Conv2d(first, second, 3, padding=1))
        self.lif2 = neuron()
        self.pool2 = PerStep(nn.AvgPool2d(2))
        self.flatten = PerStep(nn.Flatten())
        self.fc1 = PerStep(nn.Linear(second * side * side, hidden))
        self.lif3 = neuron()
        self.fc2 = PerStep(nn.Linear(hidden, classes))
        self.lif4 = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, C, H, W]`` to spikes ``[T, N, classes]``."""
        x = self.pool1(self.lif1(self.conv1(x)))
        x = self.pool2(self.lif2(self.conv2(x)))
        x = self.lif3(self.fc1(self.flatten(x)))
        out: Tensor = self.lif4(self.fc2(x))
        return out
