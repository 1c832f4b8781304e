"""The comparison as one tree of dataclasses: its fields are the JSON keys, the renderers read nothing else.

Counts are means per sample unless a field says otherwise; accuracy, agreement and rate lie in 0..1; times are in
seconds, energies in joules. `float_` is the key `float`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from snnhw.cautions import Caution
from snnhw.chip.band import Band
from snnhw.chip.energy import Energy
from snnhw.comparison.points import Row
from snnhw.judge import OutputError

SCHEMA = 1
"""Version of the tree: raised when a key changes its meaning or goes."""


@dataclass(frozen=True)
class Layer:
    """One spiking population.

    Args:
        spikes: non-zero spikes per sample (a graded one counts once).
        rate: spikes / (neurons * T).
    """

    name: str
    neurons: int
    spikes: float
    rate: float


@dataclass(frozen=True)
class LayerCost:
    """What one population costs for a sample, relays, gates and inputs too.

    Args:
        energy: joules of its neurons, of the synapses that it is reached through and of the messages that it sends: the
            parts of the whole that are not static.
        critical_seconds: of the sample's steps in the pipeline the time for which the chip waits for this population.
    """

    name: str
    kind: str
    neurons: int
    energy: Band
    critical_seconds: Band


@dataclass(frozen=True)
class Side:
    """The float or the quantised network; accuracy is null without labels."""

    accuracy: float | None
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Values:
    """Outputs judged as real values, one row an output, in the source's units.

    Args:
        scale: what one unit of the integers' output is in the source's.
        quantized: the integers against the float network.
        float_labels, quantized_labels: both against the labels; empty without them.
    """

    scale: float
    quantized: tuple[OutputError, ...]
    float_labels: tuple[OutputError, ...]
    quantized_labels: tuple[OutputError, ...]


@dataclass(frozen=True)
class Cell:
    """How many samples of one label got one prediction; pairs that never occur are left out."""

    label: int
    prediction: int
    samples: int


@dataclass(frozen=True)
class Disagreement:
    """A sample on which both networks decide differently; `label` is null without labels."""

    sample: int
    float_: int
    quantized: int
    label: int | None


@dataclass(frozen=True)
class Decisions:
    """Outputs judged as classes: confusion matrices (empty without labels), and all samples decided differently."""

    float_: tuple[Cell, ...]
    quantized: tuple[Cell, ...]
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True)
class TimePart:
    """A share of a sample's latency; `constant` is a key of the target, or empty for what a model makes of several."""

    band: Band
    constant: str
    grade: str


@dataclass(frozen=True)
class Latency:
    """One isolated sample: start of the last population plus T chip steps, by `model`; mean, least, most.

    Args:
        band: low, likely (seconds) and high: every constant at its low or high end.
        parts: those inside the boundary, which add up to the band: chip steps, reset, host.
        beside: what the boundary leaves out.
    """

    steps: int
    seconds: float
    grade: str
    seconds_min: float
    seconds_max: float
    model: str
    band: Band
    boundary: str
    parts: Mapping[str, TimePart]
    beside: Mapping[str, TimePart]


@dataclass(frozen=True)
class Throughput:
    """The steady pipeline: one sample every T chip steps; `band` is of `seconds_per_sample`."""

    samples_per_second: float
    seconds_per_sample: float
    steps_per_sample: int
    grade: str
    band: Band


@dataclass(frozen=True)
class AnnBaseline:
    """One forward pass of the dense ANN of the same topology; its energy follows `convention`, not the chip."""

    macs: int
    energy_j: float
    convention: str


@dataclass(frozen=True)
class Arithmetic:
    """Accumulates and multiply-accumulates per sample, priced by the convention."""

    acs: float
    macs: float
    energy_j: float


@dataclass(frozen=True)
class Convention45nm:
    """The 45 nm AC/MAC convention of SNN papers: arithmetic only, never to be read beside the chip's joules."""

    label: str
    float_snn: Arithmetic
    ann: Arithmetic
    ac_pj: float
    mac_pj: float
    grade: str
    source: str


@dataclass(frozen=True)
class ProjectionRow:
    """One projection per sample: events that entered it, stored synapses reached, without zero weights, by payload."""

    name: str
    pre: str
    post: str
    format: str | None
    events: float
    synops: float
    synops_nonzero: float
    payload_synops: float
    graded: bool
    from_host: bool


@dataclass(frozen=True)
class Drift:
    """How far a layer's firing moved from the float network to the integers; the most harmed layer first.

    Args:
        distance: earth mover's distance between the per-neuron firing rates, blind to which neuron fires.
        relative: spikes of the integers / spikes of the float network - 1; null where that is silent.
        neurons: sum over neurons of |change of spikes| / spikes of the float network; null likewise.
    """

    name: str
    distance: float
    relative: float | None = None
    neurons: float | None = None


@dataclass(frozen=True)
class Overflow:
    """Totals over the run of one population that wrapped u or saturated v."""

    name: str
    wraps: int
    clips: int


@dataclass(frozen=True)
class Mesh:
    """Tiles of one chip (columns, rows) and cores of a tile."""

    width: int
    height: int
    cores_per_tile: int


@dataclass(frozen=True)
class CoreRow:
    """One core in use, per sample.

    Args:
        x, y, place: mesh position of its tile (x runs on over the chips), and its place in it.
        populations: neurons by population.
        generation_s, reception_s: busy seconds, `busy` the larger one's band.
        load: its share of the busiest core's time.
        critical_s: seconds for which the chip waited for it.
        cycles: busy time in periods of the target's `time.reference`.
        synops, updates, messages, sent: synapses reached, neuron accesses, messages received, flits sent.
        energy_j: likely joules of what it does, static parts and hops apart.
    """

    core: int
    chip: int
    x: int
    y: int
    place: int
    populations: Mapping[str, int]
    generation_s: float
    reception_s: float
    load: float
    busy: Band
    critical_s: float
    cycles: float
    synops: float
    updates: float
    messages: float
    sent: float
    energy_j: float = 0.0


@dataclass(frozen=True)
class StepRow:
    """One of the T steps of the stream, mean over samples.

    Args:
        seconds: its time by the model, its barrier included.
        generation_s, reception_s: of the core that generates, and of that which receives longest.
        blocked_s: what the model says beyond the longer of both and the barrier: messages that wait for each other and
            hops (event time alone).
        barrier_s: the barrier.
        core: the core that is waited for most often.
    """

    step: int
    seconds: Band
    generation_s: float
    reception_s: float
    blocked_s: float
    barrier_s: float
    core: int


@dataclass(frozen=True)
class Floor:
    """The core that does most of one kind of work, mean of a step: no step is shorter than its time.

    Args:
        kind: 'synops', 'messages', 'updates' or 'sent'; 'barrier' of no core.
        operations, seconds: a step's.
        population: what the core holds most of.
        mean: the same time as mean of the cores in use.
    """

    kind: str
    core: int | None
    population: str | None
    operations: float
    seconds: float
    mean: float


@dataclass(frozen=True)
class LinkRow:
    """A link between routers, per sample: where it leaves from, and its flits and the time they keep it."""

    x: int
    y: int
    way: str
    flits: float
    busy_s: float


@dataclass(frozen=True)
class Raster:
    """Spikes of some neurons of one population for the shown sample: pairs (sample step, neuron).

    Args:
        events, float_: of the integers and of the float network; null where that lacks the population.
    """

    name: str
    neurons: tuple[int, ...]
    events: tuple[tuple[int, int], ...]
    float_: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Shown:
    """The sample whose spikes are drawn, and what both networks decide on it (null where outputs are no classes)."""

    sample: int
    label: int | None
    float_: int | None
    quantized: int | None


@dataclass(frozen=True)
class ConstantRow:
    """One number of the target that a time or an energy was made from."""

    key: str
    value: float
    unit: str
    grade: str
    source: str


@dataclass(frozen=True)
class Comparison:
    """A float network and its compiled counterpart on the same samples (docs/energy.md).

    Args:
        agreement: share of samples with the same prediction; null where outputs are no classes.
        rule: by which outputs were judged, in words.
        values: how far the outputs are from each other and from real labels, where they are judged as values.
        decisions: predictions against labels and against each other; null where outputs are no classes.
        what_if: this compilation first, then others (`compare --what-if`); empty where they were not tried.
        raster: of the sample that `shown` names.
        provenance: versions, files and their hashes, date, command; null where nobody said.
        host_readout: additions and comparisons of the host for one sample: what it makes of the output.
        synops: stored synapses reached by events, one per event; `synops_nonzero` leaves out zero weights,
            `payload_synops` weighs every event by its magnitude.
        neuron_updates: computed neurons times T; `neuron_updates_active` of them had anything to do.
        messages: per event and destination core, `messages_host` of them come from the host.
        hops: E-W and N-S hops of messages between cores.
        saturations: wraps of u plus clips of v.
        first_layer_macs: synops of graded inputs, which are part of `synops` too; `host_macs` run on the host.
        notes: what a reader must know before comparing numbers.
        steps_trace, floor, links: step by step, by kind of work, by link; `bottleneck` says in a sentence what sets the
            time and what would move it.
        warnings: those of the artifact, and what this comparison found; empty: nothing is to be said.
    """

    float_: Side
    quantized: Side
    agreement: float | None
    synops: float
    neuron_updates: float
    messages: float
    hops: float
    latency: Latency
    energy: Energy
    ann_baseline: AnnBaseline
    saturations: float
    engine: str
    target: str
    cores_used: int
    schema: int
    source: Mapping[str, Any]
    target_title: str
    samples: int
    steps: int
    chips_used: int
    throughput: Throughput
    neuron_updates_active: float
    synops_nonzero: float
    payload_synops: float
    first_layer_macs: float
    host_macs: float
    messages_host: float
    hops_ew: float
    hops_ns: float
    chip_crossings: float
    projections: tuple[ProjectionRow, ...]
    drift: tuple[Drift, ...]
    overflow: tuple[Overflow, ...]
    convention_45nm: Convention45nm
    mesh: Mesh
    cores: tuple[CoreRow, ...]
    raster: tuple[Raster, ...]
    constants: tuple[ConstantRow, ...]
    calibration: Mapping[str, Any] | None
    notes: tuple[str, ...]
    warnings: tuple[Caution, ...] = ()
    rule: str = ""
    values: Values | None = None
    host_readout: int = 0
    layers: tuple[LayerCost, ...] = ()
    steps_trace: tuple[StepRow, ...] = ()
    floor: tuple[Floor, ...] = ()
    links: tuple[LinkRow, ...] = ()
    bottleneck: str = ""
    decisions: Decisions | None = None
    shown: Shown | None = None
    what_if: tuple[Row, ...] = ()
    provenance: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, ready for JSON."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain

    def to_json(self) -> str:
        """The tree as JSON text (no NaN, no infinity)."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name.removesuffix("_"): _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value
