"""The plan on disk: `plan.json` for structure, `arrays.npz` for numbers; no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from snnhw.engines.lava.plan import Node, Plan, Wire

PLAN_FILE, ARRAYS_FILE = "plan.json", "arrays.npz"


def write_plan(folder: Path, plan: Plan) -> None:
    """Write a plan into the job folder."""
    arrays: dict[str, Any] = {}
    nodes = []
    for i, node in enumerate(plan.nodes):
        keys = {name: f"{i}.{j}" for j, name in enumerate(node.arrays)}
        arrays |= {keys[name]: array for name, array in node.arrays.items()}
        nodes.append({"kind": node.kind, "name": node.name, "params": node.params, "arrays": keys})
    data = {"steps": plan.steps, "nodes": nodes, "wires": [asdict(wire) for wire in plan.wires]}
    (folder / PLAN_FILE).write_text(json.dumps(data, default=_plain), encoding="utf-8")
    with (folder / ARRAYS_FILE).open("wb") as file:
        np.savez(file, **arrays)


def read_plan(folder: Path) -> Plan:
    """Read what `write_plan` wrote; shapes come back as tuples."""
    data = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"), object_hook=_tuples)
    with np.load(folder / ARRAYS_FILE) as arrays:
        nodes = [
            Node(
                node["kind"], node["name"], node["params"], {name: arrays[key] for name, key in node["arrays"].items()}
            )
            for node in data["nodes"]
        ]
    return Plan(tuple(nodes), tuple(Wire(**wire) for wire in data["wires"]), data["steps"])


def _plain(value: Any) -> int:
    if isinstance(value, np.integer):
        return int(value)
    raise TypeError(f"{type(value).__name__} does not belong in a plan")


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
