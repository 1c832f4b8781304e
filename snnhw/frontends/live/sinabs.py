"""sinabs 3.x: IAF, LIF, ExpLeak, their recurrent and squeezed forms, and SumPool2d.

A step (sinabs.layers.functional.lif): i = a_syn (i + x) if there is tau_syn, else i = x; v = a v + (1 - a) i if
norm_input, else a v + i; spikes; reset; v = max(v, min_v_mem). a = exp(-1 / tau), tau in steps; IAF has a = 1.
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
from snnhw.network import Array, Comparison, Reset
from snnhw.operators.base import pair
from snnhw.semantics import UNLIMITED

PACKAGE = "sinabs"
RECURRENT = ("LIFRecurrent", "IAFRecurrent")
SPIKING = ("IAF", "LIF", "IAFSqueeze", "LIFSqueeze", *RECURRENT)
READOUTS = ("ExpLeak", "ExpLeakSqueeze")
UNREADABLE = ("SpikingMaxPooling2dLayer", "NeuromorphicReLU", "QuantizeLayer", "StochasticRounding", "Img2SpikeLayer")
"""Modules that are not what their torch functions say; refused by name."""


class SinabsAdapter:
    """Layers of sinabs.layers."""

    name = "sinabs"

    def claims(self, layer: nn.Module) -> bool:
        """Layers with state, sum pools, and what is refused."""
        return is_class(layer, PACKAGE, "StatefulLayer", "SumPool2d", *UNREADABLE)

    def keeps_time(self, layer: nn.Module) -> bool:
        """All of them take all steps at once."""
        return is_class(layer, PACKAGE, "StatefulLayer")

    def call(self, layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """(N, T, ...), or both in one axis for the squeezed forms."""
        current = given(layer, args, kwargs)[0]
        if class_of(layer, PACKAGE) not in (*SPIKING, *READOUTS):
            return Call(current, result, "")
        if not is_class(layer, PACKAGE, "SqueezeMixin"):
            return Call(current, result, "NT")
        steps = layer.num_timesteps if layer.num_timesteps > 0 else len(current) // layer.batch_size
        return Call(current, result, "(NT)", steps=steps)

    def cell(self, layer: Any, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """See the module's equation; one step is dt."""
        if is_class(layer, PACKAGE, "SumPool2d"):
            require_own_code(layer, PACKAGE, self.name, where)
            return cell_of(_sum_pool(layer, where))
        kind = class_of(layer, PACKAGE)
        if kind not in (*SPIKING, *READOUTS):
            raise refused(layer, self.name, where, f"{kind} has no form on a core", "IAF, LIF or ExpLeak", SPIKING)
        require_own_code(layer, PACKAGE, self.name, where)
        if read != OUT:
            raise refused(layer, self.name, where, "a membrane is read as an output", "read ExpLeak, or the spikes")
        equation = _equation(layer, shape, where)
        if kind in READOUTS:
            if layer.min_v_mem is not None:
                raise refused(layer, self.name, where, "ExpLeak with min_v_mem", "leave min_v_mem None")
            return cell_of(silent(equation, dt, where), {"v_init": 0.0})
        semantics = _semantics(self.name, layer, where)
        threshold = positive(array(layer.spike_threshold, shape, where), where)
        node, before = spiking(equation, threshold, np.zeros(shape), dt, where)
        if kind not in RECURRENT:
            return cell_of(node, semantics, before=before)
        if before:
            raise refused(
                layer,
                self.name,
                where,
                f"{kind} with tau_syn on a membrane without leak",
                "LIFRecurrent, or no tau_syn",
            )
        recurrent, late = _recurrent(self.name, layer, shape, where)
        return cell_of(node, semantics, recurrent, late=None if late is None else (late, dt))

    def reset(self, layer: nn.Module) -> None:
        """No state, as before the first run."""
        if self.keeps_time(layer):
            for name, state in list(layer.named_buffers(recurse=False)):
                layer.register_buffer(name, state.new_zeros(0))

    def threads(self, module: nn.Module) -> bool:
        """Layers keep their states themselves."""
        return False


def _equation(layer: Any, shape: Shape, where: str) -> Membrane:
    keep = array(layer.alpha_mem_calculated, shape, where)
    gain = 1 - keep if layer.norm_input else np.ones(shape)
    alpha = layer.alpha_syn_calculated
    current: Array | None = None if alpha is None else array(alpha, shape, where)
    return Membrane(keep, gain, np.zeros(shape), current, current)


def _semantics(framework: str, layer: Any, where: str) -> dict[str, Any]:
    """Threshold, reset and floor of a layer."""
    reset, value = type(layer.reset_fn).__name__, None
    if reset == "MembraneSubtract":
        value, rule = layer.reset_fn.subtract_value, Reset.SUBTRACT
    elif reset == "MembraneReset":
        value, rule = layer.reset_fn.reset_value or None, Reset.ZERO
    else:
        raise refused(layer, framework, where, f"reset_fn is {reset}", "MembraneSubtract() or MembraneReset()")
    if value is not None:
        what = f"{reset}({value:g}): only the threshold is subtracted, and only zero is reset to"
        raise refused(layer, framework, where, what, f"{reset}() without a value")
    floor = None if layer.min_v_mem is None else np.unique(array(layer.min_v_mem, tuple(layer.min_v_mem.shape), where))
    if floor is not None and floor.size != 1:
        raise refused(layer, framework, where, "min_v_mem differs between neurons", "one min_v_mem per layer")
    return {
        "reset": rule,
        "threshold": Comparison.GE,
        "multispike": _most_spikes(framework, layer, where),
        "v_min": None if floor is None else float(floor[0]),
        "v_init": 0.0,
    }


def _most_spikes(framework: str, layer: Any, where: str) -> int:
    """Spikes a step, by spike_fn: a class, or an instance of MaxSpike."""
    rule = layer.spike_fn
    name = rule.__name__ if isinstance(rule, type) else type(rule).__name__
    if name == "MaxSpike" and rule.max_num_spikes_per_bin is not None:
        return int(rule.max_num_spikes_per_bin)
    limits = {"MultiSpike": UNLIMITED, "MaxSpike": UNLIMITED, "SingleSpike": 1}
    if name not in limits:
        raise refused(layer, framework, where, f"spike_fn is {name}", "MultiSpike, MaxSpike or SingleSpike")
    return limits[name]


def _recurrent(framework: str, layer: Any, shape: Shape, where: str) -> tuple[nir.NIRNode, Array | None]:
    """rec_connect as a node, and its bias: it feeds the spikes of the step before, and no bias at the first step."""
    way = layer.rec_connect
    if not isinstance(way, nn.Linear) or len(shape) != 1:
        what = f"rec_connect is {type(way).__name__} on neurons of shape {shape}"
        raise refused(layer, framework, where, what, "nn.Linear on neurons in one axis")
    bias = None if way.bias is None or not bool(way.bias.any()) else array(way.bias, shape, where)
    return nir.Linear(way.weight.detach().double().cpu().numpy()), bias


def _sum_pool(layer: Any, where: str) -> nir.SumPool2d:
    """LPPool2d with norm 1: a sum."""
    if layer.ceil_mode or layer.norm_type != 1:
        raise refused(layer, "sinabs", where, "SumPool2d with ceil_mode", "ceil_mode=False, or pad the input")
    kernel = layer.kernel_size
    stride = kernel if layer.stride is None else layer.stride
    return nir.SumPool2d(np.array(pair(kernel)), np.array(pair(stride)), np.zeros(2, int))


ADAPTER = SinabsAdapter()
