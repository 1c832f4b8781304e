"""A float network and its compiled counterpart on the same samples, as one tree."""

from snnhw.compare.build import compare
from snnhw.compare.diff import Difference, diff
from snnhw.compare.floats import FloatRun
from snnhw.compare.tree import Comparison

__all__ = ["Comparison", "Difference", "FloatRun", "compare", "diff"]
