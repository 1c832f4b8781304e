"""A live ReLU network, read by ``torch.fx``: linear layers, pools, ReLU and sums; BatchNorm folded in float64."""

from __future__ import annotations

import copy
import operator
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from snnhw.errors import SourceError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.wired import INPUT, Names, Wire

WEIGHTED = (nn.Conv2d, nn.Linear)
SHAPING = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ADD = {operator.add, operator.iadd, torch.add}
_RELU = {functional.relu, torch.relu, torch.relu_}
_POOLS: dict[Any, Any] = {functional.avg_pool2d: nn.AvgPool2d, functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d}
LAYERS = "Conv2d, Linear, BatchNorm1d, BatchNorm2d, ReLU, AvgPool2d, AdaptiveAvgPool2d, Flatten, Dropout, Identity, +"


def read_ann(module: nn.Module) -> list[Wire]:
    """The network's layers in float64 and in order; copies, in eval mode, without BatchNorm and Dropout.

    Args:
        module: ReLU network on ``[N, ...]``; a `PerStep` counts as the layers in it.

    Raises:
        SourceError: a layer, option or operation that spikes cannot stand for, with its path.
    """
    module = copy.deepcopy(module).double().eval()
    if isinstance(module, PerStep):
        module = module[0] if len(module) == 1 else nn.Sequential(OrderedDict(module.named_children()))
    reader = _Reader(module)
    for node in _trace(module).nodes:
        reader.visit(node)
    return list(reader.wires.values())


def _trace(module: nn.Module) -> fx.Graph:
    try:
        return fx.Tracer().trace(module)
    except Exception as error:  # torch.fx runs the user's forward: anything can come out of it
        raise SourceError(
            "untraceable",
            f"torch.fx cannot trace the ReLU network: {type(error).__name__}: {error}",
            where=type(module).__name__,
            hint="no control flow on tensors in forward",
        ) from error


class _Reader:
    """Values of the fx graph by the name of the layer they come from."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.wires: dict[str, Wire] = {}
        self.source: dict[fx.Node, str] = {}
        self.names = Names()

    def visit(self, node: fx.Node) -> None:
        """One node of the graph, in order."""
        if node.op == "placeholder":
            if self.source:
                raise _odd("the ReLU network takes more than one tensor", node.name)
            self.source[node] = INPUT
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                raise _odd("the ReLU network does not return one tensor", node.name)
            self._finish(node.args[0])
        elif node.op == "call_module":
            self._call(node, self.module.get_submodule(str(node.target)), str(node.target))
        elif _named(node, _ADD, ("add", "add_")) and _tensors(node) == 2:
            self._place(node, None)
        elif _named(node, _RELU, ("relu", "relu_")) and _tensors(node) == 1:
            self._place(node, nn.ReLU())
        elif node.op == "call_function" and node.target in _POOLS:
            pool = _POOLS[node.target](*node.args[1:], **node.kwargs)
            check_options(pool, node.name)
            self._place(node, pool)
        elif _named(node, {torch.flatten}, ("flatten",)) and tuple(node.args[1:]) in ((1,), (1, -1)):
            self._place(node, nn.Flatten())
        else:
            raise SourceError(
                "unknown-operation",
                f"the operation {_title(node.target)} cannot be converted to spikes",
                where=node.name,
                limit=LAYERS,
                hint=_hint(_title(node.target)),
            )

    def _call(self, node: fx.Node, layer: nn.Module, where: str) -> None:
        if len(node.args) != 1 or node.kwargs:
            raise _odd("a layer of the ReLU network takes one tensor", where)
        before = node.args[0]
        assert isinstance(before, fx.Node)
        if isinstance(layer, NOTHING):
            self.source[node] = self.source[before]
        elif isinstance(layer, NORMS):
            self._fold(node, before, layer, where)
        elif isinstance(layer, (*WEIGHTED, *SHAPING, nn.ReLU)):
            check_options(layer, where)
            self._place(node, nn.ReLU() if isinstance(layer, nn.ReLU) else copy.deepcopy(layer))
        else:
            kind = type(layer).__name__
            raise SourceError(
                "unknown-layer",
                f"layers of type {kind} cannot be converted to spikes",
                where=where,
                limit=LAYERS,
                hint=_hint(kind),
            )

    def _place(self, node: fx.Node, layer: nn.Module | None) -> None:
        name = self.names.free(str(node.target) if node.op == "call_module" else node.name)
        inputs = tuple(self.source[before] for before in node.args if isinstance(before, fx.Node))
        self.wires[name] = Wire(name, layer, inputs)
        self.source[node] = name

    def _fold(self, node: fx.Node, before: fx.Node, norm: Any, where: str) -> None:
        """W' = g W, b' = g (b - mean) + beta into the layer before, if that feeds nothing else."""
        wire = self.wires.get(self.source[before])
        if wire is None or not isinstance(wire.layer, WEIGHTED) or not _private(before, self.source):
            raise SourceError(
                "batchnorm-alone",
                "BatchNorm must directly follow a convolution or linear layer that feeds nothing else",
                where=where,
                hint="move it behind the layer it normalises",
            )
        if norm.running_mean is None or norm.running_var is None:
            raise _option(where, "BatchNorm without running statistics cannot be folded", "track_running_stats=True")
        fuse: Any = fuse_conv_bn_eval if isinstance(wire.layer, nn.Conv2d) else fuse_linear_bn_eval
        self.wires[wire.name] = Wire(wire.name, fuse(wire.layer, norm).requires_grad_(False), wire.inputs)
        self.source[node] = wire.name

    def _finish(self, last: fx.Node) -> None:
        name = self.source[last]
        if name == INPUT or name != next(reversed(self.wires)):
            raise _odd("what the ReLU network returns is not what its last layer gives", name)
        for wire in self.wires.values():
            values: list[Tensor] = list(wire.layer.parameters()) if wire.layer is not None else []
            if not all(bool(torch.isfinite(value).all()) for value in values):
                raise SourceError(
                    "not-finite",
                    "weights of the ReLU network are NaN or infinite",
                    where=wire.name,
                    needed="finite numbers",
                    hint="train it again",
                )


def check_options(layer: nn.Module, where: str) -> None:
    """Refuse options whose meaning the converted network would lose."""
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        raise _option(where, f"padding mode {layer.padding_mode!r} cannot be converted", "use zero padding")
    if isinstance(layer, nn.AvgPool2d):
        padded = layer.padding not in (0, (0, 0))
        if layer.ceil_mode or layer.divisor_override or (padded and not layer.count_include_pad):
            what = "ceil_mode, divisor_override and count_include_pad=False cannot be converted"
            raise _option(where, what, "use the defaults")
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
        raise _option(where, "only Flatten(start_dim=1, end_dim=-1) can be converted", "flatten all but the batch")


def _private(node: fx.Node, source: dict[fx.Node, str]) -> bool:
    """Whether a value has one reader; layers that do nothing hand on the same value."""
    return all(len(same.users) == 1 for same, name in source.items() if name == source[node])


def _named(node: fx.Node, functions: set[Any], methods: tuple[str, ...]) -> bool:
    called = node.op == "call_function" and node.target in functions
    return called or (node.op == "call_method" and node.target in methods)


def _tensors(node: fx.Node) -> int:
    """How many tensors a call takes; -1 if it takes anything else."""
    plain = all(isinstance(arg, fx.Node) for arg in node.args) and set(node.kwargs) <= {"inplace"}
    return len(node.args) if plain else -1


def _title(target: Any) -> str:
    return str(getattr(target, "__name__", target))


def _hint(kind: str) -> str:
    low = kind.lower()
    if "maxpool" in low or "max_pool" in low:
        return "train with average pooling: the maximum of rates is not a sum of spikes"
    if "softmax" in low:
        return "leave it out: it does not change which class is largest"
    return "replace it by one of these and train again"


def _odd(message: str, where: str) -> SourceError:
    return SourceError("inputs-outputs", message, where=where, limit="one tensor in, one out")


def _option(where: str, message: str, hint: str) -> SourceError:
    return SourceError("unsupported-option", message, where=where, hint=hint)
