"""Bits of weight arrays: what `--weight-bits` says, the integers it makes, and the words that these take."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw.artifact import Artifact
from snnhw.cli import main
from snnhw.errors import ArtifactError, QuantizeError
from snnhw.mapping.place import utilization
from snnhw.mapping.synapses import Format
from snnhw.network import Dense, Kind, Network, Population, Projection, Readout
from snnhw.quantize.widths import bits_of_arrays, ends
from snnhw.summary import summary
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from tests.unit.frontends.modules import Flow
from tests.unit.quantize.nets import layer, neuron, quantized, with_constant

NO_SUCH = "bad-weight-bits: the target does not have weights of that width"


def module() -> nn.Module:
    """A convolution, a pool, two matrices; a shortcut of the last hidden layer into the same neurons."""
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "conv": PerStep(nn.Conv2d(2, 4, 3)),
        "n1": IF(0.5),
        "pool": PerStep(nn.AvgPool2d(2)),
        "flat": PerStep(nn.Flatten()),
        "fc1": PerStep(nn.Linear(36, 8)),
        "n2": IF(0.5),
        "fc2": PerStep(nn.Linear(8, 8)),
        "fc3": PerStep(nn.Linear(36, 8)),
        "n3": IF(0.5),
    }

    def forward(m: Any, x: Any) -> Any:
        flat = m.flat(m.pool(m.n1(m.conv(x))))
        return m.n3(m.fc2(m.n2(m.fc1(flat))) + m.fc3(flat))

    return Flow(forward, **parts)


def compiled(bits: Any, target: str = "loihi2") -> Artifact:
    drawn = torch.rand(4, 2, 2, 8, 8)
    return snnhw.compile(module(), drawn, target=target, weight_bits=bits, map="fewest-cores")


def short(network: Network[Any], name: str) -> str:
    """The module that a weight array comes from."""
    return network.names(name)[-1].partition(".")[0]


def widths(artifact: Artifact) -> dict[str, int]:
    network = artifact.network
    return {short(network, name): network.bits[name] for name in network.stored}


def words(artifact: Artifact) -> int:
    return sum(row["resources"]["syn_words"]["used"] for row in utilization(artifact.mapping, artifact.target))


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (None, {"conv": 8, "fc1": 8, "fc2": 8, "fc3": 8}),
        (4, {"conv": 8, "fc1": 4, "fc2": 8, "fc3": 8}),
        (" 4", {"conv": 8, "fc1": 4, "fc2": 8, "fc3": 8}),
        ("*=4", {"conv": 4, "fc1": 4, "fc2": 4, "fc3": 4}),
        ("conv=6,fc?=3,*=5", {"conv": 6, "fc1": 3, "fc2": 3, "fc3": 3}),
        ({"fc2": 3, "fc*": 4}, {"conv": 8, "fc1": 4, "fc2": 3, "fc3": 4}),
        ("pool=5", {"conv": 8, "fc1": 5, "fc2": 8, "fc3": 5}),
    ],
)
@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_every_array_has_the_width_that_was_asked_for(said: Any, want: dict[str, int], target: str) -> None:
    artifact = compiled(said, target)
    network = artifact.network
    assert widths(artifact) == want
    for name in network.stored:
        w, bits = network.weights[name], network.bits[name]
        step = int(np.gcd.reduce(np.abs(w), axis=None)) or 1
        assert np.abs(w).max() <= step * ((1 << (bits - 1)) - 1)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_network_without_a_body_is_all_body(layers: int) -> None:
    network = layer(np.ones((4, 6)), neuron())
    if layers == 2:
        more = (Population("m", (3,), Kind.NEURON, neuron(), 2), Projection("n->m", "n", "m", Dense("v")))
        network = Network(
            (*network.populations, more[0]),
            (*network.projections, more[1]),
            {**network.weights, "v": np.ones((3, 4))},
            4,
            Readout("rate", "m"),
        )
    network = replace(network, layers={name: (name,) for name in network.weights})
    assert set(bits_of_arrays(network, 4, 8).values()) == {4}


def test_the_ends_are_layers_of_the_source_and_what_stands_between_is_body() -> None:
    """in -> a (identity) -> b -> c -> d, and a shortcut of no layer into the readout d."""
    names = ("in", "a", "b", "c", "d")
    cells = tuple(
        Population(n, (4,), Kind.INPUT if n == "in" else Kind.NEURON, None if n == "in" else neuron(), i)
        for i, n in enumerate(names)
    )
    links = [Projection(f"{p}->{q}", p, q, Dense(f"{p}{q}")) for p, q in pairwise(names)]
    links.append(Projection("b->d", "b", "d", Dense("bd"), 2))
    weights = {q.op.weight: np.eye(4) for q in links}
    layers = {name: (f"layer.{name}",) for name in ("ab", "bc", "cd")}
    network = Network(cells, tuple(links), weights, 4, Readout("rate", "d"), layers=layers)
    assert ends(network) == {"ab", "cd"}
    assert bits_of_arrays(network, 3, 8) == {"ina": 3, "ab": 8, "bc": 3, "cd": 8, "bd": 3}
    assert replace(network, bits=bits_of_arrays(network, 3, 8)).bits_per_weight(8) == 5.0


def test_compile_says_bits_and_memory() -> None:
    said = summary(compiled(4), "a.snnhw")
    artifact = compiled(4)
    sizes = {short(artifact.network, name): artifact.network.weights[name].size for name in artifact.network.stored}
    want = sum(size * (4 if name == "fc1" else 8) for name, size in sizes.items()) / sum(sizes.values())
    assert said["bits_per_weight"] == round(want, 2)
    assert said["memory"] == {
        "weights": f"{words(artifact) * artifact.target.core.syn_word_bits / 8192:.1f} KiB",
        "relays": "0.0 KiB",
    }


def test_narrow_weights_keep_their_grid_beside_wide_ones() -> None:
    """Three bits beside eight into the same neurons: the narrow ones use their largest weight, in larger units."""
    network = compiled("fc2=3").network
    into = {short(network, q.op.weight): q for q in network.into("n3")}
    assert np.abs(network.weights[into["fc2"].op.weight]).max() == 3
    assert np.abs(network.weights[into["fc3"].op.weight]).max() > 40
    assert into["fc2"].weight_exp - into["fc3"].weight_exp >= 3


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("largest", [0.05, 1.0, 20.0])
def test_constants_keep_the_full_width_and_are_never_clipped(
    target: str, bits: int, calibrated: bool, largest: float, rng: np.random.Generator
) -> None:
    """A bias of a filtered current is a constant: whatever its size, it is as near as a weight of 8 bits allows."""
    each = np.append(rng.normal(size=7) * largest / 3, largest)
    network = with_constant(rng.normal(size=(8, 30)), each, neuron(9.0, u_keep=0.5))
    x = rng.integers(0, 2, (20, 6, 30)) if calibrated else None
    result = quantized(network, target, x, bits).network
    link = next(q for q in result.into("n") if q.pre == "n.constant")
    have = result.array(link.op)[:, 0].astype(float) * 2.0**link.weight_exp
    assert result.bits[link.op.weight] == 8
    unit = result["n"].model.vth / 9.0 / (1 << result["n"].model.act_shift)
    step = (1 if target == "loihi2" else 2) * 2.0**link.weight_exp / unit
    assert (np.abs(have / unit - each) <= 0.51 * step + 0.03 * np.abs(each)).all()


def test_mixed_widths_give_the_same_bits_in_all_engines() -> None:
    artifact = compiled("fc2=3,conv=5")
    x = np.random.default_rng(0).random((3, 4, 2, 8, 8)) < 0.4
    runs = [snnhw.run(artifact, x.astype(float), engine, record="state") for engine in ("reference", "fast", "onnx")]
    for key in runs[0]:
        for run in runs[1:]:
            np.testing.assert_array_equal(run[key], runs[0][key])
    assert runs[0]["spikes/n3"].any()


def test_bits_of_mixed_widths_are_those_of_each_array() -> None:
    """What four bits and eight bits take apart, array by array, adds up to what the mixture takes."""
    few, many = compiled("*=4"), compiled(8)
    mixed = compiled("conv=4,fc2=4,fc1=8,fc3=8")

    def by_array(artifact: Artifact) -> dict[str, int]:
        network, found = artifact.network, {}
        for q in network.projections:
            fmt = Format.of(q, network, artifact.target)
            box = np.array([[(0, n) for n in network[q.post].shape]])

            def count(synapses: Any, fmt: Format = fmt, delay: int = q.delay) -> Any:
                return fmt.bits(synapses, delay)

            found[short(network, q.op.weight)] = int(q.op.lists(*network.between(q), box, count, fmt.shared)[1][0])
        return found

    four, eight, both = by_array(few), by_array(many), by_array(mixed)
    assert both == {**eight, "conv": four["conv"], "fc2": four["fc2"]}
    assert all(four[name] <= eight[name] for name in four)
    assert sum(four.values()) < 0.75 * sum(eight.values())
    for artifact, counted in ((few, four), (many, eight), (mixed, both)):
        word = artifact.target.core.syn_word_bits
        assert 0 <= words(artifact) * word - sum(counted.values()) < word * len(artifact.mapping.slices)


def test_the_artifact_and_explain_say_each_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = compiled("fc2=3")
    snnhw.save(artifact, tmp_path / "a.snnhw")
    assert snnhw.load(tmp_path / "a.snnhw").network.bits == artifact.network.bits
    with pytest.raises(SystemExit):
        main(["explain", str(tmp_path / "a.snnhw")])
    said = capsys.readouterr().out
    assert "3 bit, 8x8; layers fc2.0" in said
    assert "8 bit, 8x144; layers pool.0, flat.0, fc3.0" in said


@pytest.mark.parametrize("bits", [{}, 9, 2, "8"])
def test_an_artifact_with_other_widths_is_refused(bits: Any, tmp_path: Path) -> None:
    artifact = compiled(None)
    name = artifact.network.stored[0]
    said = bits if isinstance(bits, dict) else {**artifact.network.bits, name: bits}
    snnhw.save(replace(artifact, network=replace(artifact.network, bits=said)), tmp_path / "a.snnhw")
    with pytest.raises(ArtifactError) as caught:
        snnhw.load(tmp_path / "a.snnhw")
    if bits != "8":  # no number at all: refused by the schema
        assert "bad-artifact: the artifact does not fit together: weights of " in str(caught.value)
        assert " bits do not hold these, or the target has none" in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (1, "bad-weight-bits: the target does not have weights of that width"),
        ("*=9", "bad-weight-bits: the target does not have weights of that width"),
        ("w=4,x=5", "unmatched-weight-bits: no layer with weights is named x\n  where: --weight-bits w=4,x=5"),
        ("", "bad-weight-bits: this says no widths of weights"),
        ("w", "bad-weight-bits: this says no widths of weights"),
        ("w=", "bad-weight-bits: this says no widths of weights"),
        ("=4", "bad-weight-bits: this says no widths of weights"),
        ("w=4,", "bad-weight-bits: this says no widths of weights"),
        ("w=4.5", "bad-weight-bits: this says no widths of weights"),
        ({"w": 4.0}, "bad-weight-bits: this says no widths of weights"),
        ({"w": True}, "bad-weight-bits: this says no widths of weights"),
        ("w=4,w=5", "bad-weight-bits: a name has two widths"),
    ],
)
def test_refusals(wanted: Any, text: str) -> None:
    network = layer(np.ones((2, 3)), neuron())
    with pytest.raises(QuantizeError) as caught:
        bits_of_arrays(network, wanted, 8)
    assert text in str(caught.value)


def test_two_widths_for_one_array_are_refused() -> None:
    with pytest.raises(QuantizeError) as caught:
        compiled("pool=5,fc1=4")
    assert str(caught.value).startswith(
        "two-weight-bits: layers that are stored as one weight array have two widths\n  where: n2<-fc1.0\n"
    )
    assert "needed: pool.0=5, fc1.0=4\n  limit: one width\n  hint: give them the same width" in str(caught.value)
