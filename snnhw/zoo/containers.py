"""Stateless layers applied to every time step."""

from __future__ import annotations

from torch import Tensor, nn


class PerStep(nn.Sequential):
    """Applies its layers to ``[T, N, ...]`` by folding T into the batch.

    An input that is the same at every step (expanded along T, stride 0: direct encoding) is computed once,
    and the result is expanded again, as SEW ResNet does with its first convolution.
    """

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """x ``[T, N, ...]`` to ``[T, N, ...]``."""
        steps = x.shape[0]
        if steps > 1 and x.stride(0) == 0:
            once = self.once(x[0])
            return once.unsqueeze(0).expand(steps, *once.shape)
        folded = self.once(x.flatten(0, 1))
        return folded.view(steps, x.shape[1], *folded.shape[1:])

    def once(self, x: Tensor) -> Tensor:
        """The layers on a batch without time, ``[N, ...]`` to ``[N, ...]``."""
        for layer in self:
            x = layer(x)
        return x
