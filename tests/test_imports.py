"""Imports have one direction (docs/design.md, "The way data takes"): a walk over all, and a look at what Lava loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "snnhw"

STAGES = (
    "frontends",
    "lowering",
    "quantize",
    "mapping",
    "artifact",
    "engines",
    "chip",
    "comparison",
    "attribution",
    "report",
    "export",
)
SHARED = {
    "errors",
    "extras",
    "cautions",
    "readout",
    "judge",
    "fixed",
    "operators",
    "neurons",
    "evaluate",
    "encoding",
    "machine",
    "network",
    "network_text",
    "semantics",
    "version",
    "pack",
    "rationale",
    "shipped",
    "summary",
    "data",
    "rows",
    "images",
    "zarrs",
    "limits",
    "files",
    "hdf5",
    "torch_file",
    "tensor_file",
}
SURFACE = {
    "",
    "api",
    "effort",
    "streaming",
    "pipeline",
    "stages",
    "sweep",
    "variants",
    "cli",
    "commands",
    "doctor",
    "demo",
    "__main__",
}
"""`""` is the package itself, `snnhw/__init__.py`."""


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in files()}


def room(module: str) -> str:
    """First name below `snnhw`: the stage, or the shared module."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def allowed(importer: str, imported: str) -> bool:
    """Whether a module of one room may import from another."""
    if importer == imported or imported in SHARED or importer in SURFACE:
        return imported != "" or importer in SURFACE
    if importer in SHARED:
        return False
    if importer == "zoo" or imported == "zoo":
        return (importer, imported) == ("frontends", "zoo")
    return imported in STAGES and STAGES.index(imported) < STAGES.index(importer)


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules named by import statements anywhere in a module, those inside functions too."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return frozenset(name for node in ast.walk(tree) for name in _names(module, node))


def _names(module: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(module, node)
        for alias in node.names:
            deeper = f"{base}.{alias.name}"
            yield deeper if deeper in MODULES else base


def _base(module: str, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parents = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    above = parents[: len(parents) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def own(module: str) -> set[str]:
    """Imported modules of this package."""
    return {name for name in imports_of(module) if name.split(".")[0] == "snnhw"}


@pytest.mark.parametrize("module", MODULES)
def test_room_is_known(module: str) -> None:
    assert room(module) in {*STAGES, *SHARED, *SURFACE, "zoo"}, "name the new room here, and its place in the order"


@pytest.mark.parametrize("module", MODULES)
def test_direction(module: str) -> None:
    against = sorted(name for name in own(module) if not allowed(room(module), room(name)))
    assert not against, f"{module} imports against the direction: {against}"


@pytest.mark.parametrize(
    ("importer", "imported", "expected"),
    [
        ("lowering", "frontends", True),
        ("frontends", "lowering", False),
        ("engines", "artifact", True),
        ("artifact", "engines", False),
        ("frontends", "zoo", True),
        ("lowering", "zoo", False),
        ("zoo", "frontends", False),
        ("zoo", "errors", True),
        ("errors", "zoo", False),
        ("network", "errors", True),
        ("cli", "zoo", True),
        ("report", "cli", False),
        ("report", "", False),
        ("cli", "", True),
    ],
)
def test_the_rule_itself(importer: str, imported: str, expected: bool) -> None:
    assert allowed(importer, imported) is expected


def test_stages_do_not_import_each_other_in_a_circle() -> None:
    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for name in sorted(own(module) & set(MODULES)):
                visit(name, (*trail, module))
            done.add(module)

    done: set[str] = set()
    for module in MODULES:
        visit(module, ())


LAVA = [name for name in MODULES if name == "snnhw.engines.lava" or name.startswith("snnhw.engines.lava")]


@pytest.mark.skipif(not LAVA, reason="no Lava engine in this tree")
def test_lava_engine_names_no_torch_even_indirectly() -> None:
    """Torch calls inside a Lava process hang: no import statement leads from there to torch."""
    seen: set[str] = set()
    waiting = [*LAVA, "snnhw", "snnhw.engines"]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        top = {name.split(".")[0] for name in module_level_imports(module)}
        assert "torch" not in top, f"{module} imports torch"
        waiting += [name for name in module_level_imports(module) if name in MODULES]


def module_level_imports(module: str) -> set[str]:
    """Imports that run when the module is imported (a lazy one inside a function does not)."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _type_checking(node):
            continue
        found |= set(_names(module, node))
        waiting += ast.iter_child_nodes(node)
    return found


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


LOAD = """
import importlib, json, sys
from snnhw.engines.lava import compat
failed = {}
if compat.lava_status()[0]:
    compat.prepare()
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = error.name or str(error)
loaded = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"failed": failed, "torch": "torch" in loaded}))
"""


@pytest.mark.skipif(not LAVA, reason="no Lava engine in this tree")
def test_lava_engine_loads_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *LAVA], capture_output=True, text=True, cwd=ROOT, timeout=240, check=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    missing = {name: what for name, what in result["failed"].items() if what.split(".")[0] != "lava"}
    assert not missing, "only Lava itself may be missing"
    assert not result["torch"]
