"""One neuron, one step, in plain ints: the contract as docs/design.md writes it, and nothing of `snnhw`.

Equal engines prove nothing about the order of the rules, because all of them call one function; this is the other
statement of it. `python -m tests.oracle` writes `tests/golden/step.json` anew, which a change of the contract needs.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

VECTORS = Path(__file__).parent / "golden" / "step.json"


@dataclass(frozen=True)
class Neuron:
    """Every parameter; `u` and `v` are (bits, 'wrap-once' | 'wrap' | 'saturate', lowest, highest when saturating)."""

    du: int
    dv: int
    vth: int
    bias: int
    v_reset: int
    v_min: int | None
    v_init: int
    act_shift: int
    comparison: str
    reset: str
    next_step: bool
    max_spikes: int
    fires: bool
    u: tuple[int, str, int, int] = (24, "wrap-once", 0, 0)
    v: tuple[int, str, int, int] = (24, "saturate", -(2**23 - 1), 2**23 - 1)
    decay_bits: int = 12


def dec(x: int, d: int, bits: int) -> int:
    """sign(x) * ((|x| * (2**bits - d)) >> bits)."""
    if x < 0:
        return -((-x * (2**bits - d)) >> bits)
    return (x * (2**bits - d)) >> bits


def keep(x: int, bits: int, overflow: str, lowest: int, highest: int) -> int:
    """What a register of so many bits makes of a number."""
    if overflow == "saturate":
        if x < lowest:
            return lowest
        if x > highest:
            return highest
        return x
    if overflow == "wrap":
        while x >= 2 ** (bits - 1):
            x -= 2**bits
        while x < -(2 ** (bits - 1)):
            x += 2**bits
        return x
    if x > 2 ** (bits - 1):
        return x - 2**bits
    if x <= -(2 ** (bits - 1)):
        return x + 2**bits
    return x


def step(n: Neuron, u: int, v: int, s: int, a: int) -> tuple[int, int, int, bool, bool]:
    """u, v and s of a step from those of the step before, and whether u and v left their registers."""
    # u[t] = wrap(dec(u[t-1], du) + (a[t] << act_shift))
    u_before_wrap = dec(u, n.du, n.decay_bits) + a * 2**n.act_shift
    u = keep(u_before_wrap, *n.u)
    # v[t] = sat(dec(v[t-1], dv) + u[t] + bias - [next_step] vth * s[t-1])
    v_before_sat = dec(v, n.dv, n.decay_bits) + u + n.bias
    if n.next_step:
        v_before_sat -= n.vth * s
    v = keep(v_before_sat, *n.v)
    left = (u_before_wrap != u, v_before_sat != v)
    if not n.fires:
        return (u, v, 0, *left)
    # s[t] = v[t] > vth or v[t] >= vth; multi-spike: min(max_spikes, v[t] // vth), 0 below threshold
    if v > n.vth or (v == n.vth and n.comparison == "ge"):
        s = 1 if n.max_spikes == 1 else min(n.max_spikes, v // n.vth)
    else:
        s = 0
    # v[t] = 0 | v[t] - vth * s[t] | v_reset where s[t]
    if s > 0 and not n.next_step:
        if n.reset == "zero":
            v = 0
        elif n.reset == "subtract":
            v = v - n.vth * s
        else:
            v = n.v_reset
    # then v = max(v, v_min) if set
    if n.v_min is not None and v < n.v_min:
        v = n.v_min
    return (u, v, s, *left)


def run(n: Neuron, inputs: list[int]) -> list[tuple[int, int, int, bool, bool]]:
    """A sample from rest: u = 0, v = v_init, nothing pending."""
    rows, state = [], (0, n.v_init, 0)
    for a in inputs:
        rows.append(step(n, *state, a))
        state = rows[-1][:3]
    return rows


def random_neuron(rng: random.Random, one_turn: bool = True) -> tuple[Neuron, list[int]]:
    """A neuron that fires, wraps and clips now and then, and inputs for it.

    Args:
        one_turn: no current leaves its register by more than one turn.
    """
    bits, decay_bits = rng.choice([24, 24, 16, 20]), rng.choice([12, 12, 8])
    top = 2 ** (bits - 1)
    formats = [(bits, rng.choice(["wrap-once", "wrap", "saturate"]), -top + rng.choice([0, 1]), top - 1)]
    formats.append((bits, rng.choice(["saturate", "saturate", "wrap"]), -top + rng.choice([0, 1]), top - 1))
    reset = rng.choice(["zero", "subtract", "v_reset"])
    shift, most = rng.choice([0, 3, 6]), rng.choice([1, 1, 3, 200])
    vth = rng.choice([rng.randint(1, top // 4), rng.randint(1, 900), top // 64])
    neuron = Neuron(
        du=rng.choice([0, 1, 2**decay_bits, 2**decay_bits, rng.randint(0, 2**decay_bits)]),
        dv=rng.choice([0, 1, 2**decay_bits, rng.randint(0, 2**decay_bits)]),
        vth=vth,
        bias=rng.choice([0, rng.randint(-vth // 2, vth)]),
        v_reset=rng.randint(-vth, vth),
        v_min=rng.choice([None, None, rng.randint(-vth, vth // 4)]),
        v_init=rng.choice([0, rng.randint(-vth, vth)]),
        act_shift=shift,
        comparison=rng.choice(["ge", "gt"]),
        reset=reset,
        next_step=reset == "subtract" and rng.random() < 0.5,
        max_spikes=most,
        fires=rng.random() < 0.9,
        u=formats[0],
        v=formats[1],
        decay_bits=decay_bits,
    )
    reach = rng.choice([vth, vth, top, top // 2]) >> shift
    around = [vth >> shift, (vth - neuron.bias) >> shift, -(top >> shift), top >> shift]
    inputs = [rng.choice([rng.randint(-reach, reach), rng.choice(around), 0, vth >> shift]) for _ in range(10)]
    return neuron, [max(-(top >> shift), min(a, top >> shift)) if one_turn else 3 * a for a in inputs]


def vectors() -> list[dict[str, object]]:
    """What `tests/golden/step.json` holds."""
    rng = random.Random(9)
    cases = [random_neuron(rng, one_turn=i % 8 > 0) for i in range(120)]
    return [{"neuron": asdict(n), "inputs": inputs, "rows": run(n, inputs)} for n, inputs in cases]


def main() -> None:
    """One vector a line."""
    VECTORS.write_text("[\n" + ",\n".join(json.dumps(row) for row in vectors()) + "\n]\n")


if __name__ == "__main__":
    main()
