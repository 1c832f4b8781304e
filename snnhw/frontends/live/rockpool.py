"""Rockpool 3.x: LIFTorch, LIFBitshiftTorch, LIFNeuronTorch and ExpSynTorch.

A step (rockpool.nn.modules.torch), with decays alpha = exp(-dt / tau_mem), beta = exp(-dt / tau_syn):
LIFTorch: i = beta (i + x + w_rec z), v = alpha v + i + bias; LIFNeuronTorch: v = alpha v + x + bias;
n = floor(v / threshold) spikes where v >= threshold, max_spikes_per_dt at most; v = v - n threshold.
ExpSynTorch shows i = beta (i + x).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from torch import nn

from snnhw.frontends.live.adapter import (
    OUT,
    Call,
    Cell,
    Shape,
    array,
    cell_of,
    class_of,
    given,
    is_class,
    refused,
    require_own_code,
)
from snnhw.frontends.live.equations import Membrane, positive, silent, spiking
from snnhw.network import Comparison, Reset
from snnhw.semantics import UNLIMITED

PACKAGE = "rockpool"
SYNAPTIC = ("LIFTorch", "LIFBitshiftTorch")
SPIKING = (*SYNAPTIC, "LIFNeuronTorch")
OTHERS = ("LIFBaseTorch", "LIFNeuronTorch", "ExpSynTorch", "RateTorch", "LowPass", "UpDownTorch", "BooleanState")
SPIKE_FUNCTIONS = ("StepPWL", "PeriodicExponential")
"""They differ in their gradients only."""


class RockpoolAdapter:
    """Modules of rockpool.nn.modules.torch; LinearTorch and the combinators are read as they run."""

    name = "Rockpool"

    def claims(self, layer: nn.Module) -> bool:
        """Everything that has a state."""
        return is_class(layer, PACKAGE, *OTHERS)

    def keeps_time(self, layer: nn.Module) -> bool:
        """All modules take all steps at once."""
        return True

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """(N, T, C); states stay inside."""
        axes = "NT" if class_of(layer, PACKAGE) in (*SPIKING, "ExpSynTorch") else ""
        return Call(given(layer, args, kwargs)[0], result, axes)

    def cell(self, layer: Any, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """See the module's equations."""
        kind = class_of(layer, PACKAGE)
        if kind not in (*SPIKING, "ExpSynTorch"):
            raise refused(layer, self.name, where, f"{kind} has no form on a core", "LIFTorch, LIFNeuronTorch", SPIKING)
        require_own_code(layer, PACKAGE, self.name, where)
        if read != OUT:
            raise refused(
                layer, self.name, where, "a membrane that resets is read", "read the spikes, or use ExpSynTorch"
            )
        if float(layer.noise_std) != 0:
            raise refused(layer, self.name, where, f"noise_std is {float(layer.noise_std):g}", "noise_std=0")
        if kind == "ExpSynTorch":
            beta = array((-layer.dt / layer.tau).exp(), shape, where)
            return cell_of(silent(Membrane(beta, beta, np.zeros(shape)), dt, where), {"v_init": 0.0})
        threshold = positive(array(layer.threshold, shape, where), where)
        equation = self._equation(layer, kind, shape, where)
        node, before = spiking(equation, threshold, np.zeros(shape), dt, where)
        semantics = {
            "reset": Reset.SUBTRACT,
            "threshold": Comparison.GE,
            "multispike": self._most_spikes(layer, where),
            "v_init": 0.0,
        }
        return cell_of(node, semantics, _recurrent(layer) if kind in SYNAPTIC else None, before)

    def reset(self, layer: Any) -> None:
        """Rockpool's own reset."""
        layer.reset_state()

    def threads(self, module: nn.Module) -> bool:
        """Modules take all steps at once."""
        return False

    def _equation(self, layer: Any, kind: str, shape: Shape, where: str) -> Membrane:
        bias = array(layer.bias, shape, where)
        if kind == "LIFNeuronTorch":
            return Membrane(array((-layer.dt / layer.tau_mem).exp(), shape, where), np.ones(shape), bias)
        if layer.n_synapses != 1:
            what = f"{layer.n_synapses} synapses a neuron"
            raise refused(layer, self.name, where, what, f"shape=({layer.size_out}, {layer.size_out})")
        beta = layer.beta
        beta = array(beta[..., 0] if beta.dim() else beta, shape, where)
        return Membrane(array(layer.alpha, shape, where), np.ones(shape), bias, beta, beta)

    def _most_spikes(self, layer: Any, where: str) -> int:
        rule = getattr(layer.spike_generation_fn, "__self__", None)
        name = getattr(rule, "__name__", type(layer.spike_generation_fn).__name__)
        if name not in SPIKE_FUNCTIONS:
            raise refused(layer, self.name, where, f"spike_generation_fn is {name}", " or ".join(SPIKE_FUNCTIONS))
        most = float(layer.max_spikes_per_dt)
        if most < 1 or (np.isfinite(most) and most != int(most)):
            raise refused(layer, self.name, where, f"max_spikes_per_dt is {most:g}", "a whole number >= 1")
        return UNLIMITED if most > UNLIMITED else int(most)


def _recurrent(layer: Any) -> nir.Linear | None:
    """w_rec is (in, out); it feeds the spikes of the step before."""
    return nir.Linear(layer.w_rec.detach().double().cpu().numpy().T.copy()) if layer._has_rec else None


ADAPTER = RockpoolAdapter()
