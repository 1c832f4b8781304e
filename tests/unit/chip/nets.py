"""Tiny mapped networks and a toy target whose counts can be worked out by hand."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.encoding import InputSpec
from snnhw.machine import KEYS, Machine, load_target, parse_target, written
from snnhw.mapping.types import Mapping, Slice
from snnhw.network import Conv, Dense, Diagonal, IntNeuron, Kind, Network, Population, Projection, Readout, Sparse
from snnhw.semantics import Deployment

CONSTANTS: dict[str, dict[str, Any]] = {
    "chip": {"chips": 4, "cores": 8, "cores_usable": 8, "mesh": [2, 2], "cores_per_tile": 2},
    "core": {"neurons": 1024},
    "time": {
        "access": (6.0, "ns"),
        "update": (3.7, "ns"),
        "spike_out": (30.0, "ns"),
        "message_out": (5.1, "ns"),
        "message_in": (16.0, "ns"),
        "hop_ew": (4.1, "ns"),
        "hop_ns": (6.5, "ns"),
        "synop.dense": (3.8, "ns"),
        "synop.sparse": (4.7, "ns"),
        "synop.conv": (3.1, "ns"),
        "sync.tiles_1": (600.0, "ns"),
        "sync.tiles_2": (1.0, "us"),
        "sync_chips.chips_3": (14.3, "us"),
    },
    "energy": {
        "access": (51.2, "pJ"),
        "update": (21.6, "pJ"),
        "spike_out": (69.3, "pJ"),
        "message_out": (111.0, "pJ"),
        "message_in": (1.5, "pJ"),
        "hop_ew": (3.0, "pJ"),
        "hop_ns": (4.2, "pJ"),
        "synop.dense": (35.5, "pJ"),
        "synop.sparse": (33.6, "pJ"),
        "synop.conv": (24.0, "pJ"),
        "static_core": (0.815, "mW"),
        "static_chip": (2.0, "mW"),
    },
}
GRADES = {"energy.synop.sparse": "assumed", "energy.update": "inherited", "time.update": "scaled"}


def toy_text() -> str:
    """loihi2 with made-up limits and constants, and nothing beside its cores."""
    data = tomllib.loads(load_target("loihi2").text)
    data["time"]["sync"], data["time"]["sync_chips"] = {}, {}
    del data["system"]
    for section, table in CONSTANTS.items():
        for key, entry in table.items():
            value, unit = entry if isinstance(entry, tuple) else (entry, KEYS[f"{section}.{key}"])
            grade = GRADES.get(f"{section}.{key}", "measured-fit")
            *path, last = key.split(".")
            inner = data[section][path[0]] if path else data[section]
            inner[last] = {"value": value, "unit": unit, "grade": grade, "source": f"toy {key}"}
    return written(data)


def toy() -> Machine:
    """The toy target: 2 x 2 tiles of 2 cores a chip."""
    return parse_target("toy", toy_text())


def integrator(vth: int, bias: int = 0, v_init: int = 0) -> IntNeuron:
    """IF neuron without leak; one unit of weight is one unit of membrane."""
    return IntNeuron(dv=0, vth=np.array(vth), bias=np.array(bias), act_shift=0, v_init=v_init, du=4096)


Piece = tuple[str, tuple[tuple[int, int], ...], int]


def mapped(network: Network[IntNeuron], slices: list[Piece]) -> Artifact:
    """An artifact with nothing but what the chip model and the comparison read."""
    placed = tuple(Slice(name, box, core, {}) for name, box, core in slices)
    mapping = Mapping(placed, chips=1 + max(core for *_, core in slices) // 8)
    specs = tuple(InputSpec(p.name, p.shape, "spikes", low=p.payload[0], high=p.payload[1]) for p in network.inputs)
    return Artifact(
        source={"file": "toy.pt"},
        target=toy(),
        network=network,
        reference=network,  # type: ignore[arg-type]
        deployment=Deployment(network.steps, "spikes", network.inputs[0].shape, network.readout.kind),
        inputs=specs,
        mapping=mapping,
    )


def chain() -> Artifact:
    """x (3) -> h (4, on cores 0 and 2) -> y (2, on core 2), T = 2; all weights 1 but one, which is 0.

    h fires when its sum is above 1 and starts again from 0, y above 5.
    """
    first = np.ones((4, 3), np.int64)
    first[0, 0] = 0
    network = Network(
        populations=(
            Population("x", (3,), Kind.INPUT),
            Population("h", (4,), Kind.NEURON, integrator(1), start=1),
            Population("y", (2,), Kind.NEURON, integrator(5), start=2),
        ),
        projections=(Projection("x-h", "x", "h", Dense("w1")), Projection("h-y", "h", "y", Dense("w2"))),
        weights={"w1": first, "w2": np.ones((2, 4), np.int64)},
        steps=2,
        readout=Readout("rate", "y"),
    )
    return mapped(network, [("h", ((0, 2),), 0), ("h", ((2, 4),), 2), ("y", ((0, 2),), 2)])


CHAIN_INPUT = np.array([[[1, 1, 0], [0, 0, 1]]])
"""One sample of two steps for `chain`; `test_counts.py` works out by hand what happens."""


def residual() -> Artifact:
    """Convolutions with borders, strides and groups, a skip that shares weights, a sparse and a one-to-one projection,
    graded signed input, slices that cut channels and rows, two chips; T = 2."""
    draw = np.random.default_rng(3)

    def weights(*shape: int) -> np.ndarray:
        return draw.integers(-2, 4, shape)

    populations = (
        Population("x", (2, 6, 5), Kind.INPUT, payload=(-3, 3)),
        Population("a", (4, 6, 5), Kind.NEURON, integrator(3, bias=1), start=1),
        Population("b", (4, 6, 5), Kind.NEURON, integrator(4), start=2),
        Population("c", (6, 3, 3), Kind.NEURON, integrator(5, v_init=1), start=3),
        Population("out", (3,), Kind.ACCUMULATOR, integrator(0), start=4),
    )
    projections = (
        Projection("x-a", "x", "a", Conv("k1", padding=(1, 1))),
        Projection("a-b", "a", "b", Conv("k2", padding=(1, 1), groups=2)),
        Projection("a-b.1", "a", "b", Diagonal("d")),
        Projection("a-c", "a", "c", Conv("k3", stride=(2, 2), padding=(1, 1)), delay=2),
        Projection("b-c", "b", "c", Conv("k3", stride=(2, 2), padding=(1, 1))),
        Projection("c-out", "c", "out", Dense("w")),
        Projection("b-out", "b", "out", Sparse("s"), delay=2),
    )
    tables = {
        "k1": weights(4, 2, 3, 3),
        "k2": weights(4, 2, 3, 3),
        "k3": weights(6, 4, 3, 3),
        "d": np.array(2),
        "w": weights(3, 54),
        "s": np.array([1, 0, -2, 3, 1]),
        "s/indices": np.array([0, 70, 3, 119, 5]),
        "s/indptr": np.array([0, 2, 3, 5]),
    }
    slices: list[Piece] = [
        ("a", ((0, 4), (0, 3), (0, 5)), 0),
        ("a", ((0, 4), (3, 6), (0, 5)), 1),
        ("b", ((0, 2), (0, 6), (0, 5)), 2),
        ("b", ((2, 4), (0, 6), (0, 5)), 5),
        ("c", ((0, 6), (0, 2), (0, 3)), 5),
        ("c", ((0, 6), (2, 3), (0, 3)), 9),
        ("out", ((0, 3),), 9),
    ]
    return mapped(Network(populations, projections, tables, 2, Readout("mean", "out")), slices)


def residual_input(samples: int, seed: int = 0) -> np.ndarray:
    """Graded signed input of `residual`."""
    return np.random.default_rng(seed).integers(-1, 3, (samples, 2, 2, 6, 5))
