"""A mapped artifact as a chip and a network that SANA-FE runs to the same spikes, times and energies (docs/sanafe.md).

Membranes, thresholds and weights are written in 64ths of ours, which is the step its neurons round to. Its first step
is the chip step in which the artifact's first population starts. Neurons stand on a core in the order in which the
event model takes them. Currents that a host injects are not in the files: they would be added to the biases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from snnhw import files
from snnhw.artifact import Artifact
from snnhw.chip.analytic import barrier, tiles_in_use
from snnhw.chip.trace import order_on_cores
from snnhw.chip.wiring import Wiring, wire
from snnhw.errors import ArtifactError
from snnhw.fixed import LOIHI
from snnhw.network import Array, Comparison, IntNeuron, Kind, Network, Population, Projection, Reset, ResetTiming

UNIT = 64
"""Our membrane units in one of SANA-FE's."""

ARCHITECTURE, NETWORK = "architecture.yaml", "network.yaml"


def write_sanafe(artifact: Artifact, folder: str | Path) -> dict[str, str]:
    """Write both files, whole or not at all; the same artifact gives the same bytes.

    Args:
        folder: made where it is missing.

    Returns:
        Population -> its group in the network file.

    Raises:
        ArtifactError: 'sanafe-cannot' with the population or projection that SANA-FE cannot run alike.
        DataError: 'cannot-write'.
    """
    wiring = wire(artifact)
    _require(artifact, wiring)
    groups = {p.name: f"p{i}" for i, p in enumerate(artifact.network.computed)}
    chip, network = _architecture(artifact, wiring), "\n".join(_network(artifact, groups))
    files.write({Path(folder) / ARCHITECTURE: chip, Path(folder) / NETWORK: network + "\n"}, folders=True)
    return groups


def cannot(what: str, where: str, hint: str) -> ArtifactError:
    """SANA-FE has no such thing."""
    return ArtifactError("sanafe-cannot", f"SANA-FE cannot run this alike: {what}", where=where, hint=hint)


def _require(artifact: Artifact, wiring: Wiring) -> None:
    network, target = artifact.network, artifact.target
    if target.widths != LOIHI:
        raise cannot("its states are 24 bits wide and decays 12", target.name, "compile for loihi1 or loihi2")
    if artifact.mapping.chips > 1:
        raise cannot("it has one chip", target.name, "compile for a target with enough cores on one chip")
    first = min(p.start for p in network.computed)
    for p in network.computed:
        _require_neurons(p, first)
    for q in network.projections:
        _require_synapses(q, network)
    if target.core.message_per_axon:
        for p in network.computed:
            if wiring.fans[p.name].touched.max() > 1:
                hint = "compile with --set core.message_per_axon=false"
                raise cannot("it sends one message to a core, not one for each axon there", p.name, hint)
    for p in network.computed:
        formats = {q.op.format for q in network.into(p.name)} - {None}
        if len(formats) > 1:
            raise cannot(f"synapses of several formats on one neuron ({', '.join(sorted(map(str, formats)))})", p.name,
                         "only populations with one kind of operator can be written")  # fmt: skip


def _require_neurons(p: Population[IntNeuron], first: int) -> None:
    m = p.model
    hint = "only plain spiking layers can be written; see docs/sanafe.md"
    if m.MODEL != "cuba_lif":
        raise cannot("another neuron model than the leaky integrate-and-fire", p.name, hint)
    soft = m.reset is Reset.SUBTRACT
    rules = {
        "graded spikes": p.payload == (0, 1) and m.max_spikes == 1,
        "a population that never fires": p.kind is not Kind.ACCUMULATOR,
        "a synaptic current that lasts, which it does not round": bool((np.asarray(m.du) == 4096).all()),
        "a reset in the next step": m.reset_timing is ResetTiming.SAME_STEP,
        "a subtracting reset with >=": not (soft and m.comparison is Comparison.GE),
        "a lower clip of the membrane": m.v_min is None,
        "an initial membrane": not np.any(m.v_init),
        f"a bias in a population that starts {p.start - first} steps later, for it has no reset between samples": (
            p.start == first or not np.any(m.bias)
        ),
    }
    for what, holds in rules.items():
        if not holds:
            raise cannot(what, p.name, hint)


def _require_synapses(q: Projection, network: Network[IntNeuron]) -> None:
    if q.op.injects:
        return
    if network[q.pre].kind is Kind.INPUT:
        raise cannot("spikes that the host sends, for it sends all from cores", q.pre,
                     "compile for a target whose first layer the host computes")  # fmt: skip
    if q.delay != 1:
        raise cannot(f"a delay of {q.delay} steps", q.name, "only projections of delay 1 can be written")
    if q.lag and network[q.post].start < network.depth:
        raise cannot("spikes that arrive behind the end of a sample", q.name, "only the last population may have a lag")
    if q.weight_exp < 0:
        raise cannot("sums of synapses that are shifted down", q.name, "compile with fewer --weight-bits")


def _architecture(artifact: Artifact, wiring: Wiring) -> str:
    target = artifact.target
    time, joules, (width, height) = target.time, target.energy, target.chip.mesh
    wait = barrier(target, tiles_in_use(wiring.cores, target), 1).picoseconds
    hop = {"north": "ns", "south": "ns", "east": "ew", "west": "ew"}
    hops = [f"        energy_{way}_hop: {getattr(joules, f'hop_{key}')!r}\n"
            f"        latency_{way}_hop: {_s(getattr(time, f'hop_{key}'))}" for way, key in hop.items()]  # fmt: skip
    soma = [f"                energy_{theirs}: {getattr(joules, ours)!r}\n"
            f"                latency_{theirs}: {_s(getattr(time, ours))}" for ours, theirs in
            (("access", "access_neuron"), ("update", "update_neuron"), ("spike_out", "spike_out"))]  # fmt: skip
    synapses = [f"            - name: {name}\n              attributes:\n                model: current_based\n"
                f"                energy_process_spike: {getattr(joules.synop, name)!r}\n"
                f"                latency_process_spike: {_s(getattr(time.synop, name))}"
                for name in ("dense", "sparse", "conv")]  # fmt: skip
    lines = [
        "architecture:", f"  name: {target.name}", "  attributes:", "    topology: mesh", f"    width: {width}",
        f"    height: {height}", f"    link_buffer_size: {target.chip.link_buffer}", "    sync_model: fixed",
        f"    latency_sync: {_s(wait)}", "  tile:", f"    - name: tile[0..{width * height - 1}]", "      attributes:",
        *hops, "      core:", f"        - name: core[0..{target.chip.cores_per_tile - 1}]", "          attributes:",
        "            buffer_position: soma", "            buffer_inside_unit: false",
        f"            max_neurons_supported: {max(np.bincount(_cores(artifact)))}", "          axon_in:",
        "            - name: axons_in", "              attributes:",
        f"                energy_message_in: {joules.message_in!r}",
        f"                latency_message_in: {_s(time.message_in)}", "          synapse:", *synapses,
        "          dendrite:", "            - name: sum", "              attributes:",
        "                model: accumulator", "                energy_update: 0.0",
        "                latency_update: 0.0",
        "          soma:", "            - name: lif", "              attributes:",
        "                model: leaky_integrate_fire", *soma, "          axon_out:", "            - name: axons_out",
        "              attributes:", f"                energy_message_out: {joules.message_out!r}",
        f"                latency_message_out: {_s(time.message_out)}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _s(picoseconds: int) -> str:
    """As the nearest number of seconds."""
    return repr(picoseconds / 1e12)


def _cores(artifact: Artifact) -> Array:
    parts = [artifact.mapping.core_map(p.name, p.shape).ravel() for p in artifact.network.computed]
    return np.concatenate(parts)


def _network(artifact: Artifact, groups: dict[str, str]) -> Iterator[str]:
    network, target = artifact.network, artifact.target
    yield from (f"# {group}: {name.encode('unicode_escape').decode()}" for name, group in groups.items())
    yield from ("network:", "  name: network", "  groups:")
    for p in network.computed:
        yield from _group(p, groups[p.name], network)
    yield "  edges:"
    for q in network.projections:
        if q.op.injects:
            continue
        unit = 2 ** (q.weight_exp + network[q.post].model.act_shift) / UNIT
        table = q.op.matrix(network.weights, network[q.pre].shape, network[q.post].shape).tocsc()
        pre = np.repeat(np.arange(table.shape[1]), np.diff(table.indptr))
        ends = f"{groups[q.pre]}.{{}} -> {groups[q.post]}.{{}}"
        for i, j, w in zip(pre.tolist(), table.indices.tolist(), table.data.tolist(), strict=True):
            yield f"    - {ends.format(i, j)}: [weight: {w * unit!r}]"
    yield "mappings:"
    for name, neuron, core in order_on_cores(artifact):
        tile, offset = divmod(core, target.chip.cores_per_tile)
        yield f"  - {groups[name]}.{neuron}: [core: {tile}.{offset}]"


def _group(p: Population[IntNeuron], group: str, network: Network[IntNeuron]) -> Iterator[str]:
    m = p.model
    formats = {q.op.format for q in network.into(p.name)} - {None}
    bias = np.broadcast_to(np.asarray(m.bias, np.int64), p.shape)
    limit = np.broadcast_to(np.asarray(m.vth, np.int64) - (m.comparison is Comparison.GE), p.shape).ravel() / UNIT
    keep = np.broadcast_to((4096 - np.asarray(m.dv, np.int64)) / 4096, p.shape).ravel()
    mode = "soft" if m.reset is Reset.SUBTRACT else "hard"
    back = np.broadcast_to(np.asarray(m.v_reset if m.reset is Reset.V_RESET else 0, np.int64), p.shape).ravel() / UNIT
    yield f"    - name: {group}"
    yield (
        f"      attributes: [soma_hw_name: lif, dendrite_hw_name: sum, synapse_hw_name: {next(iter(formats), 'dense')},"
        f" log_spikes: true, input_decay: 0.0, reset_mode: {mode}]"
    )
    yield "      neurons:"
    rows: list[Any] = [limit.tolist(), keep.tolist(), back.tolist(), (bias.ravel() / UNIT).tolist()]
    for i, (vth, leak, reset, push) in enumerate(zip(*rows, strict=True)):
        yield f"        - {i}: [threshold: {vth!r}, leak_decay: {leak!r}, reset: {reset!r}, bias: {push!r}]"
