"""The command line in this process: exit code, stdout, stderr."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnhw.cli import main
from tests.unit.frontends.checkpoints import content, saved


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be JSON and nothing else."""
        return json.loads(self.out)


def snnhw(*words: object) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Room:
    """A folder with a checkpoint, its artifact and samples."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def files(self) -> list[str]:
        return sorted(p.name for p in self.path.iterdir())


def furnished(path: Path, kind: str, target: str = "loihi2") -> Room:
    saved(path / "net.pt", content(kind))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)
    np.savez(path / "data.npz", x=x, y=rng.integers(0, 4, 6))
    done = snnhw(
        "compile", path / "net.pt", "--target", target, "-o", path / "net.snnhw", "--emit-nir", path / "net.nir"
    )
    assert done.code == 0, done.err
    return Room(path)
