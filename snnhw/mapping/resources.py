"""What every slice of a population takes on its core: one formula for each resource (docs/targets.md)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnhw.machine import Machine
from snnhw.mapping.axons import axons
from snnhw.mapping.synapses import synaptic_bits
from snnhw.network import IntNeuron, Network
from snnhw.operators.base import Ints, sizes

Boxes = Mapping[str, Ints]
"""Population name -> its partition: int64 (n, axes, 2) of (start, stop), a grid."""

RESOURCES = ("neurons", "in_axons", "out_axons", "syn_words", "words_per_axon", "delay_slots", "memory_words")
"""Names in `[core]` of a target file; a resource that is `unlimited` there is not checked."""

SHARED = "words_per_axon"
"""The one resource that slices on a core do not add up: it limits each list by itself."""


def limits(target: Machine) -> dict[str, int]:
    """Limit of each resource that has one."""
    found = {name: getattr(target.core, name) for name in RESOURCES}
    return {name: limit for name, limit in found.items() if limit is not None}


def uses(population: str, network: Network[IntNeuron], target: Machine, boxes: Boxes) -> dict[str, Ints]:
    """Resources of every slice of a population.

    Args:
        boxes: current partition of every population; the consumers' decides out-axons, the producers' in-axons.

    Returns:
        Resource name -> int64 array, one number a slice; the resources that the target file names.
    """
    mine, word = boxes[population], target.core.syn_word_bits
    bits, longest = synaptic_bits(population, network, target, mine)
    received, sent = np.zeros(len(mine), np.int64), np.zeros(len(mine), np.int64)
    for projection in network.into(population):
        received += axons(projection, network, target, boxes[projection.pre], mine)[0]
    for projection in network.out_of(population):
        sent += axons(projection, network, target, mine, boxes[projection.post])[1]
    neurons = sizes(mine)
    slots = neurons * _slots(population, network, target)
    other = _other_bits(network[population].model, target, neurons, received, sent, slots)
    found = {
        "neurons": neurons,
        "in_axons": received,
        "out_axons": sent,
        "syn_words": -(-bits // word),
        "words_per_axon": -(-longest // word),
        "delay_slots": slots,
        "memory_words": -(-(bits + other) // word),
    }
    return {name: found[name] for name in limits(target)}


def _other_bits(model: IntNeuron, target: Machine, neurons: Ints, in_axons: Ints, out_axons: Ints, slots: Ints) -> Ints:
    """What the pool holds besides synapses: states, parameters, the neuron program, axon tables, delay buffers.

    A state that forgets all is none; a parameter that differs between neurons is stored for each, others once.
    """
    core, forgets = target.core, 1 << target.numeric.decay_bits
    passing = {name for name, decay in (("u", model.du), ("v", model.dv)) if (np.asarray(decay) >= forgets).all()}
    states = len(set(model.STATES) - passing)
    own = sum(np.size(value) > 1 for value in model.parameters.values())
    each = states * core.state_bits + own * core.parameter_bits
    once = core.program_bits + (len(model.parameters) - own) * core.parameter_bits
    tables = in_axons * core.in_axon_bits + out_axons * core.out_axon_bits
    return np.asarray(neurons * each + once + tables + slots * core.delay_slot_bits)


def _slots(population: str, network: Network[IntNeuron], target: Machine) -> int:
    """Accumulator slots of one neuron: the power of two that holds its longest delay, at least the default."""
    longest = max((projection.delay for projection in network.into(population)), default=1)
    return max(target.core.delay_slots_default, 1 << longest.bit_length())
