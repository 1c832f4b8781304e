"""What a user wants to know of an artifact: one line each, as `compile`, `inspect` and a notebook show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from typing import Any

from snnhw.errors import printable
from snnhw.network import Kind
from snnhw.rationale import Effect
from snnhw.readout import told


def summary(artifact: Any, path: str) -> dict[str, Any]:
    """What a user wants to know after a compilation."""
    network = artifact.network
    unproven = [str(b["population"]) for b in artifact.bounds if b["status"] != "proven"]
    n = artifact.target.numeric
    bits = n.u_bits if n.u_bits == n.v_bits else f"u {n.u_bits}, v {n.v_bits}"
    silent = [str(b["population"]) for b in artifact.bounds if b.get("silent")]
    return {
        "artifact": path,
        "target": artifact.target.name,
        "dialect": artifact.source.get("dialect", "the source says its own semantics"),
        "populations": len(network.computed),
        "neurons": sum(p.size for p in network.computed),
        "projections": len(network.projections),
        "steps": network.steps,
        "pipeline_fill": network.depth,
        "bits_per_weight": round(network.bits_per_weight(n.weight_bits), 2),
        "memory": {kind: f"{size:.1f} KiB" for kind, size in memory(artifact).items()},
        "cores_used": artifact.mapping.cores_used,
        "chips_used": artifact.mapping.chips,
        **_placed(artifact.mapping.choice),
        "inputs": _inputs(artifact),
        "readout": told(network.readout, network[network.readout.population].size),
        "range_proof": "unproven for " + ", ".join(unproven) if unproven else f"{bits} bit proven for every input",
        "never_fire": ", ".join(silent) or "no population: each can reach its threshold",
        "approximate": approximations(artifact),
        "warnings": [asdict(caution) for caution in artifact.warnings],
        "checks": [
            f"{c['stage']}: {c['detail'] if c['status'] == 'measured' else c['status']}" for c in artifact.checks
        ],
        "assumed": _assumptions(artifact),
        "calibration": None if artifact.calibration is None else _calibrated(artifact.calibration),
    }


def _inputs(artifact: Any) -> str:
    """Shape of a sample; of several inputs which parts of one flat sample they take."""
    specs = artifact.inputs
    shapes = {p.name: "x".join(map(str, p.shape)) for p in artifact.reference.populations if p.kind is Kind.INPUT}
    if len(shapes) == 1:
        return f"{'x'.join(map(str, specs[0].sample_shape))}, {specs[0].encoding}"
    parts = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
    total = "x".join(map(str, specs[0].sample_shape))
    order = f"one after another in this order in flat samples of {total} values"
    return f"{len(shapes)}: {parts}; {order}, {specs[0].encoding}"


def _placed(choice: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the placement aims at, for which load, and what each aim comes to there."""
    if choice is None:
        return {}
    ends = (
        f"{name}: {end['cores']} cores, a step {end['busiest_core_s'] * 1e6:.3g} µs on the busiest,"
        f" {end['energy_j'] * 1e6:.3g} µJ without static parts"
        for name, end in choice["ends"].items()
    )
    return {"map": choice["map"], "map_ends": list(ends), "load": choice["load"]}


def memory(artifact: Any) -> dict[str, float]:
    """KiB of synaptic words as the mapper counts them: of weights, constants included, and of relays.

    States of neurons and axons have their own memory. Nothing of a target that does not limit these words.
    """
    found = {"weights": 0.0, "relays": 0.0}
    for part in artifact.mapping.slices:
        if "syn_words" not in part.use:
            return {}
        kind = "relays" if artifact.network[part.population].kind is Kind.RELAY else "weights"
        found[kind] += part.use["syn_words"] * artifact.target.core.syn_word_bits / 8192
    return found


def _calibrated(calibration: Mapping[str, Any]) -> str:
    """How many samples there were, and how many of these were used and kept apart."""
    parts = [f"{calibration[part]} {said}" for part, said in PARTS.items() if part in calibration]
    return ", ".join([f"{calibration['samples']} samples", *parts])


PARTS = {"used": "used", "apart": "kept apart for checks"}
"""Of calibration samples, and what is said of them."""


def _assumptions(artifact: Any) -> str:
    """What neither the checkpoint nor a flag said, so that the published code's constant was taken."""
    flags = artifact.source.get("flags", {})
    found: dict[str, list[str]] = {}
    for name, row in flags.items():
        if row["from"] == "assumed":
            found.setdefault(row["note"], []).append(f"{name} {row['value']}")
    return "; ".join(f"{', '.join(rows)} ({whose})" for whose, rows in found.items()) or "nothing"


def approximations(artifact: Any) -> str:
    """Populations whose threshold rule, reset or number of spikes a step the target can only approximate; `explain`
    says why."""
    found: dict[str, list[str]] = {"vth": [], "reset": [], "max_spikes": []}
    for reason in artifact.rationale:
        if reason.kind is Effect.APPROXIMATE:
            found.setdefault(reason.parameter, []).append(reason.population)
    resets = f"; hard for soft reset in {len(found['reset'])} populations" if found["reset"] else ""
    spikes = "; spikes a step limited in " + ", ".join(found["max_spikes"]) if found["max_spikes"] else ""
    return (", ".join(found["vth"]) or "no threshold rule") + resets + spikes


def text(said: Mapping[str, Any], longest: int | None = None) -> str:
    """One line an entry: its name, then its value in words; `longest` cuts what is longer. Warnings are said apart."""
    lines = (f"{key.replace('_', ' '):<12} {words(value)}" for key, value in said.items() if key != "warnings")
    lines = (printable(line).replace("\n", "\\n") for line in lines)
    return "\n".join(line if longest is None or len(line) <= longest else f"{line[: longest - 1]}…" for line in lines)


def table(said: Mapping[str, Any]) -> str:
    """The same as an HTML table, for a notebook."""
    cell = '<td style="text-align:left">'
    rows = (
        f"<tr>{cell}<b>{escape(key.replace('_', ' '))}</b></td>{cell}{escape(printable(words(value)))}</td></tr>"
        for key, value in said.items()
    )
    return f"<table>{''.join(rows)}</table>"


def words(value: Any) -> str:
    """A value of the summary without brackets and quotes."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{key} {words(inner)}" for key, inner in value.items()) or "none"
        case list() | tuple():
            separator = "; " if any(isinstance(inner, str | Mapping) for inner in value) else " x "
            return separator.join(map(words, value)) or "none"
        case _:
            return str(value)
