"""A network as a list of named layers and where each gets its input: what readers of files and converters build."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

INPUT = "input"


@dataclass(frozen=True)
class Wire:
    """One layer: its name, the names it reads (``input``: the network's), and the layer; None adds them up."""

    name: str
    layer: nn.Module | None
    inputs: tuple[str, ...]


class Wired(nn.Module):
    """Runs its layers in the order given; the last one is the output.

    Raises:
        ValueError: no layers, or one that reads what no layer before it gives.
    """

    def __init__(self, wires: Sequence[Wire]) -> None:
        super().__init__()
        known = {INPUT}
        for wire in wires:
            if len(wire.inputs) != (2 if wire.layer is None else 1) or not known.issuperset(wire.inputs):
                raise ValueError(f"{wire.name} cannot read {wire.inputs}")
            known.add(wire.name)
        if not wires:
            raise ValueError("no layers")
        self.wiring = tuple((wire.name, wire.layer is None, wire.inputs) for wire in wires)
        for wire in wires:
            if wire.layer is not None:
                self.add_module(wire.name, wire.layer)

    def forward(self, x: Tensor) -> Tensor:
        """What the last layer gives."""
        values = {INPUT: x}
        for name, is_sum, inputs in self.wiring:
            values[name] = values[inputs[0]] + values[inputs[1]] if is_sum else self._modules[name](values[inputs[0]])  # type: ignore[misc]
        return values[self.wiring[-1][0]]


class Names:
    """Names that a torch module can have: letters, digits and ``_``, none twice, none that ``nn.Module`` uses."""

    def __init__(self) -> None:
        self.taken = {INPUT, "output", "", "wiring", *dir(nn.Module())}

    def free(self, wanted: str) -> str:
        """The name nearest to the one wanted that is not taken yet; it is then."""
        base = re.sub(r"\W+", "_", wanted, flags=re.ASCII).strip("_")
        name, count = base, 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}" if base else f"layer_{count}"
        self.taken.add(name)
        return name
