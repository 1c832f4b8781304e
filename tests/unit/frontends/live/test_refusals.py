"""What cannot be read of a live module is refused by the layer's path and the operation's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends.live.adapter import array
from snnhw.frontends.live.fold import fold
from snnhw.frontends.live.reader import Reader
from snnhw.frontends.live.values import State, Sum
from snnhw.frontends.live_module import load_module
from tests.unit.frontends.live.stand_in import Cellule, only_stand_in
from tests.unit.frontends.live.test_load import N, Net, T


@pytest.fixture(autouse=True)
def _framework() -> Iterator[None]:
    torch.manual_seed(0)
    with only_stand_in():
        yield


def refused(net: nn.Module, example: Any, **options: Any) -> SnnhwError:
    with pytest.raises(SnnhwError) as caught:
        load_module(net, example, **options)
    return caught.value


SEQUENCE, IMAGES = (T, N, 4), (4, N, 2, 8, 8)

WHOLE: dict[str, tuple[Callable[[Any, Tensor], Any], str, str, str]] = {
    "relu": (
        lambda m, x: m.n(m.a(x).relu()),
        "unknown-operation",
        "the operation relu in forward is not supported",
        "forward: relu",
    ),
    "branch": (
        lambda m, x: m.n(m.a(x)) if x.sum() > -1 else x,
        "time-axis",
        "the sum over the axes [0, 1, 2] of a tensor over TN",
        "forward: sum",
    ),
    "item": (
        lambda m, x: m.n(m.a(x)) * x[0].max().item(),
        "unknown-operation",
        "the operation max in forward is not supported",
        "forward: max",
    ),
    "flattened batch": (
        lambda m, x: m.n(m.a(x).reshape(-1)),
        "time-axis",
        "a tensor over TN of shape (7, 3, 6) becomes (126,)",
        "forward: reshape",
    ),
    "part": (
        lambda m, x: m.n(m.a(x[:1])),
        "time-axis",
        "a part of a tensor over TN is taken that is no step",
        "forward: __getitem__",
    ),
    "part of the batch": (
        lambda m, x: m.n(m.a(x.select(1, 0))),
        "time-axis",
        "a part of a tensor over TN is taken",
        "forward: select",
    ),
    "unbound batch": (
        lambda m, x: m.n(m.a(x.unbind(1)[0])),
        "time-axis",
        "a part of a tensor over TN is taken",
        "forward: unbind",
    ),
    "moved features": (
        lambda m, x: m.n(m.a(x).permute(0, 2, 1)),
        "time-axis",
        "axes of a tensor over TN are moved to the order [0, 2, 1]",
        "forward: permute",
    ),
    "batch first": (
        lambda m, x: m.n2(m.n(m.a(x)).transpose(0, 1)),
        "time-axis",
        "the layer takes TN and gets NT",
        "n2",
    ),
    "joined in time": (
        lambda m, x: torch.cat([m.n(m.a(x)), m.n2(m.a(x))], 0),
        "time-axis",
        "tensors over TN are joined along axis 0",
        "forward: cat",
    ),
    "squared": (
        lambda m, x: m.n(m.a(x)) * m.a(x),
        "not-spikes",
        "a product of values that are not spikes is not supported",
        "forward: mul: a",
    ),
    "not one minus": (
        lambda m, x: m.a2(1 - m.n(m.a(x))),
        "no-value",
        "1 - a is used other than as a factor of spikes",
        "a2: linear",
    ),
    "several": (
        lambda m, x: (m.n(m.a(x)), m.n2(m.a(x)).mean(0)),
        "inputs-outputs",
        "forward returns 2 values of layers",
        "forward",
    ),
    "nothing": (lambda m, x: (m.n(m.a(x)), None)[1], "inputs-outputs", "forward returns 0 values of layers", "forward"),
    "other shapes": (
        lambda m, x: m.n(m.a(x)) + m.one(m.a(x)),
        "bad-shape",
        "values of different shapes are added",
        "forward: add",
    ),
    "mean and step": (
        lambda m, x: m.n(m.a(x)).mean(0) + m.n2(m.a(x))[0],
        "time-axis",
        "a sum over time is added to values of single steps",
        "forward: add",
    ),
    "mean, then neurons": (
        lambda m, x: m.n2(m.n(m.a(x)).mean(0)),
        "time-axis",
        "a layer comes after a sum over time",
        "n2",
    ),
    "maximum, then layer": (
        lambda m, x: m.a2(m.n(m.a(x)).amax(0)),
        "time-axis",
        "a layer comes after a maximum over time, or after a sum over groups of outputs",
        "a2",
    ),
    "softmax, then layer": (
        lambda m, x: m.a2(torch.softmax(m.n(m.a(x)), 2)),
        "unknown-operation",
        "the operation softmax in forward is followed by something: only at the end can it be left out",
        "a2: linear",
    ),
    "softmax over samples": (
        lambda m, x: torch.softmax(m.n(m.a(x)).sum(0), 0),
        "time-axis",
        "softmax over another axis than the outputs",
        "forward: softmax",
    ),
    "maximum of two layers": (
        lambda m, x: torch.maximum(m.n(m.a(x)).unbind(0)[0], m.n2(m.a(x)).unbind(0)[0]),
        "time-axis",
        "a maximum that is not over the steps of one layer's output",
        "forward: maximum",
    ),
    "some steps, then neurons": (
        lambda m, x: m.n2(m.n(m.a(x))[2:]),
        "time-axis",
        "a layer with state gets a part of the steps",
        "n2",
    ),
    "sums over other steps": (
        lambda m, x: m.n(m.a(x))[1:].sum(0) + m.n2(m.a(x)).sum(0),
        "time-axis",
        "values of different steps, or maxima over them, are added",
        "forward: add",
    ),
    "every other step": (
        lambda m, x: m.n(m.a(x))[::2].sum(0),
        "time-axis",
        "a part of a tensor over TN is taken that is no step",
        "forward: __getitem__",
    ),
    "sum that keeps its axis": (
        lambda m, x: m.n(m.a(x)).sum(0, keepdim=True),
        "time-axis",
        "a sum over time keeps its axis",
        "forward: sum",
    ),
    "maximum over samples": (
        lambda m, x: m.n(m.a(x)).amax(1),
        "time-axis",
        "the maximum over the axes [1] of a tensor over TN",
        "forward: amax",
    ),
    "mean, negative": (
        lambda m, x: -m.n(m.a(x)).mean(0),
        "time-axis",
        "a sum over time is multiplied by more than a positive number",
        "forward: neg",
    ),
    "per sample": (
        lambda m, x: m.n(m.a(x) * torch.arange(N)[:, None]),
        "time-axis",
        "a constant differs between samples or steps",
        "forward: mul",
    ),
    "dropout": (
        lambda m, x: m.n(functional.dropout(m.a(x))),
        "unsupported-option",
        "a function of forward is random or depends on the batch even in eval mode",
        "forward: dropout",
    ),
    "time for the batch": (
        lambda m, x: functional.avg_pool2d(m.n(m.a(x)), 2),
        "time-axis",
        "the layer takes time for the batch and the batch for channels",
        "forward: avg_pool2d",
    ),
    "called twice": (
        lambda m, x: m.n(m.a2(m.n(m.a(x)))),
        "called-again",
        "a layer with state is called more than once a step, or for another step",
        "n",
    ),
    "step of all": (
        lambda m, x: m.n(m.a(x))[0],
        "not-all-steps",
        "forward returns some steps of a value, not all of them",
        "n",
    ),
    "written through a view": (
        lambda m, x: _written_through(m.n(m.a(x))),
        "no-value",
        "a tensor is used that was changed in place through another one",
        "forward: mul",
    ),
    "mixed axes": (
        lambda m, x: m.n(m.a(x)) + m.n2(m.a(x))[0],
        "bad-shape",
        "values of different shapes",
        "forward: add",
    ),
}


def _written_through(z: Tensor) -> Tensor:
    view = z.flatten(0, 1)
    view += 0
    return z * 2


@pytest.mark.parametrize("name", WHOLE)
def test_operations_on_all_steps(name: str) -> None:
    forward, code, text, where = WHOLE[name]
    net = Net(
        forward,
        a=nn.Linear(4, 6),
        n=Cellule("m"),
        n2=Cellule("m"),
        a2=nn.Linear(6, 6),
        one=nn.Sequential(nn.Linear(6, 1), Cellule("m")),
    )
    error = refused(net, torch.rand(SEQUENCE))
    assert (error.code, error.where) == (code, where), error
    assert text in error.message


def test_time_and_batch_swapped() -> None:
    def summed(m: Any, x: Tensor) -> Tensor:
        return m.n(m.a(x)) + m.n2(m.a(x)).transpose(0, 1)  # type: ignore[no-any-return]

    def multiplied(m: Any, x: Tensor) -> Tensor:
        return m.n(m.a(x)) * m.n2(m.a(x)).transpose(0, 1)  # type: ignore[no-any-return]

    for forward, what in ((summed, "NT are added"), (multiplied, "NT are multiplied")):
        net = Net(forward, a=nn.Linear(4, 6), n=Cellule("m"), n2=Cellule("m"))
        error = refused(net, torch.rand(N, N, 4))
        assert error.code == "time-axis"
        assert f"values over TN and over {what}" in error.message


def test_states_are_no_values() -> None:
    reader, tensor = Reader(1), torch.ones(2)
    reader.give(tensor, State("n", 0))
    with pytest.raises(SourceError, match="the inner state of a layer is used as a value"):
        reader.sum_of(tensor, "forward: add")
    with pytest.raises(SourceError, match="a tensor that does not come from the input is used as one"):
        reader.sum_of(torch.ones(2), "forward: add")


def other_state(m: Any, x: Tensor) -> Tensor:
    v1, out = None, []
    for now in x:
        z, v1 = m.n(m.a(now), v1)
        z, _ = m.n2(m.a2(z), v1)
        out.append(z)
    return torch.stack(out)


def started(m: Any, x: Tensor) -> Tensor:
    v, out = torch.rand(N, 6), []
    for now in x:
        z, v = m.n(m.a(now), v)
        out.append(z)
    return torch.stack(out)


def odd_steps(m: Any, x: Tensor) -> Tensor:
    v, out = None, []
    for t, now in enumerate(x):
        z, v = m.n(m.a(now) if t < 3 else m.a3(now), v)
        out.append(z)
    return torch.stack(out)


def odd_weights(m: Any, x: Tensor) -> Tensor:
    v, out = None, []
    for t, now in enumerate(x):
        z, v = m.n(functional.linear(now, m.a.weight * (t + 1)), v)
        out.append(z)
    return torch.stack(out)


def reversed_steps(m: Any, x: Tensor) -> Tensor:
    v, out = None, []
    for now in x:
        z, v = m.n(m.a(now), v)
        out.insert(0, z)
    return torch.stack(out)


def some_steps(m: Any, x: Tensor) -> Tensor:
    v, out, a = None, [], torch.zeros(len(x) - 1, N, 6)
    for t, now in enumerate(x):
        z, v = m.n(m.a(now), v)
        out.append(z)
        if t < len(x) - 1:
            a[t] = z
    return m.a2(a) + torch.stack(out)[1:]  # type: ignore[no-any-return]


def both_ports(m: Any, x: Tensor) -> Tensor:
    v, out = None, []
    for now in x:
        z, v = m.n(m.a(now), v)
        out.append(m.a2(z + v))
    return torch.stack(out)


def rec_of_state(m: Any, x: Tensor) -> Tensor:
    v, out = None, []
    for now in x:
        z, v = m.n(m.a(now), v)
        out.append(z)
    return torch.stack([*out[:-1], out[0]])


def skipped(m: Any, x: Tensor) -> Tensor:
    v, out = None, []
    for t, now in enumerate(x):
        z, v = m.n(m.a(now) + (m.a3(now) if t > 2 else 0), v)
        out.append(z)
    return torch.stack(out)


LOOPS: dict[Callable[[Any, Tensor], Any], tuple[str, str, str]] = {
    other_state: (
        "foreign-state",
        "a layer gets a state that is neither zero at first nor its own of the step before",
        "n2",
    ),
    started: ("foreign-state", "neither zero at first", "n"),
    odd_steps: ("steps-differ", "the steps of a run do not do the same", "n"),
    skipped: ("steps-differ", "the steps of a run do not do the same", "n"),
    odd_weights: ("steps-differ", "the steps of a run do not do the same", "linear"),
    reversed_steps: (
        "not-all-steps",
        "what is stacked over time is not the same value of the steps 0, 1, 2 and so on",
        "forward: stack",
    ),
    rec_of_state: ("not-all-steps", "what is stacked over time", "forward: stack"),
    some_steps: (
        "not-all-steps",
        "a tensor over time has another number of steps than the run",
        "forward: __setitem__",
    ),
    both_ports: ("membrane-and-spikes", "the network reads both the spikes and the membrane of a layer", "n"),
}


@pytest.mark.parametrize("forward", LOOPS, ids=lambda f: f.__name__)
def test_loops_over_time(forward: Callable[[Any, Tensor], Any]) -> None:
    code, text, where = LOOPS[forward]
    net = Net(forward, a=nn.Linear(4, 6), n=Cellule("h"), n2=Cellule("h"), a2=nn.Linear(6, 6), a3=nn.Linear(4, 6))
    error = refused(net, torch.rand(SEQUENCE))
    assert (error.code, error.where) == (code, where), error
    assert text in error.message


CONVOLUTIONS: dict[str, tuple[Callable[[Any, Tensor], Any], str, str]] = {
    "batch statistics": (
        lambda m, x: m.n(functional.batch_norm(m.c(x.flatten(0, 1)), None, None, training=True).view(4, N, 4, 8, 8)),
        "unsupported-option",
        "a BatchNorm uses the statistics of the batch even in eval mode",
    ),
    "norm of three axes": (
        lambda m, x: m.n(
            functional.batch_norm(x.flatten(0, 1).unflatten(2, (2, 4)), m.b.running_mean, m.b.running_var).view(
                4, N, 2, 2, 4, 8
            )
        ),
        "unsupported-option",
        "a factor or bias per channel is supported over (C), (C, L) and (C, H, W) only",
    ),
    "mean of channels": (
        lambda m, x: m.n(m.c(x.flatten(0, 1)).mean(1)),
        "time-axis",
        "the mean over the axes [1] of a tensor over (TN)",
    ),
    "padding": (
        lambda m, x: m.n(m.c(functional.pad(x.flatten(0, 1), (1, 1, 1, 1), value=1.0))),
        "unsupported-option",
        "only padding of an image's own axes with zeros is supported",
    ),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    forward, code, text = CONVOLUTIONS[name]
    net = Net(forward, c=nn.Conv2d(2, 4, 3, padding=1), n=Cellule("m"), b=nn.BatchNorm1d(2))
    error = refused(net, torch.rand(IMAGES))
    assert error.code == code, error
    assert text in error.message
    assert error.where


def test_names_that_nir_cannot_hold() -> None:
    net = Net(lambda m, x: m.n(getattr(m, "a/b")(x)), n=Cellule("m"))
    net.add_module("a/b", nn.Linear(4, 6))
    error = refused(net, torch.rand(SEQUENCE))
    assert (error.code, error.where) == ("bad-name", "a/b")
    assert "NIR node names cannot hold '/'" in error.message
    twice = Net(lambda m, x: m.linear(functional.linear(x, torch.ones(6, 4))), linear=Cellule("m"))
    error = refused(twice, torch.rand(SEQUENCE))
    assert error.code == "duplicate-node"
    assert "two nodes would have the same name" in error.message


def test_modules_without_neurons_or_example() -> None:
    error = refused(nn.Linear(4, 6), torch.rand(3, 4))
    assert error.code == "no-neurons"
    assert "the module has no neurons that are known" in error.message
    error = refused(Cellule("m"), None)
    assert error.code == "needs-example"
    assert "a live module needs an example input" in error.message


def test_examples_that_say_too_little() -> None:
    chain = nn.Sequential(nn.Linear(4, 6), Cellule("s"))
    error = refused(chain, torch.rand(N, 4))
    assert error.code == "needs-steps"
    assert "the module takes one step a call, and nothing says how many steps a sample has" in error.message
    error = refused(Cellule("s"), torch.rand(T, N, 4))
    assert error.code == "which-axes"
    assert "the first layer takes tensors of any shape: is the example one step (N, ...), or" in error.message
    error = refused(chain, torch.rand(N, 5), steps=T)
    assert error.code == "bad-shape"
    assert "the module does not take the example input: mat1 and mat2" in error.message


def test_outputs_that_do_not_depend_on_the_input() -> None:
    reader = Reader(1)
    with pytest.raises(SourceError, match="what forward returns does not depend on the input") as caught:
        fold(reader, Sum((), "N"), 1)
    assert caught.value.code == "no-value"


def test_a_parameter_of_another_shape() -> None:
    assert array(torch.tensor([[1.0, 2.0]]), (2,), "n").tolist() == [1.0, 2.0]
    with pytest.raises(SourceError, match="a neuron parameter does not fit the neurons") as caught:
        array(torch.ones(3), (2,), "n.beta")
    assert caught.value.code == "bad-shape"
    assert caught.value.where == "n.beta"


def test_neurons_that_no_core_has_are_refused_before_anything_runs() -> None:
    cell = Cellule("m")
    cell.odd = True  # type: ignore[assignment]
    error = refused(nn.Sequential(nn.Linear(4, 6), cell), torch.rand(1, 2, 3, 4, 5))
    assert (error.code, error.where, error.needed, error.limit) == ("unsupported-neuron", "1", "Cellule", "Cellule")
    assert error.message == "StandIn: Odd has no form on a core"
