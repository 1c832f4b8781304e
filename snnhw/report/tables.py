"""What a report says, as tables of text; the renderers only draw them."""

from __future__ import annotations

from dataclasses import dataclass

from snnhw.chip.band import Band
from snnhw.comparison.points import Row
from snnhw.comparison.tree import Comparison
from snnhw.judge import rmse
from snnhw.report.numbers import band, between, count, interval, percent, si


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first `names` columns are names (left), the others numbers (right)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1
    note: str = ""


def summary(c: Comparison) -> Table:
    """The answer in a few lines."""
    rows = [
        ("samples", f"{c.samples}, T = {c.steps}"),
        ("engine", c.engine),
        ("target", f"{c.target} ({c.target_title})"),
        ("cores", f"{c.cores_used} on {c.chips_used} chip{'s' if c.chips_used > 1 else ''}"),
        ("judged by", c.rule),
        *_judged(c),
        ("latency", f"{_latency(c)}, {between(c.latency.band, 's')}"),
        ("throughput", f"{rate_told(c)} [{c.throughput.grade}]"),
        ("energy", f"{si(c.energy.total_j, 'J')} per sample [{c.energy.grade}], {between(c.energy.band, 'J')}"),
        ("boundary", BOUNDARIES[c.energy.boundary]),
        ("synops", count(c.synops)),
        ("neuron updates", f"{count(c.neuron_updates)}, {count(c.neuron_updates_active)} of them active"),
        ("messages", f"{count(c.messages)}, {count(c.messages_host)} of them from the host"),
        ("hops", f"{count(c.hops)} ({count(c.hops_ew)} E-W, {count(c.hops_ns)} N-S)"),
        ("hops between chips", count(c.chip_crossings)),
        ("saturations", saturations(c)),
    ]
    return Table("Summary", ("", "per sample"), tuple(rows), names=2)


def rate_told(c: Comparison) -> str:
    """Samples a second, between what the band of a sample's time gives."""
    seconds = c.throughput.band
    low, high = (count(float(f"{1 / end:.4g}")) for end in (seconds.high, seconds.low))
    return f"{count(c.throughput.samples_per_second)} samples/s ({low} to {high})"


BOUNDARIES = {
    "core": "core: what is beside the cores in use is not in times and energies",
    "chip": "chip: idle cores, embedded CPUs and reset are in times and energies, the host is not",
    "board": "board: host, embedded CPUs, idle cores and reset are in times and energies",
}


def _latency(c: Comparison) -> str:
    return f"{si(c.latency.seconds, 's')} in {c.latency.steps} steps [{c.latency.grade}]"


def _judged(c: Comparison) -> list[tuple[str, str]]:
    if c.agreement is None:
        return [("quantised to float", errors_told(c))]
    return [
        ("accuracy, float", _accuracy(c.float_.accuracy, c.samples)),
        ("accuracy, quantised", _accuracy(c.quantized.accuracy, c.samples)),
        ("agreement", percent(c.agreement)),
    ]


def errors_told(c: Comparison) -> str:
    """How far the integers' values are from the float network's, over all outputs."""
    rows = () if c.values is None else c.values.quantized
    if not rows:
        return "not known: the float run gives no values"
    worst = [row.correlation for row in rows if row.correlation is not None]
    least = f", correlation {min(worst):.4f}{' or more' if len(rows) > 1 else ''}" if worst else ""
    return f"RMSE {rmse(rows):.4g}, largest difference {max(row.max_error for row in rows):.4g}{least}"


LISTED = 20
"""Samples decided differently in a table at most; the JSON has all."""


def classes(c: Comparison) -> Table:
    """Samples and accuracy of each class, float beside quantised, and what it is most often taken for."""
    columns = ("class", "samples", "accuracy, float", "accuracy, quantised", "most often taken for")
    rows = []
    found = () if c.decisions is None else c.decisions.quantized
    for label in sorted({cell.label for cell in found}):
        row = [cell for cell in found if cell.label == label]
        number = sum(cell.samples for cell in row)
        right = [
            sum(cell.samples for cell in side if cell.label == cell.prediction == label)
            for side in (c.decisions.float_, found)  # type: ignore[union-attr]
        ]
        wrong = max((cell for cell in row if cell.prediction != label), key=lambda cell: cell.samples, default=None)
        mistaken = "" if wrong is None else f"{wrong.prediction} ({wrong.samples})"
        rows.append((str(label), str(number), *(percent(n / number) for n in right), mistaken))
    note = "" if rows else "no labels, or outputs that are no classes"
    return Table("Classes", columns, tuple(rows[:SHOWN]), note=note)


def disagreements(c: Comparison) -> Table:
    """The first samples on which both networks decide differently."""
    found = () if c.decisions is None else c.decisions.disagreements
    rows = tuple(
        (str(d.sample), str(d.float_), str(d.quantized), "" if d.label is None else str(d.label))
        for d in found[:LISTED]
    )
    note = f"{len(found)} samples in all" if found else "both networks decide alike on every sample"
    return Table("Decided differently", ("sample", "float", "quantised", "label"), rows, note=note)


def shown(c: Comparison) -> str:
    """The sample whose spikes are drawn, and what both networks make of it."""
    if c.shown is None:
        return "First sample."
    said = {"label": c.shown.label, "float decides": c.shown.float_, "integers decide": c.shown.quantized}
    return (
        "; ".join(
            [f"Sample {c.shown.sample}", *(f"{name} {value}" for name, value in said.items() if value is not None)]
        )
        + "."
    )


SHOWN = 64
"""Outputs in a table at most; the JSON has all."""


def outputs(c: Comparison) -> Table:
    """Outputs judged as values, each against the float network and the labels."""
    columns = ("output", "against", "RMSE", "largest difference", "correlation", "R²")
    if c.values is None:
        return Table("Outputs", columns, (), note=f"judged as {c.rule}")
    pairs = (
        ("quantised to float", c.values.quantized),
        ("float to labels", c.values.float_labels),
        ("quantised to labels", c.values.quantized_labels),
    )
    rows = [
        (str(row.output), name, f"{row.rmse:.4g}", f"{row.max_error:.4g}", _share(row.correlation), _share(row.r2))
        for name, found in pairs
        for row in found[:SHOWN]
    ]
    more = max(len(c.values.quantized), len(c.values.quantized_labels)) - SHOWN
    note = f"one unit of an integer output is {c.values.scale:.6g}" + (
        f"; {more} more outputs in --json" if more > 0 else ""
    )
    return Table("Outputs", columns, tuple(rows), names=2, note=note)


def _share(value: float | None) -> str:
    return "constant" if value is None else f"{value:.4f}"


def saturations(c: Comparison) -> str:
    """Zero, or a flag with the totals."""
    if not c.saturations:
        return "0"
    wraps, clips = sum(o.wraps for o in c.overflow), sum(o.clips for o in c.overflow)
    return f"WARNING: {wraps} wraps of u, {clips} clips of v in {c.samples} samples"


def _change(part: float | None) -> str:
    return "-" if part is None else f"{part:+.2%}"


def layers(c: Comparison) -> Table:
    """Spiking populations, float beside quantised."""
    moved = {d.name: (_rate(d.distance), _change(d.relative), _change(d.neurons)) for d in c.drift}
    rows = tuple(
        (q.name, str(q.neurons), _rate(f.rate), _rate(q.rate), count(f.spikes), count(q.spikes), *moved[q.name])
        for f, q in zip(c.float_.layers, c.quantized.layers, strict=True)
    )
    columns = (
        "layer",
        "neurons",
        "rate, float",
        "rate, quantised",
        "spikes, float",
        "spikes, quantised",
        "drift",
        "change",
        "of neurons",
    )
    note = (
        "rate = spikes / (neurons * T); drift = earth mover's distance between the per-neuron rates of both networks; "
        "change of all spikes, and of neurons: sum of |change of each| by all spikes"
    )
    return Table("Layers", columns, rows, note=note)


def energy(c: Comparison) -> Table:
    """Parts of the chip's energy, largest first, then what the boundary leaves out; unused parts are not named."""
    used = {name: part for name, part in c.energy.parts.items() if part.count > 0}
    rows = []
    for name, part in sorted(used.items(), key=lambda pair: (-pair[1].joules, pair[0])):
        share = percent(part.joules / c.energy.total_j if c.energy.total_j else 0.0)
        rows.append((name, band(part.band, "J"), share, *_priced(name, part.count, part.each), part.grade))
    rows.append(("total", band(c.energy.band, "J"), percent(1.0), "", "", c.energy.grade))
    rows += [
        (f"{name}, not in it", band(part.band, "J"), "", *_priced(name, part.count, part.each), part.grade)
        for name, part in c.energy.beside.items()
    ]
    columns = ("part", "energy (low to high)", "share", "count", "each", "grade")
    note = f"boundary {c.energy.boundary}; {c.energy.excluded}; low to high: docs/energy.md, The band"
    return Table(f"Energy per sample [{c.energy.grade}]", columns, tuple(rows), note=note)


def costs(c: Comparison) -> Table:
    """What each population costs."""
    rows = tuple(
        (row.name, row.kind, band(row.energy, "J"), band(row.critical_seconds, "s"))
        for row in sorted(c.layers, key=lambda row: -row.energy.likely)
    )
    note = (
        "per sample; energy of neurons, of synapses that lead to them and of messages they send, static parts apart; "
        "waited for: time in which the chip waits for a core, shared by what that core does for each population"
    )
    return Table("Cost by layer", ("layer", "kind", "energy (low to high)", "waited for"), rows, names=2, note=note)


def limits(c: Comparison) -> Table:
    """What no step can be shorter than."""
    rows = tuple(
        (
            row.kind, "" if row.core is None else str(row.core), row.population or "", count(row.operations),
            si(row.seconds, "s"), si(row.mean, "s"),
        )
        for row in c.floor
    )  # fmt: skip
    columns = ("kind of work", "busiest core", "of", "operations a step", "time a step", "mean of cores")
    return Table("Floor", columns, rows, names=3, note=c.bottleneck)


def by_step(c: Comparison) -> Table:
    """The T steps of the stream."""
    rows = tuple(
        (
            str(r.step),
            band(r.seconds, "s"),
            *(si(t, "s") for t in (r.generation_s, r.reception_s, r.blocked_s)),
            str(r.core),
        )
        for r in c.steps_trace
    )
    columns = ("step", "time (low to high)", "generation", "reception", "blocked", "core waited for")
    note = "mean of samples, each step with its barrier; --trace has every step of every sample"
    return Table("Steps", columns, rows, note=note)


def times(c: Comparison) -> Table:
    """Parts of the latency, then what the boundary leaves out, and the time from one sample to the next."""
    rows = [(name, band(part.band, "s"), part.grade) for name, part in c.latency.parts.items()]
    rows.append(("latency", band(c.latency.band, "s"), c.latency.grade))
    rows += [(f"{name}, not in it", band(part.band, "s"), part.grade) for name, part in c.latency.beside.items()]
    rows.append(("from one sample to the next", band(c.throughput.band, "s"), c.throughput.grade))
    columns = ("part", "time (low to high)", "grade")
    note = f"boundary {c.latency.boundary}; {c.latency.model} time model; steps: the pipeline's fill and T"
    return Table("Time per sample", columns, tuple(rows), note=note)


def _rate(value: float) -> str:
    return f"{value:.5f}"


POWERED = ("idle_cores", "cpus", "base")
"""Parts that are powers times the time of a sample."""


def _priced(name: str, number: float, each: float) -> tuple[str, str]:
    if name.startswith("static") or name in POWERED:
        return f"{si(number, 's')} of {name.removeprefix('static_')}", si(each, "W")
    return count(number), si(each, "J")


def projections(c: Comparison) -> Table:
    """Synapses reached, per projection."""
    rows = tuple(
        (
            f"{q.pre} -> {q.post}",
            q.format or "injected",
            *map(count, (q.events, q.synops, q.synops_nonzero, q.payload_synops)),
        )
        for q in c.projections
    )
    columns = ("projection", "format", "events", "synops", "non-zero weight", "by payload")
    note = "one event reaching one stored synapse is one synop, whatever its payload; borders are counted exactly"
    return Table("Projections", columns, rows, names=2, note=note)


def convention(c: Comparison) -> Table:
    """The 45 nm block, apart from the chip's energy."""
    block = c.convention_45nm
    rows = tuple(
        (name, count(side.acs), count(side.macs), si(side.energy_j, "J"))
        for name, side in (("float SNN", block.float_snn), ("dense ANN of the same topology", block.ann))
    )
    note = f"AC {block.ac_pj:g} pJ, MAC {block.mac_pj:g} pJ [{block.grade}]. {block.source}."
    return Table(block.label, ("network", "ACs", "MACs", "energy"), rows, note=note)


def first_layer(c: Comparison) -> Table:
    """What is a multiply-accumulate in the first layer, on chip or on the host."""
    rows = (
        ("graded input on the chip", count(c.first_layer_macs)),
        ("computed by the host", count(c.host_macs)),
        ("additions of the host for the readout", count(c.host_readout)),
    )
    note = "those on the chip are synops too and priced as such"
    return Table("First layer", ("multiply-accumulates", "per sample"), rows, note=note)


def cores(c: Comparison) -> Table:
    """Cores in use."""
    rows = tuple(
        (
            str(r.core), str(r.chip), ", ".join(f"{name} {n}" for name, n in r.populations.items()),
            si(r.generation_s, "s"), si(r.reception_s, "s"), band(r.busy, "s"), percent(r.load), count(round(r.cycles)),
        )
        for r in c.cores
    )  # fmt: skip
    columns = (
        "core",
        "chip",
        "populations (neurons)",
        "generation",
        "reception",
        "busy",
        "load",
        "cycles",
    )
    note = "per sample; busy: the longer of both; load: its share of the busiest core's; cycles: of time.reference"
    return Table("Cores", columns, rows, names=3, note=note)


def constants(c: Comparison) -> Table:
    """Every constant used, with grade and source."""
    rows = tuple((r.key, f"{r.value:g} {r.unit}", r.grade, r.source) for r in c.constants)
    return Table(f"Constants of {c.target}", ("constant", "value", "grade", "source"), rows, names=4)


def what_if(c: Comparison) -> Table:
    """Other targets and fewer bits, or the command that tries them."""
    title = "What if: other targets, fewer bits"
    classes = c.agreement is not None
    rows = tuple(_variant(v, " (this report)" if i == 0 else "", classes) for i, v in enumerate(c.what_if))
    judged = ("accuracy", "agreement") if classes else ("RMSE",)
    columns = ("target", "bits", *judged, "energy (low to high)", "latency (low to high)", "cores", "")
    command = (c.provenance or {}).get("command", "snnhw compare SOURCE ARTIFACT --data D.npz")
    if not rows:
        return Table(title, columns, (), note=f"not tried here; {command} --what-if tries them")
    grades = dict.fromkeys(f"{v.point.target}: {_grades(v)}" for v in c.what_if if v.refused is None)
    note = f"the same source and samples, compiled again; grades of {'; '.join(grades)}"
    return Table(title, columns, rows, note=note)


def _grades(row: Row) -> str:
    if row.energy_grade == row.time_grade:
        return str(row.time_grade)
    return f"energy {row.energy_grade}, time {row.time_grade}"


def _variant(row: Row, mark: str, classes: bool) -> tuple[str, ...]:
    if row.refused is not None:
        return (row.point.target, row.point.weight_bits or "-", *["-"] * (4 + classes), f"refused, {row.refused}")
    shares = ["-" if share is None else percent(share) for share in (row.accuracy, row.agreement)]
    if not classes:
        shares = ["-" if row.rmse is None else f"{row.rmse:.4g}"]
    ends = ("energy_j", "J"), ("latency_s", "s")
    prices = [
        band(Band(*(getattr(row, f"{name}{end}") or 0.0 for end in ("_low", "", "_high"))), unit) for name, unit in ends
    ]
    return (f"{row.point.target}{mark}", f"{row.bits_per_weight:.3g}", *shares, *prices, str(row.cores), "")


def provenance(c: Comparison) -> Table:
    """What made the comparison: versions, files and their hashes, date, command."""
    rows = tuple((key, str(value)) for key, value in (c.provenance or {}).items())
    return Table("Provenance", ("", "value"), rows, names=2)


def by_name(c: Comparison) -> dict[str, Table]:
    """All tables, the most asked for first."""
    makers = (
        summary,
        *((outputs,) if c.agreement is None else ()),
        layers,
        energy,
        times,
        first_layer,
        convention,
        costs,
        *((classes, disagreements) if c.decisions is not None else ()),
        projections,
        cores,
        what_if,
        limits,
        by_step,
        constants,
        *((provenance,) if c.provenance is not None else ()),
    )
    return {make.__name__: make(c) for make in makers}


def details(c: Comparison) -> list[Table]:
    """All tables after the summary."""
    return list(by_name(c).values())[1:]


def _accuracy(value: float | None, samples: int) -> str:
    if value is None:
        return "no labels"
    low, high = interval(value, samples)
    return f"{percent(value)} (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
