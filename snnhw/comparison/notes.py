"""Sentences a reader needs beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping

from snnhw.artifact import Artifact
from snnhw.cautions import SILENT, Caution, silent_output
from snnhw.chip.analytic import barrier
from snnhw.chip.tally import Tally
from snnhw.network import Array


def notes(artifact: Artifact, total: Tally) -> tuple[str, ...]:
    """What holds for this comparison, most important first."""
    said = []
    if total.saturations:
        where = ", ".join(p.name for p in total.populations if p.wraps or p.clips)
        said.append(f"OVERFLOW: u wrapped or v saturated {total.saturations} times in this run, in {where}.")
    if total.host_messages.any():
        said.append(
            "Inputs live on the host: their messages cost the receiving cores time and energy, but no core sends them,"
            " and their way to the chip is not counted."
        )
    if any(q.format is None and q.events for q in total.projections):
        said.append("Injected values are bias currents written by the host: no synops and no messages are counted.")
    if any(spec.host is not None for spec in artifact.inputs):
        said.append(
            "The host computes the first layer: its multiply-accumulates are host_macs, its energy is excluded."
        )
    if any(q.from_host and q.graded and q.synops for q in total.projections):
        said.append("The input is graded: its synops are priced on the chip and listed as first_layer_macs too.")
    chips = artifact.mapping.chips
    if chips > 1 and not artifact.target.time.sync_chips:
        said.append(f"No barrier time is known for {chips} chips: the barrier of the tiles in use is charged alone.")
    if barrier(artifact.target, 1, chips).interpolated:
        said.append(
            f"No barrier time is public for {chips} chips: it is interpolated (assumed) between that of the tiles in"
            " use and the published one of more chips."
        )
    said.append("Times are a model's, energies are counts times constants: neither was measured on a chip here.")
    return tuple(said)


def warnings(
    artifact: Artifact, samples: int, floats: Mapping[str, Array], events: Mapping[str, Array]
) -> list[Caution]:
    """Those of the artifact, and an output layer without a spike.

    Args:
        floats, events: spikes of every neuron by population, of the float network and of the integers.
    """
    found, readout = list(artifact.warnings), artifact.network.readout
    if readout.kind in ("rate", "first") and not any(caution.code == SILENT for caution in found):
        sides = {"float": floats[readout.population], "quantised": events[readout.population]}
        quiet = [name for name, spikes in sides.items() if not spikes.any()]
        found += [silent_output(readout.population, f"0 spikes in {samples} samples, {' and '.join(quiet)}")] * bool(
            quiet
        )
    return found
