"""What a NIR graph cannot say: the discrete meaning of its neurons, and how the network is used.

Travels as JSON in NIR metadata (key `snnhw`) and in the artifact's manifest; never assumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import numpy as np

from snnhw.errors import SourceError
from snnhw.limits import is_number
from snnhw.network import Comparison, Readout, Reset, ResetTiming
from snnhw.neurons.base import UNLIMITED as UNLIMITED
from snnhw.readout import FORMS, parse, rule_of

METADATA_KEY = "snnhw"
METADATA_VERSION = 2

LONGEST_STEP = 1e6
"""Seconds; sinabs counts in steps, dt = 1."""

OFF = "off"
"""What `multispike` is called where a neuron sends one spike a step at most."""


class CurrentOrder(StrEnum):
    """Whether a membrane sees the synaptic current with this step's input in it, or as it was before."""

    SAME_STEP = "same_step"
    NEXT_STEP = "next_step"


_ENUMS: dict[str, type[StrEnum]] = {
    "threshold": Comparison,
    "reset": Reset,
    "reset_timing": ResetTiming,
    "current_order": CurrentOrder,
}

PLAIN: Mapping[str, Any] = {
    "reset": Reset.ZERO,
    "reset_timing": ResetTiming.SAME_STEP,
    "threshold": Comparison.GT,
    "multispike": 1,
    "v_min": None,
    "integrator": "euler",
    "current_order": CurrentOrder.SAME_STEP,
    "v_init": 0.0,
    "time_layout": "TNC",
}
"""Every field but dt, of a neuron with nothing special: what a front end that knows its source writes its own over."""


@dataclass(frozen=True)
class Semantics:
    """How continuous neurons become steps; every field is required, none is guessed.

    With lam = dt / tau (Euler) or 1 - exp(-dt / tau) (exp), a step is: i = (1 - lam_syn) i + lam_syn w_in x (CubaLIF,
    CubaLI), v = (1 - lam) v + lam (v_leak + r i) (LIF, LI) or v + r dt x (IF, I), spikes, reset, lower clip.

    Args:
        dt: seconds per sample step.
        reset: 'zero', 'subtract' or 'v_reset'.
        reset_timing: 'same_step', or of subtract also 'next_step', and 'prepaid' (snnTorch's reset_delay=False: as
            same_step, but a membrane that is still above its threshold fires only above two).
        threshold: 'ge' (a neuron fires at v >= threshold) or 'gt'.
        multispike: spikes a neuron can send in one step, a maximum; 1 (or 'off') is a plain spike.
        v_min: lower clip of the membrane, or None.
        integrator: 'euler' or 'exp'.
        current_order: of neurons with a synaptic current (CubaLIF, or I / LI before a neuron): 'same_step' (current
            first, the membrane sees it in the same step) or 'next_step' (the membrane sees the current of the step
            before).
        v_init: membrane at the start of a sample; 'v_reset', 'v_leak' or a number.
        time_layout: order of axes in the source's tensors, e.g. 'TNC'.
        nodes: node name -> fields that differ there.
    """

    dt: float
    reset: Reset
    reset_timing: ResetTiming
    threshold: Comparison
    multispike: int
    v_min: float | None
    integrator: str
    current_order: CurrentOrder
    v_init: float | str
    time_layout: str
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no neuron can mean; plain strings become the enums they name."""
        said: Any = self.multispike
        if said == OFF:
            object.__setattr__(self, "multispike", 1)
        for name, kind in _ENUMS.items():
            value = getattr(self, name)
            _require(value in list(kind), name, value, ", ".join(kind))
            object.__setattr__(self, name, kind(value))
        _require(is_number(self.dt) and 0 < self.dt <= LONGEST_STEP, "dt", self.dt, f"0 < seconds <= {LONGEST_STEP:g}")
        _require(isinstance(self.time_layout, str), "time_layout", self.time_layout, "a string")
        _require(self.integrator in ("euler", "exp"), "integrator", self.integrator, "euler, exp")
        _require(_whole(self.multispike), "multispike", self.multispike, "'off' or a whole number >= 1")
        _require(self.v_min is None or is_number(self.v_min), "v_min", self.v_min, "a number or null")
        named = self.v_init in ("v_reset", "v_leak")
        _require(named or is_number(self.v_init), "v_init", self.v_init, "a number, 'v_reset' or 'v_leak'")
        same_step = self.reset_timing == ResetTiming.SAME_STEP
        _require(
            same_step or self.reset == Reset.SUBTRACT, "reset_timing", self.reset_timing.value, "subtract, or same_step"
        )
        plain = self.reset_timing != ResetTiming.PREPAID or (self.multispike == 1 and self.v_min is None)
        _require(plain, "reset_timing", "prepaid", "same_step, with several spikes a step or a lower clip of v")
        for node, changes in self.nodes.items():
            unknown = sorted(set(changes) - {f.name for f in fields(self) if f.name != "nodes"})
            _require(not unknown, f"nodes.{node}", unknown, "fields of Semantics")
            self.at(node)

    @property
    def late(self) -> bool:
        """Whether a reset is charged in the next step."""
        return self.reset_timing is ResetTiming.NEXT_STEP

    @property
    def late_current(self) -> bool:
        """Whether a membrane sees the current of the step before."""
        return self.current_order is CurrentOrder.NEXT_STEP

    def at(self, node: str) -> Semantics:
        """The semantics of one node."""
        return replace(self, nodes={}, **self.nodes.get(node, {}))


ENCODINGS = ("direct", "bernoulli", "latency", "spikes")
PREPROCESSING = ("uint8/255", "none")


MOST_STEPS = 1 << 53
"""Of a sample; whole numbers below it are exact in a float."""


@dataclass(frozen=True)
class Deployment:
    """How samples go in and predictions come out.

    Args:
        steps: T.
        encoding: 'direct', 'bernoulli', 'latency' or 'spikes'.
        input_shape: shape of one sample.
        readout: 'rate' (spike counts), 'first' (earliest spike), 'mean' (of the last linear layer over T), 'membrane'
            (of an I, LI or CubaLI, or what a neuron keeps after its reset; summed over T), or another form of
            `snnhw.readout`: 'last', 'max', 'membrane-last', 'sum[5:]'.
        preprocessing: 'uint8/255' (analog input is pixels in [0, 1], in units of 1/255) or 'none' (its range is
            told by calibration data). Static uint8 samples count as pixels / 255 either way.
        seed: of a stochastic encoding.
        output: name of the output that predictions are read from; None where there is one.
        population: of a population code: classes, whose score is the sum over their group of outputs.
        interleaved: class c has the outputs c, c + population and so on, not neighbours.
        gain: factor > 0 from what is summed over the outputs and steps to what the source returns.
    """

    steps: int
    encoding: str
    input_shape: tuple[int, ...]
    readout: str
    preprocessing: str = "none"
    seed: int = 0
    output: str | None = None
    population: int | None = None
    interleaved: bool = False
    gain: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        _require(_whole(self.steps) and self.steps < MOST_STEPS, "steps", self.steps, "a whole number >= 1, below 2^53")
        _require(self.encoding in ENCODINGS, "encoding", self.encoding, ", ".join(ENCODINGS))
        _require(isinstance(self.readout, str) and parse(self.readout) is not None, "readout", self.readout, FORMS)
        _require(
            self.population is None or _whole(self.population), "population", self.population, "a whole number >= 1"
        )
        _require(is_number(self.gain) and self.gain > 0, "gain", self.gain, "a number > 0")
        seed = isinstance(self.seed, (int, np.integer)) and not isinstance(self.seed, bool) and self.seed >= 0
        _require(seed, "seed", self.seed, "a whole number >= 0")
        shape = tuple(self.input_shape)
        _require(len(shape) > 0 and all(map(_whole, shape)), "input_shape", shape, "whole numbers >= 1")
        limit = ", ".join(PREPROCESSING) + " (do other preprocessing before the samples are given to snnhw)"
        _require(self.preprocessing in PREPROCESSING, "preprocessing", self.preprocessing, limit)


def readout_in(deployment: Deployment, shows: str, population: str) -> Readout:
    """The readout that a deployment says, of a population that shows 'rate', 'mean' or 'membrane' where it is open."""
    rule = rule_of(deployment.readout)
    kind = "first" if rule.over == "first" else rule.shows or shows
    usual = rule.over in ("first", "mean" if kind == "mean" else "sum")
    return Readout(
        kind,
        population,
        over="" if usual else rule.over,
        window=rule.window,
        groups=deployment.population or 0,
        interleaved=deployment.interleaved,
        gain=deployment.gain,
    )


def _require(holds: bool, name: str, value: object, limit: str) -> None:
    if not holds:
        raise SourceError("bad-semantics", f"{name} has a value it cannot have", needed=repr(value), limit=limit)


def _whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1


def to_metadata(semantics: Semantics, deployment: Deployment) -> dict[str, str]:
    """Metadata of a NIR graph of ours."""
    usual = {f.name: f.default for f in fields(Deployment) if f.name in _LATER}
    said = {name: value for name, value in asdict(deployment).items() if name not in usual or value != usual[name]}
    content = {"version": METADATA_VERSION, "semantics": asdict(semantics), "deployment": said}
    return {METADATA_KEY: json.dumps(content, sort_keys=True)}


def from_metadata(metadata: Mapping[str, Any], where: str) -> tuple[Semantics, Deployment]:
    """Read back what a graph of ours carries; raises SourceError when it is damaged."""
    raw = metadata[METADATA_KEY]
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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError("bad-semantics", f"the snnhw metadata cannot be read: {error}", where=where) from None


_LATER = ("population", "interleaved", "gain")
"""Fields of Deployment that are only written where they say something."""


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    needed = known - {"output", *_LATER}  # which earlier files do not have
    if not needed <= set(content) <= known:
        odd = sorted((needed - set(content)) | (set(content) - known))
        raise ValueError(f"fields {odd} are missing or unknown")
    return dict(content)
