"""A machine: what a target file means once it is validated, from `targets/NAME.toml` or the user's own file.

Every number of the file is `{value, unit, grade, source}`; pydantic checks it against the type, unit and range declared
here, `_rules` checks numbers against each other. Python holds no chip constant, and every key below drives something.
Sections hold values (times in picoseconds, energies in joules, power in watts), `constant` the
number as the file says it.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from snnhw import fixed
from snnhw.errors import TargetError, nearest
from snnhw.limits import is_file, is_number
from snnhw.shipped import shipped_folder

GRADES = ("definition", "published", "measured-fit", "simulated", "scaled", "inherited", "assumed")
"""How well a number is known, from the most to the least certain; `published` is a vendor's or paper's statement,
`definition` a rule of the format."""

EVENTS = (
    "chip.link_buffer", "chip.networks", "chip.bypass_hops", "time.hop_ew", "time.hop_ns", "time.bypass_hop",
    "time.border", "time.link_occupancy",
)  # fmt: skip
"""Keys for the time of single messages, which the analytic model does not read."""

UNLIMITED = "unlimited"
"""What a file says of a resource whose limit is not known; it is then not checked."""

PREFIXES = {"": 0, "m": -3, "u": -6, "µ": -6, "n": -9, "p": -12, "f": -15}
"""Powers of ten before s, J and W."""

MOST = (1 << 31) - 1
"""No count, limit or size is larger."""


@dataclass(frozen=True)
class Constant:
    """One number of a target file with where it comes from.

    Args:
        alternatives: other values that somebody says, each {value, grade, source}; `--set` with one of them takes its
            grade, and the band of a time or an energy holds them all (`snnhw.chip.band`).
    """

    value: Any
    unit: str
    grade: str
    source: str
    alternatives: tuple[Mapping[str, Any], ...] = ()

    def si(self) -> Fraction:
        """A time, energy or power in s, J or W, exactly as written in the file."""
        return Fraction(str(self.value)) * Fraction(10) ** PREFIXES[self.unit.split()[0][:-1]]


def worst(grades: Iterable[str]) -> str:
    """The least certain of some grades; 'definition' when there is none."""
    return max(grades, key=GRADES.index, default="definition")


def _broken(rule: str, value: Any) -> PydanticCustomError:
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "value": value})


def _text(value: Any, what: str) -> str:
    """Text that a terminal can take."""
    if not isinstance(value, str) or not value.strip():
        raise _broken(f"{what} should be text that is not empty", value)
    if not all(c.isprintable() or c in "\n\t" for c in value):
        raise _broken(f"{what} should have no control characters", value)
    return value


@dataclass(frozen=True)
class In:
    """The unit a key's number must have; the annotated type gets the number's value."""

    unit: str

    @property
    def units(self) -> tuple[str, ...]:
        """Units a file may use."""
        return (self.unit,)

    def value(self, entry: Any) -> Any:
        """Value of a well-formed number."""
        if not isinstance(entry, dict) or set(entry) - {"alternatives"} != {"value", "unit", "grade", "source"}:
            raise _broken("every number is {value, unit, grade, source}", entry)
        if _text(entry["unit"], "the unit") not in self.units:
            raise _broken(f"the unit should be {' or '.join(self.units)}", entry["unit"])
        others = entry.get("alternatives", [])
        if not isinstance(others, list) or any(
            not isinstance(other, dict) or set(other) != {"value", "grade", "source"} for other in others
        ):
            raise _broken("alternatives should be a list of {value, grade, source}", others)
        for said in (entry, *others):
            if _text(said["grade"], "the grade") not in GRADES:
                raise _broken(f"the grade should be one of: {', '.join(GRADES)}", said["grade"])
            _text(said["source"], "the source")
            self.held({**entry, "value": said["value"]})
        return self.held(entry)

    def held(self, entry: Mapping[str, Any]) -> Any:
        """The value as Python code reads it."""
        value = entry["value"]
        return tuple(value) if isinstance(value, list) else value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.value, handler(source))


class Limit(In):
    """A number, or `unlimited`: None."""

    def held(self, entry: Mapping[str, Any]) -> Any:
        return None if entry["value"] == UNLIMITED else super().held(entry)


class Physical(In):
    """A time (kept in whole picoseconds), an energy (in joules) or a power (in watts), from 0 to 1 s, J or 1000 W."""

    @property
    def units(self) -> tuple[str, ...]:
        base = self.unit[1:]
        return tuple(prefix + base for prefix in PREFIXES)

    def held(self, entry: Mapping[str, Any]) -> Any:
        value, base = entry["value"], self.unit[1]
        if not is_number(value):
            raise _broken("should be a finite number", value)
        most = 1000 if base == "W" else 1
        exact = Constant(value, entry["unit"], entry["grade"], entry["source"]).si()
        if not 0 <= exact <= most:
            raise _broken(f"should be from 0 to {most} {base}", value)
        if base != "s":
            return float(exact)
        picoseconds = round(exact * 10**12)
        if exact and not picoseconds:
            raise _broken("should be 0 or at least 1 ps", value)
        return picoseconds


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise _broken("should name nothing twice", list(values))
    return values


Count = Annotated[int, Field(ge=1, le=MOST)]
Bits = Annotated[int, Field(ge=1, le=31), In("bit")]
Width = Annotated[int, Field(ge=1, le=65536)]
Stored = Annotated[int, Field(ge=0, le=65536), In("bit")]
Shift = Annotated[int, Field(ge=0, le=24), In("bit")]
Exponent = Annotated[int, Field(ge=-24, le=24), In("power of 2")]
Weight = Annotated[int, Field(ge=-(1 << 24), le=1 << 24), In("weight")]
Flag = Annotated[bool, In("flag")]
Overflow = Annotated[Literal["wrap-once", "wrap", "saturate"], In("rule")]
Ends = Annotated[Literal["symmetric", "full"], In("rule")]
Time = Annotated[int, Physical("ns")]
Energy = Annotated[float, Physical("pJ")]
Power = Annotated[float, Physical("mW")]
Tiles = Annotated[str, Field(pattern=r"^tiles_[1-9][0-9]{0,8}$")]
Chips = Annotated[str, Field(pattern=r"^chips_[1-9][0-9]{0,8}$")]


class Section(BaseModel):
    """A table of the file: no coercion, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Chip(Section):
    """Chips, cores and the mesh of routers between them."""

    chips: Annotated[Count, In("chips")]
    cores: Annotated[Count, In("cores")]
    cores_usable: Annotated[Count, In("cores")]
    mesh: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]], In("tiles")]
    cores_per_tile: Annotated[Annotated[int, Field(ge=1, le=4096)], In("cores")]
    link_buffer: Annotated[Count, In("messages")]
    flit_bits: Annotated[Count | None, In("bit")] = None
    networks: Annotated[Annotated[int, Field(ge=1, le=16)], In("networks")] = 1
    bypass_hops: Annotated[Annotated[int, Field(ge=1, le=4096)], In("hops")] = 1


class Core(Section):
    """Resources of one core; None is unlimited."""

    neurons: Annotated[Count | None, Limit("neurons")]
    in_axons: Annotated[Count | None, Limit("axons")]
    out_axons: Annotated[Count | None, Limit("axon slots")]
    axon_sources: Annotated[Count, In("sources")]
    shared_axon_slots: Annotated[Count, In("axon slots")]
    syn_words: Annotated[Count | None, Limit("words")]
    syn_word_bits: Annotated[Width, In("bit")]
    list_align_bits: Annotated[Width | None, In("bit")] = None
    words_per_axon: Annotated[Count | None, Limit("words")] = None
    entry_synapses: Annotated[Count, In("synapses")]
    entry_prefix_bits: Stored
    list_end_bits: Stored
    conv_shared: Flag
    message_per_axon: Flag = False
    delay_slots: Annotated[Count | None, Limit("slots")] = None
    delay_slots_default: Annotated[Count, In("slots per neuron")] = 1
    memory_words: Annotated[Count | None, Limit("words")] = None
    state_bits: Stored = 0
    parameter_bits: Stored = 0
    program_bits: Stored = 0
    in_axon_bits: Stored = 0
    out_axon_bits: Stored = 0
    delay_slot_bits: Stored = 0


class Numeric(Section):
    """Formats and rules of weights, neurons and spikes."""

    weight_bits: Annotated[Annotated[int, Field(ge=2, le=24)], In("bit")]
    weight_min: Weight
    weight_max: Weight
    weight_step: Annotated[Annotated[int, Field(ge=1, le=1 << 24)], In("weight")]
    weight_exp_min: Exponent
    weight_exp_max: Exponent
    u_bits: Annotated[Annotated[int, Field(ge=4, le=31)], In("bit")]
    v_bits: Annotated[Annotated[int, Field(ge=4, le=31)], In("bit")]
    u_overflow: Overflow
    v_overflow: Overflow
    u_ends: Ends = "symmetric"
    v_ends: Ends = "symmetric"
    decay_bits: Annotated[Annotated[int, Field(ge=1, le=16)], In("bit")]
    dv_max: Annotated[Annotated[int, Field(ge=1, le=1 << 16)] | None, In("2**-decay_bits")] = None
    act_shift_min: Shift
    act_shift_max: Shift
    vth_bits: Bits
    vth_shift: Shift
    vth_per_neuron: Flag
    decay_per_neuron: Flag
    levels_per_neuron: Flag
    bias_mant_bits: Annotated[Annotated[int, Field(ge=2, le=31)], In("bit")]
    bias_exp_bits: Annotated[Annotated[int, Field(ge=0, le=4)], In("bit")]
    bias_exp_min: Annotated[Annotated[int, Field(ge=0, le=15)], In("bit")] = 0
    comparisons: Annotated[
        tuple[Literal["gt", "ge"], ...], Field(min_length=1), AfterValidator(_distinct), In("set")
    ]  # fmt: skip
    resets: Annotated[
        tuple[Literal["zero", "subtract", "v_reset"], ...], Field(min_length=1), AfterValidator(_distinct), In("set")
    ]
    reset_timings: Annotated[
        tuple[Literal["same_step", "next_step"], ...], Field(min_length=1), AfterValidator(_distinct), In("set")
    ]
    v_min: Flag
    v_init: Flag
    multi_spike: Flag
    payload_bits: Annotated[Annotated[int, Field(ge=1, le=31)], In("bit")]
    payload_signed: Flag
    delay_max: Annotated[Annotated[int, Field(ge=1, le=65536)], In("step")]


class SynopTimes(Section):
    """Picoseconds of a synaptic operation, by the form its synapses are stored in."""

    dense: Time
    sparse: Time
    conv: Time


class Times(Section):
    """Picoseconds of each kind of operation; `sync` by tiles and by chips in use."""

    access: Time
    update: Time
    spike_out: Time
    message_out: Time
    message_in: Time
    hop_ew: Time
    hop_ns: Time
    bypass_hop: Time = 0
    link_occupancy: Annotated[int, Physical("ns per message")]
    border: Time = 0
    reference: Time = 1000
    synop: SynopTimes
    sync: dict[Tiles, Time]
    sync_chips: dict[Chips, Time] = Field(default_factory=dict)


class SynopEnergies(Section):
    """Joules of a synaptic operation, by the form its synapses are stored in."""

    dense: Energy
    sparse: Energy
    conv: Energy


class Energies(Section):
    """Joules of each kind of operation, and watts of what is powered."""

    access: Energy
    update: Energy
    spike_out: Energy
    message_out: Energy
    message_in: Energy
    hop_ew: Energy
    hop_ns: Energy
    border: Energy = 0.0
    synop: SynopEnergies
    static_core: Power
    static_chip: Power


class System(Section):
    """What a chip and its board cost beside the cores in use: by sample, by value that the host handles, by time.

    `cpus` and `base` are watts of a chip: of all its embedded CPUs, and of what is powered whatever it does.
    """

    host_in: Time
    host_out: Time
    reset: Time
    host_in_energy: Energy
    host_out_energy: Energy
    reset_energy: Energy
    cpus: Power
    base: Power


class Machine(Section):
    """A chip as data.

    Args:
        name: file name without `.toml`.
        text: the file itself, kept in artifacts so that they need nothing beside them.
        title: one line for reports.
        profile: neuron profile, 'lava-lif' (Lava's own LIF processes) or 'programmable' (ours).
    """

    name: str
    text: str = Field(repr=False)
    title: Annotated[str, AfterValidator(lambda title: _text(title, "the title"))]
    profile: Literal["lava-lif", "programmable"]
    chip: Chip
    core: Core
    numeric: Numeric
    time: Times
    energy: Energies
    system: System | None = None

    @cached_property
    def constants(self) -> dict[str, Constant]:
        """Every number of the file by its key ('time.synop.dense'), in the file's order."""
        return dict(_flat(tomllib.loads(self.text)))

    @cached_property
    def widths(self) -> fixed.Widths:
        """Formats of states and decays, which every engine obeys."""
        n = self.numeric
        u = _width(n.u_bits, n.u_overflow, n.u_ends)
        return fixed.Widths(u, _width(n.v_bits, n.v_overflow, n.v_ends), n.decay_bits)

    def constant(self, key: str) -> Constant:
        """The number of a key that the file has, as it says it."""
        return self.constants[key]

    def changed(self, values: Mapping[str, Any]) -> Machine:
        """The machine with other values of some keys, graded `assumed`; its text says so.

        Args:
            values: key ('core.neurons') -> value in the file's unit.

        Raises:
            TargetError: a key that no target has, or a value that breaks a rule, as in a file.
        """
        if not values:
            return self
        entries = {}
        for key, value in values.items():
            unit = _unit(key)
            if unit is None:
                _refuse(self.name, key, value, "is no key of a target")
            old = self.constants.get(key)
            was = "says nothing" if old is None else f"says {old.value} ({old.grade}: {old.source})"
            known = next((other for other in old.alternatives if other["value"] == value), None) if old else None
            entries[key] = {
                "value": list(value) if isinstance(value, tuple) else value,
                "unit": unit if old is None else old.unit,
                "grade": "assumed" if known is None else known["grade"],
                "source": f"set by the user; {'' if known is None else known['source'] + '; '}{self.name}.toml {was}",
            }
        return self.said(entries, ", ".join(f"{key} = {value}" for key, value in values.items()))

    def said(self, entries: Mapping[str, Mapping[str, Any]], title: str) -> Machine:
        """The machine with other numbers ({value, unit, grade, source}) at some keys, and more to its title.

        Raises:
            TargetError: a number that breaks a rule, as in a file.
        """
        data = tomllib.loads(self.text)
        for key, entry in entries.items():
            *path, last = key.split(".")
            table = data
            for part in path:
                table = table.setdefault(part, {})
            table[last] = dict(entry)
        data["title"] += f", {title}"
        return _made(self.name, data, None)


SECTIONS: dict[str, type[Section]] = {
    "chip": Chip,
    "core": Core,
    "numeric": Numeric,
    "time": Times,
    "energy": Energies,
    "system": System,
}


def _width(bits: int, overflow: str, ends: str) -> fixed.Width:
    """A format of a state; `ends` says whether saturation leaves out the lowest value."""
    rules = {"wrap-once": fixed.WRAP_ONCE, "wrap": fixed.WRAP, "saturate": fixed.SATURATE}
    symmetric = fixed.width(bits, rules[overflow])
    return symmetric if ends == "symmetric" else symmetric._replace(low=symmetric.low - 1)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Constant]]:
    for key, entry in table.items():
        if isinstance(entry, dict):
            if "value" in entry:
                yield prefix + key, Constant(**entry)
            else:
                yield from _flat(entry, f"{prefix}{key}.")


def _declared(model: type[Section], prefix: str) -> Iterator[tuple[str, str]]:
    """Keys with their units."""
    for name, info in model.model_fields.items():
        inner = info.annotation
        unit = next((m.unit for m in info.metadata if isinstance(m, In)), "ns")
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _declared(inner, f"{prefix}{name}.")
        else:
            yield prefix + name + {"sync": ".tiles_1", "sync_chips": ".chips_1"}.get(name, ""), unit


KEYS = {key: unit for name, model in SECTIONS.items() for key, unit in _declared(model, f"{name}.")}
"""Every key a file can have with its unit; of the tables `time.sync` and `time.sync_chips` the first."""


def _unit(key: str) -> str | None:
    """Unit of a key; None where no target has it."""
    return KEYS.get(re.sub(r"^(time\.sync\.tiles|time\.sync_chips\.chips)_[1-9][0-9]{0,8}$", r"\1_1", key))


def available() -> list[str]:
    """Names of the shipped targets."""
    return sorted(path.name.removesuffix(".toml") for path in shipped_folder("targets").glob("*.toml"))


def variants() -> list[str]:
    """Names of targets that are a shipped one with some numbers besides its own; no chips, so not listed."""
    return sorted(path.name.removesuffix(".toml") for path in (shipped_folder("targets") / "variants").iterdir())


def load_target(name: str, values: Mapping[str, Any] | None = None) -> Machine:
    """A shipped target by name, or one from a path that ends in `.toml`, with other `values` of some keys.

    Raises:
        TargetError: there is no such target, or its file is wrong: file, key, value and rule.
    """
    return _loaded(name).changed(values or {})


def _loaded(name: str) -> Machine:
    folder = shipped_folder("targets")
    if name.endswith(".toml"):
        path = Path(name)
        if not is_file(path):
            raise TargetError("unknown-target", f"no target file {name}", hint="give an existing .toml file")
        return parse_target(path.stem, _read(path))
    if name in variants():
        return parse_target(name, _read(folder / "variants" / f"{name}.toml"))
    if name not in available():
        names = f"choose one of: {', '.join(available())}, or give a path that ends in .toml"
        near = nearest(name, available())
        raise TargetError("unknown-target", f"no target named {name!r}", hint=f"{names}; {near}" if near else names)
    return parse_target(name, _read(folder / f"{name}.toml"))


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TargetError("bad-target", f"not text: {error}", where=path.name, hint="save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise TargetError(
            "bad-target", "the file begins with a byte order mark", where=path.name, hint="save it as UTF-8 without one"
        )
    return text


def parse_target(name: str, text: str) -> Machine:
    """The machine of a target file's text; raises TargetError with file, key, value and rule."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # besides TOMLDecodeError: numbers of too many digits, dates
        line = re.search(r"line (\d+)", str(error))
        said = text.splitlines()[int(line[1]) - 1].strip()[:100] if line else None
        raise TargetError("bad-target", f"not TOML: {error}", where=f"{name}.toml", needed=said) from None
    return _made(name, data, text) if "base" not in data else _made(name, _over_base(name, data))


def _over_base(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """A whole file of one that names a shipped target as its `base` and says what is different."""
    base = data.pop("base")
    if base not in available():
        _refuse(name, "base", base, f"should be one of: {', '.join(available())}")
    whole = tomllib.loads(_read(shipped_folder("targets") / f"{base}.toml"))
    return _merged(whole, data)


def _merged(of: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """A table with what another says besides; numbers are taken whole."""

    def table(entry: Any) -> bool:
        return isinstance(entry, dict) and "value" not in entry

    both = {key: _merged(of[key], new) for key, new in said.items() if table(new) and table(of.get(key))}
    return {**of, **said, **both}


def _made(name: str, data: dict[str, Any], text: str | None = None) -> Machine:
    """The machine of parsed TOML; without a text, that of the data."""
    own = {"name", "text"} & set(data)
    if own:
        _refuse(name, min(own), data[min(own)], "is no key of a target")
    try:
        machine = Machine.model_validate({**data, "name": name, "text": text or ""})
    except ValidationError as error:
        _explain(name, error)
    machine = machine if text is not None else machine.model_copy(update={"text": written(data)})
    for key, holds, rule in _rules(machine):
        if not holds:
            found = machine.constants.get(key)
            _refuse(name, key, None if found is None else found.value, rule)
    return machine


def _explain(name: str, error: ValidationError) -> NoReturn:
    """One refusal of a file: an unknown key before what else is wrong, for it may be the missing one misspelt."""
    found = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")[0]
    key = ".".join(str(part) for part in found["loc"] if isinstance(part, str) and part != "[key]")
    value = found.get("ctx", {}).get("value", found["input"])
    match found["type"]:
        case "extra_forbidden" | "string_pattern_mismatch":
            _refuse(name, key, value, "is no key of a target")
        case "missing":
            _refuse(name, key, None, "is missing")
        case "rule":
            _refuse(name, key, value, found["msg"])
        case _:
            _refuse(name, key, value, found["msg"].replace("Input should", "should"))


def _refuse(name: str, key: str, value: Any, rule: str) -> NoReturn:
    hint = None
    if rule == "is no key of a target":
        names = [*KEYS, *SECTIONS, "title", "profile"]
        leaf = [known for known in KEYS if known.rpartition(".")[2] == key.rpartition(".")[2]]
        near = leaf or difflib.get_close_matches(key, names, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "docs/targets.md lists the keys"
    if rule == "is missing":
        hint = f'{key} = {{ value = ..., unit = "{KEYS[key]}", grade = ..., source = ... }}' if key in KEYS else None
    raise TargetError(
        "bad-target",
        f"the target cannot be used: {key} {rule}",
        where=f"{name}.toml, {key}",
        needed=None if value is None else _shown(value),
        hint=hint,
    )


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value).replace("True", "true").replace("False", "false")


def _rules(m: Machine) -> Iterator[tuple[str, bool, str]]:
    """Rules between numbers: the key that a refusal names, whether it holds, the rule."""
    chip, core, n, time = m.chip, m.core, m.numeric, m.time
    places = chip.mesh[0] * chip.mesh[1] * chip.cores_per_tile
    yield "chip.cores", chip.cores <= places, f"should be at most mesh x cores_per_tile, {places}"
    yield "chip.cores_usable", chip.cores_usable <= chip.cores, f"should be at most chip.cores, {chip.cores}"
    yield "chip.chips", chip.chips * chip.cores <= MOST, f"times chip.cores should be at most {MOST}"
    if core.words_per_axon is not None and core.syn_words is not None:
        fits = core.words_per_axon <= core.syn_words
        yield "core.words_per_axon", fits, f"should be at most core.syn_words, {core.syn_words}"
    if core.delay_slots is not None:
        fits = core.delay_slots_default <= core.delay_slots
        yield "core.delay_slots_default", fits, f"should be at most core.delay_slots, {core.delay_slots}"
    yield "core.list_end_bits", core.list_end_bits < core.syn_word_bits, "should be less than core.syn_word_bits"
    if core.list_align_bits is not None:
        whole = core.syn_word_bits % core.list_align_bits == 0
        yield "core.list_align_bits", whole, f"should divide core.syn_word_bits, {core.syn_word_bits}"
    if core.memory_words is not None and core.syn_words is not None:
        fits = core.syn_words <= core.memory_words
        yield "core.memory_words", fits, f"should be at least core.syn_words, {core.syn_words}"
    room = core.syn_word_bits
    yield "numeric.weight_bits", n.weight_bits <= room, f"should be at most core.syn_word_bits, {room}"
    yield "numeric.weight_min", n.weight_min <= -n.weight_step, f"should be at most -weight_step, {-n.weight_step}"
    yield "numeric.weight_max", n.weight_max >= n.weight_step, f"should be at least weight_step, {n.weight_step}"
    weights = n.weight_max // n.weight_step + -n.weight_min // n.weight_step + 1
    fits = weights <= 1 << n.weight_bits
    rule = f"leaves {weights} weights from weight_min to weight_max: should be at most 2**weight_bits"
    yield "numeric.weight_step", fits, rule
    yield "numeric.weight_exp_min", n.weight_exp_min <= 0, "should be 0 or less"
    yield "numeric.weight_exp_max", n.weight_exp_max >= 0, "should be 0 or more"
    ordered = n.act_shift_min <= n.act_shift_max
    yield "numeric.act_shift_min", ordered, f"should be at most act_shift_max, {n.act_shift_max}"
    yield "numeric.act_shift_max", n.act_shift_max < n.u_bits, f"should be less than u_bits, {n.u_bits}"
    state = f"should be at most v_bits, {n.v_bits}"
    yield "numeric.vth_bits", n.vth_bits + n.vth_shift <= n.v_bits, f"plus vth_shift, {n.vth_shift}, {state}"
    exponent = (1 << n.bias_exp_bits) - 1
    yield "numeric.bias_exp_min", n.bias_exp_min <= exponent, f"should be at most 2**bias_exp_bits - 1, {exponent}"
    fits = n.bias_mant_bits + exponent <= n.v_bits
    yield "numeric.bias_mant_bits", fits, f"plus the largest exponent, {exponent}, {state}"
    forgets = n.dv_max is None or n.dv_max <= 1 << n.decay_bits
    yield "numeric.dv_max", forgets, f"should be at most 2**decay_bits, {1 << n.decay_bits}"
    for state in ("u", "v"):
        idle = f"numeric.{state}_ends" in m.constants and getattr(n, f"{state}_overflow") != "saturate"
        yield f"numeric.{state}_ends", not idle, f"should be left out where {state}_overflow is not 'saturate'"
    late = "next_step" not in n.reset_timings or "subtract" in n.resets
    yield "numeric.reset_timings", late, "should name 'next_step' only where resets have 'subtract'"
    counts = not n.multi_spike or n.payload_bits > 1
    yield "numeric.payload_bits", counts, "should be 2 or more where multi_spike is true: the payload is the count"
    yield "time.sync", "tiles_1" in time.sync, "should have tiles_1: the barrier of one tile"
    for key, table in (("time.sync", time.sync), ("time.sync_chips", time.sync_chips)):
        sizes = sorted(table, key=lambda name: int(name.rpartition("_")[2]))
        for less, more in pairwise(sizes):
            yield f"{key}.{more}", table[less] <= table[more], f"should be at least {key}.{less}"
    yield from _lava(m)


def _lava(m: Machine) -> Iterator[tuple[str, bool, str]]:
    """What profile 'lava-lif' means: Lava 0.10.0's `LIF` and `LIFReset` have nothing else."""
    n = m.numeric
    offered: dict[str, tuple[Any, Any]] = {
        "comparisons": (n.comparisons, ("gt",)),
        "resets": (n.resets, ("zero",)),
        "reset_timings": (n.reset_timings, ("same_step",)),
        "vth_per_neuron": (n.vth_per_neuron, False),
        "decay_per_neuron": (n.decay_per_neuron, False),
        "levels_per_neuron": (n.levels_per_neuron, False),
        "v_min": (n.v_min, False),
        "v_init": (n.v_init, False),
        "multi_spike": (n.multi_spike, False),
    }
    for key, (have, only) in offered.items():
        said = list(only) if isinstance(only, tuple) else _shown(only)
        yield f"numeric.{key}", m.profile != "lava-lif" or have == only, f"should be {said} in profile 'lava-lif'"


def written(data: Mapping[str, Any]) -> str:
    """TOML of a file's data: the same data, the same text."""
    lines = [f"{key} = {_toml(data[key])}" for key in ("title", "profile")]
    tables = [(section, data[section]) for section in SECTIONS if section in data]
    while tables:
        name, table = tables.pop(0)
        inner = {key: entry for key, entry in table.items() if "value" not in entry}
        lines += ["", f"[{name}]", *(f"{key} = {_toml(entry)}" for key, entry in table.items() if key not in inner)]
        tables[:0] = [(f"{name}.{key}", entry) for key, entry in inner.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(entry)}' for key, entry in value.items())} }}"
    return repr(value)
