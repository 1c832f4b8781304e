"""Modules as people write them (`written`): taken with their own spikes, or refused as what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnhw
from snnhw.errors import SnnhwError
from snnhw.frontends.check import check_import, run_graph
from snnhw.frontends.live_module import load_module
from tests.unit.frontends.live import research, written
from tests.unit.frontends.live.written import Everyday, N, T, built

MODULES = {**written.MODULES, **research.MODULES}
TAKEN = [name for name, case in MODULES.items() if not case.refused]


def made(name: str) -> tuple[nn.Module, Tensor, int | None]:
    return *built(MODULES[name]), MODULES[name].steps


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.filterwarnings("ignore")
def test_modules_as_people_write_them_are_taken_with_their_spikes(name: str) -> None:
    module, example, steps = made(name)
    source = load_module(module, example, steps=steps)
    assert source.replay is not None
    rng = np.random.default_rng(7)
    x = rng.random(source.replay.example.shape) * 3.0
    if source.semantics.time_layout == "static" or (steps and source.semantics.time_layout == "N"):
        x = np.repeat(x[:, :1], x.shape[1], 1)
    check = check_import(source, x)
    assert check.different == 0, check
    assert check.samples == len(x), check
    assert check.compared > 50
    found = run_graph(source, x)
    firing = [
        name for name, node in source.graph.nodes.items() if hasattr(node, "v_threshold") or hasattr(node, "threshold")
    ]
    assert sum(bool(found[name].any()) for name in firing) > len(firing) / 2


def test_counts_that_a_loop_adds_up_are_read_as_counts_not_as_a_population() -> None:
    module, example, steps = made("static, counts")
    source = load_module(module, example, steps=steps)
    assert source.deployment.readout == "rate"
    artifact = snnhw.compile(module, example, target="loihi2")
    assert [p.size for p in artifact.network.computed] == [4]


@pytest.mark.parametrize("name", [name for name, case in MODULES.items() if case.refused])
def test_modules_that_no_core_has_are_refused_as_what_they_are(name: str) -> None:
    module, example, steps = made(name)
    with pytest.raises(SnnhwError) as caught:
        load_module(module, example, steps=steps)
    assert caught.value.code == MODULES[name].refused, caught.value
    assert caught.value.hint
    assert MODULES[name].instead in TAKEN  # the form that works, which the test above runs


Step = Callable[[Tensor, list[Any]], Any]


class Loop(nn.Module):
    """A layer, and one step of arithmetic in a loop over (T, N, 6); the states start at zero."""

    def __init__(self, step: Step, states: int = 2) -> None:
        super().__init__()
        self.fc, self.step, self.states = nn.Linear(6, 4), step, states

    def forward(self, x: Tensor) -> Tensor:
        states: list[Any] = [torch.zeros(x.shape[1], 4) for _ in range(self.states)]
        return torch.stack([self.step(self.fc(now), states) for now in x])


def integrated(x: Tensor, s: list[Any]) -> Tensor:
    """A membrane with its reset; s[0] holds it."""
    h = 0.5 * s[0] + x
    spikes = (h > 0.5).float()
    s[0] = h * (1 - spikes)
    return spikes


def coupled(x: Tensor, s: list[Any]) -> Tensor:
    a, b, c, d = s
    s[:] = [0.1 * a + 0.1 * b + x, 0.2 * b + 0.1 * c + x, 0.3 * c + 0.1 * d + x, 0.4 * d + 0.1 * a + x]
    return (s[0] > 0.5).float()


def whole(x: Tensor, s: list[Any]) -> Tensor:
    return x.int().float() + integrated(x, s)


def half_reset(x: Tensor, s: list[Any]) -> Tensor:
    s[0] = 0.5 * s[0] + x
    spikes = (s[0] > 0.5).float()
    s[0] = s[0] - 0.3 * spikes
    return spikes


def squared(x: Tensor, s: list[Any]) -> Tensor:
    s[0] = s[0] * s[0] + x
    spikes = (s[0] > 0.5).float()
    s[0] = s[0] * (1 - spikes)
    return spikes


def bounded_before(x: Tensor, s: list[Any]) -> Tensor:
    before, s[1] = s[1], torch.relu(x)
    return integrated(x + before, s)


def below_zero(x: Tensor, s: list[Any]) -> Tensor:
    spikes = (s[0] > -0.5).float()
    s[0] = 0.5 * s[0] + x - spikes * 0.5
    return spikes


def soft_threshold(x: Tensor, s: list[Any]) -> Tensor:
    s[0] = 0.5 * s[0] + x
    return (torch.sigmoid(s[0]) > 0.6).float()


def gated(x: Tensor, s: list[Any]) -> Tensor:
    return integrated(x, s) * x


def late_number(x: Tensor, s: list[Any]) -> Tensor:
    before, s[1] = s[1], x + 0.3
    return integrated(before, s)


def two_before(x: Tensor, s: list[Any]) -> Tensor:
    h = 0.5 * s[0] + 0.1 * s[1] + x
    s[1], s[0] = s[0], h
    return (h > 0.5).float()


def rectified(x: Tensor, s: list[Any]) -> Tensor:
    return integrated(x, s) + torch.relu(x)


def soft_value(x: Tensor, s: list[Any]) -> Tensor:
    return integrated(x, s) + torch.tanh(x)


def membrane_out(x: Tensor, s: list[Any]) -> Tensor:
    integrated(x, s)
    return s[0]


def difference(x: Tensor, s: list[Any]) -> Tensor:
    s[0], s[1] = 0.5 * s[0] + x, 0.8 * s[1] + x
    return (s[0] - s[1] > -0.1).float()


class Started(nn.Module):
    """Membranes, or currents, that start at numbers of their own."""

    def __init__(self, first: Tensor, current: bool = False) -> None:
        super().__init__()
        self.fc, self.first, self.current = nn.Linear(6, 4), first, current

    def forward(self, x: Tensor) -> Tensor:
        v, out = self.first.expand(x.shape[1], 4), []
        i, v = (v, torch.zeros(x.shape[1], 4)) if self.current else (0.0, v)
        for now in x:
            i = 0.5 * i + self.fc(now) if self.current else self.fc(now)
            v = 0.75 * v + i
            s = (v > 0.5).float()
            v = v - 0.5 * s
            out.append(s)
        return torch.stack(out)


def test_start_values() -> None:
    torch.manual_seed(0)
    source = load_module(Started(torch.tensor(0.75)), torch.rand(T, N, 6))
    assert {changes.get("v_init", source.semantics.v_init) for changes in source.semantics.nodes.values()} | {
        source.semantics.v_init
    } == {0.75}
    with pytest.raises(SnnhwError, match="a start value of more or less than one membrane"):
        load_module(Started(torch.tensor(0.75), current=True), torch.rand(T, N, 6))
    with pytest.raises(SnnhwError, match="start values that differ between the neurons of a layer") as caught:
        load_module(Started(torch.tensor([0.1, 0.2, 0.3, 0.4])), torch.rand(T, N, 6))
    assert caught.value.code == "not-a-neuron"


ARITHMETIC: dict[Step, str] = {
    coupled: "4 values that go from step to step and depend on each other",
    whole: "a value is asked whether it is a number, or cast to a whole one",
    half_reset: "the arithmetic in forward is not that of a neuron that a core has: a reset that is neither",
    squared: "the square of a value",
    bounded_before: "a bounded value of the step before",
    below_zero: "a membrane that is above its threshold before the first step",
    soft_threshold: "a threshold on sigmoid of a value",
    soft_value: "tanh of a value",
    gated: "a product of values that are not spikes: ",
    late_number: "a number that is added from the second step on only",
    two_before: "a state of 2 steps before",
    rectified: "the larger of a value and a number (",
    membrane_out: "a membrane that fires is read",
    difference: "a comparison that is no neuron's",
}


@pytest.mark.parametrize("step", ARITHMETIC, ids=lambda step: step.__name__)
def test_arithmetic_that_is_no_neurons_is_refused_by_what_it_does(step: Step) -> None:
    torch.manual_seed(0)
    with pytest.raises(SnnhwError) as caught:
        load_module(Loop(step, 4 if step is coupled else 2), torch.rand(T, N, 6))
    assert caught.value.code == "not-a-neuron", caught.value
    assert ARITHMETIC[step] in caught.value.message
    assert "docs/frontends.md" in str(caught.value.hint)


def test_a_forward_that_asks_for_steps_is_told_them() -> None:
    module, example, _ = made("forward(x, num_steps)")
    with pytest.raises(SnnhwError) as caught:
        load_module(module, example)
    assert (caught.value.code, caught.value.needed) == ("needs-steps", "num_steps")
    assert "forward asks for the number of steps, and nothing says it" in caught.value.message


def test_random_numbers_in_forward_name_the_encoding() -> None:
    module, example, _ = made("rate coding")
    with pytest.raises(SnnhwError) as caught:
        load_module(module, example)
    assert caught.value.code == "random"
    assert "forward draws random numbers with rand_like: no run is like the one before" in caught.value.message
    assert "--encode bernoulli" in str(caught.value.hint)


def test_what_cannot_be_recorded_is_named() -> None:
    module, example, _ = made("scripted")
    with pytest.raises(SnnhwError) as caught:
        load_module(module, example)
    assert caught.value.code == "unseen"
    assert (
        "a tensor comes from code that cannot be recorded: torch.jit.script, numpy, or an ext" in caught.value.message
    )
    module, example, _ = made("SpyTorch")
    with pytest.raises(SnnhwError, match="a reset that also drops what comes in at the step after a spike"):
        load_module(module, example)


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        (nn.AvgPool1d(3, ceil_mode=True), "ceil_mode and count_include_pad=False of AvgPool1d are not supported"),
        (nn.AdaptiveAvgPool1d(3), "10 does not divide evenly into 3"),
    ],
)
def test_pools_whose_windows_differ(pool: nn.Module, text: str) -> None:
    module = Everyday(nn.Conv1d(2, 4, 3), pool)
    module.head = nn.Linear(4 * (4 if isinstance(pool, nn.AvgPool1d) else 3), 3)
    with pytest.raises(SnnhwError, match="unsupported-option") as caught:
        load_module(module, torch.rand(T, N, 2, 12))
    assert text in caught.value.message


def test_sparse_weights_and_the_loops_own_count() -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = (torch.rand(8, 6) * (torch.rand(8, 6) < 0.5)).to_sparse()

        def forward(self, x: Tensor, num_steps: int = 4) -> Tensor:
            mem, out = torch.zeros(x.shape[0], 8), torch.zeros(x.shape[0], 8)
            for _ in range(num_steps):
                mem = 0.5 * mem + torch.nn.functional.linear(x, self.weight.to_dense())
                s = (mem > 0.7).float()
                mem = mem * (1 - s)
                out = out + s
            return out

    source = load_module(Sparse(), torch.rand(N, 6), steps=7)
    assert source.deployment.steps == 7
    assert load_module(Sparse(), torch.rand(N, 6)).deployment.steps == 4


@pytest.mark.parametrize("name", ["TET, (N, T, ...)", "kept in the module", "static", "states, one sample"])
def test_modules_tensors_and_lists_are_taken_everywhere(name: str) -> None:
    module, example, steps = made(name)
    artifact = snnhw.compile(module, example, target="loihi2", steps=steps)
    source = load_module(module, example, steps=steps)
    shown = source.replay.example[:, 0] if steps or name == "static" else source.replay.example
    x, y = torch.from_numpy(np.asarray(shown, np.float32)), [0, 1, 2]
    found = snnhw.compare(module, artifact, x, y)
    assert found.agreement == snnhw.compare(source, artifact, x.numpy(), np.array(y)).agreement
    assert np.array_equal(snnhw.run(artifact, x)["predictions"], snnhw.run(artifact, x.tolist())["predictions"])


def test_samples_that_are_no_array() -> None:
    module, example, _ = made("TET, (N, T, ...)")
    artifact = snnhw.compile(module, example, target="loihi2")
    with pytest.raises(SnnhwError, match="samples or labels are no array of numbers") as caught:
        snnhw.run(artifact, [[1.0], [1.0, 2.0]])
    assert caught.value.code == "bad-shape"


def test_numbers_that_differ_within_a_channel_are_no_bias() -> None:
    class Simple(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.by = nn.Conv2d(1, 2, 3), torch.rand(2, 2, 2)
            self.out = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            v, out = torch.zeros(x.shape[1], 2, 2, 2), []
            for now in x:
                v = 0.5 * v + self.out(self.conv(now) + self.by)
                s = (v > 0.5).float()
                v = v * (1 - s)
                out.append(s)
            return torch.stack(out)

    with pytest.raises(SnnhwError) as caught:
        load_module(Simple(), torch.rand(T, N, 1, 4, 4))
    assert caught.value.code == "unsupported-option"
    assert "numbers that differ within a channel are added in front of a layer" in caught.value.message


@pytest.mark.parametrize(("name", "axis"), [("time first", 1), ("TET, (N, T, ...)", 0), ("TET net", 0), ("static", 0)])
def test_an_example_without_a_batch_axis_is_named(name: str, axis: int) -> None:
    module, example, steps = made(name)
    with pytest.raises(SnnhwError) as caught:
        load_module(module, example.select(axis, 0), steps=steps)
    assert caught.value.code == "no-batch-axis", caught.value
    assert "the example input has no axis for samples: it is one sample" in caught.value.message
    load_module(module, example.select(axis, 0).unsqueeze(axis), steps=steps)  # the form that the hint names
    assert f"example.unsqueeze({axis})" in str(caught.value.hint)
