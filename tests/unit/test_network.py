"""The rules between all stages, each broken once, and the network as text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw.errors import LoweringError
from snnhw.network import (
    Comparison,
    Conv,
    Dense,
    Diagonal,
    FloatNeuron,
    Inject,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Sparse,
    verify,
)
from snnhw.network_text import format_network

MODEL = FloatNeuron(v_keep=0.5, threshold=np.ones(()), bias=np.zeros(()))


def network(**changes: Any) -> Network[FloatNeuron]:
    """input (3) -> hidden (2) -> out (2), and the input once more, two steps later."""
    parts: dict[str, Any] = {
        "populations": (
            Population("input", (3,), Kind.INPUT),
            Population("hidden", (2,), Kind.NEURON, MODEL, start=1),
            Population("out", (2,), Kind.NEURON, MODEL, start=2),
        ),
        "projections": (
            Projection("a", "input", "hidden", Dense("w")),
            Projection("b", "hidden", "out", Diagonal("d")),
            Projection("skip", "input", "out", Dense("w"), delay=2),
        ),
        "weights": {"w": np.ones((2, 3)), "d": np.ones(())},
        "steps": 4,
        "readout": Readout("rate", "out"),
    }
    return Network(**{**parts, **changes})


def with_population(index: int, **changes: Any) -> Network[FloatNeuron]:
    populations = list(network().populations)
    populations[index] = replace(populations[index], **changes)
    return network(populations=tuple(populations))


def with_projection(index: int, **changes: Any) -> Network[FloatNeuron]:
    projections = list(network().projections)
    projections[index] = replace(projections[index], **changes)
    return network(projections=tuple(projections))


DELAY_RULE = "a projection's delay is the difference of the start steps and its lag"
BROKEN: list[tuple[str, Network[FloatNeuron], str]] = [
    ("population names are unique", with_population(2, name="hidden"), "hidden"),
    ("inputs have no neuron model, all others have one", with_population(0, neuron=MODEL), "input"),
    ("inputs have no neuron model, all others have one", with_population(1, neuron=None), "hidden"),
    ("projections join populations of the network", with_projection(1, pre="ghost"), "b"),
    ("projections join populations of the network", with_projection(1, post="ghost"), "b"),
    ("every hop costs at least one step", with_projection(1, delay=0), "b"),
    (DELAY_RULE, with_projection(2, delay=1), "skip"),
    (DELAY_RULE, with_projection(2, lag=1), "skip"),
    ("feedback has a lag of at least one sample step", with_projection(0, pre="out", post="hidden"), "a"),
    (DELAY_RULE, with_projection(2, delay=1, lag=-1), "skip"),
    (DELAY_RULE, with_population(1, start=2), "a"),
    ("every operator's weights exist", with_projection(0, op=Dense("ghost")), "a"),
    (
        "every computed population but a constant has an input",
        network(projections=network().projections[1:], populations=network().populations),
        "hidden",
    ),
    ("an operator's weights fit its populations", network(weights={"w": np.ones((3, 2)), "d": np.ones(())}), "a"),
    ("an operator's weights fit its populations", network(weights={"w": np.ones((2, 3)), "d": np.ones(3)}), "b"),
    ("an operator's weights fit its populations", with_projection(0, op=Inject()), "a"),
    ("the readout names a population", network(readout=Readout("rate", "ghost")), "ghost"),
]


@pytest.mark.parametrize(("rule", "broken", "where"), BROKEN)
def test_a_broken_rule_is_named(rule: str, broken: Network[FloatNeuron], where: str) -> None:
    with pytest.raises(LoweringError) as caught:
        verify(broken)
    assert str(caught.value) == f"invalid-network: a rule of the network does not hold: {rule}\n  where: {where}"


def test_a_good_network_passes() -> None:
    verify(network())


CSR = {"w": np.ones(3), "w/indices": np.array([0, 2, 1]), "w/indptr": np.array([0, 2, 3])}


def sparse(**changes: Any) -> Network[FloatNeuron]:
    parts = {**CSR, **{f"w/{name}": np.array(value) for name, value in changes.items()}, "d": np.ones(())}
    made = network(weights=parts)
    projections = tuple(replace(p, op=Sparse("w")) if isinstance(p.op, Dense) else p for p in made.projections)
    return replace(made, projections=projections)


def test_a_sparse_matrix_that_fits() -> None:
    verify(sparse())


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": [0, 3, 1]},
        {"indices": [0, -1, 1]},
        {"indices": [0, 1]},
        {"indptr": [0, 2, 9]},
        {"indptr": [0, 4, 3]},
        {"indptr": [1, 2, 3]},
        {"indptr": [0, 3]},
    ],
)
def test_a_sparse_matrix_that_points_outside(changes: dict[str, Any]) -> None:
    with pytest.raises(LoweringError, match="an operator's weights fit its populations"):
        verify(sparse(**changes))


@pytest.mark.parametrize(
    ("op", "weight", "post"),
    [
        (Conv("w"), (3, 2, 2, 2), (3, 4, 4)),
        (Conv("w", (2, 2), (1, 1)), (3, 2, 3, 3), (3, 3, 3)),
        (Conv("w", groups=2), (4, 1, 2, 2), (4, 4, 4)),
    ],
)
def test_a_convolution_must_fit(op: Conv, weight: tuple[int, ...], post: tuple[int, ...]) -> None:
    def joined(weight: tuple[int, ...], post: tuple[int, ...]) -> Network[FloatNeuron]:
        populations = (Population("in", (2, 5, 5), Kind.INPUT), Population("c", post, Kind.NEURON, MODEL, start=1))
        readout = Readout("rate", "c")
        return Network(populations, (Projection("p", "in", "c", op),), {"w": np.ones(weight)}, 2, readout)

    verify(joined(weight, post))
    broken = [
        ((*weight[:3], 1), post),
        ((weight[0], 3, *weight[2:]), post),
        (weight, (*post[:2], 1)),
        (weight[:3], post),
    ]
    for other, shape in broken:
        with pytest.raises(LoweringError, match="an operator's weights fit its populations"):
            verify(joined(other, shape))


def test_an_injection_needs_no_weights() -> None:
    verify(with_projection(1, op=Inject()))


def test_neighbours() -> None:
    net = network()
    assert [p.name for p in net.into("out")] == ["b", "skip"]
    assert [p.name for p in net.out_of("input")] == ["a", "skip"]
    assert [p.name for p in net.inputs] == ["input"]
    assert [p.name for p in net.computed] == ["hidden", "out"]
    assert net.depth == 2
    assert net["hidden"].size == 2
    assert net["hidden"].model is MODEL


def test_text_of_a_float_network() -> None:
    assert format_network(network()) == (
        "network steps=4 readout=rate(out)\n"
        "  input       input 3 start=0\n"
        "  neuron      hidden 2 start=1 keep=0.5 v>1 reset=zero\n"
        "  neuron      out 2 start=2 keep=0.5 v>1 reset=zero\n"
        "  input -> hidden dense[w] delay=1\n"
        "  hidden -> out diagonal[d] delay=1\n"
        "  input -> out dense[w] delay=2\n"
    )


def test_text_of_integers_and_convolutions() -> None:
    model = IntNeuron(dv=2048, vth=np.array([64, 128]), bias=np.zeros(2, int), comparison=Comparison.GE, du=4096)
    net = Network(
        (Population("in", (4, 5, 5), Kind.INPUT), Population("c", (2, 2, 2), Kind.NEURON, model, start=1)),
        (Projection("p", "in", "c", Conv("w", (2, 2), (1, 1), (2, 2), 2), weight_exp=3),),
        {"w": np.ones((2, 2, 3, 3), int)},
        2,
        Readout("rate", "c"),
    )
    assert format_network(net).splitlines()[2:] == [
        "  neuron      c 2x2x2 start=1 du=4096 dv=2048 v>=64..128 bias=0 reset=zero shift=6",
        "  in -> c conv[w] stride=2x2 padding=1x1 dilation=2x2 groups=2 delay=1 exp=3",
    ]
