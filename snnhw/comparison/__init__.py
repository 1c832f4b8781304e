"""A float network and its compiled counterpart on the same samples, as one tree."""

from snnhw.comparison.build import compare
from snnhw.comparison.diff import Difference, diff
from snnhw.comparison.floats import FloatRun
from snnhw.comparison.tree import Comparison

__all__ = ["Comparison", "Difference", "FloatRun", "compare", "diff"]
