"""ANN-to-SNN conversion: a trained ReLU network becomes integrate-and-fire neurons whose rates are its activations.

Threshold balancing by weight normalisation with a robust maximum (Diehl et al. 2015; Rueckauer et al. 2017): with
``scale`` the percentile of a layer's ReLU output on sample data, ``W' = W scale_before / scale``, ``b' = b / scale``,
threshold 1. Membranes start at half the threshold, which centres the rounding error of the rates (Deng and Gu 2021).
Values that are added, rectified, pooled or flattened with no weights between share one scale (the largest of their
ReLU outputs): a spike then stands for the same amount in every summand of a residual sum.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError, SourceError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.datasets import Split
from snnhw.zoo.encode import scale
from snnhw.zoo.neurons import IF
from snnhw.zoo.percentile import layer_percentiles
from snnhw.zoo.recipe import Recipe
from snnhw.zoo.wired import INPUT, Wire, Wired

KIND = "converted_ann"
PERCENTILE = 99.5
SAMPLES = 1000
"""Training samples from which a recipe's thresholds come."""
WEIGHTED = (nn.Conv2d, nn.Linear)
RESETS: dict[str, float | None] = {"subtract": None, "zero": 0.0}
"""``v_reset`` of the neurons: soft reset keeps what is above the threshold, hard reset loses it."""
V_INIT = {"subtract": 0.5, "zero": 0.0}
"""Membrane at the start by default; hard reset is for stock Loihi 1 neurons, which start at 0."""

_MAKERS: dict[str, type[nn.Module]] = {
    "conv2d": nn.Conv2d,
    "linear": nn.Linear,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "flatten": nn.Flatten,
}
_OPTIONS = {
    "conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    "linear": ("in_features", "out_features"),
    "avg_pool2d": ("kernel_size", "stride", "padding"),
    "adaptive_avg_pool2d": ("output_size",),
    "flatten": (),
}


class CappedReLU(nn.ReLU):
    """min(max(x, 0), top), as ReLU6: what is above saturates, as a rate does."""

    def __init__(self, top: float) -> None:
        super().__init__()
        self.top = top

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.clamp(0.0, self.top)


class ConvertedAnn(Wired):
    """The spiking network of a conversion, rebuilt from plain values (a checkpoint's configuration).

    Args:
        layers: one row a layer: ``name``, ``op``, ``inputs`` and its options; neurons (``op`` ``if``) have
            ``scale``, the activation that one spike in every step stands for.
        reset: ``subtract`` or ``zero``.
        v_init: membrane at the start of a sample, in thresholds.
    """

    def __init__(
        self, layers: Sequence[Mapping[str, Any]], reset: str = "subtract", v_init: float = V_INIT["subtract"]
    ) -> None:
        try:
            super().__init__([Wire(row["name"], _made(row, reset, v_init), tuple(row["inputs"])) for row in layers])
            self.scales = {str(row["name"]): float(row["scale"]) for row in layers if row["op"] == "if"}
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise SnnhwError(
                "bad-network",
                "the converted network cannot be rebuilt from these layers",
                where="ConvertedAnn",
                needed=f"{type(error).__name__}: {error}",
                limit="rows as snnhw.zoo.conversion writes them",
                hint="the file is damaged: convert the network again",
            ) from None
        self.config = {"layers": [dict(row) for row in layers], "reset": reset, "v_init": v_init}


def converted(
    wires: Sequence[Wire],
    samples: Tensor,
    *,
    percentile: float = PERCENTILE,
    reset: str = "subtract",
    v_init: float | None = None,
) -> ConvertedAnn:
    """The spiking network ``[T, N, ...]`` of a trained ReLU network; its output is the last layer's at every step.

    Args:
        wires: its layers on ``[N, ...]``, in float64 (`snnhw.frontends.ann.convert` reads them of a module).
        samples: ``[n, ...]``, inputs like those of training, from which the scales come.
        percentile: of each layer's ReLU outputs that a rate of 1 stands for; what is above saturates.
        reset: ``subtract`` (nothing is lost) or ``zero``.
        v_init: membrane at the start of a sample, in thresholds (0 to 1); by default `V_INIT`.

    The input is the sample itself at every step. The mean of the output over T approaches the ReLU network's
    output with an error that falls as 1 / T (where the network ends in a pool of spikes: that over one constant).

    Raises:
        SnnhwError: a layer that spikes cannot stand for, samples of another shape, or arguments out of range.
    """
    start = V_INIT.get(reset, 0.0) if v_init is None else v_init
    if reset not in RESETS or not 0.0 < percentile <= 100.0 or not 0.0 <= start < 1.0:
        raise SnnhwError(
            "bad-conversion",
            "the conversion cannot be done with these arguments",
            where="convert",
            needed=f"reset={reset!r}, percentile={percentile!r}, v_init={v_init!r}",
            limit="reset 'subtract' or 'zero', 0 < percentile <= 100, 0 <= v_init < 1",
            hint="correct the argument",
        )
    samples = samples.double()
    scales = _scales(wires, samples, percentile)
    converted = ConvertedAnn([_row(wire, scales) for wire in wires], reset, start)
    for wire in wires:
        if isinstance(wire.layer, WEIGHTED):
            layer = _normalised(wire.layer, scales[wire.inputs[0]], scales[wire.name])
            converted.get_submodule(f"{wire.name}.0").load_state_dict(layer.state_dict())
    return converted.eval()


Convert = Callable[[nn.Module, Tensor], ConvertedAnn]


def deployable(recipe: Recipe, model: nn.Module, data: Split, convert: Convert | None) -> tuple[Recipe, nn.Module]:
    """What a recipe's checkpoint holds: the trained network or, where the recipe converts, the spiking one.

    Args:
        convert: `snnhw.frontends.ann.convert`, which reads the network (the zoo knows no front end).
    """
    if not recipe.convert_steps:
        return recipe, model
    if convert is None:
        raise SnnhwError(
            "needs-converter",
            "the recipe's network becomes a spiking one, which a front end does",
            where=recipe.name,
            needed="train(..., convert=snnhw.frontends.ann.convert)",
            hint="snnhw train does so",
        )
    network = convert(model, scale(data.x_train[:SAMPLES]))
    return replace(recipe, kind=KIND, config=network.config, steps=recipe.convert_steps), network


def _scales(wires: Sequence[Wire], samples: Tensor, percentile: float) -> dict[str, float]:
    """What the value 1 stands for after each layer, one number for each set of values joined without weights."""
    joined = _joined(wires)
    relus = [wire.name for wire in wires if isinstance(wire.layer, nn.ReLU)]
    _require_between(wires, relus, joined)
    found = layer_percentiles(Wired(wires), relus, samples, percentile)
    scales: dict[str, float] = {}
    for name in relus:
        if not found[name] > 0:
            raise SourceError(
                "silent-layer",
                "a ReLU is zero on all samples, so no threshold can be chosen",
                where=name,
                needed="activations above 0",
                hint="give samples like those of training, or remove the dead layer",
            )
        scales[joined[name]] = max(scales.get(joined[name], 0.0), found[name])
    for wire in wires:
        if isinstance(wire.layer, CappedReLU) and scales[joined[wire.name]] > wire.layer.top * (1 + 1e-9):
            raise SourceError(
                "unconvertible",
                "a ReLU with a maximum is added to larger values: one rate stands for both, and has no such maximum",
                where=wire.name,
                needed=f"a maximum of {wire.layer.top:g}",
                limit=f"{scales[joined[wire.name]]:g}, what a rate of 1 stands for there",
                hint="use ReLU without a maximum, or a layer with weights between them",
            )
    return {name: scales.get(group, 1.0) for name, group in joined.items()}


def _joined(wires: Sequence[Wire]) -> dict[str, str]:
    """Value -> representative of the values it shares its scale with."""
    group = {INPUT: INPUT}
    for wire in wires:
        group[wire.name] = wire.name
        for before in () if isinstance(wire.layer, WEIGHTED) else wire.inputs:
            old, new = group[before], group[wire.name]
            group = {name: new if own == old else own for name, own in group.items()}
    return group


def _require_between(wires: Sequence[Wire], relus: Sequence[str], joined: Mapping[str, str]) -> None:
    """The scale of the input is given, so no neuron may share it; and the network ends in a linear layer."""
    for name in relus:
        if joined[name] == joined[INPUT]:
            raise SourceError(
                "unconvertible",
                "a ReLU or a sum gets the input itself, whose scale is not free",
                where=name,
                hint="put a convolution or linear layer between them",
            )
    if wires and isinstance(wires[-1].layer, nn.ReLU):
        raise SourceError(
            "unconvertible",
            "the network ends in a ReLU, so that no mean of a linear layer can be read out",
            where=wires[-1].name,
            hint="leave the last ReLU out: it does not change which class is largest, unless all are negative",
        )


def _normalised(layer: nn.Module, before: float, after: float) -> nn.Module:
    layer = copy.deepcopy(layer)
    with torch.no_grad():
        layer.get_parameter("weight").mul_(before / after)
        if layer.bias is not None:
            layer.get_parameter("bias").div_(after)
    return layer


def _row(wire: Wire, scales: Mapping[str, float]) -> dict[str, Any]:
    """A layer as plain values."""
    row: dict[str, Any] = {"name": wire.name, "inputs": list(wire.inputs)}
    if wire.layer is None:
        return {**row, "op": "add"}
    if isinstance(wire.layer, nn.ReLU):
        return {**row, "op": "if", "scale": scales[wire.name]}
    op = next(op for op, kind in _MAKERS.items() if isinstance(wire.layer, kind))
    row |= {"op": op, **{option: _plain(getattr(wire.layer, option)) for option in _OPTIONS[op]}}
    return {**row, "bias": wire.layer.bias is not None} if isinstance(wire.layer, WEIGHTED) else row


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _made(row: Mapping[str, Any], reset: str, v_init: float) -> nn.Module | None:
    """The layer of a row, weights not yet filled in."""
    op = row["op"]
    if op == "add":
        return None
    if op == "if":
        return IF(v_reset=RESETS[reset], v_init=v_init or None)
    names = (*_OPTIONS[op], *(["bias"] if "bias" in row else []))
    return PerStep(_MAKERS[op](**{key: tuple(v) if isinstance(v := row[key], list) else v for key in names}))
