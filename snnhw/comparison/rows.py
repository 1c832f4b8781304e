"""From what was counted to the tree of a comparison. Everything is divided by the number of samples here, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import Times, barrier, tiles_in_use, time_keys
from snnhw.chip.band import Band
from snnhw.chip.convention import ann_macs, convention, float_operations, host_macs
from snnhw.chip.counts import Counts
from snnhw.chip.energy import Energy, energy
from snnhw.chip.layers import CoreWork, core_work, critical, spent
from snnhw.chip.links import links
from snnhw.chip.loads import cost_of
from snnhw.chip.system import HostValues, Line, latency, period, seconds, time_lines
from snnhw.chip.tally import Tally
from snnhw.chip.wiring import Wiring
from snnhw.comparison.drift import by_harm, drift, drifted
from snnhw.comparison.floor import bottleneck, floors
from snnhw.comparison.notes import notes, warnings
from snnhw.comparison.tree import (
    SCHEMA,
    AnnBaseline,
    Arithmetic,
    Cell,
    Comparison,
    ConstantRow,
    Convention45nm,
    CoreRow,
    Decisions,
    Disagreement,
    Drift,
    Floor,
    Latency,
    Layer,
    LayerCost,
    LinkRow,
    Mesh,
    Overflow,
    ProjectionRow,
    Raster,
    Shown,
    Side,
    StepRow,
    Throughput,
    TimePart,
    Values,
)
from snnhw.judge import Judge, output_errors
from snnhw.machine import EVENTS, worst
from snnhw.mapping.route import tile
from snnhw.network import Array, Kind
from snnhw.readout import host_operations, told


@dataclass(frozen=True)
class Measured:
    """All that a comparison is made from."""

    artifact: Artifact
    engine: str
    timing: str
    wiring: Wiring
    counts: Counts
    times: Times
    ends: Mapping[str, Times]
    boundary: str
    steps: tuple[Array, Array]
    total: Tally
    float_events: Mapping[str, Array]
    float_predictions: Array
    predictions: Array
    judge: Judge
    values: tuple[Array | None, Array] | None
    static: Mapping[str, bool]
    sample: int
    rasters: tuple[Raster, ...]

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.counts.samples

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return self.artifact.network[self.artifact.network.readout.population].size

    @property
    def time_keys(self) -> list[str]:
        """Constants that times were made from."""
        formats = {link.format for link in self.wiring.links if link.format is not None}
        target = self.artifact.target
        keys = time_keys(target, formats, tiles_in_use(self.wiring.cores, target), self.artifact.mapping.chips)
        return keys + [key for key in EVENTS if self.timing == "event" and key in target.constants]

    @property
    def time_grade(self) -> str:
        """How certain times are."""
        target, chips = self.artifact.target, self.artifact.mapping.chips
        between = ["assumed"] if barrier(target, 1, chips).interpolated else []
        return worst([*between, *(target.constant(key).grade for key in self.time_keys)])

    def seconds(self, what: str) -> Band:
        """Of 'latency' or 'period' of the chip steps, mean of a sample.

        The ends are those of the analytic model; event times keep their distance from its likely time.
        """
        low, likely, high = (getattr(self.ends[end], what) for end in ("low", "likely", "high"))
        mean = getattr(self.times, what) / self.samples / 1e12
        return Band(mean * low / likely, mean, mean * high / likely) if likely else Band(mean, mean, mean)

    @cached_property
    def work(self) -> CoreWork:
        """What cores did."""
        return core_work(self.artifact, self.wiring, self.counts, self.total)

    @property
    def barrier_s(self) -> float:
        """Seconds of a barrier."""
        target, mapping = self.artifact.target, self.artifact.mapping
        return barrier(target, tiles_in_use(self.wiring.cores, target), mapping.chips).picoseconds / 1e12

    @property
    def host_values(self) -> HostValues:
        """What the host writes and reads for a sample: events of inputs (injected ones that stay once, not at every
        step); of an output that spikes its events, else each output once."""
        network, written = self.artifact.network, 0.0
        for p in network.inputs:
            once = self.static[p.name] and all(q.op.injects for q in network.out_of(p.name))
            written += float(self.counts.events[p.name].sum()) / self.samples / (network.steps if once else 1)
        name, spikes = network.readout.population, network.readout.kind in ("rate", "first")
        return HostValues(written, float(self.counts.events[name].sum()) / self.samples if spikes else self.outputs)

    @property
    def lines(self) -> dict[str, Line]:
        """Times beside the chip steps."""
        return time_lines(self.artifact.target, self.host_values)

    @property
    def period(self) -> Band:
        """Seconds from one sample to the next."""
        return period(self.seconds("period"), self.lines, self.artifact.target, self.boundary)

    @property
    def whole_grade(self) -> str:
        """How certain times are, with what the boundary holds beside chip steps."""
        target = self.artifact.target
        lines = (target.constant(line.constant).grade for line in self.lines.values() if line.inside(self.boundary))
        return worst([self.time_grade, *lines])


def comparison(m: Measured) -> Comparison:
    """The tree."""
    art, total, n = m.artifact, m.total, m.samples
    used = energy(art, total, m.period, m.whole_grade, m.boundary, m.host_values)
    baseline, moved, floor = _convention(m), _drift(m), _floor(m)
    return Comparison(
        float_=_side(m, m.float_events, m.float_predictions),
        quantized=_side(m, m.counts.events, m.predictions),
        agreement=None if m.values is not None else float(np.mean(m.float_predictions == m.predictions)),
        synops=total.synops / n,
        neuron_updates=total.accesses / n,
        messages=total.messages / n,
        hops=(total.hops_ew + total.hops_ns) / n,
        latency=_latency(m),
        energy=used,
        ann_baseline=AnnBaseline(int(baseline.ann.macs), baseline.ann.energy_j, baseline.label),
        saturations=total.saturations / n,
        engine=m.engine,
        target=art.target.name,
        cores_used=art.mapping.cores_used,
        schema=SCHEMA,
        source=art.source,
        target_title=art.target.title,
        samples=n,
        steps=art.network.steps,
        chips_used=art.mapping.chips,
        throughput=_throughput(m),
        neuron_updates_active=total.active / n,
        synops_nonzero=sum(p.synops_nonzero for p in total.projections) / n,
        payload_synops=sum(p.payload_synops for p in total.projections) / n,
        first_layer_macs=sum(p.synops for p in total.projections if p.from_host and p.graded) / n,
        host_macs=_host_macs(m),
        messages_host=int(total.host_messages.sum()) / n,
        hops_ew=total.hops_ew / n,
        hops_ns=total.hops_ns / n,
        chip_crossings=total.chip_crossings / n,
        projections=_projections(total),
        drift=moved,
        overflow=tuple(Overflow(p.name, p.wraps, p.clips) for p in total.populations if p.wraps or p.clips),
        convention_45nm=baseline,
        mesh=_mesh(m),
        layers=_layers(m),
        steps_trace=_steps(m),
        floor=floor,
        links=tuple(
            LinkRow(link.x, link.y, link.way, link.flits / n, link.flits / n * art.target.time.link_occupancy / 1e12)
            for link in links(total, m.wiring.cores, art.target)
        ),
        bottleneck=bottleneck(floor, 1 - m.ends["likely"].period / (m.times.period or 1)),
        cores=_cores(m),
        raster=m.rasters,
        constants=_constants(m, used),
        calibration=art.calibration,
        notes=notes(art, total),
        warnings=(
            *m.judge.warnings,
            *warnings(art, n, m.float_events, m.counts.events),
            *drifted(moved, m.float_events),
        ),
        rule=_rule(m),
        values=_values(m),
        decisions=_decisions(m),
        shown=_shown(m),
        host_readout=host_operations(art.network.readout, m.outputs, art.network.steps),
    )


def _side(m: Measured, events: Mapping[str, Array], predictions: Array) -> Side:
    layers = []
    for p in m.artifact.network.populations:
        if p.kind in (Kind.NEURON, Kind.GATE) and p.name in m.float_events:
            spikes = int(events[p.name].sum())
            rate = spikes / (p.size * m.artifact.network.steps * m.samples)
            layers.append(Layer(p.name, p.size, spikes / m.samples, rate))
    labels = None if m.values is not None else m.judge.labels
    accuracy = None if labels is None else float(np.mean(predictions == labels))
    return Side(accuracy, tuple(layers))


def _decisions(m: Measured) -> Decisions | None:
    if m.values is not None:
        return None
    labels, floats, integers = m.judge.labels, m.float_predictions, m.predictions
    apart = np.flatnonzero(floats != integers)
    return Decisions(
        float_=_confusion(labels, floats),
        quantized=_confusion(labels, integers),
        disagreements=tuple(
            Disagreement(int(i), int(floats[i]), int(integers[i]), None if labels is None else int(labels[i]))
            for i in apart
        ),
    )


def _shown(m: Measured) -> Shown:
    if m.values is not None:
        return Shown(m.sample, None, None, None)
    found = (m.judge.labels, m.float_predictions, m.predictions)
    return Shown(m.sample, *(None if said is None else int(said[m.sample]) for said in found))


def _confusion(labels: Array | None, predictions: Array) -> tuple[Cell, ...]:
    if labels is None:
        return ()
    pairs, counts = np.unique(np.stack([labels, predictions], axis=1), axis=0, return_counts=True)
    return tuple(Cell(int(a), int(b), int(n)) for (a, b), n in zip(pairs, counts, strict=True))


def _rule(m: Measured) -> str:
    readout = m.artifact.network.readout
    said = told(readout, m.outputs)
    if m.values is not None:
        count = readout.groups or m.outputs
        return f"values of {count} output{'s' if count > 1 else ''}: {said}"
    return (
        f"classes: the {'earliest' if readout.kind == 'first' else 'largest'} of {readout.groups or m.outputs}, {said}"
    )


def _values(m: Measured) -> Values | None:
    if m.values is None:
        return None
    floats, integers = m.values
    labels = m.judge.labels
    return Values(
        scale=m.artifact.network.readout.scale,
        quantized=() if floats is None else output_errors(integers, floats),
        float_labels=() if labels is None or floats is None else output_errors(floats, labels),
        quantized_labels=() if labels is None else output_errors(integers, labels),
    )


def _layers(m: Measured) -> tuple[LayerCost, ...]:
    art = m.artifact
    costs = {p.name: cost_of(p.name, m.wiring, art.target) for p in art.network.populations}
    joules, waited = spent(art, m.total), critical(art, m.wiring, m.counts, costs, m.ends["likely"])
    share = {name: time / (m.ends["likely"].period or 1) for name, time in waited.items()}
    steps = m.seconds("period")
    return tuple(
        LayerCost(p.name, str(p.kind), p.size, joules[p.name], steps * share.get(p.name, 0.0))
        for p in art.network.populations
    )


def _floor(m: Measured) -> tuple[Floor, ...]:
    steps = m.samples * m.artifact.network.steps
    return floors(m.work, m.wiring.cores, m.artifact.mapping, steps, m.barrier_s)


def _steps(m: Measured) -> tuple[StepRow, ...]:
    sums, waited = m.steps
    band, whole = m.seconds("period"), max(float(sums[0].sum()), 1.0)
    model, generation, reception = sums / m.samples / 1e12
    return tuple(
        StepRow(
            step=t,
            seconds=band * (float(sums[0][t]) / whole),
            generation_s=float(generation[t]),
            reception_s=float(reception[t]),
            blocked_s=max(0.0, float(model[t]) - m.barrier_s - float(max(generation[t], reception[t])))
            if m.timing == "event"
            else 0.0,
            barrier_s=m.barrier_s,
            core=int(m.wiring.cores[waited[t].argmax()]),
        )
        for t in range(len(model))
    )


def _latency(m: Measured) -> Latency:
    network, times, target = m.artifact.network, m.times, m.artifact.target
    steps = m.seconds("latency")
    band, lines = latency(steps, m.lines, target, m.boundary), m.lines
    more = band.likely - steps.likely
    parts = {name: TimePart(found, lines[name].constant, target.constant(lines[name].constant).grade)
             for name, found in seconds(lines, target).items()}  # fmt: skip
    inside = {name: part for name, part in parts.items() if lines[name].inside(m.boundary)}
    return Latency(
        network.depth + network.steps,
        band.likely,
        m.whole_grade,
        times.latency_min / 1e12 + more,
        times.latency_max / 1e12 + more,
        m.timing,
        band,
        m.boundary,
        {"steps": TimePart(steps, "", m.time_grade), **inside},
        {name: part for name, part in parts.items() if name not in inside},
    )


def _throughput(m: Measured) -> Throughput:
    band = m.period
    return Throughput(1 / band.likely, band.likely, m.artifact.network.steps, m.whole_grade, band)


def _host_macs(m: Measured) -> float:
    """What the host computes for one sample: once where the input is the same at every step, else once a step."""
    steps = m.artifact.network.steps
    return float(sum(host_macs(s) * (1 if m.static[s.population] else steps) for s in m.artifact.inputs))


def _projections(total: Tally) -> tuple[ProjectionRow, ...]:
    n = total.samples
    return tuple(
        ProjectionRow(
            q.name, q.pre, q.post, q.format, q.events / n, q.synops / n, q.synops_nonzero / n, q.payload_synops / n,
            q.graded, q.from_host,
        )
        for q in total.projections
    )  # fmt: skip


def _drift(m: Measured) -> tuple[Drift, ...]:
    slots = m.samples * m.artifact.network.steps
    both = [p for p in m.artifact.network.populations if p.name in m.float_events]
    spiking = [p.name for p in both if p.kind in (Kind.NEURON, Kind.GATE)]
    return by_harm([drift(name, m.float_events[name], m.counts.events[name], slots) for name in spiking])


def _convention(m: Measured) -> Convention45nm:
    prices = convention()
    float_ops = float_operations(m.artifact, m.float_events, m.samples, all(m.static.values()))
    macs = ann_macs(m.artifact)
    return Convention45nm(
        label=prices.label,
        float_snn=Arithmetic(float_ops.acs, float_ops.macs, prices.joules(float_ops.acs, float_ops.macs)),
        ann=Arithmetic(0.0, float(macs), prices.joules(0.0, macs)),
        ac_pj=float(prices.ac.si() * 10**12),
        mac_pj=float(prices.mac.si() * 10**12),
        grade=worst((prices.ac.grade, prices.mac.grade)),
        source=f"AC: {prices.ac.source}; MAC: {prices.mac.source}",
    )


def _mesh(m: Measured) -> Mesh:
    chip = m.artifact.target.chip
    return Mesh(*chip.mesh, chip.cores_per_tile)


def _cores(m: Measured) -> tuple[CoreRow, ...]:
    target, likely, mean = m.artifact.target, m.ends["likely"], 1e-12 / m.samples
    work = m.work
    busy = {end: np.maximum(times.generation, times.reception) for end, times in m.ends.items()}
    busiest, waited = int(busy["likely"].max()) or 1, likely.critical.sum(axis=0)
    held: dict[int, dict[str, int]] = {}
    for part in m.artifact.mapping.slices:
        row = held.setdefault(part.core, {})
        row[part.population] = row.get(part.population, 0) + part.size
    rows = []
    for i, core in enumerate(m.wiring.cores.tolist()):
        x, y = (int(axis) for axis in tile(core, target))
        rows.append(
            CoreRow(
                core=core,
                chip=core // target.chip.cores,
                x=x,
                y=y,
                place=core % target.chip.cores_per_tile,
                populations=held[core],
                generation_s=float(likely.generation[i]) * mean,
                reception_s=float(likely.reception[i]) * mean,
                load=float(busy["likely"][i]) / busiest,
                busy=Band(*(float(busy[end][i]) * mean for end in ("low", "likely", "high"))),
                critical_s=float(waited[i]) * mean,
                cycles=float(busy["likely"][i]) / m.samples / target.time.reference,
                synops=float(work.synops[i]) / m.samples,
                updates=float(work.updates[i]) / m.samples,
                messages=float(work.messages[i]) / m.samples,
                sent=float(work.sent[i]) / m.samples,
                energy_j=float(work.joules[i]) / m.samples,
            )
        )
    return tuple(rows)


def _constants(m: Measured, used: Energy) -> tuple[ConstantRow, ...]:
    """Every number that a time or an energy of this comparison was made from."""
    target = m.artifact.target
    lines = [line.constant for line in m.lines.values()]
    keys = m.time_keys + lines + [p.constant for p in (used.parts | used.beside).values() if p.count > 0]
    rows = ((key, target.constant(key)) for key in dict.fromkeys(keys))
    return tuple(ConstantRow(key, float(c.value), c.unit, c.grade, c.source) for key, c in rows)
