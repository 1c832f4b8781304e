"""A `.net` file as an integer source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from snnhw.encoding import InputSpec
from snnhw.errors import SourceError
from snnhw.frontends.netx.build import INPUT, Builder
from snnhw.frontends.netx.fields import bad, unsupported
from snnhw.frontends.netx.layers import DECAY_ONE, Layer, NetFile, read_net
from snnhw.frontends.netx.replay import replay
from snnhw.frontends.options import SourceOptions, checked
from snnhw.frontends.source import IntegerSource
from snnhw.network import Kind, Network, Shape
from snnhw.readout import rule_of
from snnhw.semantics import PLAIN, Deployment, Semantics, readout_in

ASKED = ("steps", "encoding", "input_shape", "readout", "semantics")
"""Flags that a .net file leaves a use for."""

LAVA = Semantics(**{**PLAIN, "dt": 1.0, "time_layout": "NCHWT"})
"""What Lava's LIF does."""


def load_net(path: str | Path, options: SourceOptions | None = None) -> IntegerSource:
    """Read, check and build.

    Args:
        options: of the semantics, `threshold` may be 'ge', which is what slayer trains with.

    Raises:
        SourceError: the file is damaged ('bad-net'), or says what netx would drop, clip or ignore ('unsupported-net').
    """
    path, options = Path(path), options or SourceOptions()
    net = read_net(path)
    flags = {name: None if options.said(name) is None else checked(name, options.said(name), "flag") for name in ASKED}
    semantics = _semantics(flags["semantics"] or {}, path.name)
    builder = Builder(_input_shape(net.layers, flags["input_shape"], path.name), semantics.threshold)
    for layer in net.layers:
        builder.add(layer, layer is net.layers[-1])
    if builder.last.name == INPUT or net.layers[-1].kind == "flatten":
        raise bad("the network does not end in neurons", path.name, net.layers[-1].kind, "dense, dense_rec, conv, pool")
    return _source(builder, net, flags, semantics, path)


def _source(builder: Builder, net: NetFile, flags: dict[str, Any], semantics: Semantics, path: Path) -> IntegerSource:
    steps = net.steps if flags["steps"] is None else flags["steps"]
    if steps is None:
        raise SourceError(
            "needs-flag", "the file does not say how many steps a sample has", where=path.name, needed="--steps T"
        )
    encoding = _encoding(builder, flags["encoding"], path.name)
    shape = builder.populations[0].shape
    said, shows = _readout(builder, flags["readout"], path.name)
    deployment = Deployment(steps, encoding, shape, said)
    readout = readout_in(deployment, shows, builder.last.name)
    weights = {k: w if "/" in k else w.astype("float64") for k, w in builder.weights.items()}
    reference = Network(tuple(builder.populations), tuple(builder.projections), weights, steps, readout)
    asked = {name: {"value": value, "from": "flag"} for name, value in flags.items() if value is not None}
    origin: dict[str, Any] = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return IntegerSource(
        reference,
        builder.neurons,
        tuple(builder.inputs) or (InputSpec(INPUT, shape, encoding),),
        semantics,
        deployment,
        partial(replay, net.layers, semantics.threshold),
        tuple(builder.reasons),
        origin | ({"flags": asked} if asked else {}),
    )


def _semantics(said: Mapping[str, Any], where: str) -> Semantics:
    """Lava's rules, with the comparison that the user says."""
    odd = sorted(set(said) - {"threshold"})
    if odd:
        raise unsupported(
            "a .net file's neurons have Lava's rules", where, ", ".join(odd), "threshold: gt or ge", "leave it out"
        )
    return replace(LAVA, **said)


def _input_shape(layers: tuple[Layer, ...], said: Shape | None, where: str) -> Shape:
    """Of one sample: from the input layer, the weights of a first matrix, or the user."""
    first = layers[0]
    late = [layer for layer in layers[1:] if layer.kind == "input"]
    if late:
        raise bad("only the first layer can be an input", late[0].where)
    own = first.shape if first.kind == "input" else None
    if own is None and first.weight is not None and first.kind.startswith("dense"):
        own = (int(first.weight.shape[1]),)
    if own is None and said is None:
        raise SourceError(
            "needs-flag",
            "the file does not say the shape of a sample: it has no input layer",
            where=where,
            needed="--input-shape C,H,W",
        )
    if own is not None and said not in (None, own):
        raise bad("the file says another shape of samples than the flag", where, said, own, "leave --input-shape out")
    return own if own is not None else tuple(said or ())


def _encoding(builder: Builder, said: str | None, where: str) -> str:
    """Input layers with neurons take analog values (or sequences of them), others spikes."""
    analog = bool(builder.inputs)
    fitting = ("direct",) if analog else ("spikes", "bernoulli", "latency")
    if said is not None and said not in fitting:
        what = "an input layer with neurons takes analog values" if analog else "the first layer takes plain spikes"
        raise SourceError("bad-encoding", what, where=where, needed=said, limit=", ".join(fitting))
    return said or fitting[0]


def _readout(builder: Builder, said: str | None, where: str) -> tuple[str, str]:
    """The readout, as text, and what the last layer shows."""
    last = builder.last
    fitting: tuple[str, ...] = ("rate",)
    if last.kind is Kind.ACCUMULATOR:
        n = builder.neurons[last.name]
        fitting = ("mean", "membrane") if n.du == DECAY_ONE and n.dv == 0 else ("membrane",)
    readout = said or fitting[0]
    rule = rule_of(readout)
    if rule.shows not in ("", *fitting):
        limit = ", ".join(("rate", "first") if fitting == ("rate",) else fitting)
        raise unsupported(f"readout {said!r} does not fit the last layer", where, said, limit, "leave it out")
    return readout, rule.shows or fitting[0]
