"""Random integer networks for property and conformance tests: plain seeded numpy, small, neither silent nor saturated.

Every network is grown population by population; thresholds are drawn from the membranes that the reference engine's
own cells reach, so that each spiking population fires in 2 to 60 % of its neuron-steps. Flavours named in
`OVERFLOWING` drive u and v past 24 bits on purpose and are exempt from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from snnhw.machine import Machine, load_target
from snnhw.network import (
    Array,
    Comparison,
    Conv,
    Dense,
    Diagonal,
    Inject,
    IntNeuron,
    Kind,
    LinearOp,
    Network,
    Readout,
    ResetTiming,
    verify,
)
from tests.grow import (
    HIGHEST_RATE,
    LIF,
    LOWEST_RATE,
    PROGRAMMABLE,
    Grower,
    adder,
    counter,
    random_neuron,
)

__all__ = [
    "FLAVOURS",
    "HIGHEST_RATE",
    "LIF",
    "LOWEST_RATE",
    "OVERFLOWING",
    "PROGRAMMABLE",
    "Case",
    "machine",
    "random_case",
    "union",
]

FLAVOURS = (
    *("dense", "conv", "residual", "lagged", "relay", "graded", "gates"),
    *("inject", "conv", "once", "wrap", "edge", "sums"),
)
OVERFLOWING = ("wrap", "edge")
TRIES = 60
PAYLOAD = 3
"""Spikes a random neuron sends in one step at most."""


@dataclass(frozen=True)
class Case:
    """A network with values for its inputs: name -> (samples, steps, *shape)."""

    network: Network[IntNeuron]
    stream: dict[str, Array]
    profile: str
    flavour: str

    @property
    def samples(self) -> int:
        return next(iter(self.stream.values())).shape[0]


@cache
def machine(profile: str) -> Machine:
    """A shipped machine of a profile."""
    return load_target("loihi1" if profile == LIF else "loihi2")


def random_case(seed: int, profile: str, *, samples: int = 4, steps: int = 4, flavour: str | None = None) -> Case:
    """One network; the seed chooses the flavour unless it is given."""
    name = flavour or FLAVOURS[seed % len(FLAVOURS)]
    grower = Grower(np.random.default_rng([seed, profile == LIF]), profile, samples, steps)
    {
        "dense": _dense,
        "conv": _conv,
        "residual": _residual,
        "relay": _relay,
        "lagged": _lagged,
        "gates": _gates,
        "once": _once,
        "sums": _sums,
        "graded": _graded,
        "inject": _inject,
        "wrap": _wrap,
        "edge": _edge,
    }[name](grower)
    network = grower.network()
    verify(network)
    return Case(network, grower.stream, profile, name)


def union(cases: Sequence[Case]) -> Case:
    """Disjoint union: one network that holds all of them under the prefixes 0/, 1/, ..."""
    populations, projections, weights, stream = [], [], {}, {}
    for i, case in enumerate(cases):
        net = case.network
        populations += [replace(p, name=f"{i}/{p.name}") for p in net.populations]
        projections += [
            replace(q, name=f"{i}/{q.name}", pre=f"{i}/{q.pre}", post=f"{i}/{q.post}", op=_renamed(q.op, f"{i}/"))
            for q in net.projections
        ]
        weights |= {f"{i}/{key}": value for key, value in net.weights.items()}
        stream |= {f"{i}/{key}": value for key, value in case.stream.items()}
    steps = cases[0].network.steps
    network = Network(tuple(populations), tuple(projections), weights, steps, Readout("rate", populations[-1].name))
    return Case(network, stream, cases[0].profile, "union")


def _renamed(op: LinearOp, prefix: str) -> LinearOp:
    return op if isinstance(op, Inject) else replace(op, weight=prefix + op.weight)


def _accumulator(grower: Grower, pre: Sequence[str]) -> None:
    """A non-spiking readout over some populations."""
    shapes = {p.name: p.shape for p in grower.populations}
    rng, size = grower.rng, int(grower.rng.integers(1, 5))
    neuron = replace(random_neuron(rng, grower.profile, (size,)), max_spikes=1, reset_timing=ResetTiming.SAME_STEP)
    links = [(name, Dense(grower.tensor((size, int(np.prod(shapes[name])))))) for name in pre]
    grower.grow((size,), links, kind=Kind.ACCUMULATOR, neuron=neuron)


def _must(grower: Grower, attempt: Any) -> str:
    """Try until the threshold search succeeds; every try draws new weights."""
    for _ in range(TRIES):
        name = attempt()
        if name is not None:
            return str(name)
    raise AssertionError("no weights of this kind make the population fire")


def _dense_layer(grower: Grower, pres: Sequence[str], late: int = 0) -> str:
    shapes = {p.name: p.shape for p in grower.populations}

    def attempt() -> str | None:
        rng = grower.rng
        shape = shapes[pres[0]] if rng.random() < 0.4 else (int(rng.integers(2, 12)),)
        return grower.grow(shape, [(pre, grower.operator(shapes[pre], shape)) for pre in pres], late=late)

    return _must(grower, attempt)


def _conv_layer(grower: Grower, pre: str) -> str:
    shape = {p.name: p.shape for p in grower.populations}[pre]

    def attempt() -> str | None:
        op, post = grower.convolution(shape)
        return grower.grow(post, [(pre, op)], exps=grower.profile == PROGRAMMABLE)

    return _must(grower, attempt)


def _image(grower: Grower, low: int = 0, high: int = 1) -> str:
    rng = grower.rng
    return grower.input((int(rng.integers(1, 4)), int(rng.integers(3, 8)), int(rng.integers(3, 8))), low, high)


def _dense(grower: Grower) -> None:
    first = grower.input((int(grower.rng.integers(4, 20)),))
    hidden = _dense_layer(grower, [first])
    top = _dense_layer(
        grower, [hidden, first] if grower.rng.random() < 0.5 else [hidden], late=int(grower.rng.integers(0, 3))
    )
    if grower.rng.random() < 0.5:
        _accumulator(grower, [top])


def _conv(grower: Grower) -> None:
    first = _conv_layer(grower, _image(grower))
    top = _conv_layer(grower, first) if grower.rng.random() < 0.4 else _dense_layer(grower, [first])
    if grower.rng.random() < 0.4:
        _accumulator(grower, [top])


def _residual(grower: Grower) -> None:
    """A block whose consumer sees branch and skip, the skip delayed; as SEW ADD with one projection per summand."""
    stem = _conv_layer(grower, _image(grower))
    shape = grower.populations[-1].shape
    channels = shape[0]

    def same(pre: Sequence[str]) -> str | None:
        links: list[tuple[str, LinearOp]] = [
            (name, Conv(grower.tensor((channels, channels, 3, 3)), padding=(1, 1))) for name in pre
        ]
        return grower.grow(shape, links, exps=False)

    branch = _must(grower, lambda: same([stem]))
    joined = _must(grower, lambda: same([branch, stem]))
    if grower.rng.random() < 0.5:
        _accumulator(grower, [joined, stem])


def _relay(grower: Grower) -> None:
    """Spikes (graded ones on programmable targets) handed on unchanged, one step later."""
    first = _dense_layer(grower, [grower.input((int(grower.rng.integers(4, 12)),))])
    population = grower.populations[-1]
    most = population.payload[1]
    name = f"w{len(grower.weights)}"
    grower.weights[name] = np.array([1])
    if grower.profile == LIF:
        model = IntNeuron(0, np.array(0), np.array(0), du=4096)
    else:
        model = IntNeuron(
            4096, np.array(1), np.array(0), act_shift=0, comparison=Comparison.GE, max_spikes=most, du=4096
        )
    relay = grower.grow(population.shape, [(first, Diagonal(name))], kind=Kind.RELAY, neuron=model, exps=False)
    assert relay is not None
    _dense_layer(grower, [relay, first])


def _trains(grower: Grower, count: int, shape: tuple[int, ...]) -> list[str]:
    """Spiking populations of one shape that read one input."""
    first = grower.input((int(grower.rng.integers(4, 12)),))

    def attempt() -> str | None:
        size = grower.populations[0].size
        return grower.grow(shape, [(first, grower.operator((size,), shape))])

    return [_must(grower, attempt) for _ in range(count)]


def _gate(
    grower: Grower, links: Sequence[tuple[str, int]], level: int, *, lasting: bool = False, lags: Any = None
) -> str:
    """A gate over one-to-one links (population, how many spikes one of its spikes counts for)."""
    neuron, unit = counter(grower.profile, level, lasting)
    shape = next(p.shape for p in grower.populations if p.name == links[0][0])
    wired = [(pre, Diagonal(grower.constant((1,), unit * weight))) for pre, weight in links]
    name = grower.grow(shape, wired, kind=Kind.GATE, neuron=neuron, exps=False, lags=lags)
    assert name is not None
    return name


def _lagged(grower: Grower) -> None:
    """Synaptic delays of none to more steps than a sample has, on branches and skips, beside what has none."""
    rng, most = grower.rng, grower.steps + 1
    first = grower.input((int(rng.integers(4, 12)),))
    hidden = _dense_layer(grower, [first])
    shapes = {p.name: p.shape for p in grower.populations}

    def attempt() -> str | None:
        links = [(pre, grower.operator(shapes[pre], (4,))) for pre in (hidden, hidden, first)]
        return grower.grow((4,), links, late=int(rng.integers(0, 3)), lags=[int(rng.integers(0, most)), most, 0])

    _dense_layer(grower, [_must(grower, attempt), hidden])
    if rng.random() < 0.5:
        _accumulator(grower, [hidden])


def _gates(grower: Grower) -> None:
    """AND, IAND, majority and a max-pool of spikes, gates behind gates, and a layer that reads them."""
    shape = (2, int(grower.rng.integers(2, 5)), int(grower.rng.integers(2, 5)))
    a, b, c = _trains(grower, 3, shape)
    both, only = _gate(grower, [(a, 1), (b, 1)], 1), _gate(grower, [(a, -1), (c, 1)], 0)
    most = _gate(grower, [(a, 1), (b, 1), (c, 1)], 1)
    neither = _gate(grower, [(both, -1), (most, 1)], 0)
    neuron, unit = counter(grower.profile, 0)
    pool = Conv(grower.constant((2, 1, 2, 2), unit), stride=(2, 2), padding=(1, 1), groups=2)
    rows, cols = (n // 2 + 1 for n in shape[1:])
    pooled = grower.grow((2, rows, cols), [(only, pool), (both, pool)], kind=Kind.GATE, neuron=neuron, exps=False)
    assert pooled is not None
    _dense_layer(grower, [neither, a])
    _dense_layer(grower, [pooled, b])


def _once(grower: Grower) -> None:
    """Neurons that let one spike a sample through: a gate that a delayed, lasting gate closes."""
    (train,) = _trains(grower, 1, (int(grower.rng.integers(2, 9)),))
    since = _gate(grower, [(train, 1)], 0, lasting=True)
    first = _gate(grower, [(train, 1), (since, -1)], 0, lags=[0, 1])
    _dense_layer(grower, [first, train])


def _sums(grower: Grower) -> None:
    """Sums of spikes as graded relays, one inside the next, and a pool over them; on LIF one projection a summand."""
    shape = (2, 3, 3)
    a, b, c = _trains(grower, 3, shape)
    readers = [a, b, c]
    if grower.profile == PROGRAMMABLE:
        one = Diagonal(grower.constant((1,), 1))
        pair = grower.grow(shape, [(a, one), (b, one)], kind=Kind.RELAY, neuron=adder(2 * PAYLOAD), exps=False)
        assert pair is not None
        triple = grower.grow(shape, [(pair, one), (c, one)], kind=Kind.RELAY, neuron=adder(3 * PAYLOAD), exps=False)
        assert triple is not None
        window = Conv(grower.constant((2, 1, 3, 3), 1), groups=2)
        most = adder(27 * PAYLOAD)
        pool = grower.grow((2, 1, 1), [(triple, window)], kind=Kind.RELAY, neuron=most, exps=False)
        assert pool is not None
        readers = [triple, pool]
    for reader in readers:
        _dense_layer(grower, [reader])


def _graded(grower: Grower) -> None:
    """Signed or unsigned integer inputs, as quantised pixels."""
    low, high = ((0, 255), (-8, 7), (0, 3))[int(grower.rng.integers(3))]
    _dense_layer(grower, [_conv_layer(grower, _image(grower, low, high))])


def _inject(grower: Grower) -> None:
    """Host-computed values straight into the current, beside synapses of another input."""
    shape = (int(grower.rng.integers(2, 9)),)
    values, spikes = grower.input(shape, -20, 60), grower.input((5,))

    def attempt() -> str | None:
        links: list[tuple[str, LinearOp]] = [(values, Inject()), (spikes, Dense(grower.tensor((shape[0], 5))))]
        return grower.grow(shape, links, late=int(grower.rng.integers(0, 3)))

    _dense_layer(grower, [_must(grower, attempt)])


def _wrap(grower: Grower) -> None:
    """u runs past 2**23 and comes back on the other side, v saturates."""
    rng = grower.rng
    pre = grower.input((6,), -255, 255)
    model = random_neuron(rng, grower.profile, (5,))
    model = replace(
        model,
        vth=np.array(100000 << 6),
        du=int(rng.choice([4096, 1, 100])),
        act_shift=6,
        dv=int(rng.choice([0, 10])),
        max_spikes=1,
        v_min=None,
    )
    top = grower.grow((5,), [(pre, Dense(grower.tensor((5, 6), top=254)))], neuron=model, exps=False)
    assert top is not None
    small = replace(random_neuron(rng, grower.profile, (3,)), vth=np.array(64 * 50))
    grower.grow((3,), [(top, Dense(grower.tensor((3, 5))))], neuron=small, exps=False)


def _edge(grower: Grower) -> None:
    """Currents of exactly plus and minus 2**23 (the first survives, the second turns over) and beyond one turn."""
    values = grower.rng.choice(
        [-4096, -2048, -1024, -1023, 0, 1023, 1024, 2048, 3072, 4096], (grower.samples, grower.steps, 4)
    )
    pre = grower.input((4,), -4096, 4096, values)
    name = f"w{len(grower.weights)}"
    grower.weights[name] = np.array([128])
    model = IntNeuron(0, np.array(131071 << 6), np.array(64), du=4096)
    assert grower.grow((4,), [(pre, Diagonal(name))], neuron=model, exps=False)
