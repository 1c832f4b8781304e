"""The linear operators of projections: one file and one line here each.

Shared ground: nothing here knows an engine, a mapper or a front end. Rooms that write operators in a language of their
own (ONNX, Lava, NIR, netx) keep one table of the forms they have words for, and go by `matrix` for all others.
"""

from __future__ import annotations

from snnhw.operators.base import REGISTRY as REGISTRY
from snnhw.operators.base import Operator as Operator
from snnhw.operators.candidate import Candidate as Candidate
from snnhw.operators.candidate import Lift as Lift
from snnhw.operators.conv import Conv as Conv
from snnhw.operators.conv1d import Conv1d as Conv1d
from snnhw.operators.dense import Dense as Dense
from snnhw.operators.diagonal import Diagonal as Diagonal
from snnhw.operators.inject import Inject as Inject
from snnhw.operators.pad import Pad as Pad
from snnhw.operators.sparse import Sparse as Sparse
from snnhw.operators.transposed import ConvTranspose as ConvTranspose
from snnhw.operators.upsample import Upsample as Upsample
