"""`make mutants`: does a test fail when a rule is wrong? Faults are planted one by one with cosmic-ray's operators.

Not in CI. Each file of NEAR is mutated in a copy of the checkout, so that an interrupted run leaves nothing behind, and
its near tests run on every mutant, in a child forked from a process that has imported numpy, torch and numba already:
importing them takes longer than the tests. A survivor is printed with its line. Give it a test, or see that it is
equal: a bound that no value meets, a starting value that is overwritten.

cosmic-ray and not mutmut, both of which are maintained: mutmut wraps every function in a switch between its mutants,
which numba does not compile, and the rules are compiled; cosmic-ray changes the source.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 300
"""Seconds for the tests of one mutant; one that hangs is killed, and so found."""

NEAR = {
    "fixed": "tests/property/test_step.py tests/property/test_fixed_properties.py -k 'not numba and not wrong_orders'",
    "quantize/bounds": "tests/unit/quantize/test_bounds.py",
    "quantize/scale": "tests/unit/quantize/test_scale.py tests/unit/quantize/test_exponents.py",
    "mapping/partition": "tests/unit/mapping/test_verify.py tests/unit/mapping/test_place.py",
    "chip/analytic": "tests/unit/chip/test_analytic.py",
}
"""File of snnhw/ -> its tests, cheap ones: they run once for each mutant."""

IMPORTED = ("numpy", "scipy.sparse", "torch", "numba", "nir", "onnx", "onnxruntime", "h5py", "pydantic", "click")
"""What every child finds imported; nothing of snnhw, which it imports with its fault."""

OPPOSITES = "Add_Sub Sub_Add Mul_FloorDiv FloorDiv_Mul Div_Mul Mod_Mul Pow_Mul LShift_RShift RShift_LShift BitAnd_BitOr"
BOUNDARIES = "Lt_LtE LtE_Lt Gt_GtE GtE_Gt Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is In_NotIn NotIn_In"
OTHERS = "NumberReplacer AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd"
LOOPS = "ReplaceBreakWithContinue ReplaceContinueWithBreak ZeroIterationForLoop"
OPERATORS = (
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in OPPOSITES.split()),
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in BOUNDARIES.split()),
    *(f"core/{name}" for name in (*OTHERS.split(), *LOOPS.split())),
)
"""One fault for each operator of the source, not twelve; annotations and decorators are no rules."""


def mutants(source: str) -> Iterator[str]:
    """The source with one fault each."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = get_operator(name)()
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            mutant = mutate_code(source.encode(), operator, occurrence)
            if mutant is not None:
                yield mutant.decode() if isinstance(mutant, bytes) else mutant


def passes(near: str) -> bool:
    """Whether the tests pass, in a child."""
    child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT)
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *shlex.split(near)])))
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def survivors(name: str) -> None:
    """Plant every fault of one file of this checkout, a copy, and print those that no test finds."""
    path = Path("snnhw", f"{name}.py")
    source = path.read_text(encoding="utf-8")
    for module in IMPORTED:
        importlib.import_module(module)
    assert passes(NEAR[name]), f"the near tests of {path} fail without a fault"
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)  # a mutant can have the size and second of another
    sys.dont_write_bytecode = True
    tried = left = 0
    for mutant in mutants(source):
        path.write_text(mutant, encoding="utf-8")
        tried += 1
        if passes(NEAR[name]):
            left += 1
            before, after = source.splitlines(), mutant.splitlines()
            at = next(i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1])
            print(f"{path}:{at + 1}: {before[at].strip()}\n    survived as: {after[at].strip()}", flush=True)
    print(f"{path}: {tried - left} of {tried} faults found", flush=True)


def in_a_copy(name: str) -> int:
    """Run `survivors` in a copy of the checkout."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "runs", "shared", "build", "dist"))
        where = os.pathsep.join([str(copy), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "tests.mutants", "--here", name]
        return subprocess.run(command, cwd=copy, env={**os.environ, **one, "PYTHONPATH": where}, check=False).returncode


def main(names: list[str]) -> int:
    if names[:1] == ["--here"]:
        survivors(names[1])
        return 0
    names = [re.sub(r"^snnhw/|\.py$", "", name) for name in names] or list(NEAR)
    unknown = [name for name in names if name not in NEAR]
    if unknown:
        sys.exit(f"no near tests for {', '.join(unknown)}; known: {', '.join(NEAR)}")
    with ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        return max(pool.map(in_a_copy, names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
