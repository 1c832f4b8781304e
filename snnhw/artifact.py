"""The compiled network as one file: `model.snnhw`, a zip of manifest.json and numpy arrays. No pickle inside."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from typing import Any

from snnhw.encoding import InputSpec
from snnhw.mapping.types import Mapping
from snnhw.network import FloatNeuron, IntNeuron, Network
from snnhw.target import Target


@dataclass(frozen=True)
class Artifact:
    """Everything a run, a report or a reader needs.

    Args:
        source: where the network came from (file name, recipe, hash of its bytes).
        target: the chip.
        network: integers.
        reference: the float network it stands for.
        inputs: how data become values of the input populations.
        mapping: slices on cores.
        rationale: one row per integer parameter: population, parameter, integer, stands for, why.
        bounds: per population: interval bounds of u and v, whether they prove that nothing overflows.
        checks: numeric checks between stages with their results.
        calibration: hash and number of the samples used, or None.
        semantics: the source's semantics as written into NIR metadata.
    """

    source: MappingABC[str, Any]
    target: Target
    network: Network[IntNeuron]
    reference: Network[FloatNeuron]
    inputs: tuple[InputSpec, ...]
    mapping: Mapping
    rationale: tuple[MappingABC[str, Any], ...] = ()
    bounds: tuple[MappingABC[str, Any], ...] = ()
    checks: tuple[MappingABC[str, Any], ...] = ()
    calibration: MappingABC[str, Any] | None = None
    semantics: MappingABC[str, Any] = field(default_factory=dict)
