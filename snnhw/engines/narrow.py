"""`fixed.step` in 32-bit numbers: its own source, in which every result of an operator is cut to 32 bits.

numba makes 64-bit numbers of all results, so that half of a vector register would be lost. Where `fixed.narrow_reach`
holds nothing is cut off, and the integers are those of the contract.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from snnhw import fixed

RULES = (
    *(fixed.decayed, fixed.decayed_narrow, fixed.held, fixed.current, fixed.membrane, fixed.spikes),
    *(fixed.reset_zero, fixed.reset_subtract, fixed.reset_to, fixed.floored, fixed.fired, fixed.step),
)


class _Cut(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        return ast.Call(ast.Name("_cut", ast.Load()), [self.generic_visit(node)], [])  # type: ignore[list-item]


def _written(rules: Iterable[Any]) -> dict[str, Any]:
    """The rules again by name, as functions of this module: numba's cache knows them by that."""
    space = {**vars(fixed), "_cut": np.int32, "__name__": __name__}
    for rule in rules:
        tree = ast.fix_missing_locations(_Cut().visit(ast.parse(inspect.getsource(rule))))
        exec(compile(tree, fixed.__file__, "exec"), space)  # the package's own source
    space["decayed"] = space["decayed_narrow"]
    return {rule.__name__: space[rule.__name__] for rule in rules}


globals().update(_written(RULES))
NARROW: tuple[Any, ...] = tuple(globals()[rule.__name__] for rule in RULES)
step: Any
