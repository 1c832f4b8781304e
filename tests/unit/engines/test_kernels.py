"""The compiled kernel is the contract: recompiled when it changes, and usable where nothing can be cached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snnhw import fixed
from snnhw.engines import kernels, narrow
from snnhw.network import Comparison, IntNeuron, Reset

READ = Path.read_bytes

ONCE = """
import numpy as np
{first}
from snnhw.engines.kernels import _OPEN, _kernel, update
from snnhw.network import IntNeuron
spikes, state, _ = update(IntNeuron(0, np.array(5), np.array(1), 4096, 0), True, np.full((1, 3, 1), 2))[:3]
print(spikes.ravel().tolist(), state['v'].ravel().tolist(), {last})
"""
NOWHERE = "import numba.core.caching as c; c.CacheImpl._locator_classes = []"


def printed(first: str = "", last: str = "0", **more: str) -> str:
    code = ONCE.format(first=first, last=last)
    env = {**os.environ, "NUMBA_NUM_THREADS": "1", **more}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_contract_and_kernel_enter_the_cache_key(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [fixed, narrow, kernels]
    held = [cell.cell_contents for cell in kernels._kernel(fixed.step, kernels._OPEN).py_func.__closure__]
    assert kernels.contract(fixed.step) in held, "numba hashes closure cells into the key of its index"
    assert fixed.step in held
    for module in files:
        path = Path(module.__file__)
        monkeypatch.setattr(Path, "read_bytes", lambda self, path=path, read=READ: read(self) + b"#" * (self == path))
        assert kernels.contract(fixed.step) not in held, f"a change of {path.name} is another kernel"
        monkeypatch.undo()


def test_another_contract_is_another_entry() -> None:
    one, other = (kernels._compiled(fixed.step, kernels._OPEN, contract) for contract in (1, 2))
    signature = (1,)
    keys = [kernel._cache._index_key(signature, kernel.targetctx.codegen()) for kernel in (one, other)]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("folder", ["/dev/null/cache", ""])
def test_unwritable_cache_folder_is_passed_over(folder: str) -> None:
    """numba tries NUMBA_CACHE_DIR, then __pycache__, then the user's cache folder."""
    assert printed(NUMBA_CACHE_DIR=folder) == "[0, 1, 0] [3, 0, 3] 0"


def test_works_where_no_folder_can_be_written() -> None:
    """An installed, read-only package and a user without a home: compiled in every process."""
    assert (
        printed(first=NOWHERE, last="_kernel(IntNeuron.step, _OPEN)._cache.__class__.__name__")
        == "[0, 1, 0] [3, 0, 3] NullCache"
    )


@pytest.mark.parametrize("reset", list(Reset))
def test_kernel_knows_every_reset(reset: Reset) -> None:
    neuron = IntNeuron(
        0, np.array(4), np.array(0), act_shift=0, comparison=Comparison.GE, reset=reset, v_reset=-3, du=4096
    )
    spikes, state, _ = kernels.update(neuron, True, np.array([[[6], [0]]]))[:3]
    assert spikes.ravel().tolist() == [1, 0]
    assert state["v"].ravel().tolist() == {Reset.ZERO: [0, 0], Reset.SUBTRACT: [2, 2], Reset.V_RESET: [-3, -3]}[reset]


def test_one_neuron_gives_many_parameters() -> None:
    """Scalars and arrays of one entry serve every neuron; accumulators never fire."""
    neuron = IntNeuron(0, np.array([1]), np.array(2), act_shift=1, du=4096)
    spikes, state, _ = kernels.update(neuron, False, np.array([[[1, 2], [3, 4]]]))[:3]
    assert not spikes.any()
    assert state["u"].tolist() == [[[2, 4], [6, 8]]]
    assert state["v"].tolist() == [[[4, 6], [12, 16]]]
