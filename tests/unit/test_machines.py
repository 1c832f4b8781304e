"""A machine is obeyed: the shipped generic chip runs, and each of its numbers changes integers, proof or refusal, the
same in every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw.artifact import Artifact, load, save, to_bytes
from snnhw.chip.analytic import barrier
from snnhw.errors import ArtifactError, EngineError, QuantizeError, TargetError
from snnhw.export.netx import write_net
from snnhw.fixed import SATURATE
from snnhw.machine import KEYS, SECTIONS, Machine, Section, load_target
from snnhw.network import Comparison, Reset
from snnhw.quantize.formats import formats_of, round_weights
from snnhw.quantize.quantize import quantize
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF
from tests.unit.frontends.checkpoints import content, saved
from tests.unit.frontends.modules import Flow
from tests.unit.quantize.nets import deployment, layer, neuron, quantized

ENGINES = ("reference", "fast", "onnx")
WIDE = 40
"""Inputs that all fire: enough to overflow narrow states."""


def module() -> nn.Module:
    torch.manual_seed(0)
    first, second = PerStep(nn.Linear(WIDE, 6)), PerStep(nn.Linear(6, 3))
    with torch.no_grad():
        first[0].weight.abs_()
        second[0].weight.abs_()
    leaky = LIF(tau=3.0, decay_input=False, v_threshold=0.9, v_reset=None)
    return Flow(lambda m, x: m.n2(m.f2(m.n1(m.f1(x)))), f1=first, n1=leaky, f2=second, n2=IF(0.2))


def compiled(values: dict[str, Any] | None = None, target: str = "generic") -> Artifact:
    return snnhw.compile(module(), torch.zeros(5, 1, WIDE), target=target, set=values)


def runs(artifact: Artifact, engines: tuple[str, ...] = ENGINES) -> dict[str, Any]:
    """What the engines record, all the same."""
    draw = np.random.default_rng(0)
    x = (draw.random((6, 5, WIDE)) < draw.random((6, 1, 1)) * 1.5).astype(np.float32)
    found = [snnhw.run(artifact, x, engine, record="state") for engine in engines]
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert all(np.array_equal(found[0][name], other[name]) for name in other)
    return found[0]


def integers(artifact: Artifact) -> list[Any]:
    """Weights and neurons."""
    models = [p.model for p in artifact.network.computed]
    numbers = [np.asarray(x).tolist() for m in models for x in (m.dv, m.du, m.vth, m.bias, m.act_shift)]
    return [w.tolist() for w in artifact.network.weights.values()] + numbers


TIGHT = {"numeric.act_shift_min": 6, "numeric.u_bits": 14}
"""One shift, so that a 14-bit current overflows."""

CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"numeric.u_bits": 12}, "integers"),
    ({"numeric.v_bits": 24}, "proof"),
    ({"numeric.v_bits": 16}, "refusal"),
    ({"numeric.v_bits": 16, "numeric.vth_bits": 15}, "integers"),
    ({"numeric.decay_bits": 12}, "integers"),
    ({"numeric.weight_step": 2}, "integers"),
    ({"numeric.weight_min": -15, "numeric.weight_max": 15}, "integers"),
    ({**TIGHT, "numeric.u_overflow": "saturate"}, "run"),
    ({**TIGHT, "numeric.u_overflow": "wrap"}, "run"),
    ({**TIGHT, "numeric.u_overflow": "saturate", "numeric.u_ends": "full"}, "run"),
    ({**TIGHT, "numeric.u_bits": 12, "numeric.u_overflow": "wrap-once"}, "turns"),
]


@pytest.fixture(scope="module")
def generic() -> Artifact:
    return compiled()


def test_the_generic_chip_runs(generic: Artifact) -> None:
    found = runs(generic)
    assert found["spikes/n1"].any()
    assert found["spikes/n2"].any()
    assert generic.target.widths != load_target("loihi2").widths
    assert {c.grade for c in generic.target.constants.values()} == {"definition", "assumed"}
    assert max(np.abs(w).max() for w in generic.network.weights.values()) <= 31
    assert int(np.max(generic.network["n1"].model.dv)) == round(256 / 3)
    assert all(bound["status"] == "proven" for bound in generic.bounds)


def test_an_artifact_carries_the_values(tmp_path: Path) -> None:
    made, again = (compiled({"core.neurons": 512}) for _ in range(2))
    assert to_bytes(made) == to_bytes(again)
    save(made, tmp_path / "a.snnhw")
    assert load(tmp_path / "a.snnhw").target == made.target
    assert made.target.core.neurons == 512


@pytest.mark.parametrize(("values", "kind"), CHANGES)
def test_each_number_changes_integers_proof_or_refusal(generic: Artifact, values: dict[str, Any], kind: str) -> None:
    if kind == "refusal":
        with pytest.raises(TargetError, match=r"numeric\.vth_bits plus vth_shift, 0, should be at most v_bits, 16"):
            compiled(values)
        return
    if kind == "turns":
        with pytest.raises(QuantizeError, match="turns-twice: a state may leave its bits by more than the one turn"):
            compiled(values)
        return
    artifact = compiled(values)
    assert artifact.target.text != generic.target.text
    found = runs(artifact)
    match kind:
        case "integers":
            assert integers(artifact) != integers(generic)
        case "proof":
            assert [b["limit"] for b in artifact.bounds] != [b["limit"] for b in generic.bounds]
        case "run":
            width = artifact.target.widths.u
            assert found["saturations"] > 0
            assert found["u/n1"].max() <= width.high
            assert found["u/n1"].min() >= (width.low if width.overflow == SATURATE else width.low - 1)
            assert "unproven" in {b["status"] for b in artifact.bounds}


def test_the_ways_to_overflow_differ() -> None:
    ways = [values for values, kind in CHANGES if kind == "run"][:2]
    one, other = (runs(compiled(values))["u/n1"] for values in ways)
    assert (one != other).any()


@pytest.mark.lava
def test_our_lava_processes_obey() -> None:
    values = {**TIGHT, "numeric.u_overflow": "wrap", "numeric.v_overflow": "wrap"}
    assert runs(compiled(values), ("reference", "lava"))["saturations"] > 0


@pytest.mark.lava
def test_stock_lava_refuses_other_widths_by_name() -> None:
    artifact = snnhw.compile(
        nn.Sequential(PerStep(nn.Linear(4, 2)), IF(0.5)), torch.zeros(3, 1, 4), target="loihi1",
        set={"numeric.u_bits": 22},
    )  # fmt: skip
    x = np.ones((1, 3, 4), np.float32)
    assert all((snnhw.run(artifact, x, e)["output"] == snnhw.run(artifact, x)["output"]).all() for e in ENGINES)
    with pytest.raises(EngineError, match="lava-unsupported: Lava's LIF has no such format of u"):
        snnhw.run(artifact, x, "lava")


@pytest.mark.parametrize(("only", "comparison", "moved"), [("gt", Comparison.GE, -1), ("ge", Comparison.GT, 1)])
@pytest.mark.parametrize("keep", [0.7, 1.0])
def test_a_missing_comparison_is_exact_a_unit_off(only: str, comparison: Comparison, moved: int, keep: float) -> None:
    weight = np.random.default_rng(1).normal(size=(5, 12))
    network = layer(weight, neuron(0.8, 0.1, keep, comparison=comparison))
    both, one = (made(network, values) for values in ({}, {"numeric.comparisons": [only]}))
    n, m = both.network["n"].model, one.network["n"].model
    assert (n.comparison, str(m.comparison)) == (comparison, only)
    assert np.array_equal(m.vth, n.vth + moved)
    reason = next(r for r in one.rationale if r.parameter == "vth")
    assert reason.text.endswith("exact, v is always a multiple of it")
    soft = layer(weight, neuron(0.8, 0.1, keep, comparison=comparison, reset=Reset.SUBTRACT))
    reason = next(r for r in made(soft, {"numeric.comparisons": [only]}).rationale if r.parameter == "vth")
    assert "approximate, each spike then takes one unit" in reason.text
    counting = layer(weight, neuron(0.8, 0.1, keep, comparison=comparison, reset=Reset.SUBTRACT, max_spikes=3))
    with pytest.raises(QuantizeError) as caught:
        made(counting, {"numeric.comparisons": [only]})
    assert str(caught.value).startswith(
        "unsupported-neuron: the target has no such comparison, and several spikes a step are counted by it\n"
        f"  where: n\n  needed: {comparison}\n  limit: {only}"
    )


def machine(values: dict[str, Any]) -> Machine:
    return load_target("generic", values)


def made(network: Any, values: dict[str, Any]) -> Any:
    return quantize(network, machine(values), deployment(network), None)


@pytest.mark.parametrize(
    ("low", "high", "step", "grid"),
    [
        (-32, 31, 1, (-31, 31)),
        (-8, 7, 4, (-4, 4)),
        (-16, 7, 1, (-16, 7)),
        (-3, 12, 3, (-3, 12)),
        (-30, 30, 10, (-30, 30)),
    ],
)
def test_weights_lie_on_the_grid(low: int, high: int, step: int, grid: tuple[int, int]) -> None:
    names = {"numeric.weight_min": low, "numeric.weight_max": high, "numeric.weight_step": step}
    formats = formats_of(machine(names), None)
    assert (formats.low, formats.high, formats.step) == (*grid, step)
    w = round_weights(np.linspace(-40, 40, 999), 1.0, formats)
    assert (w.min(), w.max()) == grid
    assert not (w % step).any()
    weight = np.random.default_rng(2).normal(size=(6, 30))
    found = made(layer(weight, neuron()), names).network.weights["w"]
    assert low <= found.min()
    assert found.max() <= high
    assert not (found % step).any()
    assert {found.min(), found.max()} & set(grid), "the grid is used up to one of its ends"


def test_graded_input_needs_a_payload_with_a_sign() -> None:
    network, x = layer(np.ones((2, 3)), neuron()), np.array([[[-1, 0, 2]] * 6])
    assert quantized(network, "loihi2", x).inputs[0].host is None
    unsigned = load_target("loihi2", {"numeric.payload_signed": False})
    assert quantize(network, unsigned, deployment(network), x.astype(float)).inputs[0].host is not None


class Heard:
    """A section, or its table of constants, that notes which keys are read."""

    def __init__(self, inner: Any, prefix: str, heard: set[str]) -> None:
        self.inner, self.prefix, self.heard = inner, prefix, heard

    def __getattr__(self, name: str) -> Any:
        found, key = getattr(self.inner, name), f"{self.prefix}{name}"
        if isinstance(found, Section):
            return Heard(found, f"{key}.", self.heard)
        self.heard.add(key)
        return found

    def __getitem__(self, key: str) -> Any:
        self.heard.add(key)
        return self.inner[key]

    def __contains__(self, key: str) -> bool:
        return key in self.inner


def test_every_key_is_read(tmp_path: Path) -> None:
    """By a compilation, a comparison, a network that is integers already, and the barrier of many chips."""
    machine, heard = load_target("loihi2"), set[str]()
    for name in SECTIONS:
        machine.__dict__[name] = Heard(getattr(machine, name), f"{name}.", heard)
    machine.__dict__["constants"] = Heard(machine.constants, "", heard)
    path = saved(tmp_path / "net.pt", content("sew_resnet"))
    artifact = snnhw.compile(path, target=machine, sums="relays")
    quantize(floored := layer(np.ones((2, 3)), neuron(v_init=0.1, v_min=-1.0)), machine, deployment(floored), None)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    snnhw.compare(path, artifact, pixels, timing="event")
    snnhw.compile(NET, target=machine)
    assert barrier(machine, 1, 300).keys == ("time.sync.tiles_1", "time.sync_chips.chips_256")
    tables = {"time.sync.tiles_1": "time.sync", "time.sync_chips.chips_1": "time.sync_chips"}
    assert {tables.get(key, key) for key in KEYS} - heard == set()


NET = Path(__file__).parent / "frontends" / "netx" / "tinynet" / "tiny.net"


def test_integers_of_12_bit_decays_on_other_machines(tmp_path: Path) -> None:
    """Finer units hold them; coarser ones that do not are refused, and lava-dl's files have 12 bits only."""
    base = snnhw.compile(NET, target="loihi2")
    finer = snnhw.compile(NET, target="loihi2", set={"numeric.decay_bits": 14})
    for p in base.network.computed:
        assert np.array_equal(finer.network[p.name].model.dv, np.asarray(p.model.dv) * 4)
    with pytest.raises(QuantizeError, match="unsupported-neuron: target loihi2 has no such decay"):
        snnhw.compile(NET, target="loihi2", set={"numeric.decay_bits": 1})
    with pytest.raises(ArtifactError, match="netx-cannot: netx has Loihi's states and decays only"):
        write_net(finer, tmp_path / "out.net")
