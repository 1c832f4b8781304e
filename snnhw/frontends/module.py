"""A live torch module to NIR, by our own reading of its torch.fx graph.

Exporters of the field lose residual edges and refuse BatchNorm; this one folds BatchNorm in float64, keeps every edge
(several edges into a node sum, as NIR has it), and refuses by name what it does not know.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, fx, nn

from snnhw.errors import SourceError
from snnhw.frontends.convert import LINEAR_CONVERTERS, fold_batchnorm, neuron_node, node_semantics
from snnhw.frontends.gates import OneMinus, max_pool, product, require_spikes
from snnhw.frontends.timed import crossing_semantics, delayed, first_spike
from snnhw.semantics import Deployment, Semantics, to_metadata
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.timed import Delayed, FirstSpike

_ADD = {operator.add, operator.iadd, torch.add}
_MULTIPLY = {operator.mul, torch.mul, torch.multiply}
_SUBTRACT = {operator.sub, torch.sub, torch.subtract}
_IN_PLACE = {operator.iadd, "add_"}
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (PerStep, Neuron, FirstSpike, Delayed)) or super().is_leaf_module(m, module_qualified_name)


@dataclass
class _Builder:
    """NIR nodes under construction; a value of the fx graph is the list of nodes whose outputs it sums."""

    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, node: nir.NIRNode, sources: list[str], shape: tuple[int, ...]) -> list[str]:
        """Place a node behind its sources; x + x, which NIR's edge set cannot say, becomes a Scale."""
        if "/" in name:
            raise SourceError("bad-name", "NIR node names cannot hold '/'", where=name)
        if name in self.nodes:
            raise SourceError(
                "duplicate-node",
                "two nodes would have the same name",
                where=name,
                hint="use a layer once (copies may share weights), and call no neuron 'input' or 'output'",
            )
        for source, count in Counter(sources).items():
            if count == 1:
                self.edges.append((source, name))
                continue
            twice = f"{name}.times{count}.{source}"
            self.nodes[twice] = nir.Scale(np.full(self.shapes[source], float(count)))
            self.shapes[twice] = self.shapes[source]
            self.edges += [(source, twice), (twice, name)]
        self.nodes[name], self.shapes[name] = node, shape
        return [name]

    def taken(self, name: str) -> bool:
        """Whether a node has this name, or this name and something behind a dot."""
        return any(used == name or used.startswith(f"{name}.") for used in self.nodes)

    def readers(self, name: str) -> int:
        """How many edges leave a node so far."""
        return sum(pre == name for pre, _ in self.edges)


def to_nir(
    module: nn.Module, example: Tensor, semantics: Semantics, deployment: Deployment
) -> tuple[nir.NIRGraph, Semantics]:
    """The module as a NIR graph.

    Args:
        module: takes (T, N, *input shape); built of torch.nn layers inside `PerStep`, snnhw neurons and `+`.
        example: one input of that shape; only its shape matters.
        semantics: defaults; fields in which single neurons differ are added per node.

    Raises:
        SourceError: an operation or layer that is not known, with its path.
    """
    traced = _trace(module)
    shapes = _shapes(module, example)
    builder = _Builder()
    values: dict[fx.Node, list[str] | OneMinus] = {}
    for node in traced.nodes:
        values[node] = _visit(node, module, values, builder, shapes, semantics, deployment)
    semantics = Semantics(**{**semantics.__dict__, "nodes": builder.overrides})
    graph = nir.NIRGraph(builder.nodes, builder.edges, metadata=to_metadata(semantics, deployment), type_check=False)
    return graph, semantics


def _trace(module: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(module)
    except Exception as error:  # torch.fx runs the user's forward: anything can come out of it
        raise SourceError(
            "untraceable",
            f"torch.fx cannot trace the module: {type(error).__name__}: {error}",
            where=type(module).__name__,
            hint="no control flow on tensors in forward; layers inside snnhw.zoo.containers.PerStep",
        ) from error


def _shapes(module: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Output shape (without T and N) of every submodule that runs, by one forward pass."""
    found: dict[str, tuple[int, ...]] = {}
    hooks = []
    for name, child in module.named_modules():
        folded = any(isinstance(module.get_submodule(parent), PerStep) for parent in _parents(name))

        def note(_m: nn.Module, _i: Any, out: Any, name: str = name, skip: int = 1 if folded else 2) -> None:
            if isinstance(out, Tensor):
                found[name] = tuple(out.shape[skip:])

        hooks.append(child.register_forward_hook(note))
    try:
        with torch.no_grad():
            module(example)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:  # the user's forward runs here
        raise SourceError(
            "bad-shape",
            f"the module does not take the example input: {error}",
            where=type(module).__name__,
            limit=f"got {tuple(example.shape)}",
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _visit(
    node: fx.Node,
    module: nn.Module,
    values: dict[fx.Node, list[str] | OneMinus],
    builder: _Builder,
    shapes: dict[str, tuple[int, ...]],
    semantics: Semantics,
    deployment: Deployment,
) -> list[str] | OneMinus:
    shape = deployment.input_shape
    if node.op == "placeholder":
        if builder.nodes:
            if not node.users:
                return []
            raise SourceError(
                "inputs-outputs", "forward takes more than one tensor", where=node.name, limit="one argument"
            )
        return builder.add("input", nir.Input({"input": np.array(shape)}), [], shape)
    tensors = all(isinstance(arg, fx.Node) for arg in node.args) and not node.kwargs
    if _is(node, _MULTIPLY, "mul", "multiply") and len(node.args) == 2 and tensors:
        return _product(node, values, builder)
    if _is_one_minus(node):
        return OneMinus(tuple(_plain(node, values[node.args[1]])))  # type: ignore[index]
    sources = [source for arg in node.args if isinstance(arg, fx.Node) for source in _plain(node, values[arg])]
    if node.op == "output":
        if not tensors:
            raise SourceError(
                "inputs-outputs", "forward does not return one tensor", where=node.name, limit="one tensor"
            )
        shape = builder.shapes[sources[0]]
        return builder.add("output", nir.Output({"output": np.array(shape)}), sources, shape)
    if _is_sum(node) and len(node.args) == 2 and tensors:
        if node.target in _IN_PLACE and not _private(node.args[0], module):  # type: ignore[arg-type]
            raise SourceError(
                "in-place-add",
                "+= changes a tensor that is used elsewhere too",
                where=node.name,
                hint="write a = a + b",
            )
        return sources
    if node.op == "call_module" and len(node.args) == 1 and tensors:
        name = str(node.target)
        layer = module.get_submodule(name)
        if not isinstance(layer, (PerStep, Neuron, nn.Linear, *_NOTHING)) and type(layer) in LINEAR_CONVERTERS:
            raise SourceError(
                "unsupported-option",
                "outside of PerStep the layer takes T for the batch and the batch for channels",
                where=name,
                hint="put it into snnhw.zoo.containers.PerStep",
            )
        if _starts_with_batchnorm(layer) and not _private(node.args[0], module):  # type: ignore[arg-type]
            raise _alone(name)
        return _layer(name, layer, sources, builder, shapes, semantics)
    raise SourceError(
        "unknown-operation",
        f"the operation {node.target} in forward is not supported",
        where=node.name,
        limit="torch.nn layers inside PerStep, snnhw neurons, + of two tensors, a * s and s * (1 - a) of spikes",
        hint="express it by these",
    )


def _is(node: fx.Node, functions: set[Any], *methods: str) -> bool:
    """Whether a node calls one of these functions or tensor methods."""
    return (node.op == "call_function" and node.target in functions) or (
        node.op == "call_method" and node.target in methods
    )


def _is_sum(node: fx.Node) -> bool:
    return _is(node, _ADD, "add", "add_")


def _is_one_minus(node: fx.Node) -> bool:
    if not _is(node, _SUBTRACT) or len(node.args) != 2 or node.kwargs:
        return False
    one, other = node.args
    return isinstance(one, (int, float)) and one == 1 and isinstance(other, fx.Node)


def _plain(node: fx.Node, value: list[str] | OneMinus) -> list[str]:
    if isinstance(value, OneMinus):
        raise SourceError(
            "product",
            "1 - a is only supported as a factor, s * (1 - a)",
            where=node.name,
            hint="write IAND as s * (1 - a)",
        )
    return value


def _product(node: fx.Node, values: dict[fx.Node, list[str] | OneMinus], builder: _Builder) -> list[str]:
    """Gates named after the module whose forward multiplies."""
    left, right = (values[arg] for arg in node.args)  # type: ignore[index]
    inverted = isinstance(left, OneMinus) or isinstance(right, OneMinus)
    path = ".".join([*list(node.meta.get("nn_module_stack") or {})[-1:], "iand" if inverted else "and"])
    names = itertools.chain([path], (f"{path}{number}" for number in itertools.count(2)))
    name = next(name for name in names if not builder.taken(name))
    for value in (left, right):
        sources = value.sources if isinstance(value, OneMinus) else value
        require_spikes(name, sources, builder.nodes, "a product")
    return product(name, left, right, builder.add, builder.shapes.__getitem__)


def _private(node: fx.Node, module: nn.Module) -> bool:
    """Whether a value has one reader; layers that do nothing hand on the same value."""
    while len(node.users) == 1:
        if node.op != "call_module" or not _does_nothing(module.get_submodule(str(node.target))):
            return True
        node = node.all_input_nodes[0]
    return False


def _layer(
    name: str,
    layer: nn.Module,
    sources: list[str],
    builder: _Builder,
    shapes: dict[str, tuple[int, ...]],
    semantics: Semantics,
) -> list[str]:
    if isinstance(layer, _NOTHING):
        return sources
    if isinstance(layer, nn.Sequential):
        for child_name, child in layer.named_children():
            if isinstance(child, Neuron):
                raise SourceError(
                    "unsupported-option",
                    "a neuron inside PerStep takes samples for steps",
                    where=f"{name}.{child_name}",
                    hint="put the neuron behind PerStep",
                )
            sources = _layer(f"{name}.{child_name}", child, sources, builder, shapes, semantics)
        return sources
    if isinstance(layer, Neuron):
        different = node_semantics(layer, semantics)
        if different:
            builder.overrides[name] = different
        return builder.add(name, neuron_node(layer, shapes[name], semantics.dt), sources, shapes[name])
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return _batchnorm(name, layer, sources, builder)
    if type(layer) is nn.MaxPool2d:
        require_spikes(name, sources, builder.nodes, "the maximum")
        return max_pool(name, layer, sources, builder.shapes[sources[0]], shapes[name], builder.add)
    if isinstance(layer, Delayed):
        return delayed(name, layer, sources, builder.shapes[sources[0]], shapes[name], semantics.dt, builder.add)
    if isinstance(layer, FirstSpike):
        builder.overrides |= crossing_semantics(name, layer, semantics)
        return first_spike(name, layer, sources, shapes[name], semantics.dt, builder.add)
    converter: Callable[..., nir.NIRNode] | None = LINEAR_CONVERTERS.get(type(layer))
    if converter is None:
        raise SourceError(
            "unknown-layer",
            f"layers of type {type(layer).__name__} are not supported",
            where=name,
            limit=", ".join(sorted(kind.__name__ for kind in LINEAR_CONVERTERS))
            + ", BatchNorm, Dropout, Identity, neurons",
            hint="replace the layer by supported ones",
        )
    before = builder.shapes[sources[0]]
    return builder.add(name, converter(layer, before, name), sources, shapes[name])


def _batchnorm(name: str, layer: nn.Module, sources: list[str], builder: _Builder) -> list[str]:
    """Fold into the layer before when that feeds nothing else, so that no node is left of it."""
    only = sources[0] if len(sources) == 1 else None
    before = builder.nodes.get(only) if only else None
    if only is None or not isinstance(before, (nir.Conv2d, nir.Affine, nir.Linear)) or builder.readers(only):
        raise _alone(name)
    builder.nodes[only] = fold_batchnorm(before, layer, name)
    return sources


def _does_nothing(layer: nn.Module) -> bool:
    return isinstance(layer, _NOTHING) or (isinstance(layer, nn.Sequential) and all(map(_does_nothing, layer)))


def _starts_with_batchnorm(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Sequential):
        return len(layer) > 0 and _starts_with_batchnorm(layer[0])
    return isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))


def _alone(name: str) -> SourceError:
    return SourceError(
        "batchnorm-alone",
        "BatchNorm must directly follow a convolution or linear layer that feeds nothing else",
        where=name,
        hint="move it behind the layer it normalises",
    )
