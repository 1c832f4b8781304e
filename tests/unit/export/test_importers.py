"""Files for one framework's importer keep their literal meaning; what the importer fixes otherwise is refused by name.

That the frameworks themselves run them to the same spikes is in tests/frontends/test_nir_out.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snnhw.errors import SourceError
from snnhw.export.importers import IMPORTERS, for_importer
from snnhw.export.nir import write_graph
from snnhw.export.pools import with_pools
from snnhw.frontends.nir.file import from_graph, load_nir
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.simulate import run
from snnhw.frontends.source import Source
from snnhw.semantics import UNLIMITED
from tests.unit.frontends.foreign import cases, unpacked
from tests.unit.frontends.graphs import EDGES, OPTIONS, graph, lif

WORKS = {
    ("norse", "iaf"): {"snntorch", "spikingjelly", "norse"},
    ("norse", "mlp"): {"norse"},
    ("rockpool", "cubalif"): {"rockpool"},
    ("rockpool", "lif"): {"sinabs"},
    ("sinabs", "mlp"): {"sinabs"},
    ("snntorch", "cubalif"): {"norse"},
    ("snntorch", "mlp"): {"norse"},
    ("spikingjelly", "conv"): {"snntorch", "spikingjelly", "norse"},
    ("spikingjelly", "cubalif"): {"snntorch", "spikingjelly", "norse"},
    ("spikingjelly", "default_lif"): {"snntorch", "spikingjelly", "norse"},
    ("spikingjelly", "mlp"): {"snntorch", "spikingjelly", "norse"},
    ("spikingjelly", "residual"): {"snntorch", "spikingjelly", "norse"},
}
"""Stored network -> frameworks whose importers can be told it."""


def source(framework: str, case: str, folder: Path) -> tuple[Source, np.ndarray]:
    """A stored network; snnTorch's with a reset that others know."""
    path, x, _ = unpacked(framework, case, folder)
    said = {"reset": "zero", "reset_timing": "same_step"} if framework == "snntorch" else None
    return load_nir(path, SourceOptions(dialect=framework, steps=x.shape[1], semantics=said)), x


def by_hand(changes: dict[str, nir.NIRNode] | None = None, edges: Any = None, **semantics: Any) -> Source:
    said = {**OPTIONS, **semantics}
    options = SourceOptions(steps=4, semantics=said)
    return from_graph(graph(changes, edges, metadata={}), options, {"file": "net.nir"})


def looped() -> tuple[Source, np.ndarray]:
    """A layer that reads its own spikes of the step before."""
    rng = np.random.default_rng(0)
    parts = {
        "input": nir.Input({"input": np.array([5])}),
        "fc": nir.Linear(rng.normal(size=(6, 5)) * 1.2),
        "rec.lif": lif(6),
        "rec.w_rec": nir.Linear(rng.normal(size=(6, 6)) * 0.8),
        "fc2": nir.Linear(rng.normal(size=(4, 6)) * 1.2),
        "out": lif(4),
        "output": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "fc"), ("fc", "rec.lif"), ("rec.lif", "rec.w_rec"), ("rec.w_rec", "rec.lif")]
    edges += [("rec.lif", "fc2"), ("fc2", "out"), ("out", "output")]
    whole = nir.NIRGraph(parts, edges, metadata={}, type_check=False)
    network = from_graph(whole, SourceOptions(steps=10, semantics=OPTIONS), {"file": "net.nir"})
    return network, (rng.random((5, 10, 5)) < 0.5).astype(np.float64)


def refusal(network: Source, framework: str) -> str:
    with pytest.raises(SourceError) as caught:
        for_importer(network, framework)
    return str(caught.value)


@pytest.mark.parametrize(("framework", "case"), [c for c in cases() if c in WORKS])
def test_every_file_means_the_same_literally(framework: str, case: str, tmp_path: Path) -> None:
    network, x = source(framework, case, tmp_path)
    want = run(network.graph, network.semantics, x)
    for name in WORKS[framework, case]:
        summary = write_graph(network, tmp_path / f"{name}.nir", name)
        assert (summary["network"], summary["for"], summary["steps"]) == ("float", name, x.shape[1])
        nir.read(tmp_path / f"{name}.nir")
        back = load_nir(tmp_path / f"{name}.nir")
        have = run(back.graph, back.semantics, x)
        assert want.keys() == have.keys()
        assert all(np.array_equal(want[key], have[key]) for key in want), name


@pytest.mark.parametrize(("framework", "case"), sorted(WORKS))
def test_what_cannot_be_told_is_refused(framework: str, case: str, tmp_path: Path) -> None:
    network, _ = source(framework, case, tmp_path)
    for name in set(IMPORTERS) - WORKS[framework, case]:
        assert refusal(network, name).startswith(f"cannot-say: {name}'s importer cannot be told ")


def test_the_literal_form_takes_any_network(tmp_path: Path) -> None:
    network, x = source("snntorch", "recurrent", tmp_path)
    write_graph(network, tmp_path / "out.nir")
    back = load_nir(tmp_path / "out.nir")
    assert back.semantics == network.semantics
    one, other = (run(s.graph, s.semantics, x) for s in (network, back))
    assert all(np.array_equal(one[key], other[key]) for key in one)


def test_the_text_of_a_refusal() -> None:
    assert refusal(by_hand(reset="subtract"), "snntorch") == (
        "cannot-say: snntorch's importer cannot be told reset subtract\n"
        "  where: neuron\n  needed: reset subtract\n  limit: snntorch reads: reset zero\n"
        "  hint: export without --for, or for another framework"
    )


@pytest.mark.parametrize(
    ("framework", "network", "what"),
    [
        ("norse", lambda: by_hand({"neuron": lif(v_threshold=1.0)}, v_min=-1.0), "a lower clip of the membrane"),
        ("norse", lambda: by_hand(v_init=0.5), "a membrane that starts elsewhere"),
        ("snntorch", lambda: by_hand({"neuron": lif(v_leak=0.5)}), "a membrane that rests at another value than its"),
        ("norse", lambda: by_hand(multispike=4), "4 spikes a step at most"),
        ("sinabs", lambda: by_hand(reset="subtract", reset_timing="next_step"), "a reset in the next step"),
        ("sinabs", lambda: by_hand(reset="subtract", multispike=UNLIMITED), "threshold gt with a soft reset"),
        ("norse", lambda: by_hand({"neuron": lif(r=-1.0)}), "a gain that is not positive"),
        ("rockpool", lambda: by_hand(reset="subtract", threshold="ge", multispike=UNLIMITED), "a neuron of type LIF"),
        ("norse", lambda: by_hand({"fc": nir.Scale(np.ones(2)), "input": nir.Input({"input": np.array([2])})}),
         "a node of type Scale"),
        ("snntorch", lambda: by_hand(edges=[*EDGES, ("fc", "output")]), "a sum of 2 edges"),
    ],
)  # fmt: skip
def test_rules_that_an_importer_fixes(framework: str, network: Any, what: str) -> None:
    assert f"importer cannot be told {what}" in refusal(network(), framework)


def test_loops(tmp_path: Path) -> None:
    """The bias of a recurrent layer acts at the first step too, where importers feed nothing back."""
    network, _ = source("snntorch", "recurrent", tmp_path)
    assert "snntorch's importer cannot be told a loop\n  where: 1.lif\n" in refusal(network, "snntorch")
    assert "norse's importer cannot be told a bias inside a loop\n  where: 1.w_rec\n" in refusal(network, "norse")


@pytest.mark.parametrize("name", ["spikingjelly", "norse"])
def test_loops_without_a_bias(name: str, tmp_path: Path) -> None:
    network, x = looped()
    write_graph(network, tmp_path / "out.nir", name)
    back = load_nir(tmp_path / "out.nir")
    want, have = (run(s.graph, s.semantics, x) for s in (network, back))
    assert want["rec.lif"].any()
    assert all(np.array_equal(want[key], have[key]) for key in want)


def test_neurons_of_several_axes(tmp_path: Path) -> None:
    network, _ = source("sinabs", "conv", tmp_path)
    assert "sinabs's importer cannot be told neurons of shape (4, 8, 8)\n" in refusal(network, "sinabs")


def test_groups() -> None:
    weight = np.ones((2, 1, 1, 1))
    parts = {
        "input": nir.Input({"input": np.array([2, 3, 3])}),
        "fc": nir.Conv2d((3, 3), weight, 1, 0, 1, 2, np.zeros(2)),
        "neuron": lif(1),
    }
    assert "spikingjelly's importer cannot be told 2 groups\n" in refusal(by_hand(parts), "spikingjelly")


def test_a_threshold_met_exactly() -> None:
    """v > 1 is v >= the next float32 after 1: SpikingJelly compares with >=."""
    made = for_importer(by_hand(), "spikingjelly")
    (threshold,) = set(made.graph.nodes["neuron"].v_threshold.tolist())
    assert threshold == float(np.nextafter(np.float32(1), np.float32(2)))
    assert made.semantics.threshold == "ge"
    x = np.full((1, 4, 3), 0.0)
    x[0, :, 0] = 0.5  # fc gives 0.5 * 1 + 0.5 = 1: v = 1 at the first step
    want = run(by_hand().graph, by_hand().semantics, x)["neuron"]
    have = run(made.graph, made.semantics, x)["neuron"]
    assert want[0, :, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert np.array_equal(want, have)


def test_other_units_of_a_membrane() -> None:
    """Norse takes the input times dt / tau: half of it here, so the threshold halves too."""
    made = for_importer(by_hand(), "norse")
    assert made.graph.nodes["neuron"].r.tolist() == [1.0, 1.0]
    assert made.graph.nodes["neuron"].v_threshold.tolist() == [0.5, 0.5]
    assert made.graph.nodes["neuron"].tau.tolist() == [2e-3, 2e-3]


def test_a_membrane_counted_from_its_reset_value(tmp_path: Path) -> None:
    """SpikingJelly's v_reset = -0.25 becomes 0, the threshold with it."""
    network, _ = source("spikingjelly", "mlp", tmp_path)
    made = for_importer(network, "snntorch")
    assert np.allclose(made.graph.nodes["_3"].v_threshold, 1.35)
    assert not made.graph.nodes["_3"].v_reset.any()


@pytest.mark.parametrize(("wanted", "other"), [(nir.SumPool2d, nir.AvgPool2d), (nir.AvgPool2d, nir.SumPool2d)])
def test_pools_of_the_other_kind(wanted: Any, other: Any) -> None:
    """The factor goes into the weights behind the pool, through Flatten, with their biases as they are."""
    two = np.array([2, 2])
    rng = np.random.default_rng(0)
    parts = {
        "input": nir.Input({"input": np.array([1, 4, 4])}),
        "pool": other(two, two, np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([1, 2, 2])}, 0, -1),
        "fc": nir.Affine(rng.normal(size=(2, 4)), np.array([0.25, -0.5])),
        "neuron": lif(),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [("input", "pool"), ("pool", "flat"), ("flat", "fc"), ("fc", "neuron"), ("neuron", "output")]
    before = nir.NIRGraph(parts, edges, metadata={}, type_check=False)
    after = with_pools(before, wanted)
    assert isinstance(after.nodes["pool"], wanted)
    semantics = by_hand().semantics
    x = rng.random((3, 8, 1, 4, 4)) * 2
    want, have = (run(g, semantics, x)["neuron"] for g in (before, after))
    assert want.any()
    assert np.array_equal(want, have)
    skip = nir.NIRGraph(parts, [*edges, ("input", "flat")], metadata={}, type_check=False)
    assert isinstance(with_pools(skip, wanted).nodes["pool"], other)  # what reads it reads the input too


def branched(shortcut: bool) -> Source:
    """Two branches that meet: both with neurons, or one of them a plain skip."""
    parts = {
        "input": nir.Input({"input": np.array([2])}),
        "first": lif(),
        "a.fc": nir.Linear(np.eye(2) * 2),
        "a.lif": lif(),
        "join": nir.Linear(np.eye(2)),
        "last": lif(),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [("first", "join"), ("input", "first"), ("first", "a.fc"), ("a.fc", "a.lif"), ("a.lif", "join")]
    edges += [("join", "last"), ("last", "output")]
    if shortcut:
        parts |= {"b.fc": nir.Linear(np.eye(2)), "b.lif": lif()}
        edges[0] = ("first", "b.fc")
        edges += [("b.fc", "b.lif"), ("b.lif", "join")]
    whole = nir.NIRGraph(parts, edges, metadata={}, type_check=False)
    return from_graph(whole, SourceOptions(steps=6, semantics=OPTIONS), {"file": "net.nir"})


def test_edges_are_listed_as_a_depth_first_executor_needs_them() -> None:
    """Listed as above, it would compute `join` before `a.lif`."""
    made = for_importer(branched(shortcut=False), "norse")
    assert made.graph.edges == [
        ("input", "first"),
        ("first", "a.fc"),
        ("first", "join"),
        ("a.fc", "a.lif"),
        ("a.lif", "join"),
        ("join", "last"),
        ("last", "output"),
    ]
    assert "norse's importer cannot be told branches that meet after layers of their own\n  where: join\n" in refusal(
        branched(shortcut=True), "norse"
    )
    for_importer(branched(shortcut=True), "spikingjelly")  # sorts the nodes itself


def test_names_that_become_one() -> None:
    parts = {"block.fc": nir.Affine(np.eye(2), np.zeros(2)), "block_fc": lif()}
    edges = [
        ("input", "fc"),
        ("fc", "neuron"),
        ("neuron", "block.fc"),
        ("block.fc", "block_fc"),
        ("block_fc", "output"),
    ]
    text = refusal(by_hand(parts, edges), "norse")
    assert "norse's importer cannot be told nodes that differ by dots only: block.fc, block_fc\n" in text
