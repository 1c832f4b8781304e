"""The adaptive-threshold neuron (ALIF) of Bellec et al. 2018, "Long short-term memory and learning-to-learn in networks
of spiking neurons": every spike raises the threshold, which falls back exponentially.

In reals, with w = beta * b of the paper: v[t] = keep * v[t-1] + gain * x[t];  A[t] = threshold + w[t-1];
s[t] = v[t] >= A[t];  v[t] = v[t] - A[t] * s[t] (or 0 where s);  w[t] = w_keep * w[t-1] + w_jump * s[t].
In integers: `fixed.step` at the threshold vth + w, then w[t] = dec(w[t-1], dw) + jump * s[t], which saturates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, ClassVar

import numpy as np

from snnhw import fixed
from snnhw.errors import SourceError
from snnhw.neurons import cuba_lif
from snnhw.neurons.base import IntLevel, Level, Model, Reached, Reset
from snnhw.neurons.cuba_lif import FloatNeuron, IntNeuron, corners, current_between, held_between, span, thresholds
from snnhw.operators.base import Array


@dataclass(frozen=True)
class FloatAlif(FloatNeuron):
    """The neuron in reals; `w` starts at 0."""

    w_keep: Level = 0.0
    w_jump: Level = 0.0

    MODEL: ClassVar[str] = "alif"
    PROFILES: ClassVar[tuple[str, ...]] = ("programmable",)
    NIR: ClassVar[dict[str, tuple[str, ...]]] = {}
    NODE: ClassVar[tuple[str, ...]] = ("v_keep", "threshold", "w_keep", "w_jump")
    MEMBRANE: ClassVar[tuple[str, ...]] = (*FloatNeuron.MEMBRANE, "w_jump")

    @classmethod
    def of_node(cls, parameters: Mapping[str, Array], rule: Any) -> tuple[FloatAlif, Array]:
        """The neuron of a node and the gain of its input; raises SourceError for what the model cannot be.

        Args:
            parameters: by the names of NODE, each of the neurons' shape.
            rule: the node's Semantics.
        """
        wrong = {
            "w_keep": not ((parameters["w_keep"] >= 0) & (parameters["w_keep"] <= 1)).all(),
            "w_jump": bool((parameters["w_jump"] < 0).any()),
            "reset": rule.reset is Reset.V_RESET or rule.late,
        }
        for name, bad in wrong.items():
            if bad:
                raise SourceError(
                    "unsupported-neuron",
                    f"ALIF has no such {name}",
                    needed=str(rule.reset) + ", late" * rule.late if name == "reset" else span(parameters[name]),
                    limit={"w_keep": "0 to 1", "w_jump": "0 or more"}.get(name, "zero or subtract, in the same step"),
                    hint="correct the neuron's parameters",
                )
        one = {name: x.ravel()[0] if (x == x.ravel()[0]).all() else x for name, x in parameters.items()}
        levels: dict[str, Any] = {
            name: float(x) if np.ndim(x) == 0 else x for name, x in one.items() if name != "threshold"
        }
        made = cls(
            threshold=np.asarray(one["threshold"]),
            bias=np.zeros(()),
            comparison=rule.threshold,
            reset=rule.reset,
            max_spikes=rule.multispike,
            v_min=rule.v_min,
            **levels,
        )
        return made, np.ones(())

    def cells(self, shape: Any, dtype: Any) -> AlifCells:
        """State of a batch at the start of a sample."""
        return AlifCells(self, shape, dtype)

    def quantised(self, plain: IntNeuron, unit: Array, decay: Any) -> IntAlif:
        """The integer neuron of the common parameters."""
        jump = np.rint(np.asarray(self.w_jump) * unit).astype(np.int64)
        level = int(jump.flat[0]) if (jump == jump.flat[0]).all() else jump
        return IntAlif(**vars(plain), dw=decay(self.w_keep, "threshold"), jump=level)

    @property
    def text(self) -> str:
        """For `format_network`."""
        return f" alif w_keep={span(self.w_keep)} w_jump={span(self.w_jump)}{super().text}"


class AlifCells(cuba_lif.Cells):
    """Current, membrane and raised threshold over the steps of a sample."""

    w: Array | float = 0.0

    def step(self, x: Array) -> Array:
        """Spikes of one step for the summed input x."""
        n: Any = self.neuron
        self.before = self.integrate(x)
        s = self.decide(n.threshold + self.w)
        self.w = n.w_keep * self.w + n.w_jump * s
        return s


def step(state: Any, a: Any, parameters: Any, rule: Any) -> Any:
    """One step in integers: `fixed.step` at the raised threshold, then the threshold."""
    u, v, w, s = state
    du, dv, vth, bias, v_reset, v_min, dw, jump = parameters
    found, left = fixed.step((u, v, s), a, (du, dv, vth + w, bias, v_reset, v_min), rule)
    raised = fixed.decayed(w, dw, rule.widths.decay_bits) + jump * found[2]
    bits, _, low, high = rule.widths.v
    w = fixed.held(raised, (bits, fixed.SATURATE, low, high))
    return (found[0], found[1], w, found[2]), (left[0], left[1], raised != w)


@dataclass(frozen=True)
class IntAlif(IntNeuron):
    """The neuron in integers; `dw` is the decay of w, `jump` what a spike adds to it, in membrane units."""

    dw: IntLevel = 0
    jump: IntLevel = 0

    MODEL: ClassVar[str] = "alif"
    STATES: ClassVar[tuple[str, ...]] = ("u", "v", "w")
    LIMITS: ClassVar[dict[str, tuple[int, int]]] = {**IntNeuron.LIMITS, "jump": (0, 1 << 31)}
    DECAYS: ClassVar[tuple[str, ...]] = (*IntNeuron.DECAYS, "dw")
    PARAMETERS: ClassVar[tuple[str, ...]] = (*IntNeuron.PARAMETERS, "dw", "jump")
    step = staticmethod(step)

    @property
    def parameters(self) -> dict[str, IntLevel]:
        """What `step` takes of every neuron, by the names of PARAMETERS."""
        return {**super().parameters, "dw": self.dw, "jump": self.jump}

    @property
    def initial(self) -> dict[str, IntLevel]:
        """States at the start of a sample."""
        return {**super().initial, "w": 0}

    def bound(self, fires: bool, a_low: Array, a_high: Array, steps: int, widths: fixed.Widths) -> Reached:
        """What the states can reach: membranes as of the model without adaptation, at the lowest and highest threshold.

        A membrane that fires is reset by its threshold at least once, to 0 or above.
        """
        p, rule = fixed.Parameters(**super().parameters), self.rule(fires, widths)
        vth, bits, nothing = np.asarray(p.vth, np.int64), widths.decay_bits, np.zeros_like(a_low)
        u: tuple[Array, Array] = nothing, nothing
        v = np.full_like(a_low, self.v_init), np.full_like(a_high, self.v_init)
        w: tuple[Array, Array] = nothing, nothing
        ceiling = widths.v._replace(overflow=fixed.SATURATE)
        extremes, spikes, spiked = cuba_lif.Extremes(self.STATES), 0, False
        settling = cuba_lif.Settling()
        for _ in range(steps):
            u = current_between(u, (a_low, a_high), p, rule, extremes)
            low, high = (fixed.membrane(x, now, p.dv, p.bias, 0, bits) for x, now in zip(v, u, strict=True))
            extremes.see("v", low, high)
            low, high = held_between(low, high, widths.v)
            if settling.done((u, widths.u), ((low, high), widths.v), (w, ceiling)):
                break
            u, (low, high), w = settling.ranges
            raised = [p._replace(vth=vth + end) for end in w]
            found = [
                fixed.fired(x, nothing, at, rule) for at in raised for x in corners(low, high, np.asarray(at.vth), rule)
            ]
            most = reduce(np.maximum, [s for _, s in found])
            membranes = [x for x, _ in found] + ([np.where(most > 0, np.minimum(low, 0), low)] if fires else [])
            v = reduce(np.minimum, membranes), reduce(np.maximum, membranes)
            w_low, w_high = (fixed.decayed(end, self.dw, bits) for end in w)
            w_high = w_high + self.jump * most
            extremes.see("w", w_low, w_high)
            w = held_between(w_low, w_high, ceiling)
            if fires:
                spiked, spikes = spiked or bool(most.any()), max(spikes, int(thresholds(raised[0].vth, high).max()))
        return Reached(extremes.ranges, fires and not spiked, spikes)

    @property
    def text(self) -> str:
        """For `format_network`."""
        return f" alif dw={span(self.dw)} jump={span(self.jump)}{super().text}"


MODEL = Model("alif", FloatAlif, IntAlif)


@cache
def _module() -> Any:
    """The torch module, made when somebody asks for it: engines do without torch."""
    import torch
    from torch import Tensor, nn

    class ALIF(nn.Module):
        """ALIF over all steps at once: input and output [T, N, ...], state at rest for every call.

        Args:
            decay: factor of v per step.
            threshold: of a neuron that has not fired.
            rho: factor of the threshold's rise per step; beta: rise of a neuron that fires for ever.
            reset: 'subtract' (the raised threshold, as in the paper) or 'zero'.
            comparison: 'ge' (fires at v >= threshold) or 'gt'.
            slope: of the sigmoid whose derivative stands in for that of a spike in training.
        """

        def __init__(
            self,
            decay: float = 0.95,
            threshold: float = 1.0,
            rho: float = 0.98,
            beta: float = 1.6,
            reset: str = "subtract",
            comparison: str = "ge",
            slope: float = 4.0,
        ) -> None:
            super().__init__()
            self.decay, self.threshold, self.rho, self.beta = decay, threshold, rho, beta
            self.reset, self.comparison, self.slope = reset, comparison, slope

        def snnhw_neuron(self) -> tuple[str, dict[str, float], tuple[str, Reset]]:
            """What the front end reads."""
            jump = self.beta * (1.0 - self.rho)
            parameters = {"v_keep": self.decay, "threshold": self.threshold, "w_keep": self.rho, "w_jump": jump}
            return "alif", parameters, (self.comparison, Reset(self.reset))

        def forward(self, x: Tensor) -> Tensor:
            """Spikes of currents, both [T, N, ...]."""
            jump = self.beta * (1.0 - self.rho)
            v = w = torch.zeros_like(x[0])
            out = []
            for now in x.unbind(0):
                v = self.decay * v + now
                raised = self.threshold + w
                soft = torch.sigmoid(self.slope * (v - raised))
                hard = (v >= raised if self.comparison == "ge" else v > raised).to(x.dtype)
                s = hard + (soft - soft.detach())
                v = v - s * raised if self.reset == "subtract" else v * (1 - s)
                w = self.rho * w + jump * s
                out.append(s)
            return torch.stack(out)

    ALIF.__qualname__ = "ALIF"
    return ALIF


def __getattr__(name: str) -> Any:
    if name == "ALIF":
        return _module()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
