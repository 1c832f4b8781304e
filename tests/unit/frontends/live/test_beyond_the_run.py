"""What the one recorded run does not show by itself: biases behind sums, sizes that are values, casts, decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnhw
from snnhw.errors import DataError, SourceError
from snnhw.frontends.check import check_import

T = 12


class Net(nn.Module):
    """Two layers of neurons written out; `cell` may do something to (v, z) of the first, `end` makes the output."""

    def __init__(self, end: Callable[[Net, Tensor], Any], cell: Callable[[Tensor, Tensor], Any] | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.fc1, self.fc2 = nn.Linear(10, 16), nn.Linear(16, 4)
        self.b = nn.Parameter(torch.tensor([0.0, 3.3, -2.1, 1.2]))
        self.end, self.cell = end, cell
        with torch.no_grad():
            self.fc1.weight *= 2
            self.fc2.weight *= 2

    def forward(self, x: Tensor) -> Any:
        v = u = 0.0
        kept = []
        for t in range(T):
            v = 0.9 * v + self.fc1(x[:, t])
            z = (v > 1).float()
            v = v - z
            if self.cell is not None:
                v = self.cell(v, z)
            u = 0.9 * u + self.fc2(z)
            s = (u > 1).float()
            u = u - s
            kept.append(s)
        return self.end(self, torch.stack(kept, 1))


def spikes(samples: int, seed: int = 0) -> Tensor:
    return (torch.rand(samples, T, 10, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


@pytest.mark.parametrize(
    "end",
    [
        lambda net, o: o.sum(1) + net.b,
        lambda net, o: (o.sum(1) + net.b).argmax(1),
        lambda net, o: (o.sum(1) - net.b).argmax(1),
        lambda net, o: (o[:, -3:].sum(1) + net.b / 3).argmax(1),
        lambda net, o: o.mean(1) + net.b,
    ],
    ids=["sum", "argmax", "minus", "window", "mean"],
)
def test_a_bias_behind_a_sum_over_time_is_added_once(end: Callable[[Net, Tensor], Any]) -> None:
    net, x = Net(end).eval(), spikes(64, 1)
    source = snnhw.load_module(net, spikes(4))
    with torch.no_grad():
        own = net(x)
    decided = own if own.dim() == 1 else own.argmax(1)
    assert (snnhw.run_float(source, x)["predictions"] == decided.numpy()).all()


@pytest.mark.parametrize(
    "cell",
    [
        lambda v, z: v * 0.5 if z.nonzero().shape[0] > 6 else v,
        lambda v, z: v * 0.5 if torch.unique(z.sum(1)).numel() > 2 else v,
        lambda v, z: v * 0.5 if max(v.flatten().tolist()) > 9 else v,
        lambda v, z: v * 0.5 if float(f"{v.max():.2f}") > 9 else v,
    ],
    ids=["nonzero", "unique", "tolist", "format"],
)
def test_a_branch_on_values_is_refused(cell: Callable[[Tensor, Tensor], Any]) -> None:
    with pytest.raises(SourceError):
        snnhw.load_module(Net(lambda net, o: o.sum(1), cell).eval(), spikes(4))


@pytest.mark.parametrize(
    "cell", [lambda v, z: v.half().float(), lambda v, z: v.to(torch.bfloat16).float()], ids=["half", "bfloat16"]
)
def test_fewer_digits_of_a_membrane_are_refused(cell: Callable[[Tensor, Tensor], Any]) -> None:
    with pytest.raises(SourceError):
        snnhw.load_module(Net(lambda net, o: o.sum(1), cell).eval(), spikes(4))


def test_decisions_are_compared_where_nothing_else_is_shown() -> None:
    source = snnhw.load_module(Net(lambda net, o: o.sum(1).argmax(1)).eval(), spikes(8))
    x = spikes(8).numpy()
    assert check_import(source, x).different == 0
    replay: Any = source.replay

    class Wrong:
        decides, output = True, replay.output

        def __call__(self, x: Any) -> dict[str, Any]:
            found = dict(replay(x))
            return found | {name: (found[name] + 1) % 4 for name in replay.output}

        like, axes = replay.like, replay.axes

    assert check_import(replace(source, replay=Wrong()), x).different > 0  # type: ignore[arg-type]


def test_odd_samples_and_labels_are_refused_by_name() -> None:
    net, x = Net(lambda net, o: o.sum(1)).eval(), spikes(8)
    artifact = snnhw.compile(net, x, target="loihi2", calibrate=x, labels=[0, 1, 2, 3, 0, 1, 2, 3])  # type: ignore[arg-type]
    source = snnhw.load_module(net, x)
    for call in (lambda v: snnhw.run(artifact, v), lambda v: snnhw.run_float(source, v)):
        for odd in (x[:0].numpy(), np.float32(1)):
            with pytest.raises(DataError, match="there are no samples to run") as caught:
                call(odd)
            assert caught.value.code == "no-samples"
    with pytest.raises(DataError, match="labels do not fit the calibration samples"):
        snnhw.compile(net, x, target="loihi2", calibrate=x, labels=np.full(8, np.nan))


class Ahead(nn.Module):
    """A filtered current kept behind a row of zeros, and what reads some of its rows."""

    def __init__(self, end: Callable[[Tensor, int], Tensor], steps: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.end, self.steps = nn.Linear(10, 8), nn.Linear(8, 4), nn.Linear(4, 3), end, steps

    def forward(self, x: Tensor) -> Any:
        v, current, o = torch.zeros(len(x), 8), torch.zeros(len(x), 4), torch.zeros(len(x), 4)
        kept, u, out = [o], torch.zeros(len(x), 3), []
        for t in range(T):
            v = 0.8 * v + self.a(x[:, t])
            z = (v > 0.5).float()
            v = v * (1 - z)
            current, o = 0.7 * current + self.b(z), 0.9 * o + current
            kept.append(o)
        y = torch.stack(kept)
        for t in range(self.steps):
            u = 0.5 * u + self.c(self.end(y, t))
            out.append((u > 0.1).float())
            u = u - 0.1 * out[-1]
        return torch.stack(out).sum(0) if out else self.end(y, 0)


PART = "time-axis: a part of a tensor over TN is taken that is no step"
ROWS: dict[str, tuple[Any, int, str]] = {
    "each step": (lambda y, t: y[t + 1], T, "steps-differ: the steps of a run do not do the same"),
    "the row itself": (lambda y, t: y[t], T, PART),
    "the row from the end": (lambda y, t: y[-T - 1], T, PART),
    "a sum with it": (lambda y, t: y[:-1].sum(0), 0, PART),
    "some with it": (lambda y, t: y[:4].sum(0), 0, PART),
}


@pytest.mark.parametrize(("end", "steps", "text"), ROWS.values(), ids=ROWS)
def test_a_row_ahead_of_the_first_step_is_no_step(end: Any, steps: int, text: str) -> None:
    with pytest.raises(SourceError, match=text):
        snnhw.load_module(Ahead(end, steps).eval(), spikes(3))


@pytest.mark.parametrize("end", [lambda o, x: (o, x), lambda o, x: (x, o)])
def test_an_input_that_is_returned_is_no_output(end: Any) -> None:
    module = Net(lambda net, o: o)
    forward = module.forward
    module.forward = lambda x: end(forward(x), x)  # type: ignore[method-assign]
    x = spikes(3)
    source = snnhw.load_module(module.eval(), x)
    assert source.graph.nodes["output"].input_type["input"].tolist() == [4]
    np.testing.assert_allclose(snnhw.run_float(source, x.numpy())["scores"], forward(x).detach().sum(1))
