"""Readouts as people write them in forward: what is recognised gives, in real numbers, what forward returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends.live import load, registry
from snnhw.frontends.live.adapter import MEMBRANE, Call, Cell, Other, Shape, refused, tensors
from snnhw.frontends.live_module import load_module
from snnhw.frontends.source import Source
from snnhw.semantics import Deployment
from tests.unit.frontends.live.stand_in import Cellule, StandIn
from tests.unit.frontends.live.test_load import N, Net, T


class Keeping(StandIn):
    """Neurons that show the membranes that are left after their reset; over all steps, the last one in `v`."""

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        assert isinstance(layer, Cellule)
        if layer.mode == "h":
            return Call(args[0], result[0], "N", tuple(tensors(args[1:])), membrane=result[1], keeps=True)
        assert isinstance(layer.v, Tensor)
        others = (Other(layer.v, MEMBRANE, -1),) if layer.mode == "m" else ()
        membrane = None if others else layer.v
        return Call(args[0], result, "TN" if others else "N", membrane=membrane, keeps=True, others=others)

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        if read == MEMBRANE and getattr(layer, "fires", True):
            raise refused(layer, self.name, where, "the membrane of a layer that resets is read", "read the spikes")
        return super().cell(layer, shape, read, dt, where)


@pytest.fixture(autouse=True)
def _framework(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(load, "ADAPTERS", (Keeping(),))
    monkeypatch.setattr(registry, "ADAPTERS", (Keeping(),))


def over_time(m: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes of the hidden and of the last layer, and the last one's membranes, (T, N, ...)."""
    a = b = None
    hidden, spikes, membranes = [], [], []
    for now in x:
        h, a = m.h(m.a(now), a)
        z, b = m.n(m.b(h), b)
        hidden.append(h)
        spikes.append(z)
        membranes.append(b)
    return torch.stack(hidden), torch.stack(spikes), torch.stack(membranes)


def net(end: Callable[[Any, Tensor, Tensor, Tensor], Any]) -> Net:
    """12 hidden and 6 last neurons, and what is made of their hidden spikes, spikes and membranes."""
    return Net(
        lambda m, x: end(m, *over_time(m, x)),
        a=nn.Linear(4, 12),
        h=Cellule("h"),
        b=nn.Linear(12, 6),
        n=Cellule("h"),
        fc=nn.Linear(6, 3),
        norm=nn.BatchNorm1d(6),
    )


ENDS: dict[str, tuple[Callable[[Any, Tensor, Tensor, Tensor], Any], Deployment | str]] = {
    "all steps": (lambda m, h, s, v: s, "rate"),
    "sum": (lambda m, h, s, v: s.sum(0), "rate"),
    "mean": (lambda m, h, s, v: s.mean(0), "rate-mean"),
    "sum over T": (lambda m, h, s, v: s.sum(0) / T, "rate-mean"),
    "a sum in a loop": (lambda m, h, s, v: sum(s.unbind(0)), "rate"),
    "a mean in a loop": (lambda m, h, s, v: sum(s.unbind(0)) / T, "rate-mean"),
    "last": (lambda m, h, s, v: s[-1], "rate-last"),
    "last by its number": (lambda m, h, s, v: s[T - 1], "rate-last"),
    "without the first two": (lambda m, h, s, v: s[2:].sum(0), "rate[2:]"),
    "the last three": (lambda m, h, s, v: s[-3:].mean(0), "rate-mean[-3:]"),
    "some in the middle": (lambda m, h, s, v: s[1:4].sum(0), "rate[1:4]"),
    "some, one by one": (lambda m, h, s, v: torch.stack(list(s.unbind(0))[3:]).sum(0), "rate[3:]"),
    "the last of some": (lambda m, h, s, v: s[2:][-1], "rate-last"),
    "maximum": (lambda m, h, s, v: s.max(0)[0], "rate-max"),
    "membranes": (lambda m, h, s, v: v, "membrane"),
    "last membrane": (lambda m, h, s, v: v[-1], "membrane-last"),
    "mean membrane": (lambda m, h, s, v: v.mean(0), "membrane-mean"),
    "largest membrane": (lambda m, h, s, v: v.amax(0), "membrane-max"),
    "largest membrane, one by one": (lambda m, h, s, v: largest(v.unbind(0)), "membrane-max"),
    "spikes and membranes": (lambda m, h, s, v: (s, v), "rate"),
    "hidden spikes too": (lambda m, h, s, v: (h, s.sum(0)), "rate"),
    "a dictionary": (lambda m, h, s, v: {"hidden": h, "out": v[-1]}, "membrane-last"),
    "nested": (lambda m, h, s, v: {"a": [h, (s.mean(0),)]}, "rate-mean"),
    "linear behind a mean": (lambda m, h, s, v: m.fc(s.mean(0)), "mean"),
    "linear behind a sum": (lambda m, h, s, v: m.fc(s.sum(0)), "linear-sum"),
    "linear behind a sum in a loop": (lambda m, h, s, v: m.fc(sum(s.unbind(0))), "linear-sum"),
    "linear behind a mean in a loop": (lambda m, h, s, v: m.fc(sum(s.unbind(0)) / T), "mean"),
    "linear behind the last step": (lambda m, h, s, v: m.fc(s[-1]), "linear-last"),
    "linear behind some steps": (lambda m, h, s, v: m.fc(s[2:].mean(0)), "mean[2:]"),
    "two layers behind a mean": (lambda m, h, s, v: m.fc(m.norm(s.mean(0))), "mean"),
    "norm behind a sum": (lambda m, h, s, v: m.norm(s.sum(0)), "linear-sum"),
    "a factor for each output": (lambda m, h, s, v: s.mean(0) * torch.arange(1.0, 7.0), "mean"),
    "in other units": (lambda m, h, s, v: s.mean(0) * 4 + 1, Deployment(T, "direct", (4,), "mean", gain=4.0)),
    "a linear layer, then its mean": (lambda m, h, s, v: m.fc(s).mean(0), "mean"),
    "groups": (lambda m, h, s, v: s.sum(0).view(-1, 3, 2).sum(2), Deployment(T, "direct", (4,), "rate", population=3)),
    "groups at each step": (
        lambda m, h, s, v: s.reshape(T, N, 3, 2).sum(-1).sum(0),
        Deployment(T, "direct", (4,), "rate", population=3),
    ),
    "interleaved groups": (
        lambda m, h, s, v: s.sum(0).unflatten(1, (2, 3)).sum(1),
        Deployment(T, "direct", (4,), "rate", population=3, interleaved=True),
    ),
    "means of groups": (
        lambda m, h, s, v: s.mean(0).view(-1, 3, 2).mean(2),
        Deployment(T, "direct", (4,), "rate-mean", population=3, gain=0.5),
    ),
    "groups of membranes": (
        lambda m, h, s, v: v[-1].view(-1, 2, 3).sum(2),
        Deployment(T, "direct", (4,), "membrane-last", population=2),
    ),
    "groups of maxima": (
        lambda m, h, s, v: v.amax(0).view(-1, 2, 3).sum(2),
        Deployment(T, "direct", (4,), "membrane-max", population=2),
    ),
    "votes": (
        lambda m, h, s, v: functional.avg_pool1d(s.sum(0).unsqueeze(1), 2, 2).squeeze(1),
        Deployment(T, "direct", (4,), "rate", population=3, gain=0.5),
    ),
    "votes at each step": (
        lambda m, h, s, v: functional.avg_pool1d(s.flatten(0, 1).unsqueeze(1), 2, 2).squeeze(1).view(T, N, 3),
        Deployment(T, "direct", (4,), "rate", population=3, gain=0.5),
    ),
    "all outputs as one": (
        lambda m, h, s, v: s.sum(0).sum(1),
        Deployment(T, "direct", (4,), "rate", population=1),
    ),
}


def largest(steps: tuple[Tensor, ...]) -> Tensor:
    found = steps[0]
    for now in steps[1:]:
        found = torch.maximum(found, now)
    return found


def last_value(result: Any) -> Tensor:
    """The output among what forward returned: the last leaf, or the first of spikes and membranes."""
    while not isinstance(result, Tensor):
        parts = list(result.values()) if isinstance(result, dict) else list(result)
        result = parts[0] if len(parts) == 2 and parts[0].shape == getattr(parts[1], "shape", None) else parts[-1]
    return result


@pytest.mark.parametrize("name", ENDS)
def test_what_forward_returns_is_what_is_read(name: str) -> None:
    end, said = ENDS[name]
    module, x = net(end), torch.rand(T, N, 4) * 2
    source = load_module(module, x)
    want = Deployment(T, "direct", (4,), said) if isinstance(said, str) else said
    assert source.deployment == source.returns == want
    with torch.no_grad():
        result = last_value(module(x)).numpy()
    result = result.sum(0) if result.shape[:2] == (T, N) else result
    values = snnhw.run_float(source, x.numpy().swapaxes(0, 1))["values"]
    np.testing.assert_allclose(values, result.reshape(N, -1), atol=1e-4)
    artifact = snnhw.compile(source, target="loihi2")
    assert artifact.deployment == want
    found = [snnhw.run(artifact, x.numpy().swapaxes(0, 1), engine)["scores"] for engine in ("fast", "reference")]
    np.testing.assert_array_equal(*found)


ENDINGS: dict[str, tuple[Callable[[Any, Tensor, Tensor, Tensor], Any], str, str]] = {
    "softmax": (lambda m, h, s, v: torch.softmax(s.sum(0), 1), "rate", "softmax"),
    "log_softmax": (lambda m, h, s, v: functional.log_softmax(m.fc(s.mean(0)), dim=-1), "mean", "log_softmax"),
    "sigmoid": (lambda m, h, s, v: v[-1].sigmoid(), "membrane-last", "sigmoid"),
    "argmax": (lambda m, h, s, v: s.sum(0).argmax(1), "rate", "argmax"),
    "largest": (lambda m, h, s, v: s.sum(0).max(1), "rate", "max"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_changes_no_decision_is_left_out_and_said(name: str) -> None:
    end, readout, function = ENDINGS[name]
    source = load_module(net(end), torch.rand(T, N, 4) * 2)
    assert (source.deployment.readout, source.warnings) == (readout, ())
    assert source.origin["left_out"] == f"{function} at the end: it changes no decision"


def test_a_sigmoid_of_one_output_is_warned_of() -> None:
    module = net(lambda m, h, s, v: torch.sigmoid(m.one(s.mean(0))))
    module.add_module("one", nn.Linear(6, 1))
    (said,) = load_module(module.eval(), torch.rand(T, N, 4) * 2).warnings
    assert (said.code, said.fix) == ("left-out", "apply sigmoid to the values")


def test_the_deployment_that_is_given_wins() -> None:
    module, x = net(lambda m, h, s, v: s.mean(0)), torch.rand(T, N, 4) * 2
    asked = Deployment(T, "direct", (4,), "membrane-last", population=2)
    source = load_module(module, x, deployment=asked)
    assert source.deployment == asked
    assert source.returns == Deployment(T, "direct", (4,), "rate-mean")
    found = snnhw.run(snnhw.compile(source, target="loihi2"), x.numpy().swapaxes(0, 1))
    want = found["output"][:, -1].reshape(N, 2, 3).sum(2)
    np.testing.assert_array_equal(found["scores"], want)


def whole() -> Net:
    return Net(
        lambda m, x: (m.n(m.a(x)), m.n.v)[1],
        a=nn.Linear(4, 6),
        n=Cellule("m"),
    )


def test_a_membrane_that_is_read_after_the_run() -> None:
    module, x = whole(), torch.rand(T, N, 4) * 2
    source = load_module(module, x)
    assert source.deployment.readout == "membrane-last"
    module.n.v = 0.0
    want = module(x).detach().numpy()
    np.testing.assert_allclose(snnhw.run_float(source, x.numpy().swapaxes(0, 1))["values"], want, atol=1e-4)


def test_modes_that_change_what_a_layer_does_are_warned_of() -> None:
    x = torch.rand(T, N, 4) * 2
    module = net(lambda m, h, s, v: m.norm(s.mean(0)))
    assert load_module(module, x).warnings == ()
    module.train()
    (said,) = load_module(module, x).warnings
    assert (said.code, said.where, said.fix[:19]) == ("train-mode", "norm", "call module.eval(),")
    plain = net(lambda m, h, s, v: s.mean(0)).train()
    del plain.norm
    assert load_module(plain, x).warnings == ()  # nothing in it asks


class Asking(nn.Module):
    """Adds noise in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x) if self.training else x


def test_a_forward_that_asks_for_the_mode_is_warned_of() -> None:
    module = net(lambda m, h, s, v: m.noise(s).mean(0))
    module.add_module("noise", Asking())
    module.train()
    del module.norm
    (said,) = load_module(module, torch.rand(T, N, 4) * 2).warnings
    assert (said.code, said.where) == ("train-mode", "noise")


def test_steps_that_a_loop_contradicts_are_warned_of() -> None:
    module, x = net(lambda m, h, s, v: s.mean(0)), torch.rand(T, N, 4) * 2
    (said,) = load_module(module, x, steps=99).warnings
    assert (said.code, said.size) == ("steps-ignored", f"T = {T}")
    assert said.what == f"forward loops over {T} steps itself: steps=99 changes nothing"
    artifact = snnhw.compile(module, x, target="loihi2", steps=99)
    assert [w.code for w in artifact.warnings] == ["steps-ignored"]


def test_two_outputs_of_which_none_depends_on_the_other_are_refused() -> None:
    module = net(lambda m, h, s, v: (m.fc(s.mean(0)), m.norm(s.mean(0))))
    with pytest.raises(SourceError, match="inputs-outputs: forward returns 2 values of layers"):
        load_module(module, torch.rand(T, N, 4) * 2)


def test_the_source_keeps_what_forward_makes_of_its_output() -> None:
    source: Source = load_module(net(lambda m, h, s, v: s.max(0)[0]), torch.rand(T, N, 4) * 2)
    assert source.returns == source.deployment
