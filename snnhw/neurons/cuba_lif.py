"""The leaky integrate-and-fire neuron with a synaptic current: what Lava's LIF and NIR's IF, LIF and CubaLIF are.

In reals: u[t] = u_keep * u[t-1] + a[t];  v[t] = v_keep * v[t-1] + u[t] + bias;  s[t] = v[t] >= or > threshold;  reset.
In integers: `fixed.step`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from snnhw import fixed
from snnhw.errors import ArtifactError, SourceError
from snnhw.neurons.base import Comparison, IntLevel, Level, Model, Reached, Reset, ResetTiming, Rules
from snnhw.neurons.decimals import decimal, level, squeeze, tidy
from snnhw.operators.base import Array, Shape

WIDE = (-(1 << 31), 1 << 31)


@dataclass(frozen=True)
class FloatNeuron(Rules):
    """The neuron in reals; arrays broadcast against the population's shape.

    The gain of the input (1/tau, R) is folded into weights and bias.
    """

    v_keep: Level
    threshold: Array
    bias: Array
    u_keep: Level = 0.0
    comparison: Comparison = Comparison.GT
    reset: Reset = Reset.ZERO
    reset_timing: ResetTiming = ResetTiming.SAME_STEP
    v_reset: Level = 0.0
    v_min: Level | None = None
    v_init: Level = 0.0
    max_spikes: int = 1

    MODEL: ClassVar[str] = "cuba_lif"
    PROFILES: ClassVar[tuple[str, ...]] = ("lava-lif", "programmable")
    """Neuron profiles of targets that have it."""

    NIR: ClassVar[dict[str, tuple[str, ...]]] = {
        "I": ("r",),
        "LI": ("tau", "r", "v_leak"),
        "CubaLI": ("tau_mem", "tau_syn", "r", "w_in", "v_leak"),
        "IF": ("r", "v_threshold", "v_reset"),
        "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        "CubaLIF": ("tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset"),
        "Threshold": ("threshold",),
    }
    """Nodes of NIR that it is, and their parameters; `of_node` makes the record of them."""

    NODE: ClassVar[tuple[str, ...]] = ()
    """Parameters of a node of our own, for models that NIR lacks."""

    MEMBRANE: ClassVar[tuple[str, ...]] = ("threshold", "bias", "v_init", "v_min")
    """Fields in units of the membrane."""

    @classmethod
    def of_node(cls, parameters: Mapping[str, Array], rule: Any) -> tuple[FloatNeuron, Array]:
        """The neuron of a node and the gain of its input (Pedersen et al. 2024, in one step of dt); without a
        threshold the membrane of one that never fires.

        The membrane is counted from v_reset, so that a reset is to zero: that shifts out exactly.

        Args:
            parameters: by NIR's names.
            rule: the node's Semantics.

        Raises:
            SourceError: 'bad-semantics', 'bad-parameter'.
        """
        p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
        none = np.zeros(())
        if "threshold" in p:  # without memory: fires while its input is above it (strict, as NIR has it)
            return cls(v_keep=0.0, threshold=squeeze(p["threshold"]), bias=none), np.ones(())
        keep, gain, lam, u_keep = _dynamics(p, rule)
        v_reset, v_leak = p.get("v_reset", none), p.get("v_leak", none)
        start = np.asarray({"v_reset": v_reset, "v_leak": v_leak}.get(rule.v_init, rule.v_init), np.float64)
        if "v_threshold" not in p:
            bias = squeeze(tidy(lam * v_leak))
            return cls(level(keep), none, bias, u_keep=level(u_keep), v_init=level(start)), squeeze(gain)
        if rule.reset is Reset.ZERO and v_reset.any():
            raise SourceError(
                "bad-semantics", "the reset is to zero, but the node's v_reset is not 0", hint="reset 'v_reset'"
            )
        if rule.v_min is not None and (p["v_threshold"] < rule.v_min).any():
            raise SourceError(
                "bad-semantics",
                "the lower clip of the membrane is above a threshold",
                needed=f"v_min = {rule.v_min:g}",
                limit=f"threshold {p['v_threshold'].min():g}",
                hint="such a neuron fires for ever: v_min is a floor",
            )
        soft = rule.reset is Reset.SUBTRACT
        offset = none if soft else v_reset
        return cls(
            v_keep=level(keep),
            u_keep=level(u_keep),
            threshold=squeeze(p["v_threshold"] - offset),
            bias=squeeze(tidy(lam * (v_leak - offset))),
            comparison=rule.threshold,
            reset=Reset.SUBTRACT if soft else Reset.ZERO,
            reset_timing=rule.reset_timing,
            v_min=None if rule.v_min is None else level(rule.v_min - offset),
            v_init=level(start - offset),
            max_spikes=rule.multispike,
        ), squeeze(gain)

    def hard(self) -> FloatNeuron:
        """The same with a reset to zero, which is where it starts."""
        return replace(self, reset=Reset.ZERO, reset_timing=ResetTiming.SAME_STEP, v_init=0.0)

    def cells(self, shape: Shape, dtype: Any) -> Cells:
        """State of a batch at the start of a sample; `shape` is (B, ...)."""
        return Cells(self, shape, dtype)

    def quantised(self, plain: IntNeuron, unit: Array, decay: Callable[[Level, str], IntLevel]) -> IntNeuron:
        """The integer neuron, of what all models have in common.

        Args:
            plain: the common parameters in integers.
            unit: membrane units per real unit.
            decay: integer decay of a factor per step, and its name for messages.
        """
        return plain

    @property
    def text(self) -> str:
        """For `format_network`."""
        u_keep, v_keep = np.asarray(self.u_keep), np.asarray(self.v_keep)
        current = f" u_keep={span(u_keep)}" if u_keep.any() else ""
        sign = ">=" if self.comparison is Comparison.GE else ">"
        return f"{current} keep={span(v_keep)} v{sign}{span(self.threshold)} reset={self.reset}"


@dataclass(frozen=True)
class IntNeuron(Rules):
    """The neuron in integers; arrays broadcast against the population's shape.

    `vth`, `bias`, `v_reset`, `v_min` and `v_init` are in membrane units (after `act_shift`).
    """

    dv: IntLevel
    vth: Array
    bias: Array
    du: IntLevel
    act_shift: int = 6
    comparison: Comparison = Comparison.GT
    reset: Reset = Reset.ZERO
    reset_timing: ResetTiming = ResetTiming.SAME_STEP
    v_reset: IntLevel = 0
    v_min: IntLevel | None = None
    v_init: IntLevel = 0
    max_spikes: int = 1

    MODEL: ClassVar[str] = "cuba_lif"
    STATES: ClassVar[tuple[str, ...]] = ("u", "v")
    """Names of its states; what they are after a step is recorded under these."""

    LIMITS: ClassVar[dict[str, tuple[int, int]]] = {
        "act_shift": (0, 24),
        "max_spikes": (1, 1 << 31),
        **dict.fromkeys(("vth", "bias", "v_reset", "v_min", "v_init"), WIDE),
    }
    """Smallest and largest integer of each field, besides the decays."""

    DECAYS: ClassVar[tuple[str, ...]] = ("du", "dv")

    PARAMETERS: ClassVar[tuple[str, ...]] = fixed.Parameters._fields

    step: ClassVar[Callable[..., Any]] = staticmethod(fixed.step)
    """(states and last spikes, input, parameters, rule) -> (states and spikes, whether each state overflowed)."""

    @property
    def parameters(self) -> dict[str, IntLevel]:
        """What `step` takes of every neuron, by the names of PARAMETERS; numbers where one serves all."""
        common = {name: getattr(self, name) for name in fixed.Parameters._fields}
        return common | {"v_min": 0 if self.v_min is None else self.v_min}

    def limits(self, decay_bits: int) -> dict[str, tuple[int, int]]:
        """Smallest and largest integer of each field."""
        return self.LIMITS | dict.fromkeys(self.DECAYS, (0, 1 << decay_bits))

    @property
    def initial(self) -> dict[str, IntLevel]:
        """States at the start of a sample."""
        return {"u": 0, "v": self.v_init}

    def bounded(self, spikes: int) -> IntNeuron:
        """The simplest neuron that is the same where no membrane holds more whole thresholds than `spikes`."""
        return self

    def rule(self, fires: bool, widths: fixed.Widths) -> fixed.Rule:
        """What `step` takes of the whole population."""
        return fixed.Rule(
            act_shift=int(self.act_shift),
            greater_equal=int(self.comparison is Comparison.GE),
            max_spikes=int(self.max_spikes),
            reset=_RESETS[self.reset],
            late=int(self.late),
            floor=int(self.v_min is not None),
            fires=int(fires),
            widths=widths,
        )

    def bound(self, fires: bool, a_low: Array, a_high: Array, steps: int, widths: fixed.Widths) -> Reached:
        """What u and v can reach over some steps from rest.

        Args:
            fires: False for accumulators.
            a_low, a_high: ends of the summed input of every neuron.
        """
        p, rule = fixed.Parameters(*map(self.parameters.get, fixed.Parameters._fields)), self.rule(fires, widths)
        vth, bits = np.asarray(p.vth, np.int64), widths.decay_bits
        u: tuple[Array, Array] = np.zeros_like(a_low), np.zeros_like(a_high)
        nothing = np.zeros_like(a_low)
        cells = [(np.full_like(a_low, self.v_init), nothing)]  # membranes and their last spikes
        extremes, spikes, spiked, settling = Extremes(self.STATES), 0, False, Settling()
        for _ in range(steps):
            u = current_between(u, (a_low, a_high), p, rule, extremes)
            ends = [
                [fixed.membrane(v, end, p.dv, p.bias, vth * s if rule.late else 0, bits) for v, s in cells] for end in u
            ]
            low, high = reduce(np.minimum, ends[0]), reduce(np.maximum, ends[1])
            extremes.see("v", low, high)
            low, high = held_between(low, high, widths.v)
            if settling.done((u, widths.u), ((low, high), widths.v)):
                break
            u, (low, high) = settling.ranges
            cells = [fixed.fired(v, nothing, p, rule) for v in corners(low, high, vth, rule)]
            if rule.fires:
                spiked = spiked or bool(np.any(cells[1][1]))
                spikes = max(spikes, int(thresholds(vth, high).max()))
            if not rule.late:
                membranes = [v for v, _ in cells]
                cells = [(reduce(end, membranes), nothing) for end in (np.minimum, np.maximum)]
        return Reached(extremes.ranges, fires and not spiked, spikes)

    def to_node(
        self, shape: Shape, scale: Array, rest: Array, dt: float, one: int
    ) -> tuple[str, dict[str, Array], dict[str, Any]]:
        """The node of NIR that fires as it does, without its current: type, parameters, and what of its Semantics is
        not plain.

        Args:
            scale: membrane units per real unit.
            rest: bias in reals that no layer carries.
            dt: seconds per step.
            one: decay that forgets everything.

        Raises:
            ArtifactError: 'cannot-say'.
        """
        said: dict[str, Any] = {"threshold": self.comparison} if self.comparison is Comparison.GE else {}
        if self.reset is Reset.SUBTRACT:
            said |= {"reset": self.reset, "reset_timing": self.reset_timing}
        if self.max_spikes > 1:
            said["multispike"] = self.max_spikes
        for name, value in self.levels.items():
            real = np.unique(np.asarray(value, np.float64) / scale)
            if name == "v_reset" and real.any():
                raise _no_words("a reset to a value other than 0")
            if real.size > 1:
                raise _no_words(f"a {name} of its own for every neuron")
            said |= {name: float(real[0])} if name != "v_reset" else {}
        lam = np.broadcast_to(np.asarray(self.dv, np.float64) / one, shape)
        spike = {"v_threshold": np.array(np.broadcast_to(self.vth / scale, shape)), "v_reset": np.zeros(shape)}
        if not lam.any() and not rest.any():
            return "IF", {"r": np.full(shape, 1.0 / dt), **spike}, said
        if (lam == 0).any():
            raise _no_words("a bias that no layer can carry, without a leak")
        return "LIF", {"tau": dt / lam, "r": 1.0 / lam, "v_leak": rest / lam, **spike}, said

    @property
    def text(self) -> str:
        """For `format_network`."""
        sign = ">=" if self.comparison is Comparison.GE else ">"
        return (
            f" du={span(self.du)} dv={span(self.dv)} v{sign}{span(self.vth)} bias={span(self.bias)}"
            f" reset={self.reset} shift={self.act_shift}"
        )


_RESETS = {Reset.ZERO: fixed.RESET_ZERO, Reset.SUBTRACT: fixed.RESET_SUBTRACT, Reset.V_RESET: fixed.RESET_TO}

MODEL = Model("cuba_lif", FloatNeuron, IntNeuron)


def _dynamics(p: Mapping[str, Array], rule: Any) -> tuple[Array, Array, Array, Array]:
    """(keep, gain, lam, u_keep) of v[t] = keep v[t-1] + u[t] + lam v_leak, u[t] = u_keep u[t-1] + gain x[t]."""
    none = np.zeros(())

    def leak(tau: Array) -> tuple[Array, Array]:
        """(1 - lam, lam) with lam = dt / tau (Euler) or 1 - exp(-dt / tau)."""
        lam = tidy(rule.dt / tau) if rule.integrator == "euler" else 1 - np.exp(-(rule.dt / tau))
        return decimal(1 - lam), lam

    with np.errstate(over="ignore"):  # `tidy` refuses what is not finite
        if "tau_mem" in p:
            (keep, lam), (u_keep, lam_syn) = leak(p["tau_mem"]), leak(p["tau_syn"])
            return keep, tidy(tidy(p["r"] * lam) * tidy(p["w_in"] * lam_syn)), lam, u_keep
        if "tau" in p:
            keep, lam = leak(p["tau"])
            return keep, tidy(p["r"] * lam), lam, none
        return np.ones(()), tidy(p["r"] * rule.dt), none, none


def _no_words(what: str) -> ArtifactError:
    return ArtifactError("cannot-say", f"NIR has no words for {what}", hint="export the source")


def span(values: Any) -> str:
    """One number, or the range of an array."""
    low, high = np.min(values), np.max(values)
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


class Cells:
    """Current, membrane and what the next step still owes, over the steps of a sample; all arrays (B, ...)."""

    def __init__(self, neuron: FloatNeuron, shape: Shape, dtype: Any) -> None:
        self.neuron = neuron
        self.u: Array | float = 0.0
        self.v = np.broadcast_to(np.asarray(neuron.v_init, dtype), shape).copy()
        self.debt: Array | float = 0.0
        self.before: Array = self.v
        """The membrane before the last spike decision."""
        self.bias, self.u_keep, self.v_keep = (
            np.asarray(x, dtype) for x in (neuron.bias, neuron.u_keep, neuron.v_keep)
        )
        self.filters, self.keeps = bool(self.u_keep.any()), bool((self.v_keep == 1.0).all())

    def integrate(self, x: Array) -> Array:
        """The membrane after one step's input, before the spike decision."""
        if self.filters:
            x = self.u = self.u_keep * self.u + x
        kept = self.v if self.keeps else self.v_keep * self.v
        self.v = kept + (x + self.bias) - self.debt
        return self.v

    def step(self, x: Array) -> Array:
        """Spikes of one step for the summed input x (gain included, bias not)."""
        self.before = self.integrate(x)
        return self.decide(self.neuron.threshold)

    def decide(self, threshold: Array) -> Array:
        """Spike counts of the membrane at a threshold, and its reset."""
        n, v = self.neuron, self.v
        above = v >= threshold if n.comparison is Comparison.GE else v > threshold
        if n.max_spikes == 1:
            s = above.astype(np.float64)
        else:
            s = np.where(above, np.minimum(np.floor(v / threshold), n.max_spikes), 0.0)
        self.debt = 0.0
        if n.reset is Reset.SUBTRACT:
            charge = s * threshold
            if n.late:
                self.debt = charge
            else:
                v = v - charge
        else:
            v = np.where(s > 0, n.v_reset, v)
        self.v = v if n.v_min is None else np.maximum(v, n.v_min)
        return s


EXACT_STEPS = 1 << 12
"""Steps that an interval analysis follows exactly; an end that still moves then is taken to reach its format's end.

So a proof costs no more for fifty million steps, and is lost only where it hung on states that drift for so long.
"""


class Settling:
    """Ends an interval analysis at the step that changes no range any more.

    Attributes:
        ranges: (low, high) of each state to go on with.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.ranges: list[tuple[Array, Array]] = []

    def done(self, *found: tuple[tuple[Array, Array], fixed.Width]) -> bool:
        """Whether the ranges after one more step are those before it; each comes with its state's format."""
        before, self.ranges = self.ranges, [ends for ends, _ in found]
        self.steps += 1
        if self.steps > EXACT_STEPS:
            self.ranges = [
                (np.where(now[0] < then[0], lowest, then[0]), np.where(now[1] > then[1], highest, then[1]))
                for (now, width), then in zip(found, before, strict=True)
                for lowest, highest in [fixed.ends(width)]
            ]
        return bool(before) and all(map(np.array_equal, chain(*self.ranges), chain(*before)))


class Extremes:
    """Smallest and largest values of states, as steps show them."""

    def __init__(self, states: tuple[str, ...]) -> None:
        self.ranges = dict.fromkeys(states, (0, 0))

    def see(self, state: str, low: Array, high: Array) -> None:
        """Values of one step before they overflow."""
        before = self.ranges[state]
        self.ranges[state] = min(before[0], int(low.min())), max(before[1], int(high.max()))


def current_between(
    u: tuple[Array, Array], a: tuple[Array, Array], p: fixed.Parameters, rule: fixed.Rule, extremes: Extremes
) -> tuple[Array, Array]:
    """Ends of the current after a step."""
    low, high = (
        fixed.current(end, arrived, p.du, rule.act_shift, rule.widths.decay_bits)
        for end, arrived in zip(u, a, strict=True)
    )
    extremes.see("u", low, high)
    return held_between(low, high, rule.widths.u)


def held_between(low: Array, high: Array, width: fixed.Width) -> tuple[Array, Array]:
    """Ends of what a state keeps of the values between two; where some turn over they may be anywhere."""
    bottom, top = fixed.ends(width)
    turns = ((low < bottom) | (high > top)) & (width.overflow != fixed.SATURATE)
    low, high = fixed.held(low, width), fixed.held(high, width)
    return (
        np.where(turns, np.minimum(np.minimum(low, high), bottom), low),
        np.where(turns, np.maximum(np.maximum(low, high), top), high),
    )


def corners(low: Array, high: Array, vth: Array, rule: fixed.Rule) -> list[Array]:
    """Membranes between two at which what `fixed.fired` leaves of them, or the debt, can be extreme.

    Both ends, lowest first; the last that is silent and the first that fires. Of neurons that send several spikes also
    the last with as many as the lowest, and the first with as many as the highest: between those a membrane and its
    debt only rise.
    """
    found = [low, high]
    if rule.fires:
        silent = vth - rule.greater_equal
        found += [np.clip(v, low, high) for v in (silent, silent + 1)]
    if rule.fires and rule.max_spikes > 1:
        whole = np.maximum(vth, 1)
        same = (np.maximum(low // whole, 0) + 1) * whole - 1
        most = np.clip(high // whole, 0, rule.max_spikes) * whole
        found += [np.clip(v, low, high) for v in (same, most)]
    return found


def thresholds(vth: Array, v: Array) -> Array:
    """Whole thresholds in a membrane."""
    return np.asarray(v // np.maximum(vth, 1))
