"""The import check of live modules: what differs is found and named, what was not shown is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import LoweringError, SourceError
from snnhw.frontends.check import check_import, require_equal
from snnhw.frontends.live_module import load_module
from tests.unit.frontends.live.stand_in import Cellule, only_stand_in
from tests.unit.frontends.live.test_load import N, Net, T
from tests.unit.frontends.live.test_refusals import refused


@pytest.fixture(autouse=True)
def _framework() -> Iterator[None]:
    torch.manual_seed(0)
    with only_stand_in():
        yield


SEQUENCE, IMAGES = (T, N, 4), (4, N, 2, 8, 8)


class Wrong(Cellule):
    """A neuron that does not do what its adapter says."""

    def step(self, x: Tensor, v: Tensor | float) -> tuple[Tensor, Tensor]:
        return super().step(x * 1.5, v)


def test_an_import_that_is_wrong_is_found_and_named() -> None:
    net = nn.Sequential(nn.Linear(4, 6), Wrong("m"))
    error = refused(net, 4 * torch.rand(SEQUENCE))
    assert isinstance(error, LoweringError)
    assert error.code == "not-equal"
    assert error.message == "the network that was read does not give the spikes of its source in its own framework"
    assert str(error.hint).startswith(
        "likely this layer, or what is before it: a state that is not handed on or is kept"
    )
    assert "defect" not in str(error.hint)
    assert str(error.where).startswith("1, index (sample, step, neuron...) (0, ")


def test_a_layer_that_is_silent_on_the_example_is_checked_on_louder_input() -> None:
    example = torch.zeros(SEQUENCE)
    fc = nn.Linear(4, 6, bias=False)
    error = refused(nn.Sequential(fc, Wrong("m")), example)
    assert (error.code, str(error.where)[:5]) == ("not-equal", "1, in")


class Late(Cellule):
    """A neuron whose threshold is a little off."""

    above = 0.0

    def step(self, x: Tensor, v: Tensor | float) -> tuple[Tensor, Tensor]:
        u = 0.75 * v + x
        z = (u > 1.0 + self.above).to(x)
        return z, u * (1 - z)


def test_a_neuron_that_does_not_fire_at_its_threshold_is_found() -> None:
    error = refused(Late("m"), torch.ones(T, N, 4))
    assert (error.code, error.needed) == ("not-equal", f"equal spikes in {2 * T * 4} decisions")
    assert str(error.where) == "late, index (sample, step, neuron...) (0, 0, 0)"


def test_a_check_that_rounding_ended_early_says_so() -> None:
    late = Late("m")
    late.above = 5e-6
    source = load_module(late, torch.zeros(T, N, 4))
    x = np.zeros((2, T, 4))
    x[1, 2, 3] = 1.0 + 3e-6
    found = check_import(source, x)
    assert (found.different, found.excepted, found.compared) == (0, 1, 40), found
    assert "only 40 of 56 decisions compared" in found.detail


@pytest.mark.parametrize(
    ("escape", "name"),
    [
        (lambda x: float(np.asarray(x).sum()), "__array__"),
        (lambda x: torch.from_dlpack(x).sum(), "__dlpack__"),
        (lambda x: float(torch.equal(x, x + 0)), "equal"),
        (lambda x: x.detach().numpy().sum(), "numpy"),
    ],
)
def test_values_that_leave_torch_are_refused(escape: Callable[[Tensor], Any], name: str) -> None:
    error = refused(Net(lambda m, x: m.n(m.a(x) + escape(x)), a=nn.Linear(4, 6), n=Cellule("m")), torch.rand(SEQUENCE))
    assert (error.code, error.where) == ("unknown-operation", f"forward: {name}")


def unseen(x: Tensor) -> Tensor:
    """A sum that the recorder does not see."""
    with torch._C.DisableTorchFunction():
        return x.sum()


@pytest.mark.parametrize(
    "number",
    [
        lambda x: 1e-9 * np.random.rand(),
        lambda x: 1e-9 * unseen(x),
        lambda x: 1e-9 * x.untyped_storage()[5],
    ],
)
def test_numbers_that_change_from_run_to_run_are_no_weights(number: Callable[[Tensor], Any]) -> None:
    """They are too small to change a spike: reading twice finds them."""
    error = refused(Net(lambda m, x: m.n(m.a(x) + number(x)), a=nn.Linear(4, 6), n=Cellule("m")), torch.rand(SEQUENCE))
    assert (error.code, error.where) == ("not-constant", "a")
    assert (
        "numbers that forward computes change from run to run: they depend on the input or on chance" in error.message
    )


def test_reading_draws_none_of_the_users_random_numbers() -> None:
    net = nn.Sequential(nn.Linear(4, 6), Cellule("m"))
    state = torch.random.get_rng_state()
    load_module(net, torch.zeros(SEQUENCE))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_source_that_cannot_run_is_said_to_be_skipped() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        if getattr(m, "picky", False):
            raise ValueError("too bright")
        return m.n(m.a(x))  # type: ignore[no-any-return]

    net = Net(forward, a=nn.Linear(4, 6), n=Cellule("m"))
    source = load_module(net, torch.rand(SEQUENCE))
    net.picky = True  # type: ignore[assignment]
    found = check_import(source, np.full((2, T, 4), 3.0))
    assert found.to_dict()["status"] == "skipped"
    assert found.detail == "the source cannot run: ValueError: too bright"
    assert require_equal(found) is found


def test_a_module_that_shows_its_input_itself_takes_no_sequences() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        v, out = None, []
        for _ in range(T):
            z, v = m.n(m.a(x), v)
            out.append(z)
        return torch.stack(out)

    source = load_module(Net(forward, a=nn.Linear(4, 6), n=Cellule("h")), torch.rand(N, 4))
    assert source.replay is not None
    with pytest.raises(SourceError, match="the module shows one sample at every step itself") as caught:
        source.replay(np.random.default_rng(0).random((2, T, 4)))
    assert caught.value.code == "static-input"
