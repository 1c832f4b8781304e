"""Every refusal in snnhw/, read from its source: `python -m tests.raises` prints the rows docs/errors.md lacks."""

from __future__ import annotations

import ast
import copy
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "snnhw"
DOCUMENT = ROOT / "docs" / "errors.md"
BASE = "SnnhwError"
SHORT, ENOUGH = 8, 40
"""Letters from which a piece of text tells something, and from which it tells enough."""

HERE = {"raises.py", "test_errors_are_tested.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Refusal:
    """One place that makes an error: its codes (none: not a literal), and the fixed pieces of its message.

    `phrases` are the pieces of which a test must name one: where a helper's callers give a part, that part.
    """

    place: str
    codes: tuple[str, ...]
    pieces: tuple[str, ...]
    phrases: tuple[str, ...]

    @property
    def message(self) -> str:
        return "…".join(self.pieces)


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def error_classes(modules: dict[Path, ast.Module]) -> set[str]:
    """SnnhwError and every class that descends from it."""
    found = {BASE}
    classes = [n for tree in modules.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    while True:
        more = {c.name for c in classes if found & {_name(base) for base in c.bases}} - found
        if not more:
            return found
        found |= more


@cache
def refusals() -> list[Refusal]:
    """Every call of an error class; where a helper takes the code or message, its callers count instead."""
    modules = trees()
    classes = error_classes(modules)
    return [r for path in modules for r in _of_module(path, modules, classes)]


def _of_module(path: Path, modules: dict[Path, ast.Module], classes: set[str]) -> Iterator[Refusal]:
    for call, function in _calls_in(modules[path], None):
        if _name(call.func) in classes:
            yield from _places(path, call, function)


@cache
def _calls_to(path: Path, name: str) -> list[tuple[Path, ast.Call]]:
    """Calls of a module's function, there and in modules that import it by name."""

    def imports(tree: ast.Module) -> bool:
        found = [n for n in tree.body if isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[-1] == path.stem]
        return any(alias.name == name for n in found for alias in n.names)

    readers = {p: tree for p, tree in trees().items() if p == path or imports(tree)}
    calls = [(p, n) for p, tree in readers.items() for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return [(p, n) for p, n in calls if _name(n.func) == name]


def _calls_in(node: ast.AST, function: Function | None) -> Iterator[tuple[ast.Call, Function | None]]:
    """Calls with the innermost function around each."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, function
        inside = child if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        yield from _calls_in(child, inside)


def _places(path: Path, call: ast.Call, function: Function | None) -> Iterator[Refusal]:
    code, message = _argument(call, 0, "code"), _argument(call, 1, "message")
    pieces, seen = _pieces(message), set()
    for reader, caller in _callers(path, code, message, function):
        given = _values(caller, function) if caller and function else {}
        codes, filled = _literals(_filled(code, given)), _pieces(_filled(message, given))
        if (codes, filled) not in seen:
            seen.add((codes, filled))
            own = tuple(piece for piece in filled if piece not in pieces and len(piece) >= SHORT)
            yield Refusal(_place(reader or path, caller or call), codes, filled, own or filled)


def _callers(
    path: Path, code: ast.expr | None, message: ast.expr | None, function: Function | None
) -> Iterable[tuple[Path | None, ast.Call | None]]:
    """Calls of the helper, where code or message need what it is given; else nothing but the place itself."""
    names = {n.id for a in (code, message) if a for n in ast.walk(a) if isinstance(n, ast.Name)}
    if function is None or not names & set(_parameters(function)):
        return [(None, None)]
    return _calls_to(path, function.name) or [(None, None)]


def _values(caller: ast.Call, function: Function) -> dict[str, ast.expr]:
    """Parameter -> what the caller passes, or its default."""
    found = {n: _argument(caller, i, n) or _default(function, n) for i, n in enumerate(_parameters(function))}
    return {name: value for name, value in found.items() if value is not None}


def _filled(value: ast.expr | None, given: dict[str, ast.expr]) -> ast.expr | None:
    """An expression with parameters replaced."""

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return given.get(node.id, node)

    return None if value is None else Fill().visit(copy.deepcopy(value))


def _place(path: Path, node: ast.Call) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def _default(function: Function, name: str) -> ast.expr | None:
    plain = [*function.args.posonlyargs, *function.args.args]
    tail = plain[len(plain) - len(function.args.defaults) :]
    given = dict(zip((a.arg for a in tail), function.args.defaults, strict=True))
    given |= {a.arg: d for a, d in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if d}
    return given.get(name)


def _parameters(function: Function) -> list[str]:
    """Names in the order of a call (self and cls are not passed)."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    return [*names, *(a.arg for a in function.args.kwonlyargs)]


def _argument(call: ast.Call, index: int, name: str) -> ast.expr | None:
    if len(call.args) > index:
        return call.args[index]
    return next((k.value for k in call.keywords if k.arg == name), None)


def _literals(value: ast.expr | None) -> tuple[str, ...]:
    """The strings an expression can be: a literal, an f-string of literals, or either branch of a choice."""
    match value:
        case ast.Constant(value=str(text)):
            return (text,)
        case ast.FormattedValue():
            return _literals(value.value)
        case ast.IfExp():
            return _literals(value.body) + _literals(value.orelse)
        case ast.JoinedStr():
            choices = [_literals(part) for part in value.values]
            return tuple("".join(parts) for parts in itertools.product(*choices))
    return ()


def _pieces(value: ast.expr | None) -> tuple[str, ...]:
    """The fixed text of a message: of a literal, an f-string, a sum of them, or either branch of a choice."""
    match value:
        case ast.Constant(value=str(text)):
            return (text,)
        case ast.JoinedStr():
            return tuple(piece for part in value.values for piece in _pieces(part))
        case ast.FormattedValue():
            return _pieces(value.value)
        case ast.BinOp():
            return _pieces(value.left) + _pieces(value.right)
        case ast.IfExp():
            return _pieces(value.body) + _pieces(value.orelse)
    return ()


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@cache
def codes() -> dict[str, list[Refusal]]:
    """Code -> the places that raise it."""
    found: dict[str, list[Refusal]] = {}
    for refusal in refusals():
        for code in refusal.codes:
            found.setdefault(code, []).append(refusal)
    return dict(sorted(found.items()))


@cache
def test_texts() -> dict[str, str]:
    """Every test file's text, escapes of regular expressions and line joins of string literals undone."""
    folder = ROOT / "tests"
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in {".py", ".txt", ".json"} and p.name not in HERE]
    return {str(p.relative_to(ROOT)): _plain(p.read_text(encoding="utf-8")) for p in files}


def _plain(text: str) -> str:
    joined = re.sub(r"[\"']\s*\n\s*[rf]{0,2}[\"']", "", text)
    return re.sub(r"\\(?=[^\w\s])", "", joined)


def is_tested(refusal: Refusal, texts: dict[str, str]) -> bool:
    """Whether one test file has a code and the longest phrase of the message, or the beginning of a long one."""
    words = _plain(max((phrase.strip() for phrase in refusal.phrases), key=len, default=""))
    words = words if len(words) <= ENOUGH else words[:ENOUGH].rsplit(" ", 1)[0]
    return any(words in text and any(code in text for code in refusal.codes) for text in texts.values())


def documented() -> set[str]:
    """Codes in the first column of docs/errors.md."""
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.is_file() else ""
    return set(re.findall(r"^\| `([a-z0-9-]+)` \|", text, flags=re.MULTILINE))


if __name__ == "__main__":
    for code, places in codes().items():
        if code not in documented():
            print(f"| `{code}` | {' / '.join(dict.fromkeys(p.message for p in places))} |  |")
