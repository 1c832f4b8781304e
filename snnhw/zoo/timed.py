"""Neurons and connections of temporal codes: one spike a sample, whose step is the message.

The network is discrete: ``FirstSpike`` and ``Delayed`` are what the compiler lowers. Training follows spike times,
without surrogates. For the derivatives alone, potentials count as straight lines between the steps, and a spike
at step f as the crossing at the end of that line; with ``dv = v[f] - v[f-1]`` and k, the response of v to
one unit of current::

    dt / dx[t] = -k(f - t) / dv
    dt / dt_i  = sum_d w_d (k(f - t_i - d) - k(f - t_i - d - 1)) / dv       d: delays of the synapses from i

With u_keep = v_keep = 1 (ReL-PSP) this is the closed form: dv is the sum of the causal weights, dt/dt_i = w / dv and
dt/dw = (t_i - (f + 1)) / dv, for the ramps reach the threshold at the end of step f. Otherwise it is SpikeProp's rule
with the slope of the response taken over one step.

How a spike tensor s carries the gradient of a time: ``t = sum_t t s[t] + T (1 - sum_t s[t])`` (``spike_times``), so
that ``dL/dt = G[f+1] - G[f]`` for G = dL/ds, with G[T] = 0. The second formula above is this difference of
the first, so one rule serves at the loss and before any linear connection, delayed or not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnhw.errors import SnnhwError
from snnhw.zoo.neurons import Comparison


@dataclass(frozen=True)
class Constants:
    """Numbers of a ``FirstSpike`` layer; see its arguments."""

    threshold: float
    u_keep: float
    v_keep: float
    strict: bool
    slope_floor: float
    revival: float


def potentials(x: Tensor, c: Constants) -> Tensor:
    """v of the currents x, both ``[T, ...]``: ``u = u_keep u + x``, ``v = v_keep v + u``, from 0."""
    u, v, rows = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for x_t in x.unbind(0):
        u = c.u_keep * u + x_t
        v = c.v_keep * v + u
        rows.append(v)
    return torch.stack(rows)


def first_crossing(v: Tensor, c: Constants) -> Tensor:
    """Step int64 ``[...]`` at which v ``[T, ...]`` first reaches the threshold; T where it never does."""
    crossed = v > c.threshold if c.strict else v >= c.threshold
    steps = torch.arange(v.shape[0], device=v.device).view(-1, *[1] * (v.dim() - 1))
    return torch.where(crossed, steps, v.shape[0]).amin(0)


class _SpikeOnce(torch.autograd.Function):
    """``apply(x, constants)``: currents to spikes, ``[T, N, ...]``; backward by spike times (module docstring).

    Two cases need a guard. A slope ``dv`` below ``slope_floor * threshold`` counts as that (the gradient explodes
    where v only just reaches the threshold). A silent neuron has no derivative: it counts as a spike at step T, to be
    had by lifting the highest step of v, at a slope of ``threshold``. Where an earlier spike lowers the loss, its
    weights grow; if it is silent in the whole batch (dead), ``revival / N`` is added to that pull.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, c: Constants) -> Tensor:
        """The discrete network."""
        v = potentials(x, c)
        at = first_crossing(v, c)
        ctx.save_for_backward(v, at)
        ctx.constants = c
        return _one_hot(at, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """dL/dx[t] = dL/dt * dt/dx[t]; nothing after the spike."""
        v, at = ctx.saved_tensors
        c: Constants = ctx.constants
        steps = v.shape[0]
        silent = at == steps
        padded = torch.cat([grad, torch.zeros_like(grad[:1])])
        now = at.clamp(max=steps - 1)  # a silent neuron is read as one that could spike at the last step
        wish = _pick(padded, now + 1) - _pick(padded, now)
        dead = silent.all(0, keepdim=True)
        wish = torch.where(silent, wish.clamp(min=0.0) + dead.to(v.dtype) * (c.revival / v.shape[1]), wish)
        source = torch.where(silent, v.argmax(0), now)
        slope = torch.where(silent, c.threshold, slopes(v, now)).clamp(min=c.slope_floor * c.threshold)
        age = source - torch.arange(steps, device=v.device).view(-1, *[1] * (v.dim() - 1))
        response = impulse_response(steps, c).to(v)[age.clamp(min=0)] * (age >= 0)
        return -response * (wish / slope), None


def slopes(v: Tensor, at: Tensor) -> Tensor:
    """``v[at] - v[at - 1]`` of potentials ``[T, ...]`` at steps ``[...]``, with v[-1] = 0."""
    return _pick(v, at) - torch.where(at > 0, _pick(v, (at - 1).clamp(min=0)), 0.0)


def impulse_response(steps: int, c: Constants) -> Tensor:
    """k(n): v at steps 0 .. steps-1 after one unit of current at step 0, float64; ``(n + 1) a^n`` for equal keeps a."""
    impulse = torch.zeros(steps, dtype=torch.float64)
    impulse[0] = 1.0
    return potentials(impulse, c)


def _pick(values: Tensor, at: Tensor) -> Tensor:
    """``values[at]`` along the first axis."""
    return values.gather(0, at.unsqueeze(0)).squeeze(0)


def _one_hot(at: Tensor, like: Tensor) -> Tensor:
    steps = torch.arange(like.shape[0], device=at.device).view(-1, *[1] * at.dim())
    return (steps == at).to(like.dtype)


class FirstSpike(nn.Module):
    """Neuron that spikes once a sample, at the first step with ``v >= threshold`` (or ``>``).

    ``u[t] = u_keep u[t-1] + x[t]``, ``v[t] = v_keep v[t-1] + u[t]``, from 0. Both go on after the spike, which
    changes nothing else. ReL-PSP: keeps of 1, v is a sum of ramps. SRM (SpikeProp): keeps of ``a = exp(-1/tau)``,
    response ``(n + 1) a^n = tau exp(1/tau - 1) eps(n + 1)``: ``eps(t) = (t/tau) exp(1 - t/tau)``, one step early.

    Args:
        threshold: above 0, for the whole layer.
        u_keep: what u keeps per step, in (0, 1].
        v_keep: what v keeps per step, in (0, 1].
        comparison: ``"ge"`` or ``"gt"``.
        slope_floor: least slope dv that the gradient divides by, in thresholds per step (training only).
        revival: pull on neurons that are silent in a whole batch, as dL/dt (training only).
    """

    def __init__(
        self,
        threshold: float,
        u_keep: float,
        v_keep: float,
        comparison: Comparison = "ge",
        slope_floor: float = 0.1,
        revival: float = 0.1,
    ) -> None:
        super().__init__()
        if comparison not in ("ge", "gt"):
            raise _refuse("bad-comparison", "unknown comparison", comparison, "'ge' (>=) or 'gt' (>)")
        if not (math.isfinite(threshold) and threshold > 0.0):
            raise _refuse("bad-threshold", "the threshold of a first spike cannot be used", threshold, "finite, > 0")
        if not (0.0 < u_keep <= 1.0 and 0.0 < v_keep <= 1.0):
            limit = "0 < u_keep <= 1 and 0 < v_keep <= 1"
            raise _refuse("bad-decay", "the keep factors are out of range", (u_keep, v_keep), limit)
        if not (slope_floor > 0.0 and revival >= 0.0):
            limit = "slope_floor > 0 and revival >= 0"
            raise _refuse("bad-training", "the guards of the gradient cannot be used", (slope_floor, revival), limit)
        self._comparison: Comparison = comparison
        numbers = (float(threshold), float(u_keep), float(v_keep))
        self._constants = Constants(*numbers, comparison == "gt", float(slope_floor), float(revival))

    @property
    def threshold(self) -> float:
        """Potential at which the neuron spikes."""
        return self._constants.threshold

    @property
    def u_keep(self) -> float:
        """Multiplier of u per step."""
        return self._constants.u_keep

    @property
    def v_keep(self) -> float:
        """Multiplier of v per step."""
        return self._constants.v_keep

    @property
    def comparison(self) -> Comparison:
        """``"ge"``: spike at ``v >= threshold``; ``"gt"``: only above it."""
        return self._comparison

    @property
    def constants(self) -> Constants:
        """All numbers of the layer."""
        return self._constants

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (0 or 1, dtype of x) of the input currents; both ``[T, N, ...]``."""
        return cast(Tensor, _SpikeOnce.apply(x, self._constants))  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        """The layer's numbers in ``repr``."""
        return f"threshold={self.threshold:g}, u_keep={self.u_keep:g}, v_keep={self.v_keep:g}, {self.comparison}"


class Delayed(nn.Module):
    """K delayed synapses between every two neurons, each with a weight of its own (SpikeProp's terminals).

    ``y[t] = sum_k W_k x[t - delays[k]]``, no bias; nothing arrives before the sample begins.

    Args:
        inputs: neurons before.
        outputs: neurons behind.
        delays: K whole steps >= 0.
    """

    def __init__(self, inputs: int, outputs: int, delays: Sequence[int]) -> None:
        super().__init__()
        if not delays or any(isinstance(d, bool) or not isinstance(d, int) or d < 0 for d in delays):
            raise SnnhwError(
                "bad-delays",
                "the delays of a connection cannot be used",
                where="Delayed(delays=)",
                needed=repr(tuple(delays)),
                limit="one or more whole steps >= 0",
                hint="for example delays=(1, 2, 3)",
            )
        self.delays = tuple(delays)
        self.weight = nn.Parameter(torch.empty(len(self.delays), outputs, inputs))
        nn.init.normal_(self.weight, std=(len(self.delays) * inputs) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, in]`` to currents ``[T, N, out]``."""
        steps = x.shape[0]
        late = [functional.pad(x, (0, 0, 0, 0, d, 0))[:steps] for d in self.delays]
        return functional.linear(torch.cat(late, -1), self.weight.permute(1, 0, 2).flatten(1))

    def extra_repr(self) -> str:
        """Shape and delays in ``repr``."""
        return f"inputs={self.weight.shape[2]}, outputs={self.weight.shape[1]}, delays={self.delays}"


def _refuse(code: str, message: str, needed: object, limit: str) -> SnnhwError:
    return SnnhwError(code, message, where="FirstSpike", needed=repr(needed), limit=limit, hint="correct the argument")
