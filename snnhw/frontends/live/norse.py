"""Norse 1.x: LIFBox, LIF, IAF, LI and LIBox cells, the same over time, and recurrent ones.

A step (norse.torch.functional), with a = dt tau_mem_inv and b = dt tau_syn_inv:
LIFBox: v = v + a (v_leak - v + x); IAF: v = v + x;
LIF: i' = i + x (+ w_rec z), v = v + a (v_leak - v + i'), i = (1 - b) i'. So the membrane sees i' = (1 - b) i' + x of
the same step. Spikes where v > v_th; then v = v_reset (LIFBox also: v - v_th). LI and LIBox show v. A sample starts at
v = v_leak (IAF: v_reset).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from torch import Tensor, nn

from snnhw.errors import SourceError
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
    tensors,
)
from snnhw.frontends.live.equations import Membrane, silent, spiking
from snnhw.network import Comparison, Reset

PACKAGE = "norse"
BASES = ("SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell")
SPIKING = ("LIFBoxCell", "LIFCell", "LIF", "LIFRecurrentCell", "LIFRecurrent", "IAFCell", "IAF")
READOUTS = ("LICell", "LI", "LIBoxCell", "LILinearCell")
OTHERS = (
    "CobaLIFCell",
    "LIFCorrelation",
    "LIFMCRecurrentCell",
    "LIFMCRefracRecurrentCell",
    "LILinearCell",
    "ConstantCurrentLIFEncoder",
    "PoissonEncoder",
    "PopulationEncoder",
    "SignedPoissonEncoder",
    "SpikeLatencyEncoder",
    "SpikeLatencyLIFEncoder",
    "LConv2d",
    "ExpFilter",
    "SpikesToTimesDecoder",
    "TemporalReceptiveField",
)
"""Modules with a state, or over time, that are no children of `BASES`."""

HINTS = {"LConv2d": "Lift(torch.nn.Conv2d(...))"}
ENCODE = "encode outside of the module, and give the spikes as samples"


class NorseAdapter:
    """Cells of norse.torch."""

    name = "Norse"

    def claims(self, layer: nn.Module) -> bool:
        """Everything that has a state."""
        return is_class(layer, PACKAGE, *BASES, *OTHERS)

    def keeps_time(self, layer: nn.Module) -> bool:
        """LIF, IAF, LI, LIFRecurrent, as opposed to the cells."""
        return is_class(layer, PACKAGE, "SNN", "SNNRecurrent")

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """(input, state) -> (spikes, state)."""
        current, *handed = given(layer, args, kwargs)
        out, kept = result if isinstance(result, tuple) else (result, None)
        known = class_of(layer, PACKAGE) in (*SPIKING, *READOUTS)
        axes = "" if not known else "TN" if self.keeps_time(layer) else "N"
        back = tuple(t for t in tensors(kept) if t is not out)
        membrane = getattr(kept, "v", None) if axes == "N" and class_of(layer, PACKAGE) in SPIKING else None
        return Call(current, out, axes, tuple(tensors(handed)), membrane, back, handed=True, keeps=True)

    def cell(self, layer: Any, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """See the module's equations."""
        kind = class_of(layer, PACKAGE)
        if kind not in (*SPIKING, *READOUTS):
            hint = ENCODE if kind.endswith("Encoder") else HINTS.get(kind, "LIFBoxCell, LIFCell, IAFCell")
            raise refused(layer, self.name, where, f"{kind} has no form on a core", hint, SPIKING)
        require_own_code(layer, PACKAGE, self.name, where)
        if read != OUT and kind in SPIKING:
            raise refused(layer, self.name, where, "a membrane that resets is read", "read the spikes, or use LICell")
        self._require_plain(layer, where)
        p = layer.p
        if kind in READOUTS:
            node = silent(_equation(layer, kind, shape, where), dt, where)
            before = (_matrix(layer.input_weights, shape, where),) if kind == "LILinearCell" else ()
            return cell_of(node, {"v_init": "v_leak"}, before=before)
        reset = _reset(self.name, layer, where)
        v_reset = np.zeros(shape) if reset is Reset.SUBTRACT else array(p.v_reset, shape, where)
        threshold = array(p.v_th, shape, where)
        node, _ = spiking(_equation(layer, kind, shape, where), threshold, v_reset, dt, where)
        semantics = {
            "reset": reset,
            "threshold": Comparison.GT,
            "v_init": "v_reset" if kind in ("IAF", "IAFCell") else "v_leak",
        }
        if kind not in ("LIFRecurrent", "LIFRecurrentCell"):
            return cell_of(node, semantics)
        recurrent = _matrix(layer.recurrent_weights, shape, where)
        return cell_of(node, semantics, recurrent, (_matrix(layer.input_weights, shape, where),))

    def _require_plain(self, layer: Any, where: str) -> None:
        """The step function of the class, and a spike function without chance."""
        step = getattr(layer, "activation", None)
        if step is not None and str(getattr(step, "__module__", "")).split(".")[0] != PACKAGE:
            what = f"activation is {getattr(step, '__name__', type(step).__name__)}: its equation is not known"
            raise refused(layer, self.name, where, what, "the activation of the class")
        if getattr(layer.p, "method", None) == "logistic":
            raise refused(layer, self.name, where, "method 'logistic' spikes by chance", "method='super'")

    def reset(self, layer: nn.Module) -> None:
        """States are handed over, never kept."""

    def threads(self, module: nn.Module) -> bool:
        """A chain of layers, or one layer, called with its state."""
        return is_class(module, PACKAGE, "SequentialState") or self.claims(module)


def _equation(layer: Any, kind: str, shape: Shape, where: str) -> Membrane:
    """In the framework's own precision: dt times an inverse time constant is one float32."""
    if kind in ("IAF", "IAFCell"):
        return Membrane(np.ones(shape), np.ones(shape), np.zeros(shape))
    p = layer.p
    lam = array(layer.dt * p.tau_mem_inv, shape, where)
    membrane = Membrane(1 - lam, lam, lam * array(p.v_leak, shape, where))
    if kind in ("LIFBoxCell", "LIBoxCell"):
        return membrane
    decay = array(layer.dt * p.tau_syn_inv, shape, where)
    return Membrane(membrane.keep, membrane.gain, membrane.rest, 1 - decay, np.ones(shape))


def _reset(framework: str, layer: Any, where: str) -> Reset:
    """To v_reset, or by subtraction where a LIFBox says so."""
    rule = getattr(layer.p, "reset_method", None)
    name = "reset_value" if rule is None else getattr(rule, "__name__", type(rule).__name__)
    rules = {"reset_value": Reset.V_RESET, "reset_subtract": Reset.SUBTRACT}
    if name not in rules:
        raise refused(layer, framework, where, f"reset_method is {name}", "reset_value or reset_subtract")
    return rules[name]


def _matrix(weight: Tensor, shape: Shape, where: str) -> nir.Linear:
    if len(shape) != 1:
        raise SourceError(
            "bad-shape",
            "a cell with weights of its own has neurons in more than one axis",
            where=where,
            needed=shape,
            limit="one axis",
            hint="flatten its input",
        )
    return nir.Linear(weight.detach().double().cpu().numpy())


ADAPTER = NorseAdapter()
