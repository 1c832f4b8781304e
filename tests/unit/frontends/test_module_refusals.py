"""What the import refuses, word by word."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from tests.unit.frontends.modules import Flow, conv, imported


def shared_output(m: Any, x: Tensor) -> Any:
    y = m.c(x)
    return m.n(m.b(y) + y)


def shared_through_identity(m: Any, x: Tensor) -> Any:
    y = m.c(x)
    return m.n(m.c2(m.n2(y)) + m.b(m.i(y)))


def in_place_on_shared(m: Any, x: Tensor) -> Any:
    y = m.n(m.c(x))
    m.i(y).add_(x)
    return m.n2(m.c2(y))


class Two(nn.Module):
    def forward(self, x: Tensor, y: float = 0.0) -> Tensor:
        return x + y


NORM = {"c": conv(), "b": PerStep(nn.BatchNorm2d(2)), "n": IF()}
POOL = PerStep(nn.AvgPool2d(1))
WHERE_TEXT: list[tuple[str, nn.Module, str]] = [
    (
        "shared convolution and BatchNorm",
        Flow(shared_output, **NORM),
        "batchnorm-alone: BatchNorm must directly follow a convolution or linear layer that feeds nothing else\n"
        "  where: b\n"
        "  hint: move it behind the layer it normalises",
    ),
    (
        "shared through Identity",
        Flow(shared_through_identity, **NORM, c2=conv(), n2=IF(), i=PerStep(nn.Identity())),
        "batchnorm-alone: BatchNorm must directly follow a convolution or linear layer that feeds nothing else\n"
        "  where: b\n",
    ),
    ("BatchNorm first", Flow(lambda m, x: m.n(m.b(x)), b=NORM["b"], n=IF()), "batchnorm-alone: "),
    ("BatchNorm after pool", Flow(lambda m, x: m.n(m.b(m.p(x))), p=POOL, b=NORM["b"], n=IF()), "batchnorm-alone: "),
    (
        "unknown layer",
        Flow(lambda m, x: m.n(m.p(x)), p=PerStep(nn.LPPool2d(2, 2)), n=IF()),
        "unknown-layer: layers of type LPPool2d are not supported\n"
        "  where: p.0\n"
        "  limit: AdaptiveAvgPool2d, AvgPool2d, Conv1d, Conv2d, Flatten, Linear, BatchNorm, Dropout, Identity, "
        "neurons\n"
        "  hint: replace the layer by supported ones",
    ),
    (
        "unknown operation",
        Flow(lambda m, x: m.n(m.n(x) / x), n=IF()),
        "unknown-operation: the operation <built-in function truediv> in forward is not supported\n"
        "  where: truediv\n"
        "  limit: torch.nn layers inside PerStep, snnhw neurons, + of two tensors, a * s and s * (1 - a) of spikes\n"
        "  hint: express it by these",
    ),
    ("scalar add", Flow(lambda m, x: m.n(x + 1), n=IF()), "unknown-operation: the operation <built-in function add>"),
    (
        "scaled add",
        Flow(lambda m, x: m.n(torch.add(x, x, alpha=2)), n=IF()),
        "unknown-operation: the operation <built-in method add",
    ),
    ("keyword", Flow(lambda m, x: m.n(x=x), n=IF()), "unknown-operation: the operation n in forward is not supported"),
    (
        "control flow",
        Flow(lambda m, x: m.n(x) if x.sum() > 0 else x, n=IF()),
        "untraceable: torch.fx cannot trace the module: TraceError: symbolically traced variables cannot be used as "
        "inputs to control flow\n"
        "  where: Flow\n"
        "  hint: no control flow on tensors in forward; layers inside snnhw.zoo.containers.PerStep",
    ),
    (
        "wrong input",
        Flow(lambda m, x: m.n(m.c(x)), c=conv(3), n=IF()),
        "bad-shape: the module does not take the example input: ",
    ),
    (
        "layer used twice",
        Flow(lambda m, x: m.n2(m.c(m.n(m.c(x)))), c=conv(), n=IF(), n2=IF()),
        "duplicate-node: two nodes would have the same name\n"
        "  where: c.0\n"
        "  hint: use a layer once (copies may share weights), and call no neuron 'input' or 'output'",
    ),
    ("neuron named output", Flow(lambda m, x: m.output(x), output=IF()), "duplicate-node: "),
    ("two results", Flow(lambda m, x: (m.n(x), x), n=IF()), "inputs-outputs: forward does not return one tensor"),
    ("two arguments", Two(), "inputs-outputs: forward takes more than one tensor\n  where: y\n  limit: one argument"),
    (
        "in place on a tensor used again",
        Flow(in_place_on_shared, c=conv(), n=IF(), n2=IF(), c2=conv(), i=nn.Identity()),
        "in-place-add: += changes a tensor that is used elsewhere too\n  where: add_\n  hint: write a = a + b",
    ),
    (
        "flatten outside",
        Flow(lambda m, x: m.n(m.f(x)), f=nn.Flatten(), n=IF()),
        "unsupported-option: outside of PerStep the layer takes T for the batch and the batch for channels\n"
        "  where: f\n"
        "  hint: put it into snnhw.zoo.containers.PerStep",
    ),
    (
        "neuron inside",
        Flow(lambda m, x: m.p(x), p=PerStep(nn.Conv2d(2, 2, 1), IF())),
        "unsupported-option: a neuron inside PerStep takes samples for steps\n"
        "  where: p.1\n"
        "  hint: put the neuron behind PerStep",
    ),
]


@pytest.mark.parametrize(("module", "text"), [pytest.param(m, t, id=i) for i, m, t in WHERE_TEXT])
def test_refusal(module: nn.Module, text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        imported(module)
    assert str(caught.value).startswith(text)
