"""A model card of an artifact or a checkpoint: Markdown with the front matter that model hubs read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from snnhw.chip.band import Band
from snnhw.errors import DataError
from snnhw.limits import bytes_of
from snnhw.machine import GRADES
from snnhw.report.markdown import cell
from snnhw.report.numbers import band, interval, percent
from snnhw.summary import words

UNSAID = "not stated: ask whoever made the weights"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Side(_Strict):
    accuracy: Annotated[float, Field(ge=0, le=1)] | None


class _Band(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    low: FiniteFloat
    likely: FiniteFloat
    high: FiniteFloat


class _Energy(_Strict):
    band: _Band
    grade: str
    excluded: str


class _Latency(_Strict):
    band: _Band
    grade: str
    model: str


class _Warning(_Strict):
    code: str
    where: str
    what: str


class _Compared(_Strict):
    """What the card takes of a comparison."""

    samples: Annotated[int, Field(ge=1, lt=1 << 53)]
    agreement: Annotated[float, Field(ge=0, le=1)] | None
    target_title: str
    provenance: dict[str, str]
    float_: _Side = Field(alias="float")
    quantized: _Side
    energy: _Energy
    latency: _Latency
    warnings: list[_Warning] = []


def measured(path: Path, of: str) -> dict[str, Any]:
    """What `snnhw compare --json` wrote.

    Args:
        of: the card's file as its comparison names it: name and hash.

    Raises:
        SnnhwError: there is no such file, it cannot be read, is something else, or of another model.
    """
    try:
        text = bytes_of(path)
        _Compared.model_validate_json(text)
        found: dict[str, Any] = json.loads(text)
        compared = [found["provenance"][name] for name in ("source", "artifact")]
    except (ValueError, KeyError, RecursionError):
        hint = "snnhw compare SOURCE ARTIFACT --data D.npz --json > compared.json"
        raise DataError("bad-comparison", "this is no comparison", where=str(path), hint=hint) from None
    if not any(said.endswith(of) for said in compared):
        raise DataError(
            "other-artifact",
            "the comparison is of another model",
            where=str(path),
            needed=of,
            limit=", ".join(compared),
            hint="compare this one, and write the JSON anew",
        )
    return found


def card(name: str, said: Mapping[str, Any], run: str, found: Mapping[str, Any] | None, licence: str | None) -> str:
    """The card.

    Args:
        said: what the file says of itself, by heading.
        run: how it is run: lines of a shell.
        found: of `measured`; without it accuracy, energy and time are said to be unknown.
    """
    rows = [("licence", licence or UNSAID), *((key.replace("_", " "), words(value)) for key, value in said.items())]
    table = "\n".join(f"| {cell(key)} | {cell(value)} |" for key, value in rows)
    parts = [
        f"---\n{_front(name, found, licence)}---\n\n# {cell(name)}\n",
        f"A spiking network, as `snnhw` has it.\n\n| | |\n|---|---|\n{table}\n",
        "## Measured\n\n" + ("Not measured: see `snnhw card --comparison`.\n" if found is None else _measured(found)),
        f"## How to run\n\n```\npip install snnhw\n{run}\n```\n",
    ]
    return "\n".join(parts)


def _front(name: str, found: Mapping[str, Any] | None, licence: str | None) -> str:
    """YAML, whose scalars are JSON's."""
    lines = [*([f"license: {json.dumps(licence)}"] if licence else []), "library_name: snnhw"]
    lines.append("tags: [spiking-neural-network, neuromorphic]")
    accuracy = None if found is None else found["quantized"]["accuracy"]
    if accuracy is not None and found is not None:
        data = json.dumps(str(found["provenance"].get("data", "")).partition(" ")[0])
        lines += [
            "model-index:", f"- name: {json.dumps(name)}", "  results:", "  - task: {type: classification}",
            f"    dataset: {{type: {data}, name: {data}}}", f"    metrics: [{{type: accuracy, value: {accuracy!r}}}]",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _band(of: Mapping[str, Any], unit: str) -> str:
    return band(Band(**of["band"]), unit)


def _measured(c: Mapping[str, Any]) -> str:
    """Accuracy with its interval, energy and time with their grades, warnings first."""
    lines = [
        f"**WARNING** {cell(row['code'])} {cell(row['where'])}: {cell(row['what'])}" for row in c.get("warnings", [])
    ]
    for side, who in (("float", "Float network"), ("quantized", "Integers")):
        share = c[side]["accuracy"]
        if share is not None:
            low, high = (100 * end for end in interval(share, c["samples"]))
            lines.append(f"{who}: {percent(share)} of {c['samples']} samples (95 % interval {low:.1f} to {high:.1f} %)")
    if c["agreement"] is not None:
        lines.append(f"Both decide alike on {percent(c['agreement'])} of them")
    energy, latency, target = c["energy"], c["latency"], cell(c["target_title"])
    grades, model = [cell(part["grade"]) for part in (energy, latency)], cell(latency["model"])
    lines += [
        f"Energy: {_band(energy, 'J')} a sample [{grades[0]}] on {target}; {cell(energy['excluded'])}",
        f"Latency: {_band(latency, 's')} [{grades[1]}], by the {model} model of times",
        f"The grade says how sure the constants are, the surest first: {', '.join(GRADES)}",
        *(f"{cell(key)}: {cell(str(value))}" for key, value in c["provenance"].items()),
    ]
    return "".join(f"- {line}\n" for line in lines)
