"""From a framework's difference equation to the NIR node that means it: i' = a i + b x, v' = k v + g i' + rest.

With lam = dt / tau (Euler), tau = dt / (1 - factor) makes any factor exact, and r and w_in take what is left of the
gains (snnhw/semantics.py has the equations of the nodes).
"""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.network import Array


@dataclass(frozen=True)
class Membrane:
    """One layer's equation, all arrays of the neurons' shape.

    Args:
        keep: what is left of the membrane after a step, (0, 1]; 1 everywhere is a membrane without leak.
        gain: factor of the current (of the input, where there is none).
        rest: added at each step.
        current_keep: what is left of the current after a step, [0, 1), or None: no current.
        current_gain: factor of the input into the current.
    """

    keep: Array
    gain: Array
    rest: Array
    current_keep: Array | None = None
    current_gain: Array | None = None


def spiking(
    equation: Membrane, threshold: Array, v_reset: Array, dt: float, where: str
) -> tuple[nir.NIRNode, tuple[nir.NIRNode, ...]]:
    """A node that fires, and the filter before it: IF, LIF, CubaLIF, or LI and IF."""
    if (equation.keep == 1).all():
        if equation.rest.any():
            raise _no_leak(where, "a bias on a membrane that does not leak")
        return nir.IF(equation.gain / dt, threshold, v_reset), _filter(equation, dt, where)
    lam, tau, v_leak = _leak(equation, dt, where)
    if equation.current_keep is None:
        return nir.LIF(tau, equation.gain / lam, v_leak, threshold, v_reset), ()
    tau_syn, w_in = _current(equation, dt, where)
    return nir.CubaLIF(tau_syn, tau, equation.gain / lam, v_leak, threshold, v_reset, w_in), ()


def positive(threshold: Array, where: str) -> Array:
    """A threshold that is subtracted, or that membranes are divided by."""
    if (threshold <= 0).any():  # NaN is named by `validate`
        raise SourceError(
            "bad-parameter",
            "a threshold that is subtracted is not positive",
            where=where,
            needed=f"{threshold.min():g}",
            limit="> 0",
        )
    return threshold


def silent(equation: Membrane, dt: float, where: str) -> nir.NIRNode:
    """A node that shows its membrane and never fires: I, LI or CubaLI."""
    if equation.current_keep is None and (equation.keep == 1).all() and not equation.rest.any():
        return nir.I(equation.gain / dt)
    lam, tau, v_leak = _leak(equation, dt, where)
    if equation.current_keep is None:
        return nir.LI(tau, equation.gain / lam, v_leak)
    tau_syn, w_in = _current(equation, dt, where)
    return nir.CubaLI(tau_syn, tau, equation.gain / lam, v_leak, w_in)


def _leak(equation: Membrane, dt: float, where: str) -> tuple[Array, Array, Array]:
    """(lam, tau, v_leak) of the membrane."""
    lam = 1 - equation.keep
    if (lam <= 0).any() or (lam > 1).any():
        raise _no_leak(where, "some membranes of a layer that do not leak, grow, or change their sign")
    return lam, dt / lam, equation.rest / lam


def _current(equation: Membrane, dt: float, where: str) -> tuple[Array, Array]:
    """(tau_syn, w_in) of the synaptic current."""
    assert equation.current_keep is not None
    assert equation.current_gain is not None
    lam = 1 - equation.current_keep
    if (lam <= 0).any() or (lam > 1).any():
        raise _no_leak(where, "a synaptic current that does not decay, grows, or changes its sign")
    return dt / lam, equation.current_gain / lam


def _filter(equation: Membrane, dt: float, where: str) -> tuple[nir.NIRNode, ...]:
    """The synaptic current of a membrane without leak, as a node of its own."""
    if equation.current_keep is None:
        return ()
    tau_syn, w_in = _current(equation, dt, where)
    return (nir.LI(tau_syn, w_in, np.zeros_like(tau_syn)),)


def _no_leak(where: str, what: str) -> SourceError:
    return SourceError(
        "no-leak",
        f"no NIR node means {what}",
        where=where,
        needed="factors of a step in [0, 1), or 1 for all membranes of the layer",
        hint="time constants of one step or more, all finite or all infinite",
    )
