"""Does it fit? Rows for `snnhw check`, and the refusal of `place` with the nearest legal change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from snnhw.errors import MappingError, TargetError
from snnhw.machine import Machine, available, load_target
from snnhw.mapping.pack import pack
from snnhw.mapping.partition import Failure, Partition, partition
from snnhw.mapping.resources import limits
from snnhw.mapping.route import snake
from snnhw.mapping.types import Slice
from snnhw.network import IntNeuron, Network

WORDS = {
    "neurons": "neurons",
    "in_axons": "in-axons",
    "out_axons": "out-axons",
    "syn_words": "words of synaptic memory",
    "words_per_axon": "words of synaptic memory for one axon",
    "delay_slots": "delay slots",
    "memory_words": "words of the core's memory",
    "cores": "cores",
}

NOT_POSSIBLE = "not possible"
"""Said in place of a count of cores where a target's limits contradict each other."""


def cores_available(target: Machine) -> int:
    """Cores the target may use: usable cores of a chip times chips."""
    return len(snake(target)) * target.chip.chips


def check_fit(network: Network[IntNeuron], target: Machine) -> list[dict[str, Any]]:
    """What every population needs on the fewest cores, without raising.

    Returns:
        Rows as of `needed`. A population that fits no core is listed as it was cut last, and the cores with it.
    """
    cut = partition(network, target)
    return needed(pack(cut), network, target)


def needed(slices: Sequence[Slice], network: Network[IntNeuron], target: Machine) -> list[dict[str, Any]]:
    """What slices on cores take of every limited resource.

    Returns:
        One row for each population and resource: population, resource, needed (most of any slice), limit, margin
        (what is left), grade of the limit, slices, fits; the last row, '(network)', is about cores.
    """
    found = []
    for population in network.computed:
        mine = [part for part in slices if part.population == population.name]
        for resource, limit in limits(target).items():
            most = max(part.use[resource] for part in mine)
            grade = target.constant(f"core.{resource}").grade
            found.append(_row(population.name, resource, most, limit, grade, len(mine)))
    cores, grade = len({part.core for part in slices}), target.constant("chip.cores_usable").grade
    return [*found, _row("(network)", "cores", cores, cores_available(target), grade, len(slices))]


def _row(population: str, resource: str, most: int, limit: int, grade: str, slices: int) -> dict[str, Any]:
    row = {"population": population, "resource": resource, "needed": most, "limit": limit, "margin": limit - most}
    return row | {"grade": grade, "slices": slices, "fits": most <= limit}


def guessed_limits(network: Network[IntNeuron], target: Machine) -> list[dict[str, Any]]:
    """What the count of cores hangs on: each limit that is `assumed`, and all of them, at half and at twice its value.

    Returns:
        Rows: keys, cores as they are, at half and at twice (None: it does not fit then; NOT_POSSIBLE: no core has such
        limits together, as more synaptic memory than memory), without those that change nothing.
    """
    keys = [f"core.{name}" for name in limits(target) if target.constant(f"core.{name}").grade == "assumed"]
    groups = [[key] for key in keys] + ([keys] if len(keys) > 1 else [])
    now = _fewest(network, target)
    found = []
    for group in groups:
        other = [_scaled(network, target, group, factor) for factor in (0.5, 2)]
        if any(cores not in (now, NOT_POSSIBLE) for cores in other):
            found.append({"keys": group, "cores": now, "half": other[0], "twice": other[1]})
    return found


def _scaled(network: Network[IntNeuron], target: Machine, keys: Sequence[str], factor: float) -> int | str | None:
    """Fewest cores where some limits are so many times what they are."""
    try:
        chip = target.changed({key: max(1, int(target.constant(key).value * factor)) for key in keys})
    except TargetError:
        return NOT_POSSIBLE
    return _fewest(network, chip)


def _fewest(network: Network[IntNeuron], target: Machine) -> int | None:
    rows = check_fit(network, target)
    return int(rows[-1]["needed"]) if all(row["fits"] for row in rows) else None


def require(cut: Partition, packed: Sequence[Slice]) -> None:
    """Raise MappingError for the first population in topological order that fits no core, or for too many cores."""
    for population in cut.network.computed:
        if population.name in cut.failures:
            _refuse(cut, cut.failures[population.name])
    cores, limit = packed[-1].core + 1, cores_available(cut.target)
    if cores > limit:
        largest = max(cut.network.computed, key=lambda p: len(cut.boxes[p.name])).name
        per_chip = len(snake(cut.target))
        raise MappingError(
            "does-not-fit",
            f"the network needs more cores than {cut.target.name} has",
            where=f"{largest} (largest: {len(cut.boxes[largest])} of {len(packed)} slices)",
            needed=f"{cores} cores ({-(-cores // per_chip)} chips)",
            limit=f"{limit} cores ({cut.target.chip.chips} chips of {per_chip} usable cores)",
            hint=_advice(f"make {largest} smaller", cut.network, cut.target),
        )


def _refuse(cut: Partition, failure: Failure) -> NoReturn:
    what = WORDS[failure.resource]
    raise MappingError(
        "does-not-fit",
        f"no slice of {failure.population} fits a core of {cut.target.name}: too many {what}",
        where=f"{failure.population}, {failure.resource}",
        needed=f"{failure.needed} {what} for one slice, however it is cut",
        limit=f"{failure.limit} {what}" + ("" if failure.resource == "words_per_axon" else " per core"),
        hint=_advice(_change(cut, failure), cut.network, cut.target),
    )


def _change(cut: Partition, failure: Failure) -> str:
    """The nearest legal change of the network itself."""
    name, network = failure.population, cut.network
    into = network.into(name)
    share = failure.limit / failure.needed
    match failure.resource:
        case "in_axons" | "syn_words" | "memory_words":
            fan_in = sum(_fan_in(network, projection.name) for projection in into)
            return f"reduce the fan-in of {name} from {fan_in} to {max(1, int(fan_in * share))}"
        case "out_axons":
            readers = ", ".join(projection.post for projection in network.out_of(name))
            return f"reduce the neurons or the fan-in of the populations that read {name} ({readers})"
        case "delay_slots":
            longest = max(projection.delay for projection in into)
            return f"shorten the delays into {name} (longest: {longest} steps)"
        case _:
            return f"make {name} smaller"


def _fan_in(network: Network[Any], name: str) -> int:
    """Most synapses of one projection that reach one post neuron."""
    projection = next(p for p in network.projections if p.name == name)
    return projection.op.fan_in(*network.between(projection))


def _advice(change: str, network: Network[IntNeuron], target: Machine) -> str:
    """The change, and the shipped targets that have the resources for the network as it is.

    A programmable target runs whatever a `lava-lif` target runs, not the other way round.
    """
    shipped = [load_target(name) for name in available() if name != target.name]
    alike = (other for other in shipped if other.widths == target.widths)
    legal = [other for other in alike if other.profile in (target.profile, "programmable")]
    others = [other.name for other in legal if _takes(network, other)]
    return change + (f", or use target {' or '.join(others)}" if others else "")


def _takes(network: Network[IntNeuron], target: Machine) -> bool:
    return all(row["fits"] for row in check_fit(network, target))
