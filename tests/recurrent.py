"""Random integer networks with feedback, per-neuron parameters and constants, for property and conformance tests.

A network is made whole and then tuned: thresholds are drawn from the membranes that its own neurons reach without
firing, until every neuron population fires in a part of its neuron-steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnhw.engines.base import Needs, Record
from snnhw.engines.reference import ReferenceEngine
from snnhw.network import (
    Array,
    Conv,
    Dense,
    Diagonal,
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
    verify,
)
from tests.generate import Case, machine
from tests.grow import LIF, NEVER, Grower, random_neuron

FORMS = ("self", "two", "chain", "late", "graded", "constant", "alone", "levels", "conv", "crossed")
TRIES = 200
LOWEST, HIGHEST = 0.02, 0.8


def recurrent_case(seed: int, profile: str, *, samples: int = 4, steps: int = 6, form: str | None = None) -> Case:
    """One network; the seed chooses the form unless it is given."""
    name = form or FORMS[seed % len(FORMS)]
    for attempt in range(TRIES):
        maker = _Maker(np.random.default_rng([seed, attempt, profile == LIF]), profile, samples, steps)
        getattr(maker, f"form_{name}")()
        network = maker.tuned()
        if network is not None:
            verify(network)
            return Case(network, maker.stream, profile, name)
    raise AssertionError(f"no network of form {name} is alive")


class _Maker:
    def __init__(self, rng: np.random.Generator, profile: str, samples: int, steps: int) -> None:
        self.rng, self.profile, self.samples, self.steps = rng, profile, samples, steps
        self.tensors = Grower(rng, profile, samples, steps)
        self.populations: list[Population[IntNeuron]] = []
        self.projections: list[Projection] = []
        self.stream: dict[str, Array] = {}

    def input(self, shape: Shape, low: int = 0, high: int = 1) -> str:
        name = f"in{len(self.populations)}"
        self.populations.append(Population(name, shape, Kind.INPUT, payload=(low, high)))
        self.stream[name] = self.rng.integers(low, high + 1, (self.samples, self.steps, *shape))
        return name

    def cells(self, shape: Shape, start: int, *, kind: Kind = Kind.NEURON, **more: object) -> str:
        """Random neurons, on programmable targets every other time with parameters per neuron."""
        name = f"n{len(self.populations)}"
        model = replace(random_neuron(self.rng, self.profile, shape), **more)  # type: ignore[arg-type]
        if self.profile != LIF and self.rng.random() < 0.5 and not more:
            model = self.levelled(model, shape)
        if kind is Kind.ACCUMULATOR:
            model = replace(model, max_spikes=1, reset_timing=ResetTiming.SAME_STEP, v_min=None)
        self.populations.append(Population(name, shape, kind, model, start, (0, model.max_spikes)))
        return name

    def levelled(self, model: IntNeuron, shape: Shape) -> IntNeuron:
        """The neuron with arrays for everything that may be one; some differ only between channels."""
        rng = self.rng

        def drawn(low: int, high: int) -> Array:
            return rng.integers(low, high, shape if rng.random() < 0.6 else (shape[0], *(1 for _ in shape[1:])))

        return replace(
            model,
            dv=drawn(0, 4097),
            du=np.where(drawn(0, 2) > 0, 4096, drawn(0, 4097)),
            v_init=drawn(-30, 30),
            v_reset=drawn(-40, 40),
            v_min=None if model.v_min is None else drawn(-300, 0),
        )

    def start(self, name: str) -> int:
        return next(p.start for p in self.populations if p.name == name)

    def link(self, pre: str, post: str, lag: int = 0, op: LinearOp | None = None, top: int | None = None) -> None:
        shapes = {p.name: p.shape for p in self.populations}
        size = int(np.prod(shapes[post])), int(np.prod(shapes[pre]))
        op = op or Dense(self.tensors.tensor(size, top=top))
        exponent = int(self.rng.integers(-1, 2)) if self.profile != LIF and self.rng.random() < 0.3 else 0
        delay = self.start(post) - self.start(pre) + lag
        name = f"{pre}->{post}.{len(self.projections)}"
        self.projections.append(Projection(name, pre, post, op, delay, exponent, lag))

    def size(self) -> tuple[int]:
        return (int(self.rng.integers(2, 8)),)

    def form_self(self) -> None:
        """A layer that reads itself, as RLeaky and LIFRecurrent do, one-to-one or all-to-all."""
        pre = self.input(self.size())
        post = self.cells(self.size(), 1)
        self.link(pre, post)
        shape = self.populations[-1].shape
        self.link(post, post, 1, Diagonal(self.tensors.tensor(shape)) if self.rng.random() < 0.5 else None, top=60)

    def form_two(self) -> None:
        """A loop of two hops, the second of which closes it two steps later."""
        pre = self.input(self.size())
        a, b = self.cells(self.size(), 1), self.cells(self.size(), 2)
        self.link(pre, a)
        self.link(a, b)
        self.link(b, a, 2)
        self.read(b)

    def form_chain(self) -> None:
        """Three hops with a skip, a loop inside a loop, and a reader beside it."""
        pre = self.input(self.size())
        a, b, c = (self.cells(self.size(), start) for start in (1, 2, 3))
        for post in (a, b):
            self.link(pre, post)
        self.link(a, b)
        self.link(b, c)
        self.link(a, c)
        self.link(c, a, 3, top=60)
        self.link(b, b, 1, top=60)
        self.read(a)

    def form_late(self) -> None:
        """Feedback later than it must be, to nearly and beyond the end of a sample."""
        pre = self.input(self.size())
        a = self.cells(self.size(), 1 + int(self.rng.integers(0, 3)))
        self.link(pre, a)
        for lag in (2, self.steps - 1, self.steps, self.steps + 2):
            self.link(a, a, lag, top=60)
        self.read(a)

    def form_graded(self) -> None:
        """Several spikes a step go round; LIF has none, there plain ones do."""
        pre = self.input(self.size())
        more = {} if self.profile == LIF else {"max_spikes": 5, "reset": Reset.SUBTRACT}
        a = self.cells(self.size(), 1, **more)
        self.link(pre, a)
        self.link(a, a, 1, top=20)
        self.read(a)

    def form_constant(self) -> None:
        """A neuron without synapses that fires at every step, into a loop and late into its reader."""
        pre, one = self.input(self.size()), self.constant()
        a = self.cells(self.size(), 1)
        self.link(pre, a)
        self.link(one, a)
        self.link(a, a, 1, top=60)
        b = self.cells(self.size(), 2)
        self.link(a, b)
        self.link(one, b, int(self.rng.integers(0, 3)))

    def form_alone(self) -> None:
        """What no input reaches: a constant drives a loop."""
        self.input((2,))
        one = self.constant()
        a = self.cells(self.size(), 1)
        self.link(one, a, op=None)
        self.link(a, a, 1, top=60)

    def form_levels(self) -> None:
        """No feedback: neurons of one population that differ in everything, in front of a leaking readout."""
        pre = self.input((2, 3, 3))
        a = self.cells((2, 3, 3), 1)
        self.link(pre, a)
        self.read(a)

    def form_conv(self) -> None:
        """A convolution from a layer onto itself."""
        pre = self.input((2, 4, 4))
        a = self.cells((2, 4, 4), 1)
        self.link(pre, a)
        self.link(a, a, 1, Conv(self.tensors.tensor((2, 2, 3, 3), top=60), padding=(1, 1)))
        self.read(a)

    def form_crossed(self) -> None:
        """Two loops that stand between each other in the network's order, one reading the other."""
        pre = self.input(self.size())
        a, x, b, y = (self.cells(self.size(), start) for start in (1, 2, 2, 3))
        for source, post in ((pre, a), (a, b), (a, x), (x, y), (pre, y)):
            self.link(source, post)
        self.link(b, a, 2, top=60)
        self.link(y, x, 2, top=60)

    def constant(self) -> str:
        name = f"n{len(self.populations)}"
        lif = self.profile == LIF
        model = (
            IntNeuron(4095, np.array(64), np.array(128), du=4096)
            if lif
            else IntNeuron(4096, np.array(0), np.array(1), du=4096)
        )
        self.populations.append(Population(name, (1,), Kind.GATE, replace(model, act_shift=6 if lif else 0), 0))
        return name

    def read(self, pre: str) -> None:
        """A readout that leaks."""
        name = self.cells(self.size(), self.start(pre) + 1, kind=Kind.ACCUMULATOR)
        self.link(pre, name)

    def tuned(self) -> Network[IntNeuron] | None:
        """The network with thresholds at which it is alive; None if there are none."""
        quantile = float(self.rng.choice([0.5, 0.7, 0.85]))
        network = self.network([_with_threshold(p, np.array(NEVER)) for p in self.populations])
        found = self.simulated(network)
        fresh = []
        for p in self.populations:
            if p.kind is Kind.NEURON:
                v = found[p.name].state["v"]
                reached = v[v > 0]
                if not reached.size:
                    return None
                level = max(int(np.quantile(reached, quantile)) // 64 * 64, 64)
                p = _with_threshold(p, np.array(level))
            fresh.append(p)
        network = self.network(fresh)
        return network if self._alive(network) else None

    def network(self, populations: list[Population[IntNeuron]]) -> Network[IntNeuron]:
        ordered = sorted(populations, key=lambda p: p.start)
        readout = Readout("rate", ordered[-1].name)
        return Network(tuple(ordered), tuple(self.projections), self.tensors.weights, self.steps, readout)

    def simulated(self, network: Network[IntNeuron]) -> dict[str, Record]:
        session = ReferenceEngine().open(network, machine(self.profile), Needs.everything(network))
        return session.advance(self.stream)

    def _alive(self, network: Network[IntNeuron]) -> bool:
        found = self.simulated(network)
        for p in network.computed:
            if p.kind is Kind.NEURON:
                spikes = found[p.name].get("spikes", p.name)
                if not LOWEST <= np.count_nonzero(spikes) / spikes.size <= HIGHEST:
                    return False
        return True


def _with_threshold(p: Population[IntNeuron], vth: Array) -> Population[IntNeuron]:
    return replace(p, neuron=replace(p.model, vth=vth)) if p.kind is Kind.NEURON else p


def feedback(network: Network[IntNeuron]) -> list[Projection]:
    """Projections that close a loop."""
    place = {p.name: i for i, p in enumerate(network.populations)}
    return [q for q in network.projections if place[q.pre] >= place[q.post]]
