"""A network of ReL-PSP neurons (Zhang et al. 2020, STDBP): linear postsynaptic potentials, one spike a neuron."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.timed import FirstSpike

SLOPE_FLOOR = 0.02
"""Ramps are slow: below this many thresholds per step a slope counts as that, in training (see ``FirstSpike``)."""


class RelPsp(nn.Module):
    """Fully connected; input spikes ``[T, N, ...]`` (first in time, larger in value) to spikes ``[T, N, classes]``.

    ``V_j(t) = sum_i w_ij (t - t_i)_+``: a spike adds a ramp, so that a neuron with a positive sum of weights always
    spikes if T is long enough, and one with a negative sum may not.

    Args:
        inputs: values of a sample.
        hidden: neurons of each hidden layer.
        classes: output neurons.
        reach: at the start of training, a neuron with mean weights spikes that many steps after all its inputs do.
    """

    def __init__(
        self,
        inputs: int = 64,
        hidden: Sequence[int] = (64,),
        classes: int = 10,
        reach: float = 5.0,
    ) -> None:
        super().__init__()
        sizes = [inputs, *hidden, classes]
        if min(sizes) < 1 or not reach > 0.0:
            raise SnnhwError(
                "bad-network",
                "the ReL-PSP network cannot be built",
                where="RelPsp",
                needed=f"inputs={inputs}, hidden={tuple(hidden)}, classes={classes}, reach={reach}",
                limit="sizes >= 1, reach > 0",
                hint="for example inputs=64, hidden=(64,), classes=10",
            )
        layers: dict[str, nn.Module] = {"flatten": PerStep(nn.Flatten())}
        for number, (before, behind) in enumerate(pairwise(sizes), 1):
            linear = nn.Linear(before, behind, bias=False)
            nn.init.normal_(linear.weight, 1.0 / (reach * before), 0.5 / (reach * before**0.5))
            layers[f"fc{number}"] = PerStep(linear)
            layers[f"neurons{number}"] = FirstSpike(1.0, u_keep=1.0, v_keep=1.0, slope_floor=SLOPE_FLOOR)
        self.layers = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, ...]`` to spikes ``[T, N, classes]``."""
        out: Tensor = self.layers(x)
        return out
