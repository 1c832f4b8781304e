"""What a NIR graph cannot say: the discrete meaning of its neurons, and how the network is used.

Travels as JSON in NIR metadata (key `snnhw`) and in the artifact's manifest; never assumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from snnhw.errors import SourceError
from snnhw.network import Comparison, Reset, ResetTiming

METADATA_KEY = "snnhw"
METADATA_VERSION = 1


@dataclass(frozen=True)
class Semantics:
    """How continuous neurons become steps; every field is required, none is guessed.

    Args:
        dt: seconds per sample step; decay of a neuron is 1 - dt / tau (Euler) or exp(-dt / tau) (exp).
        comparison: 'ge' (v >= threshold) or 'gt'.
        reset: 'zero', 'subtract' or 'v_reset'.
        reset_timing: 'same_step' or 'next_step' (subtract only).
        max_spikes: spikes a neuron can send in one step.
        v_min: lower clip of the membrane, or None.
        integrator: 'euler' or 'exp'.
        v_init: membrane at the start of a sample; 'v_reset' or a number.
        time_layout: order of axes in the source's tensors, e.g. 'TNC'.
        nodes: node name -> fields that differ there.
    """

    dt: float
    comparison: Comparison
    reset: Reset
    reset_timing: ResetTiming
    max_spikes: int
    v_min: float | None
    integrator: str
    v_init: float | str
    time_layout: str
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def at(self, node: str) -> Semantics:
        """The semantics of one node."""
        return replace(self, nodes={}, **_typed(dict(self.nodes.get(node, {}))))


@dataclass(frozen=True)
class Deployment:
    """How samples go in and predictions come out.

    Args:
        steps: T.
        encoding: 'direct', 'bernoulli' or 'spikes'.
        input_shape: shape of one sample.
        readout: 'rate' (spike counts) or 'mean' (of the last linear layer over T).
        preprocessing: 'uint8/255' (uint8 pixels are divided by 255; floats are taken as they are) or 'none'.
        seed: of a stochastic encoding.
    """

    steps: int
    encoding: str
    input_shape: tuple[int, ...]
    readout: str
    preprocessing: str = "none"
    seed: int = 0


def to_metadata(semantics: Semantics, deployment: Deployment) -> dict[str, str]:
    """Metadata of a NIR graph of ours."""
    content = {"version": METADATA_VERSION, "semantics": asdict(semantics), "deployment": asdict(deployment)}
    return {METADATA_KEY: json.dumps(content, sort_keys=True)}


def from_metadata(metadata: Mapping[str, Any], where: str) -> tuple[Semantics, Deployment]:
    """Read it back; raises SourceError when the graph does not carry it."""
    raw = metadata.get(METADATA_KEY)
    if raw is None:
        raise SourceError(
            "no-semantics",
            "a NIR graph does not determine the spikes, and this one does not carry snnhw metadata",
            where=where,
            needed="dt, comparison (> or >=), reset (zero, subtract, v_reset), T, encoding, readout",
            hint="export it with snnhw compile --emit-nir; dialects of other frameworks are not supported yet",
        )
    try:
        content = json.loads(raw.decode() if isinstance(raw, bytes) else str(raw))
        if content["version"] != METADATA_VERSION:
            raise ValueError(f"metadata version {content['version']}, this snnhw reads {METADATA_VERSION}")
        semantics = Semantics(**_typed(_known(Semantics, content["semantics"])))
        deployment = _known(Deployment, content["deployment"])
        return semantics, Deployment(**{**deployment, "input_shape": tuple(deployment["input_shape"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError("bad-semantics", f"the snnhw metadata cannot be read: {error}", where=where) from None


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    if set(content) != names:
        raise ValueError(f"fields {sorted(set(content) ^ names)} are missing or unknown")
    return dict(content)


def _typed(content: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {"comparison": Comparison, "reset": Reset, "reset_timing": ResetTiming}
    return {key: kinds[key](value) if key in kinds else value for key, value in content.items()}
