"""A target: limits, number formats, times and energies of a chip, read from `targets/NAME.toml`.

Python holds no chip constant: every number comes from the file, as `{value, unit, grade, source}`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnhw.errors import TargetError
from snnhw.limits import is_file
from snnhw.shipped import shipped_folder

GRADES = ("measured-fit", "simulated", "scaled", "inherited", "assumed", "published", "definition")
"""How well a number is known; `published` is a vendor's or paper's statement, `definition` a rule of the format."""

PROFILES = ("lava-lif", "programmable")
SECTIONS = ("chip", "core", "numeric", "time", "energy")


@dataclass(frozen=True)
class Constant:
    """One number of a target file with where it comes from."""

    value: Any
    unit: str
    grade: str
    source: str


@dataclass(frozen=True)
class Target:
    """A chip as data.

    Args:
        name: file name without `.toml`.
        profile: neuron profile, 'lava-lif' or 'programmable' (docs/design.md §4).
        sections: section -> key -> Constant; nested keys are joined by dots ("synop.dense").
        text: the file itself, kept in artifacts so that they need nothing beside them.
    """

    name: str
    title: str
    profile: str
    sections: Mapping[str, Mapping[str, Constant]]
    text: str

    def constant(self, key: str) -> Constant:
        """Constant of 'section.key', e.g. 'core.neurons'; raises TargetError when the file lacks it."""
        section, _, name = key.partition(".")
        try:
            return self.sections[section][name]
        except KeyError:
            raise TargetError(
                "missing-constant", f"target {self.name} has no {key}", where=f"{self.name}.toml"
            ) from None

    def __getitem__(self, key: str) -> Any:
        return self.constant(key).value

    def get(self, key: str, default: Any) -> Any:
        """Value of 'section.key', or the default when the file does not name it."""
        section, _, name = key.partition(".")
        found = self.sections.get(section, {}).get(name)
        return default if found is None else found.value


def available() -> list[str]:
    """Names of the shipped targets."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in shipped_folder("targets").iterdir()
        if entry.name.endswith(".toml")
    )


def variants() -> list[str]:
    """Names of targets that are a shipped one with some numbers besides its own; no chips, so not listed."""
    return sorted(path.name.removesuffix(".toml") for path in (shipped_folder("targets") / "variants").iterdir())


def _variant_text(name: str) -> str:
    """The base's file with the variant's numbers in their section."""
    said = (shipped_folder("targets") / "variants" / f"{name}.toml").read_text(encoding="utf-8")
    base = tomllib.loads(said)["base"]
    text = (shipped_folder("targets") / f"{base}.toml").read_text(encoding="utf-8")
    head, _, lines = said.partition("[numeric]\n")
    return head.partition("base =")[0] + text.replace("[numeric]\n", f"[numeric]\n{lines.strip()}\n", 1)


def load_target(name: str) -> Target:
    """A shipped target by name, or one from a path that ends in `.toml`."""
    if name.endswith(".toml"):
        path = Path(name)
        if not is_file(path):
            raise TargetError("unknown-target", f"no target file {name}", hint="give an existing .toml file")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TargetError("bad-target", f"not text: {error}", where=path.name) from None
        return parse_target(path.stem, text)
    if name in variants():
        return parse_target(name, _variant_text(name))
    if name not in available():
        raise TargetError(
            "unknown-target", f"no target named {name!r}", hint="choose one of: " + ", ".join(available())
        )
    return parse_target(name, (shipped_folder("targets") / f"{name}.toml").read_text(encoding="utf-8"))


def parse_target(name: str, text: str) -> Target:
    """Read and check a target file's text; raises TargetError with the key that is wrong."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TargetError("bad-target", f"not TOML: {error}", where=f"{name}.toml") from None
    if data.get("profile") not in PROFILES:
        raise TargetError(
            "bad-target", f"unknown profile {data.get('profile')!r}", where=f"{name}.toml", limit=", ".join(PROFILES)
        )
    missing = [section for section in SECTIONS if not isinstance(data.get(section), dict)]
    if missing:
        raise TargetError("bad-target", "sections are missing: " + ", ".join(missing), where=f"{name}.toml")
    sections = {section: _constants(name, section, data[section]) for section in SECTIONS}
    return Target(name, str(data.get("title", name)), data["profile"], sections, text)


def _constants(name: str, prefix: str, table: Mapping[str, Any]) -> dict[str, Constant]:
    found: dict[str, Constant] = {}
    for key, entry in table.items():
        where = f"{name}.toml, {prefix}.{key}"
        if isinstance(entry, dict) and "value" not in entry:
            nested = _constants(name, f"{prefix}.{key}", entry)
            found |= {f"{key}.{inner}": constant for inner, constant in nested.items()}
            continue
        if not isinstance(entry, dict) or set(entry) != {"value", "unit", "grade", "source"}:
            raise TargetError("bad-target", "every number is {value, unit, grade, source}", where=where)
        if entry["grade"] not in GRADES:
            raise TargetError("bad-target", f"unknown grade {entry['grade']!r}", where=where, limit=", ".join(GRADES))
        if isinstance(entry["value"], float) and not math.isfinite(entry["value"]):
            raise TargetError("bad-target", "the value is not finite", where=where)
        found[key] = Constant(entry["value"], entry["unit"], entry["grade"], entry["source"])
    return found
