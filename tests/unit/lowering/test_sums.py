"""Sums of spikes: every summand on its own or graded relays, never other integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnhw
from snnhw.errors import LoweringError
from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower, lower_for
from snnhw.lowering.sums import Sums
from snnhw.machine import load_target
from snnhw.network import FloatNeuron, Kind, Network
from snnhw.rationale import Effect, Reason
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from tests.unit.frontends.modules import conv, random_neuron
from tests.unit.lowering.runs import everywhere, made_for, of_spikes, picked

STEPS = 4


class Adds(nn.Module):
    """Random residual network: identity and strided blocks, sums of older sums, max-pools behind sums."""

    def __init__(self, seed: int, soft: bool = True) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.plan = ["identity", *rng.permutation(["identity", "down", "older", "max", "identity"])[:4], "identity"]
        self.layers = nn.ModuleDict()
        side, channels = 8, 2
        self._add("stem", rng, soft, conv(2, channels))
        for i, kind in enumerate(self.plan):
            stride = 2 if kind == "down" else 1
            if kind == "max":
                self.layers[f"pool{i}"] = PerStep(nn.MaxPool2d(2))
                side //= 2
                continue
            self._add(f"branch{i}", rng, soft, conv(channels, channels, stride=stride))
            if kind == "down":
                self._add(f"skip{i}", rng, soft, conv(channels, channels, 1, stride=2))
                side = (side + 1) // 2
        self.layers["out"] = PerStep(nn.AvgPool2d(side), nn.Flatten(), nn.Linear(channels, 4))

    def _add(self, name: str, rng: np.random.Generator, soft: bool, layer: nn.Module) -> None:
        neuron = random_neuron(rng)
        if not soft and neuron.v_reset is None:
            neuron._v_reset = 0.0
        self.layers[f"{name}_c"], self.layers[f"{name}_n"] = layer, neuron

    def _run(self, name: str, x: Tensor) -> Tensor:
        found: Tensor = self.layers[f"{name}_n"](self.layers[f"{name}_c"](x))
        return found

    def forward(self, x: Tensor) -> Tensor:
        value = older = self._run("stem", x)
        for i, kind in enumerate(self.plan):
            if kind == "max":
                value = older = self.layers[f"pool{i}"](value)
                continue
            branch = self._run(f"branch{i}", value)
            before = value
            if kind == "down":
                value = older = branch + self._run(f"skip{i}", value)
            else:
                value = branch + (older if kind == "older" else value)
            older = before if kind == "identity" else older
        found: Tensor = self.layers["out"](value)
        return found


def spikes(seed: int, *shape: int, rate: float = 0.4) -> Any:
    return (np.random.default_rng(seed).random(shape) < rate).astype(float)


def relays(network: Network[Any]) -> list[str]:
    return [p.name for p in network.populations if p.kind is Kind.RELAY and ".relay" not in p.name]


@pytest.mark.parametrize("seed", range(5))
def test_both_forms_give_the_same_integers(seed: int) -> None:
    x = spikes(seed, 3, STEPS, 2, 8, 8)
    source = of_spikes(Adds(seed), x)
    forms = {form: made_for(source, "loihi2", x, form) for form in (Sums.SUMMANDS, Sums.RELAYS, Sums.CHEAPEST)}
    assert not any(name.endswith(".sum") for name in relays(forms[Sums.SUMMANDS].made.network))
    assert any(name.endswith(".sum") for name in relays(forms[Sums.RELAYS].made.network))
    plain = forms[Sums.SUMMANDS].run_fast()
    for form, made in forms.items():
        assert made.differences() == [], form
        found = made.run_fast()
        shared = found.keys() & plain.keys()
        assert {name.partition("/")[2] for name in plain} - {""} <= {name.partition("/")[2] for name in shared}
        for name in shared:
            np.testing.assert_array_equal(found[name], plain[name], err_msg=f"{form} {name}")
    assert plain["output"].any()


def test_relays_carry_their_sums() -> None:
    x = spikes(1, 2, STEPS, 2, 8, 8)
    made = made_for(of_spikes(Adds(1), x), "loihi2", x, Sums.RELAYS)
    found, network = made.run_fast(), made.made.network
    largest = []
    for name in relays(network):
        if not name.endswith((".sum", ".sum2", ".sum3")):
            continue
        total = sum(found[f"spikes/{q.pre}"].astype(int) for q in network.into(name))
        np.testing.assert_array_equal(found[f"spikes/{name}"], total)
        largest.append(found[f"spikes/{name}"].max())
        assert largest[-1] <= network[name].payload[1] == network[name].model.max_spikes
    assert max(largest) > 1


def readers(count: int, summands: int = 2) -> nn.Module:
    """A sum of spike trains that `count` neurons read."""

    def flow(m: Any, *s: Any) -> Any:
        total = sum(s[1:], s[0])
        read = [getattr(m, f"n{i}")(getattr(m, f"c{i}")(total)) for i in range(count)]
        return m.out(sum(read[1:], read[0]))

    layers: dict[str, nn.Module] = {f"c{i}": PerStep(nn.Conv2d(1, 1, 3, padding=1)) for i in range(count)}
    layers |= {f"n{i}": IF() for i in range(count)}
    return picked(summands, flow, **layers, out=PerStep(nn.Conv2d(1, 1, 1)))


def lowered(source: Source, target: str = "loihi2", sums: str = "cheapest") -> Network[FloatNeuron]:
    return lower_for(source, load_target(target), sums)


def rows(network: Network[FloatNeuron]) -> dict[str, Any]:
    return {row.population: row for row in network.notes.reasons}


@pytest.mark.parametrize(("count", "graded"), [(2, False), (3, False), (4, True), (5, True)])
def test_the_cheaper_form_is_chosen(count: int, graded: bool) -> None:
    """Two trains of 16 neurons: 2 * 16 axons a reader, or 16 a reader, 32 into the relay and its 16 neurons."""
    network = lowered(of_spikes(readers(count), np.zeros((1, 2, 2, 4, 4))))
    assert ("s1.sum" in relays(network)) is graded
    row = rows(network)["s1"]
    assert row == Reason(
        population="s1",
        parameter="sum",
        integer="graded relays" if graded else "a projection per summand",
        real=f"sums of up to 2 spike trains, read {count} times",
        kind=Effect.CHOSEN,
        text=f"{16 * (count + 3)} axons and neurons with graded relays, {32 * count} with every summand",
    )


@pytest.mark.parametrize(
    ("target", "sums", "form", "why"),
    [
        ("loihi1", "relays", "a projection per summand", "the target has no graded spikes up to 2"),
        ("loihi1", "cheapest", "a projection per summand", "the target has no graded spikes up to 2"),
        (
            "loihi2",
            "summands",
            "a projection per summand",
            "as asked for; 128 axons and neurons with graded relays, 160",
        ),
        ("loihi2", "relays", "graded relays", "as asked for; 128 axons and neurons with graded relays, 160"),
    ],
)
def test_what_was_asked_for(target: str, sums: str, form: str, why: str) -> None:
    network = lowered(of_spikes(readers(5), np.zeros((1, 2, 2, 4, 4))), target, sums)
    row = rows(network)["s1"]
    assert (row.integer, row.text.startswith(why)) == (form, True)
    assert bool(relays(network)) is (form == "graded relays")


def test_a_sum_beyond_the_payload_stays_apart() -> None:
    source = of_spikes(readers(6, summands=3), np.zeros((1, 2, 3, 4, 4)))
    made = {p: lower(source.graph, source.semantics, source.deployment, 63, payload=p) for p in (2, 3)}
    assert [bool(relays(made[p])) for p in (2, 3)] == [False, True]
    assert made[3]["s2.sum"].payload == (0, 3)


def test_nested_sums_are_relays_of_relays() -> None:
    """s0 + s1, and that + s2, + s3: each relay reads the one before."""

    def flow(m: Any, *s: Any) -> Any:
        total, read = s[0], []
        for i in range(1, 4):
            total = total + s[i]
            read.append(getattr(m, f"n{i}")(getattr(m, f"c{i}")(total)))
        return m.out(read[0] + read[1] + read[2])

    layers: dict[str, nn.Module] = {f"c{i}": PerStep(nn.Conv2d(1, 1, 3, padding=1)) for i in range(1, 4)}
    layers |= {f"n{i}": IF() for i in range(1, 4)} | {"out": PerStep(nn.Conv2d(1, 1, 1))}
    module = picked(4, flow, **layers)
    x = spikes(2, 2, STEPS, 4, 4, 4)
    network = lowered(of_spikes(module, x), sums="relays")
    assert {q.pre for q in network.into("s2.sum")} == {"s1.sum", "s2"}
    assert {q.pre for q in network.into("s3.sum")} == {"s2.sum", "s3"}
    assert [q.pre for q in network.into("n3")] == ["s3.sum"]


def test_products_and_maxima_read_sums_of_either_form() -> None:
    def flow(m: Any, a: Any, b: Any, c: Any) -> Any:
        total = a + b + c
        return m.pool(total) + m.pool2(total * (1 - a)) + m.pool3(total)

    layers = {name: PerStep(nn.MaxPool2d(2)) for name in ("pool", "pool2", "pool3")}
    x = spikes(4, 3, STEPS, 3, 4, 4)
    forms = [everywhere(picked(3, flow, **layers), x, form, ["loihi2"]) for form in Sums]
    a, b, c = (torch.from_numpy(x[:, :, k]) for k in range(3))
    pool = nn.MaxPool2d(2)
    want = 2 * pool(a + b + c) + pool((a + b + c) * (1 - a))
    for found in forms:
        np.testing.assert_array_equal(found[:, :, 0], want.numpy())


def test_an_artifact_with_relays_is_compared_and_run() -> None:
    x = spikes(3, 4, STEPS, 2, 8, 8)
    source = of_spikes(Adds(3), x)
    made = {form: snnhw.compile(source, target="loihi2", calibrate=x, sums=form) for form in ("summands", "relays")}
    said = {form: snnhw.run(artifact, x) for form, artifact in made.items()}
    np.testing.assert_array_equal(said["summands"]["output"], said["relays"]["output"])
    result = snnhw.compare(source, made["relays"], x)
    other = snnhw.compare(source, made["summands"], x)
    assert result.agreement == other.agreement


def test_an_unknown_form() -> None:
    source = of_spikes(readers(1), np.zeros((1, 2, 2, 4, 4)))
    with pytest.raises(LoweringError) as caught:
        lowered(source, sums="dream")
    assert str(caught.value) == (
        "bad-sums: no such form of sums\n"
        "  where: sums\n"
        "  needed: 'dream'\n"
        "  limit: cheapest, summands, relays\n"
        "  hint: pick one"
    )
