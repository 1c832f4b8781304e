"""Generated networks on machines of other formats: all engines obey them, and give the same bits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from snnhw import fixed
from snnhw.engines.base import Engine
from snnhw.engines.fast import FastEngine
from snnhw.engines.lava import LavaEngine
from snnhw.engines.onnx.engine import OnnxEngine
from snnhw.engines.reference import ReferenceEngine
from snnhw.machine import Machine, load_target
from snnhw.network import IntNeuron, Network
from tests.generate import PROGRAMMABLE, Case, random_case, union
from tests.property.test_engines_properties import Everything, same
from tests.recurrent import recurrent_case

NUMBERS = {
    "narrow": {"u_overflow": "wrap", "v_overflow": "saturate", "u_bits": 16, "v_bits": 18},
    "saturating": {"u_overflow": "saturate", "v_overflow": "wrap", "u_bits": 17, "v_bits": 16, "decay_bits": 8},
    "once": {"u_overflow": "wrap-once", "v_overflow": "wrap-once", "u_bits": 20, "v_bits": 20},
}
NETWORKS = 16


@cache
def machine(name: str) -> Machine:
    small = {"vth_bits": 16, "bias_mant_bits": 16, "bias_exp_bits": 0}
    return load_target("loihi2", {f"numeric.{key}": value for key, value in (small | NUMBERS[name]).items()})


def fitted(network: Network[IntNeuron], bits: int) -> Network[IntNeuron]:
    """Decays of 12 bits in so many."""
    shift = 12 - bits

    def narrowed(n: IntNeuron) -> IntNeuron:
        return replace(n, du=n.du >> shift, dv=n.dv >> shift)

    cells = (p if p.neuron is None else replace(p, neuron=narrowed(p.neuron)) for p in network.populations)
    return replace(network, populations=tuple(cells))


@cache
def cases(name: str) -> tuple[Case, ...]:
    bits = machine(name).numeric.decay_bits
    plain = [random_case(300 + seed, PROGRAMMABLE, samples=3) for seed in range(NETWORKS)]
    looped = [recurrent_case(seed, PROGRAMMABLE, samples=3, steps=4) for seed in range(4)]
    return tuple(replace(case, network=fitted(case.network, bits)) for case in (*plain, *looped))


def run(engine: Engine, case: Case, name: str) -> Everything:
    kept = Everything(case.network)
    engine.run(case.network, machine(name), [case.stream], [kept])
    return kept


@pytest.mark.parametrize("name", NUMBERS)
def test_fast_and_onnx_equal_reference(name: str) -> None:
    assert machine(name).widths != fixed.LOIHI
    overflowed = changed = 0
    for i, case in enumerate(cases(name)):
        reference = run(ReferenceEngine(), case, name)
        same(run(FastEngine(), case, name), reference)
        if i % 3 == 0:
            same(run(OnnxEngine(), case, name), reference)
        overflowed += any(map(sum, reference.counters.values()))
        wide = Everything(case.network)
        ReferenceEngine().run(case.network, load_target("loihi2"), [case.stream], [wide])
        changed += any((wide.arrays()[key] != x).any() for key, x in reference.arrays().items())
    assert overflowed >= 2
    assert changed >= 2


@pytest.mark.lava
@pytest.mark.parametrize("name", ["narrow", "saturating"])
def test_our_lava_processes_equal_reference(name: str) -> None:
    case = union(cases(name)[:NETWORKS])
    reference = run(ReferenceEngine(), case, name)
    same(run(LavaEngine(), case, name), reference)
    assert np.sum([*reference.counters.values()]) > 0, "states overflow"
