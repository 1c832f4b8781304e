"""What a user adds to a source that does not say everything about its network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from snnhw.errors import SourceError
from snnhw.limits import is_number
from snnhw.network import Array
from snnhw.readout import FORMS, parse
from snnhw.semantics import ENCODINGS

ARCHITECTURES = ("sew_resnet", "spiking_resnet", "plain_net")
"""Families whose files can have the same keys."""

CONNECTS = ("ADD", "AND", "IAND")
DIALECTS = ("forward", "init")
NEURONS = ("if", "lif", "plif")
NIR_DIALECTS = ("snntorch", "spikingjelly", "sinabs", "norse", "rockpool", "nir")

_NAMED = re.compile(r"(.+\.py)(?::(\w+))?", re.DOTALL)

_NO_FLAGS = ("trust_pickle", "trust_code", "remembered", "data", "samples")
"""Fields that say nothing of the network."""


@dataclass(frozen=True)
class SourceOptions:
    """The flags of `snnhw compile`; None where the user said nothing.

    Args:
        architecture: the family, where keys leave it open.
        steps: T.
        connect: SEW's g.
        neuron: of ImageNet networks.
        threshold: Vth of all neurons (and of tdBN).
        decay: membrane factor per step, the paper's tau_decay.
        alpha: of tdBN on two branches that are added.
        tdbn_dialect: 'forward' (alpha Vth multiplied in at every pass) or 'init' (it is in the weights).
        encoding: of samples.
        input_shape: of one sample.
        readout: of the output: rate, first, mean, membrane, last, max, sum and more (`snnhw.readout`).
        population: classes of a population code: equal groups of outputs.
        output_node: name of the output that predictions are read from, where there are several.
        dialect: the framework that wrote a NIR file; 'nir': its numbers are taken literally.
        state: of an ONNX step: pairs IN:OUT of a state and its new value, with commas between.
        semantics: single fields of Semantics, over the dialect's or the file's own.
        example: of FILE.py:NAME: an .npz whose `x` is what the module's forward takes.
        weights: of FILE.py:NAME: a file with its state dict.
        trust_code: a Python file may run; never remembered, never complained of.
        trust_pickle: a checkpoint that holds more than numbers may run its code; never remembered, never complained of.
        remembered: flags of an earlier compilation, used where a flag is not given; never complained of.
        data: shape of the samples to be run, from which T is told where nobody says it; never complained of.
        samples: training samples, from which a ReLU network gets its thresholds; never complained of.
    """

    architecture: str | None = None
    steps: int | None = None
    connect: str | None = None
    neuron: str | None = None
    threshold: float | None = None
    decay: float | None = None
    alpha: float | None = None
    tdbn_dialect: str | None = None
    encoding: str | None = None
    input_shape: tuple[int, ...] | None = None
    readout: str | None = None
    population: int | None = None
    output_node: str | None = None
    dialect: str | None = None
    semantics: Mapping[str, Any] | None = None
    state: str | None = None
    example: str | None = None
    weights: str | None = None
    trust_code: bool = False
    trust_pickle: bool = False
    remembered: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[int, ...] | None = None
    samples: Array | None = field(default=None, compare=False, repr=False)

    @property
    def given(self) -> dict[str, Any]:
        """Flags the user gave."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NO_FLAGS}
        return {name: value for name, value in named.items() if value is not None}

    def said(self, name: str) -> Any:
        """What the user says, now or when the artifact was compiled; None for nothing."""
        now = getattr(self, name)
        return now if now is not None else self.remembered.get(name)

    def remembering(self, origin: Mapping[str, Any]) -> SourceOptions:
        """These, and behind them the flags that an artifact's `source` says it was compiled with."""
        flags = origin.get("flags")
        rows = flags.items() if isinstance(flags, Mapping) else ()
        asked = {name: row.get("value") for name, row in rows if isinstance(row, Mapping) and row.get("from") == "flag"}
        return replace(self, remembered=asked)


def code_file(path: Path) -> tuple[Path, str | None]:
    """The file of `FILE.py:NAME`, and NAME; any other path as it is."""
    named = _NAMED.fullmatch(str(path))
    return (path, None) if named is None else (Path(named[1]), named[2])


def flag_of(name: str) -> str:
    """`input_shape` -> `--input-shape`."""
    return "--" + name.replace("_", "-")


def checked(name: str, value: Any, said_by: str) -> Any:
    """A value in its one form (ADD for add, a tuple for a list); raises SourceError where it can mean nothing.

    Args:
        name: of a field of SourceOptions.
        said_by: 'flag' or 'args', for the message.
    """
    form, limit = _FORMS[name]
    found = form(value)
    if found is None:
        raise SourceError(
            "bad-flag",
            f"{flag_of(name)} has a value it cannot have",
            where=said_by if said_by == "flag" else "args in the file",
            needed=repr(value),
            limit=limit,
        )
    return found


def refuse_unused(names: set[str], where: str, what: str) -> None:
    """A flag that changes nothing is a misunderstanding."""
    if names:
        raise SourceError(
            "unused-flag",
            "a flag says something that this source does not ask",
            where=where,
            needed=", ".join(map(flag_of, sorted(names))),
            limit=what,
            hint="leave it out",
        )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def _positive(value: Any) -> float | None:
    return float(value) if is_number(value) and value > 0 else None


def _fraction(value: Any) -> float | None:
    return float(value) if is_number(value) and 0 <= value < 1 else None


def _shape(value: Any) -> tuple[int, ...] | None:
    whole = isinstance(value, (tuple, list)) and 1 <= len(value) <= 3 and all(_whole(n) for n in value)
    return tuple(value) if whole else None


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _readout(value: Any) -> str | None:
    text = value.lower() if isinstance(value, str) else ""
    return text if parse(text) is not None else None


def _fields(value: Any) -> dict[str, Any] | None:
    return dict(value) if isinstance(value, Mapping) else None


def _one_of(choices: tuple[str, ...]) -> tuple[Callable[[Any], str | None], str]:
    def form(value: Any) -> str | None:
        found = [choice for choice in choices if isinstance(value, str) and choice.lower() == value.lower()]
        return found[0] if found else None

    return form, ", ".join(choices)


_FORMS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "architecture": _one_of(ARCHITECTURES),
    "steps": (_whole, "a whole number >= 1"),
    "connect": _one_of(CONNECTS),
    "neuron": _one_of(NEURONS),
    "threshold": (_positive, "a number > 0"),
    "decay": (_fraction, "0 <= decay < 1"),
    "alpha": (_positive, "a number > 0"),
    "tdbn_dialect": _one_of(DIALECTS),
    "encoding": _one_of(ENCODINGS),
    "input_shape": (_shape, "whole numbers >= 1: C,H,W, or C,L, or N"),
    "readout": (_readout, FORMS),
    "population": (_whole, "a whole number >= 1"),
    "output_node": (_name, "the name of an Output node"),
    "dialect": _one_of(NIR_DIALECTS),
    "state": (_name, "IN:OUT,IN:OUT"),
    "semantics": (_fields, "fields of Semantics"),
}
