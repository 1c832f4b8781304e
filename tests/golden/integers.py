"""Hashes of the integers that the shipped networks compile to: `python -m tests.golden.integers [--write]`.

A change of structure must leave them as they are; a change that mends a fault of the quantiser writes them anew in its
own commit. Hashed are populations, neuron integers, projections and weight arrays in canonical order; not artifact
bytes, mapping, bounds or reasons. Calibration runs in floating point, so that last bits differ between kinds of CPU:
the script runs itself again with the instruction sets pinned that every x86-64 machine of the last ten years has.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = Path(__file__).with_suffix(".json")
PINNED = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
NEURON = [
    "dv",
    "du",
    "vth",
    "bias",
    "act_shift",
    "comparison",
    "reset",
    "reset_timing",
    "v_reset",
    "v_min",
    "v_init",
    "max_spikes",
]
PER_NEURON = ("stdp_digits",)
"""Networks with thresholds by neuron, which loihi1 refuses."""
OPERATOR = ["weight", "stride", "padding", "dilation", "groups"]


def cases() -> dict[str, dict[str, Any]]:
    """Name -> arguments of `snnhw.compile`: every shipped network on the targets with its neurons, two with 4 bits."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / "examples").glob("*.pt")):
        for target in ("loihi2",) if path.stem in PER_NEURON else ("loihi1", "loihi2"):
            found[f"{path.name} {target}"] = {"source": path, "target": target}
    for name in ("sew_resnet", "stbp_scnn"):
        source = ROOT / "examples" / f"{name}.pt"
        found[f"{name}.pt loihi2 4 bits"] = {"source": source, "target": "loihi2", "weight_bits": "*=4"}
    return found


def digest(*parts: Any) -> str:
    """One hash of texts, numbers and arrays; integer arrays count by their values, whatever their type."""
    import numpy as np

    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            array = np.ascontiguousarray(part, np.int64)
            found.update(str(array.shape).encode() + array.tobytes())
        else:
            found.update(repr(part).encode())
        found.update(b"\0")
    return found.hexdigest()[:16]


def level(value: Any) -> Any:
    """A parameter of a neuron as an array, so that 3, np.int64(3) and array(3) are one thing."""
    import numpy as np

    return None if value is None else np.asarray(value, np.int64)


def hashes(network: Any) -> dict[str, str]:
    """The four hashes of an integer network."""
    populations = [(p.name, tuple(p.shape), str(p.kind), p.start, tuple(p.payload)) for p in network.populations]
    neurons: list[Any] = []
    for p in network.computed:
        neurons.append(p.name)
        for key in NEURON:
            value = getattr(p.model, key)
            neurons.append(str(value) if isinstance(value, str) else level(value))
    projections = []
    for q in network.projections:
        operator = [type(q.op).__name__, *(getattr(q.op, key) for key in OPERATOR if hasattr(q.op, key))]
        projections.append((q.name, q.pre, q.post, operator, q.delay, q.lag, q.weight_exp))
    weights = [part for name in sorted(network.weights) for part in (name, network.weights[name])]
    return {
        "populations": digest(*sorted(populations)),
        "neurons": digest(*neurons),
        "projections": digest(*sorted(projections, key=repr)),
        "weights": digest(*weights),
    }


def found_now() -> dict[str, dict[str, str]]:
    """Compile every case in this process."""
    import snnhw
    from snnhw.frontends import load_source

    found = {}
    for name, arguments in cases().items():
        source = load_source(arguments["source"])
        soft = any(source.semantics.at(node).reset == "subtract" for node in source.graph.nodes)
        found[name] = hashes(snnhw.compile(**arguments, hard_reset=soft and arguments["target"] == "loihi1").network)
        print(name, *found[name].values(), file=sys.stderr, flush=True)
    return found


def pinned() -> dict[str, dict[str, str]]:
    """Compile every case in a process with pinned instruction sets."""
    command = [sys.executable, "-m", "tests.golden.integers", "--here"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **PINNED}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def changed(have: dict[str, dict[str, str]], want: dict[str, dict[str, str]]) -> list[str]:
    """One line for each hash that differs."""
    return [
        f"{name}: {part} {want.get(name, {}).get(part)} -> {have.get(name, {}).get(part)}"
        for name in sorted({*have, *want})
        for part in ("populations", "neurons", "projections", "weights")
        if have.get(name, {}).get(part) != want.get(name, {}).get(part)
    ]


def main(arguments: list[str]) -> int:
    if "--here" in arguments:
        json.dump(found_now(), sys.stdout)
        return 0
    have = pinned()
    if "--write" in arguments:
        FILE.write_text(json.dumps(have, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    lines = changed(have, json.loads(FILE.read_text(encoding="utf-8")))
    print("\n".join(lines) or f"{len(have)} networks compile to the same integers")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
