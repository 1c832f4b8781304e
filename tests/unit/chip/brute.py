"""The counting rules once more, by loops over every neuron and step; shares no code with snnhw.chip."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np

from snnhw.artifact import Artifact
from snnhw.engines.base import Needs, Record
from snnhw.network import Conv, Dense, Diagonal, IntNeuron, Kind, Network, Projection
from tests.unit.chip.nets import CONSTANTS


class Kept:
    """Observer that keeps all records of a run in one chunk."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.needs = Needs.everything(network)
        self.records: dict[str, Record] = {}

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        assert first_sample == 0
        self.records[population] = record


def synapses(projection: Projection, network: Network[IntNeuron]) -> list[tuple[int, int, int]]:
    """(pre neuron, post neuron, weight) of every stored synapse, straight from the definitions."""
    op, pre, post = projection.op, network[projection.pre], network[projection.post]
    found = []
    match op:
        case Dense():
            w = network.weights[op.weight]
            return [(i, o, int(w[o, i])) for o in range(post.size) for i in range(pre.size)]
        case Diagonal():
            w = np.broadcast_to(network.weights[op.weight], pre.shape).ravel()
            return [(n, n, int(w[n])) for n in range(pre.size)]
        case Conv():
            w = network.weights[op.weight]
            channels, rows, cols = pre.shape
            for o, y, x in np.ndindex(post.shape):
                group = o // (post.shape[0] // op.groups)
                for c, i, j in np.ndindex(w.shape[1:]):
                    row = y * op.stride[0] - op.padding[0] + i * op.dilation[0]
                    col = x * op.stride[1] - op.padding[1] + j * op.dilation[1]
                    if 0 <= row < rows and 0 <= col < cols:
                        source = np.ravel_multi_index((group * channels // op.groups + c, row, col), pre.shape)
                        found.append(
                            (int(source), int(np.ravel_multi_index((o, y, x), post.shape)), int(w[o, c, i, j]))
                        )
        case _:
            data, index, ends = (network.weights[op.weight + part] for part in ("", "/indices", "/indptr"))
            for o in range(post.size):
                found += [(int(index[k]), o, int(data[k])) for k in range(ends[o], ends[o + 1])]
    return found


def cores_of(artifact: Artifact, population: str) -> list[int]:
    """Core of every neuron, flattened; -1 on the host."""
    p = artifact.network[population]
    return [int(core) for core in artifact.mapping.core_map(population, p.shape).ravel()]


def slices_of(artifact: Artifact, population: str) -> list[int]:
    """Number of the slice that holds every neuron, flattened."""
    found = np.zeros(artifact.network[population].shape, np.int64)
    for number, part in enumerate(artifact.mapping.of(population)):
        found[part.where] = number
    return [int(number) for number in found.ravel()]


def place(core: int) -> tuple[int, int]:
    """Mesh coordinates on the toy target: chips of 2 x 2 tiles of 2 cores, numbered column by column."""
    chip, tile = core // 8, core % 8 // 2
    return chip * 2 + tile // 2, tile % 2


def ps(key: str) -> int:
    """A time of the toy target in picoseconds."""
    value, unit = CONSTANTS["time"][key]
    return int(Fraction(str(value)) * {"ns": 1000, "us": 1000000}[unit])


class Brute:
    """Everything `ChipObserver` and `tally` count, and the times of every sample."""

    def __init__(self, artifact: Artifact, records: dict[str, Record]) -> None:
        self.artifact, self.network = artifact, artifact.network
        self.records = records
        self.samples = next(iter(records.values())).spikes.shape[0]
        self.counts: Counter[str] = Counter()
        self.traffic: Counter[tuple[int, int]] = Counter()
        self.flits: Counter[tuple[int, int]] = Counter()
        self.generation: dict[tuple[int, str, int], Counter[int]] = defaultdict(Counter)
        self.reception: dict[tuple[int, str, int], Counter[int]] = defaultdict(Counter)
        self.fan: dict[str, dict[int, list[tuple[str, str, int, int, int]]]] = {}
        for p in self.network.populations:
            self.fan[p.name] = self._fan(p.name)
        for p in self.network.populations:
            for b in range(self.samples):
                for t in range(self.network.steps):
                    self._step(p.name, b, t)

    def _fan(self, name: str) -> dict[int, list[tuple[str, str, int, int, int]]]:
        """pre neuron -> (projection, format, weight, slice, destination core) of each of its synapses."""
        formats = {"Dense": "dense", "Conv": "conv"}
        found: dict[int, list[tuple[str, str, int, int, int]]] = defaultdict(list)
        for q in self.network.out_of(name):
            home, slices = cores_of(self.artifact, q.post), slices_of(self.artifact, q.post)
            for pre, post, weight in synapses(q, self.network):
                kind = formats.get(type(q.op).__name__, "sparse")
                found[pre].append((q.name, kind, weight, slices[post], home[post]))
        return found

    def _step(self, name: str, b: int, t: int) -> None:
        record, p = self.records[name], self.network[name]
        home = cores_of(self.artifact, name)
        spikes = record.spikes[b, t].ravel()
        for n in range(p.size):
            value = int(spikes[n])
            if p.kind is not Kind.INPUT:
                self.counts["accesses"] += 1
                if self._is_active(name, b, t, n):
                    self.counts[f"active {name}"] += 1
                    self.generation[b, name, t][home[n]] += ps("update")
            if value:
                self._event(name, b, t, n, home[n], value)

    def _is_active(self, name: str, b: int, t: int, n: int) -> bool:
        record, neuron = self.records[name], self.network[name].model
        start = np.broadcast_to(neuron.v_init, self.network[name].shape)
        before = (record.state["v"][b, t - 1] if t else start).ravel()[n]
        bias = np.broadcast_to(neuron.bias, self.network[name].shape).ravel()[n]
        return bool(before or record.state["u"][b, t].ravel()[n] or bias or record.spikes[b, t].ravel()[n])

    def _event(self, name: str, b: int, t: int, n: int, core: int, value: int) -> None:
        self.counts[f"events {name}"] += 1
        reached = self.fan[name][n]
        for projection, fmt, weight, _, destination in reached:
            self.counts[f"synops {projection}"] += 1
            self.counts[f"payload {projection}"] += abs(value)
            self.counts[f"nonzero {projection}"] += weight != 0
            self.reception[b, name, t][destination] += ps(f"synop.{fmt}")
        axons = {(projection, piece, destination) for projection, _, _, piece, destination in reached}
        if not self.artifact.target.core.message_per_axon:
            axons = {("", 0, destination) for *_, destination in axons}
        flits = self._flits(name)
        if core >= 0:
            self.generation[b, name, t][core] += ps("spike_out") + len(axons) * flits * ps("message_out")
        for *_, destination in axons:
            self.traffic[core, destination] += 1
            self.flits[core, destination] += flits
            self.reception[b, name, t][destination] += ps("message_in")

    def _flits(self, name: str) -> int:
        """One, and as many more as a payload that is no plain spike needs."""
        low, high = self.network[name].payload
        bits = len(bin(max(abs(low), abs(high)))) - 2 + (low < 0)
        room = self.artifact.target.chip.flit_bits
        return 1 if room is None or bits <= 1 else 1 + (bits + room - 1) // room

    def hops(self) -> tuple[int, int, int]:
        """East-west, north-south, chip borders."""
        ew = ns = borders = 0
        for (a, z), number in self.flits.items():
            if a >= 0:
                (xa, ya), (xz, yz) = place(a), place(z)
                ew, ns = ew + number * abs(xa - xz), ns + number * abs(ya - yz)
                borders += number * abs(a // 8 - z // 8)
        return ew, ns, borders

    def step_time(self, b: int, working: dict[str, int], sync: int) -> int:
        """One chip step: populations in `working` compute the given sample step; others pay access, and bias."""
        generation: Counter[int] = Counter()
        reception: Counter[int] = Counter()
        for p in self.network.computed:
            for core in cores_of(self.artifact, p.name):
                generation[core] += ps("access")
            if p.name not in working:
                biased = np.broadcast_to(p.model.bias != 0, p.shape).ravel()
                for core in np.array(cores_of(self.artifact, p.name))[biased].tolist():
                    generation[core] += ps("update")
        for name, t in working.items():
            generation.update(self.generation[b, name, t])
            reception.update(self.reception[b, name, t])
        return max([*generation.values(), *reception.values()]) + sync

    def latency(self, b: int, sync: int) -> int:
        """Chip steps 0 … depth + T - 1 of an isolated sample."""
        total = 0
        for k in range(self.network.depth + self.network.steps):
            local = {p.name: k - p.start for p in self.network.populations}
            total += self.step_time(b, {name: t for name, t in local.items() if 0 <= t < self.network.steps}, sync)
        return total

    def period(self, b: int, sync: int) -> int:
        """T chip steps of a stream that repeats this sample."""
        steps = self.network.steps
        working = ({p.name: (k - p.start) % steps for p in self.network.populations} for k in range(steps))
        return sum(self.step_time(b, step, sync) for step in working)
