"""A network as stable text: golden tests and `snnhw inspect`."""

from __future__ import annotations

from typing import Any

from snnhw.network import Network, Shape


def format_network(network: Network[Any]) -> str:
    """The network as stable text, one line a population and one a projection (golden tests, `inspect`)."""
    lines = [f"network steps={network.steps} readout={network.readout.kind}({network.readout.population})"]
    for p in network.populations:
        model = "" if p.neuron is None else p.model.text
        lines.append(f"  {p.kind:<11} {p.name} {_shape(p.shape)} start={p.start}{model}")
    for q in network.projections:
        lines.append(
            f"  {q.pre} -> {q.post} {q.op.text} delay={q.delay}"
            + (f" bits={network.bits[q.op.weight]}" if not q.op.injects and q.op.weight in network.bits else "")
            + (f" lag={q.lag}" if q.lag else "")
            + (f" exp={q.weight_exp}" if q.weight_exp else "")
        )
    return "\n".join(lines) + "\n"


def _shape(shape: Shape) -> str:
    return "x".join(str(n) for n in shape)
