"""One thread for every numeric library, fixed seeds, and the fixtures that several tests share."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy and torch are imported
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)
hypothesis.settings.register_profile("snnhw", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "snnhw"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on those that ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _restored_torch() -> Iterator[None]:
    """No test leaves another default dtype or thread count behind."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    yield
    torch.set_default_dtype(dtype)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of shipped models and images."""
    return ROOT / "examples"
