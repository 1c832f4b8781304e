"""What the import refuses, word by word."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF
from snnhw.zoo.timed import FirstSpike
from tests.unit.frontends.modules import Flow, conv, imported


class Two(nn.Module):
    def forward(self, x: Tensor, y: float = 0.0) -> Tensor:
        return x + y


class ALIF(LIF):
    """A neuron of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(0.5 * x)


class Fast(FirstSpike):
    """Another constant is another neuron."""

    @property
    def threshold(self) -> float:
        return 0.5


OPERATIONS = (
    "convolution, linear, BatchNorm, pools, flatten, sums, products of spikes, stack, sum and mean over time\n"
    "  hint: express it by these, or keep it out of the module"
)
WHERE_TEXT: list[tuple[str, nn.Module, str]] = [
    (
        "a forward of its own",
        Flow(lambda m, x: m.n(m.c(x)), c=conv(), n=ALIF()),
        "unsupported-neuron: snnhw.zoo: ALIF has a forward of its own: its equation is not known\n"
        "  where: n\n"
        "  needed: ALIF\n"
        "  hint: LIF as it is, with the change outside of it",
    ),
    (
        "a property of its own",
        Flow(lambda m, x: m.n(x), n=Fast(1.0, 1.0, 1.0)),
        "unsupported-neuron: snnhw.zoo: Fast has a threshold of its own",
    ),
    (
        "unknown layer",
        Flow(lambda m, x: m.n(m.p(x)), p=PerStep(nn.LPPool2d(2, 2)), n=IF()),
        f"unknown-operation: the operation lp_pool2d in forward is not supported\n  where: p.0: lp_pool2d\n"
        f"  limit: {OPERATIONS}",
    ),
    (
        "unknown operation",
        Flow(lambda m, x: m.n(m.n2(x) / x), n=IF(), n2=IF()),
        f"unknown-operation: the operation div in forward is not supported\n  where: forward: div\n"
        f"  limit: {OPERATIONS}",
    ),
    (
        "control flow",
        Flow(lambda m, x: m.n(x) if x.sum() > 0 else x, n=IF()),
        "time-axis: the sum over the axes [0, 1, 2, 3, 4] of a tensor over TN\n  where: forward: sum\n",
    ),
    (
        "wrong input",
        Flow(lambda m, x: m.n(m.c(x)), c=conv(3), n=IF()),
        "bad-shape: the module does not take the example input: ",
    ),
    (
        "neuron used twice",
        Flow(lambda m, x: m.n(m.c(m.n(x))), c=conv(), n=IF()),
        "called-again: a layer with state is called more than once a step, or for another step\n  where: n\n",
    ),
    (
        "two results",
        Flow(lambda m, x: (m.n(x), x), n=IF()),
        "inputs-outputs: forward does not return one tensor\n  where: Flow\n  limit: one tensor",
    ),
    (
        "a result inside of a tuple",
        Flow(lambda m, x: (m.n(x), None), n=IF()),
        "inputs-outputs: forward does not return one tensor\n  where: Flow\n  limit: one tensor",
    ),
    (
        "flatten outside",
        Flow(lambda m, x: m.n(m.f(x)), f=nn.Flatten(), n=IF()),
        "time-axis: a tensor over TN of shape (4, 2, 2, 5, 5) becomes (4, 100)\n  where: f: flatten\n",
    ),
    (
        "neuron inside",
        Flow(lambda m, x: m.p(x), p=PerStep(nn.Conv2d(2, 2, 1), IF())),
        "time-axis: the layer takes TN and gets (TN)\n  where: p.1\n",
    ),
]


@pytest.mark.parametrize(("module", "text"), [pytest.param(m, t, id=i) for i, m, t in WHERE_TEXT])
def test_refusal(module: nn.Module, text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        imported(module)
    assert str(caught.value).startswith(text)
