"""Multi-step spiking neurons: input and output ``[T, N, ...]``, state starts at rest (or ``v_init``) for every call.

All follow one written equation (same-step reset, order charge, fire, reset)::

    h[t] = v_reset + decay (v[t-1] - v_reset) + gain x[t]
    s[t] = h[t] >= v_threshold      (or >, see ``comparison``)
    v[t] = v_reset where s[t], else h[t]        (v_reset None: h[t] - v_threshold s[t], rest 0)
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo import sequence
from snnhw.zoo.surrogate import Surrogate, resolve

Comparison = Literal["ge", "gt"]


def _refuse(code: str, message: str, where: str, needed: object, limit: str) -> SnnhwError:
    return SnnhwError(code, message, where=where, needed=repr(needed), limit=limit, hint="correct the argument")


class Neuron(nn.Module):
    """Base of all neuron models; subclasses set ``_decay`` and ``_gain`` (or override the properties)."""

    def __init__(
        self,
        *,
        decay: float,
        gain: float,
        v_threshold: float,
        v_reset: float | None,
        comparison: Comparison,
        surrogate: str | Surrogate,
        detach_reset: bool = True,
        v_init: float | None = None,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if comparison not in ("ge", "gt"):
            raise _refuse("bad-comparison", "unknown comparison", where, comparison, "'ge' (>=) or 'gt' (>)")
        if not detach_reset:
            raise _refuse("reset-gradient", "gradients through the reset are not there", where, False, "True")
        if not 0.0 <= decay <= 1.0:
            raise _refuse("bad-decay", "the decay factor is out of range", where, decay, "0 <= decay <= 1")
        rest = v_reset or 0.0
        if not (math.isfinite(v_threshold) and math.isfinite(rest) and v_threshold > rest):
            limit = "finite and above v_reset (or 0 with soft reset)"
            raise _refuse("bad-threshold", "the threshold cannot be used", where, v_threshold, limit)
        if v_init is not None and not (math.isfinite(v_init) and v_init <= v_threshold):
            limit = "finite and at most v_threshold"
            raise _refuse("bad-threshold", "the membrane cannot start there", where, v_init, limit)
        self._v_init = v_init
        self._decay, self._gain = float(decay), float(gain)
        self._v_threshold, self._v_reset = float(v_threshold), v_reset
        self._comparison: Comparison = comparison
        self.surrogate = resolve(surrogate)

    @property
    def decay(self) -> float:
        """Multiplier of ``v - v_reset`` per step."""
        return self._decay

    @property
    def gain(self) -> float:
        """Multiplier of the input."""
        return self._gain

    @property
    def v_threshold(self) -> float:
        """Membrane value at which the neuron spikes."""
        return self._v_threshold

    @property
    def v_reset(self) -> float | None:
        """Membrane after a spike; None means the threshold is subtracted."""
        return self._v_reset

    @property
    def v_init(self) -> float | None:
        """Membrane at the start of a sample; None: at rest."""
        return self._v_init

    @property
    def comparison(self) -> Comparison:
        """``"ge"``: spike at ``v >= v_threshold``; ``"gt"``: only above it."""
        return self._comparison

    def constants(self) -> sequence.Constants:
        """The numbers of this layer, as the sequence functions take them."""
        return sequence.Constants(
            self.decay, self.gain, self.v_threshold, self.v_reset, self.comparison == "gt", self.surrogate, self.v_init
        )

    def learnable(self) -> tuple[Tensor | None, Tensor | None]:
        """Decay and gain as tensors that carry gradients; None for the fixed ones."""
        return None, None

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (0 or 1, dtype of x) of the input currents; both ``[T, N, ...]``."""
        c = self.constants()
        if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters())):
            spikes = sequence.SpikeSequence.apply(x, *self.learnable(), c)  # type: ignore[no-untyped-call]
            return cast(Tensor, spikes)
        v = torch.full_like(x[0], c.start)
        out = []
        for x_t in x.unbind(0):
            h = sequence.charge(v, x_t, c)
            spiked = sequence.fire(h, c)
            v = sequence.reset(h, spiked, c)
            out.append(spiked.to(x.dtype))
        return torch.stack(out)

    def extra_repr(self) -> str:
        """The layer's numbers in ``repr``."""
        return (
            f"decay={self.decay:g}, gain={self.gain:g}, v_threshold={self.v_threshold:g}, "
            f"v_reset={self.v_reset}, comparison={self.comparison}"
        )


class IF(Neuron):
    """Integrate and fire: ``h = v + x``, spike at ``>=`` (Fang et al. 2021, SEW ResNet, eq. 1-3)."""

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        comparison: Comparison = "ge",
        surrogate: str | Surrogate = "atan",
        detach_reset: bool = True,
        v_init: float | None = None,
    ) -> None:
        super().__init__(
            decay=1.0,
            gain=1.0,
            v_threshold=v_threshold,
            v_reset=v_reset,
            comparison=comparison,
            surrogate=surrogate,
            detach_reset=detach_reset,
            v_init=v_init,
        )


class LIF(Neuron):
    """SpikingJelly's LIF: ``h = v + (x - (v - v_reset)) / tau``; x is not divided without ``decay_input``."""

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        comparison: Comparison = "ge",
        surrogate: str | Surrogate = "atan",
        detach_reset: bool = True,
    ) -> None:
        if not (math.isfinite(tau) and tau >= 1.0):
            raise _refuse("bad-tau", "the time constant cannot be used", "LIF", tau, "tau >= 1 (in steps)")
        super().__init__(
            decay=1.0 - 1.0 / tau,
            gain=1.0 / tau if decay_input else 1.0,
            v_threshold=v_threshold,
            v_reset=v_reset,
            comparison=comparison,
            surrogate=surrogate,
            detach_reset=detach_reset,
        )


class PLIF(Neuron):
    """LIF with learnable leak: ``1/tau = sigmoid(w)``, one ``w`` per layer (Fang et al. 2021, PLIF)."""

    def __init__(
        self,
        init_tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        comparison: Comparison = "ge",
        surrogate: str | Surrogate = "atan",
        detach_reset: bool = True,
    ) -> None:
        if not (math.isfinite(init_tau) and init_tau > 1.0):
            raise _refuse("bad-tau", "the time constant cannot be used", "PLIF", init_tau, "init_tau > 1 (steps)")
        super().__init__(
            decay=0.0,
            gain=1.0,
            v_threshold=v_threshold,
            v_reset=v_reset,
            comparison=comparison,
            surrogate=surrogate,
            detach_reset=detach_reset,
        )
        self.decay_input = decay_input
        self.w = nn.Parameter(torch.tensor(-math.log(init_tau - 1.0)))

    @property
    def decay(self) -> float:
        """``1 - sigmoid(w)``, computed in float64."""
        return 1.0 - float(torch.sigmoid(self.w.detach().double()))

    @property
    def gain(self) -> float:
        """``sigmoid(w)`` with ``decay_input``, else 1."""
        return float(torch.sigmoid(self.w.detach().double())) if self.decay_input else 1.0

    def learnable(self) -> tuple[Tensor | None, Tensor | None]:
        """Both follow from ``w``."""
        k = torch.sigmoid(self.w)
        return 1.0 - k, k if self.decay_input else None


class IterativeLIF(Neuron):
    """STBP's iterative LIF (Wu et al. 2018): ``u = decay u (1 - o) + x``, spike strictly above threshold."""

    def __init__(
        self,
        decay: float = 0.2,
        threshold: float = 0.5,
        comparison: Comparison = "gt",
        v_reset: float | None = 0.0,
        surrogate: str | Surrogate = "rectangular",
        detach_reset: bool = True,
    ) -> None:
        super().__init__(
            decay=decay,
            gain=1.0,
            v_threshold=threshold,
            v_reset=v_reset,
            comparison=comparison,
            surrogate=surrogate,
            detach_reset=detach_reset,
        )
