"""One real run of a module, written down: calls of leaves, and torch functions outside of them.

Nothing is traced symbolically, so forward may loop, keep lists, hand over states and branch on shapes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from snnhw.frontends.live.adapter import MEMBRANE, OUT, Adapter, Call, tensors
from snnhw.frontends.live.values import INPUT, OUTPUT


@dataclass(frozen=True)
class Function:
    """A torch function or tensor method that ran outside of leaves.

    Args:
        path: of the module whose forward called it, '' for the root.
        alone: whether that module has no submodules: the function is all it does.
        written: a tensor that it changed in place, or None.
        site: of the call, told from the lines that led to it: a loop comes to the same one again.
        func: what ran.
    """

    path: str
    alone: bool
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    written: Tensor | None = None
    site: int = 0
    func: Any = None


@dataclass(frozen=True)
class LeafCall:
    """A run of a leaf.

    Args:
        silent: ids of the tensors handed to it that were zero everywhere.
        values: copies of what it sent and of its membrane, as they were then; forward may change them in place.
    """

    path: str
    layer: nn.Module
    adapter: Adapter
    call: Call
    silent: frozenset[int]
    values: Mapping[str, Tensor] = field(default_factory=dict)


Event = Function | LeafCall


def path_of(event: LeafCall) -> str:
    """Name of a leaf's node; a leaf that is the whole module is called after its class."""
    return path_to(event.path, event.layer)


def path_to(path: str, layer: nn.Module) -> str:
    """Name of the node of a leaf at a path."""
    return node_name(path or type(layer).__name__.lower())


def node_name(path: str) -> str:
    """A path as a node's name; the graph's own ends keep theirs."""
    return f"{path}_" if path in (INPUT, OUTPUT) else path


def adapter_of(layer: nn.Module, adapters: Sequence[Adapter]) -> Adapter | None:
    """The adapter that claims a module as its leaf."""
    return next((adapter for adapter in adapters if adapter.claims(layer)), None)


def leaves(module: nn.Module, adapters: Sequence[Adapter]) -> Iterator[tuple[str, nn.Module, Adapter]]:
    """Leaves of a module by path; what is inside a leaf is not one."""
    inside: list[str] = []
    for path, layer in module.named_modules():
        if any(path.startswith(outer) for outer in inside):
            continue
        adapter = adapter_of(layer, adapters)
        if adapter is not None:
            inside.append(f"{path}." if path else "")
            yield path, layer, adapter


class Recorder(TorchFunctionMode):
    """Writes events down while it is `watching` a module.

    Args:
        values: write down leaves only, with copies of their values; else functions too.
        sites: of functions, copies of what they gave are in `found`.
        shapes: the input is on torch's `meta` device, which has shapes and no numbers: constants that meet it go there
            too, for the operation only. What forward does with the numbers of values raises.
    """

    def __init__(
        self,
        adapters: Sequence[Adapter],
        values: bool = False,
        shapes: bool = False,
        sites: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.adapters, self.values, self.shapes = adapters, values, shapes
        self.events: list[Event] = []
        self.found: dict[int, list[Tensor]] = {site: [] for site in sites}
        self.unseen: list[tuple[str, Tensor]] = []
        """Tensors that a function took and no function gave: numbers, or what was made where nothing is recorded."""
        self._seen: set[int] = set()
        self._modules: list[tuple[str, nn.Module]] = []
        self._inside_leaf = 0

    def known(self, inputs: Iterable[Tensor]) -> None:
        """Tensors that come from outside by right."""
        self._seen |= {id(part) for part in inputs}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, _name(func)
        looped = name == "__iter__" and not self._inside_leaf
        if looped:  # an iterator would hide what it hands out
            func, name, args = torch.unbind, "unbind", (args[0], 0)
        if self.shapes and any(part.is_meta for part in tensors((args, kwargs))):
            result: Any = func(*_on_meta(args), **_on_meta(kwargs))
        else:
            result = func(*args, **kwargs)
        self._seen |= {id(part) for part in tensors(result)}
        if not self._inside_leaf:
            self._note(func, name, args, kwargs, result)
        return iter(result) if looped else result

    def _note(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        path, module = self._modules[-1] if self._modules else ("", None)
        if self.values:
            site = _site(path)
            if site in self.found:
                self.found[site] += [result.clone()]
            return
        alone = module is not None and not any(True for _ in module.children())
        in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        written = args[0] if in_place and args and isinstance(args[0], Tensor) else kwargs.get("out")
        given = [part for part in tensors((args, kwargs)) if id(part) not in self._seen]
        self.unseen += [(f"{path or 'forward'}: {name}", part) for part in given]
        if tensors(result) or written is not None or name in _READS:
            self.events.append(Function(path, alone, name, tuple(args), kwargs, result, written, _site(path), func))

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[Recorder]:
        """Hooks on every submodule, gone afterwards."""
        self._seen |= {id(part) for inside in nn.Module.modules(module) for part in tensors(vars(inside))}
        leaf_of = {id(layer): (path, adapter) for path, layer, adapter in leaves(module, self.adapters)}
        handles = []
        for path, layer in module.named_modules():
            before, after = self._hooks(path, layer, leaf_of.get(id(layer)))
            handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(layer.register_forward_hook(after, with_kwargs=True))
        try:
            with nullcontext() if self.values and not self.found else self:
                yield self
        finally:
            for handle in handles:
                handle.remove()

    def _hooks(
        self, path: str, layer: nn.Module, leaf: tuple[str, Adapter] | None
    ) -> tuple[Callable[..., None], Callable[..., None]]:
        silent: list[frozenset[int]] = []

        def before(_layer: nn.Module, args: Any, kwargs: Any) -> None:
            self._modules.append((path, layer))
            if leaf is not None:
                self._inside_leaf += 1
                given = tensors((args, kwargs))
                silent.append(frozenset(id(t) for t in given if not t.is_meta and not bool(t.any())))

        def after(_layer: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            if leaf is not None:
                if self._inside_leaf == 1:
                    call = leaf[1].call(layer, args, kwargs, result)
                    self.events.append(LeafCall(leaf[0], layer, leaf[1], call, silent[-1], self._copies(call)))
                silent.pop()
                self._inside_leaf -= 1
            self._modules.pop()

        return before, after

    def _copies(self, call: Call) -> dict[str, Tensor]:
        ports = {OUT: call.out, MEMBRANE: call.membrane}
        seen = self.values and not call.hidden
        return {port: value.clone() for port, value in ports.items() if seen and value is not None}


def _on_meta(value: Any) -> Any:
    """Arguments of a function with their tensors on the meta device."""
    if isinstance(value, Tensor):
        return value if value.is_meta else value.to("meta")
    if isinstance(value, dict):
        return {key: _on_meta(part) for key, part in value.items()}
    return type(value)(map(_on_meta, value)) if type(value) in (tuple, list) else value


RUN = "run_recorded"
"""Name of the function from which modules are run (`runs.Subject`)."""


def _site(path: str) -> int:
    """The lines of the calls that led here, from the run of the module on."""
    frame: FrameType | None = sys._getframe(3)
    lines: list[Any] = [path]
    while frame is not None and frame.f_code.co_name != RUN:
        lines.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back
    return hash(tuple(lines))


def _name(func: Any) -> str:
    """Name of a torch function; of a property the property's."""
    name = str(getattr(func, "__name__", func))
    owner = getattr(func, "__self__", None)
    return str(getattr(owner, "__name__", name)) if name == "__get__" else name


_READS = {
    *(
        "__bool__",
        "__float__",
        "__int__",
        "__index__",
        "__complex__",
        "__contains__",
        "is_nonzero",
        "equal",
        "allclose",
    ),
    *("item", "tolist", "numpy", "__array__", "__dlpack__", "__format__"),
    *("nonzero", "argwhere", "unique", "unique_consecutive", "masked_select"),  # their sizes are values
}
"""What makes forward depend on values: the run that was recorded would not be the only one."""


def device_of(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where a module computes, and in which floats."""
    for tensor in (*nn.Module.parameters(module), *nn.Module.buffers(module)):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.get_default_dtype()


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """In eval mode without gradients; everything (mode, states, buffers, random numbers) is as before afterwards."""
    attributes = [(part, dict(part.__dict__)) for part in nn.Module.modules(module)]
    boxes = [
        (box, box.copy()) for _, content in attributes for box in content.values() if isinstance(box, (dict, list))
    ]
    found = [t for _, content in attributes for t in tensors(content)]
    values = {id(t): (t, t.detach().clone()) for t in found}
    random = torch.random.get_rng_state()
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, content in attributes:
            part.__dict__.clear()
            part.__dict__.update(content)
        for box, items in boxes:  # the same objects: handles of hooks refer to them
            box.clear()
            box.update(items) if isinstance(box, dict) else box.extend(items)
        for tensor, value in values.values():
            if tensor.shape != value.shape or not torch.equal(tensor.to_dense(), value.to_dense()):
                tensor.data = value
        torch.random.set_rng_state(random)
