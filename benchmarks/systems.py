"""docs/systems.md: every shipped checkpoint on both targets, and what it shows. Every number is measured here.

    python benchmarks/systems.py [--samples 1000] [--only sew_and] [--json runs/systems.json]

Rows are kept in the JSON file and taken from there when checkpoint and sample count have not changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from snnhw import api
from snnhw.errors import SnnhwError
from snnhw.network import Kind
from snnhw.version import version
from snnhw.zoo import checkpoint
from snnhw.zoo.datasets import dataset_of
from snnhw.zoo.registry import RECIPES, family_of

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES, PAGE = ROOT / "examples", ROOT / "docs" / "systems.md"
TARGETS = ("loihi2", "loihi1")
ENGINES = ("reference", "fast", "lava")
IDENTICAL = 2
"""Samples on which u, v and spikes of all populations are compared between engines."""


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000, help="test samples at most")
    parser.add_argument("--only", default=None, help="one checkpoint's name")
    parser.add_argument("--json", type=Path, default=ROOT / "runs" / "systems.json")
    arguments = parser.parse_args()
    rows = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
    for path in sorted(EXAMPLES.glob("*.pt")):
        if arguments.only not in (None, path.stem):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        for target in TARGETS:
            key = f"{path.stem} {target}"
            old = rows.get(key, {})
            if (old.get("sha256"), old.get("asked")) == (digest, arguments.samples):
                continue
            rows[key] = {"sha256": digest, "asked": arguments.samples, **measured(path, target, arguments.samples)}
            arguments.json.parent.mkdir(exist_ok=True)
            arguments.json.write_text(json.dumps(rows, indent=1))
            print(key, {k: v for k, v in rows[key].items() if k != "sha256"}, flush=True)
    PAGE.write_text(page(rows, arguments.samples), encoding="utf-8")


def measured(path: Path, target: str, samples: int) -> dict[str, Any]:
    """One checkpoint on one target."""
    content = checkpoint.read(path)
    data = dataset_of(RECIPES[content["recipe"]].dataset)
    x, y = (np.asarray(part[:samples]) for part in (data.x_test, data.y_test))
    soft = _soft(path)
    try:
        artifact = api.compile(path, target=target, hard_reset=soft and target == "loihi1")
    except SnnhwError as error:
        return {"refused": f"{error.code}, {error.message}: {error.needed}"}
    tree = json.loads(api.compare(path, artifact, x, y).to_json())
    return {
        "samples": len(x),
        "steps": artifact.steps,
        "float": tree["float"]["accuracy"],
        "integer": tree["quantized"]["accuracy"],
        "agreement": tree["agreement"],
        "spikes": sum(layer["spikes"] for layer in tree["quantized"]["layers"]),
        "synops": tree["synops"],
        "energy": tree["energy"]["total_j"],
        "grade": tree["energy"]["grade"],
        "seconds": tree["latency"]["seconds"],
        "cores": tree["cores_used"],
        "neurons": sum(p.size for p in artifact.network.computed),
        "gates": sum(p.kind is Kind.GATE for p in artifact.network.computed),
        "relays": sum(p.kind is Kind.RELAY for p in artifact.network.computed),
        "saturations": tree["saturations"],
        "hard_reset": soft and target == "loihi1",
        "identical": identical(artifact, x[:IDENTICAL]),
    }


def _soft(path: Path) -> bool:
    """Whether any neuron resets by subtraction."""
    from snnhw.frontends import load_source

    source = load_source(path)
    return any(source.semantics.at(name).reset == "subtract" for name in source.graph.nodes)


def identical(artifact: Any, x: Any) -> list[str]:
    """Engines that give the same u, v and spikes as the reference; raises when one does not."""
    want = api.run(artifact, x, "reference", record="state")
    for engine in ENGINES[1:]:
        have = api.run(artifact, x, engine, record="state")
        wrong = [name for name, values in want.items() if not np.array_equal(values, have[name])]
        if wrong:
            raise AssertionError(f"{engine} differs from reference in {wrong[:3]}")
    return list(ENGINES)


HEAD = """# Systems

Written by `python benchmarks/systems.py --samples {samples}` with snnhw {version}: every number is a count or a
measurement of that run. Train a row again with `snnhw train NAME`, compile it with
`snnhw compile examples/NAME.pt --target TARGET`.

*Float* and *integer* are accuracies on the first test samples of the recipe's data set, *agreement* is the share of
equal predictions. Spikes, synaptic operations, energy and time are means per sample; energy carries the grade of the
worst constant in it (docs/energy.md). All three engines (reference, fast, lava) gave identical u, v and spikes of every
population on {identical} samples. Networks at full size: docs/full_size.md. What the papers claim: docs/claims.md.
"""

COLUMNS = (
    "name | data | target | samples | T | float % | integer % | agreement % | spikes | synops | energy | time | cores "
    "| saturations"
)


def page(rows: dict[str, dict[str, Any]], samples: int) -> str:
    """The Markdown page: a table for each family of systems."""
    tables: dict[str, list[str]] = {}
    for key, row in rows.items():
        name, target = key.split()
        tables.setdefault(family_of(RECIPES[name]).rstrip("."), []).append(_line(name, target, row))
    text = HEAD.format(samples=samples, version=version(), identical=IDENTICAL)
    for family, lines in tables.items():
        rule = " | ".join("---" for _ in COLUMNS.split(" | "))
        text += "\n".join([f"\n## {family}\n", f"| {COLUMNS} |", f"| {rule} |", *lines]) + "\n"
    return text


def _line(name: str, target: str, row: dict[str, Any]) -> str:
    if "refused" in row:
        empty = " |" * (COLUMNS.count("|") - 3)
        return f"| {name} | {RECIPES[name].dataset} | {target} | refused: {row['refused']} |{empty}"
    shares = " | ".join(f"{100 * row[key]:.2f}" for key in ("float", "integer", "agreement"))
    note = " (hard reset)" if row["hard_reset"] else ""
    return (
        f"| {name} | {RECIPES[name].dataset} | {target}{note} | {row['samples']} | {row['steps']} | {shares} "
        f"| {row['spikes']:,.0f} | {row['synops']:,.0f} | {1e6 * row['energy']:,.1f} µJ, {row['grade']} "
        f"| {1e3 * row['seconds']:.3g} ms | {row['cores']} | {row['saturations']:g} |"
    )


if __name__ == "__main__":
    main()
