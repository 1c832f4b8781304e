"""Growing a random integer network population by population, with thresholds that let each of them fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from snnhw import fixed
from snnhw.engines.reference import Cells
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
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
    Shape,
    Sparse,
)

LIF, PROGRAMMABLE = "lava-lif", "programmable"
LOWEST_RATE, HIGHEST_RATE = 0.02, 0.6
SPARE_STEPS = 12
NEVER = 1 << 40


@dataclass
class History:
    """Spikes and v of one population at every chip step."""

    spikes: list[Array] = field(default_factory=list)
    v: list[Array] = field(default_factory=list)


@dataclass
class Grower:
    """A network under construction, simulated as it grows."""

    rng: np.random.Generator
    profile: str
    samples: int
    steps: int
    populations: list[Population[IntNeuron]] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    stream: dict[str, Array] = field(default_factory=dict)
    history: dict[str, History] = field(default_factory=dict)

    def network(
        self, extra: Population[IntNeuron] | None = None, links: Sequence[Projection] = ()
    ) -> Network[IntNeuron]:
        """What has grown so far, with one more population."""
        populations = (*self.populations, *([extra] if extra else []))
        readout = Readout("rate", populations[-1].name)
        return Network(populations, (*self.projections, *links), self.weights, self.steps, readout)

    def input(self, shape: Shape, low: int = 0, high: int = 1, values: Array | None = None) -> str:
        """An input population: random spikes, or graded values in [low, high]."""
        name, size = f"in{len(self.populations)}", (self.samples, self.steps, *shape)
        if values is None:
            dense = self.rng.integers(low, high + 1, size)
            values = dense * (self.rng.random(size) < self.rng.uniform(0.3, 0.9)) if (low, high) == (0, 1) else dense
        self.populations.append(Population(name, shape, Kind.INPUT, payload=(low, high)))
        self.stream[name] = values
        blank = [np.zeros(shape, np.int64)] * SPARE_STEPS
        self.history[name] = History(spikes=[*values.reshape(-1, *shape).astype(np.int64), *blank])
        return name

    def tensor(self, shape: Shape, sign: str | None = None, top: int | None = None) -> str:
        """Weights of one sign or mixed (then even, for lava-lif); returns their name."""
        sign = sign or str(self.rng.choice(["mixed", "mixed", "mixed", "positive", "negative"]))
        top = top or int(self.rng.choice([20, 60, 254]))
        low, high = {"mixed": (-top, top), "positive": (0, top), "negative": (-top, 0)}[sign]
        w = self.rng.integers(low, high + 1, shape)
        if sign == "mixed" and self.profile == LIF:
            w = w & ~1
        name = f"w{len(self.weights)}"
        self.weights[name] = w
        return name

    def operator(self, pre: Shape, post: Shape, *, spread: bool = True) -> LinearOp:
        """A random operator between two given shapes (never a convolution)."""
        size_in, size_out = int(np.prod(pre)), int(np.prod(post))
        choice = self.rng.random()
        if pre == post and choice < 0.4:
            return Diagonal(self.tensor(pre if spread else (1,) * len(pre)))
        if choice < 0.6:
            return self.sparse(size_in, size_out)
        return Dense(self.tensor((size_out, size_in)))

    def constant(self, shape: Shape, value: int) -> str:
        """Weights of one value; returns their name."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.full(shape, value)
        return name

    def sparse(self, size_in: int, size_out: int) -> Sparse:
        """A sparse operator with rows of 0 to 6 synapses."""
        rows = [np.sort(self.rng.permutation(size_in)[: self.rng.integers(0, 7)]) for _ in range(size_out)]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        name = self.tensor((int(indptr[-1]),))
        self.weights |= {f"{name}/indices": np.concatenate(rows).astype(np.int64), f"{name}/indptr": indptr}
        return Sparse(name)

    def convolution(self, pre: Shape) -> tuple[Conv, Shape]:
        """A convolution that fits, with the shape it makes."""
        rng = self.rng
        while True:
            groups = int(rng.choice([g for g in range(1, pre[0] + 1) if pre[0] % g == 0]))
            out = groups * int(rng.integers(1, 3))
            kernel, stride, padding, dilation = (
                tuple(int(n) for n in rng.integers(lo, hi, 2)) for lo, hi in ((1, 4), (1, 3), (0, 3), (1, 3))
            )
            conv = Conv("", stride, padding, dilation, groups)  # type: ignore[arg-type]
            shape = conv.shape({conv.weight: np.empty((out, pre[0] // groups, *kernel))}, pre)
            if min(shape) > 0 and np.prod(shape) <= 200:
                return replace(conv, weight=self.tensor((out, pre[0] // groups, *kernel))), shape

    def grow(
        self,
        shape: Shape,
        links: Sequence[tuple[str, LinearOp]],
        *,
        kind: Kind = Kind.NEURON,
        late: int = 0,
        neuron: IntNeuron | None = None,
        exps: bool = True,
        lags: Sequence[int] | None = None,
    ) -> str | None:
        """Add a population that fires neither too little nor too much; None when these weights do not allow it.

        Args:
            links: what it reads, each by an operator.
            late: chip steps it starts later than it could.
            lags: synaptic delay of each link.
        """
        lags = lags or [0] * len(links)
        at = {p.name: p.start for p in self.populations}
        start = max(at[pre] for pre, _ in links) + 1 + late
        name = f"n{len(self.populations)}"
        proj = [
            Projection(f"{name}.{i}", pre, name, op, start - at[pre] + lag, self._exponent(op) if exps else 0, lag)
            for i, ((pre, op), lag) in enumerate(zip(links, lags, strict=True))
        ]
        model = neuron or random_neuron(self.rng, self.profile, shape)
        population = Population(name, shape, kind, model, start, (0, model.max_spikes))
        network = self.network(population, proj)
        arrived = [
            arriving(network, population, self.history, t) for t in range(self.samples * self.steps + SPARE_STEPS)
        ]
        if kind is Kind.NEURON and neuron is None:
            tuned = tune(self, population, arrived)
            if tuned is None:
                return None
            population = tuned
        self.history[name] = play(population, arrived, self.steps)
        self.populations.append(population)
        self.projections += proj
        return name

    def _exponent(self, op: LinearOp) -> int:
        plain = 0.4 if self.profile == LIF else 0.7  # on LIF only matrices have an exponent
        if self.rng.random() < plain or isinstance(op, Inject) or (self.profile == LIF and not isinstance(op, Dense)):
            return 0
        return int(self.rng.integers(-2, 3)) if self.profile == PROGRAMMABLE else int(self.rng.integers(-3, 2))


def arriving(network: Network[IntNeuron], post: Population[IntNeuron], history: dict[str, History], step: int) -> Array:
    """The sum over projections of what was sent `delay` chip steps ago."""
    total = np.zeros(post.shape, np.int64)
    for q in network.into(post.name):
        if step >= q.delay and (step - post.start) % network.steps >= q.lag:  # else it was sent in the sample before
            sent = history[q.pre].spikes[step - q.delay][None]
            total = total + fixed.shifted(q.op.apply(network.weights, sent, post.shape)[0], q.weight_exp)
    return total


def play(population: Population[IntNeuron], arrived: Sequence[Array], steps: int) -> History:
    """One population alone, by the reference's cells."""
    cells, history = Cells(population, fixed.LOIHI), History()
    for step, a in enumerate(arrived):
        if step >= population.start and (step - population.start) % steps == 0:
            cells.begin_sample()
        cells.step(a)
        history.spikes.append(cells.s[0])
        history.v.append(cells.state["v"][0])
    return history


def tune(grower: Grower, population: Population[IntNeuron], arrived: Sequence[Array]) -> Population[IntNeuron] | None:
    """Choose a threshold among the membranes reached without one, such that the rate is in bounds."""
    rng, model = grower.rng, population.model
    window = slice(population.start, population.start + grower.samples * grower.steps)
    silent = replace(population, neuron=replace(model, vth=np.array(NEVER)))
    reached = np.array(play(silent, arrived, grower.steps).v[window])
    reached = reached[reached > 0]
    if not reached.size:
        return None
    grain = 64 if grower.profile == LIF else int(rng.choice([1, 1 << model.act_shift]))
    for quantile in rng.permutation([0.3, 0.6, 0.75, 0.85, 0.92, 0.97]):
        base = max(int(np.quantile(reached, quantile)) // grain * grain, grain)
        spread = rng.integers(0, base // 4 // grain + 1, population.shape) * grain if grain == 1 else 0
        if grower.profile == LIF and base >> 6 > 131071:
            continue
        tuned = replace(population, neuron=replace(model, vth=np.asarray(base + spread)))
        rate = np.count_nonzero(play(tuned, arrived, grower.steps).spikes[window]) / (
            len(range(*window.indices(NEVER))) * population.size
        )
        if LOWEST_RATE <= rate <= HIGHEST_RATE:
            return tuned
    return None


def counter(profile: str, level: int, lasting: bool = False) -> tuple[IntNeuron, int]:
    """A gate that fires above level + 1/2 spikes (of all so far in the sample if `lasting`), and the weight of one."""
    du = 0 if lasting else 4096
    if profile == LIF:
        return IntNeuron(4095, np.array((2 * level + 1) << 6), np.array(0), du), 2
    return IntNeuron(4096, np.array(level), np.array(0), du, act_shift=0), 1


def adder(most: int) -> IntNeuron:
    """A relay that hands on sums of spikes up to `most`."""
    return IntNeuron(4096, np.array(1), np.array(0), act_shift=0, comparison=Comparison.GE, max_spikes=most, du=4096)


def random_neuron(rng: np.random.Generator, profile: str, shape: Shape) -> IntNeuron:
    """A neuron model of the profile, threshold still open."""
    dv = int(rng.choice([0, 0, 1, 128, 1024, 3277, 4095]))
    du = int(rng.choice([4096, 4096, 4096, 4095, 3000, 1024, 1, 0]))
    exponent = int(rng.choice([0, 3, 6, 7]))
    bias = (
        np.asarray(rng.integers(-30, 50, rng.choice([0, 1]) * shape or (1,)) << exponent)
        if rng.random() < 0.7
        else np.array(0)
    )
    if profile == LIF:
        return IntNeuron(dv, np.array(NEVER), bias if bias.shape == shape else np.array(int(bias.flat[0])), du)
    reset = rng.choice(list(Reset))
    multi = int(rng.choice([1, 1, 3]))
    return IntNeuron(
        min(dv + int(dv == 4095 and rng.random() < 0.5), 4096),
        np.array(NEVER),
        bias if bias.shape == shape else np.array(int(bias.flat[0])),
        du,
        act_shift=int(rng.choice([0, 2, 6])),
        comparison=rng.choice(list(Comparison)),
        reset=Reset(reset),
        reset_timing=ResetTiming.NEXT_STEP if reset == Reset.SUBTRACT and rng.random() < 0.5 else ResetTiming.SAME_STEP,
        v_reset=int(rng.integers(-40, 40)),
        v_min=int(rng.integers(-300, 0)) if rng.random() < 0.3 else None,
        v_init=int(rng.integers(-30, 30)) if rng.random() < 0.3 else 0,
        max_spikes=multi,
    )
