"""What a NIR graph cannot say: the discrete meaning of its neurons, and how the network is used.

Travels as JSON in NIR metadata (key `snnhw`) and in the artifact's manifest; never assumed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import numpy as np

from snnhw.errors import SourceError
from snnhw.network import Comparison, Reset, ResetTiming

METADATA_KEY = "snnhw"
METADATA_VERSION = 1

_ENUMS: dict[str, type[StrEnum]] = {"comparison": Comparison, "reset": Reset, "reset_timing": ResetTiming}


@dataclass(frozen=True)
class Semantics:
    """How continuous neurons become steps; every field is required, none is guessed.

    Args:
        dt: seconds per sample step; decay of a neuron is 1 - dt / tau (Euler) or exp(-dt / tau) (exp).
        comparison: 'ge' (v >= threshold) or 'gt'.
        reset: 'zero', 'subtract' or 'v_reset'.
        reset_timing: 'same_step' or 'next_step' (subtract only).
        max_spikes: spikes a neuron can send in one step.
        v_min: lower clip of the membrane, or None.
        integrator: 'euler' or 'exp'.
        v_init: membrane at the start of a sample; 'v_reset' or a number.
        time_layout: order of axes in the source's tensors, e.g. 'TNC'.
        nodes: node name -> fields that differ there.
    """

    dt: float
    comparison: Comparison
    reset: Reset
    reset_timing: ResetTiming
    max_spikes: int
    v_min: float | None
    integrator: str
    v_init: float | str
    time_layout: str
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no neuron can mean; plain strings become the enums they name."""
        for name, kind in _ENUMS.items():
            value = getattr(self, name)
            _require(value in list(kind), name, value, ", ".join(kind))
            object.__setattr__(self, name, kind(value))
        _require(_number(self.dt) and self.dt > 0, "dt", self.dt, "seconds > 0")
        _require(self.integrator in ("euler", "exp"), "integrator", self.integrator, "euler, exp")
        _require(_whole(self.max_spikes), "max_spikes", self.max_spikes, "a whole number >= 1")
        _require(self.v_min is None or _number(self.v_min), "v_min", self.v_min, "a number or null")
        _require(self.v_init == "v_reset" or _number(self.v_init), "v_init", self.v_init, "a number or 'v_reset'")
        same_step = self.reset_timing == ResetTiming.SAME_STEP
        _require(
            same_step or self.reset == Reset.SUBTRACT, "reset_timing", self.reset_timing.value, "subtract, or same_step"
        )
        for node, changes in self.nodes.items():
            unknown = sorted(set(changes) - {f.name for f in fields(self) if f.name != "nodes"})
            _require(not unknown, f"nodes.{node}", unknown, "fields of Semantics")
            self.at(node)

    def at(self, node: str) -> Semantics:
        """The semantics of one node."""
        return replace(self, nodes={}, **self.nodes.get(node, {}))


PREPROCESSING = ("uint8/255", "none")


@dataclass(frozen=True)
class Deployment:
    """How samples go in and predictions come out.

    Args:
        steps: T.
        encoding: 'direct', 'bernoulli', 'latency' or 'spikes'.
        input_shape: shape of one sample.
        readout: 'rate' (spike counts), 'first' (earliest spike) or 'mean' (of the last linear layer over T).
        preprocessing: 'uint8/255' (analog input is pixels in [0, 1], in units of 1/255) or 'none' (its range is
            told by calibration data). Static uint8 samples count as pixels / 255 either way.
        seed: of a stochastic encoding.
    """

    steps: int
    encoding: str
    input_shape: tuple[int, ...]
    readout: str
    preprocessing: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        _require(_whole(self.steps), "steps", self.steps, "a whole number >= 1")
        shape = tuple(self.input_shape)
        _require(len(shape) > 0 and all(map(_whole, shape)), "input_shape", shape, "whole numbers >= 1")
        limit = ", ".join(PREPROCESSING) + " (do other preprocessing before the samples are given to snnhw)"
        _require(self.preprocessing in PREPROCESSING, "preprocessing", self.preprocessing, limit)


def _require(holds: bool, name: str, value: object, limit: str) -> None:
    if not holds:
        raise SourceError("bad-semantics", f"{name} has a value it cannot have", needed=repr(value), limit=limit)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1


def to_metadata(semantics: Semantics, deployment: Deployment) -> dict[str, str]:
    """Metadata of a NIR graph of ours."""
    content = {"version": METADATA_VERSION, "semantics": asdict(semantics), "deployment": asdict(deployment)}
    return {METADATA_KEY: json.dumps(content, sort_keys=True)}


def from_metadata(metadata: Mapping[str, Any], where: str) -> tuple[Semantics, Deployment]:
    """Read it back; raises SourceError when the graph does not carry it."""
    raw = metadata.get(METADATA_KEY)
    if raw is None:
        raise SourceError(
            "no-semantics",
            "a NIR graph does not determine the spikes, and this one does not carry snnhw metadata",
            where=where,
            needed="dt, comparison (> or >=), reset (zero, subtract, v_reset), T, encoding, readout",
            hint="export it with snnhw compile --emit-nir; dialects of other frameworks are not supported yet",
        )
    try:
        content = json.loads(raw.decode() if isinstance(raw, bytes) else str(raw))
        if content["version"] != METADATA_VERSION:
            raise ValueError(f"metadata version {content['version']}, this snnhw reads {METADATA_VERSION}")
        semantics = Semantics(**_known(Semantics, content["semantics"]))
        deployment = _known(Deployment, content["deployment"])
        return semantics, Deployment(**{**deployment, "input_shape": tuple(deployment["input_shape"])})
    except SourceError as error:
        error.where = where
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError("bad-semantics", f"the snnhw metadata cannot be read: {error}", where=where) from None


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    if set(content) != names:
        raise ValueError(f"fields {sorted(set(content) ^ names)} are missing or unknown")
    return dict(content)
