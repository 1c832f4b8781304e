"""Environments of matrix.toml: `python -m tests.frontends.environments [NAME ...]` makes and runs them, one by one.

Each is an overlay, .frontends/NAME, in front of the running interpreter's own packages: torch is there once. Exit 1
if an environment cannot be made or one of its tests fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OVERLAYS = ROOT / ".frontends"
VARIABLE = "SNNHW_FRONTEND"
"""Names the environment that a test run is in; without it nothing of this folder is collected."""
NEVER = "samna"
"""A package whose import installs software from a third party."""


def matrix() -> dict[str, dict[str, Any]]:
    """Environment -> framework, package, packages, tests."""
    return tomllib.loads((HERE / "matrix.toml").read_text(encoding="utf-8"))


def make(name: str, packages: list[str]) -> Path:
    """The overlay of an environment; nothing is done where it has these packages already."""
    folder = OVERLAYS / name
    stamp = folder / ".packages"
    wanted = "\n".join(packages)
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        subprocess.run([*pip, "--no-deps", "--target", str(folder), *packages], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    if (folder / NEVER).exists():
        raise SystemExit(f"{folder / NEVER} is there: remove the folder, and take {NEVER} out of matrix.toml")
    return folder


def environment(name: str, folder: Path) -> dict[str, str]:
    """Variables of a process that is to run in an environment."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    return {**os.environ, **threads, "PYTHONPATH": str(folder), VARIABLE: name}


def main(names: list[str]) -> int:
    known = matrix()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SystemExit(f"not in matrix.toml: {', '.join(unknown)}; there are {', '.join(known)}")
    failed = []
    for name in names or known:
        print(f"== {name}", flush=True)
        (OVERLAYS / "results" / f"{name}.json").unlink(missing_ok=True)
        env = environment(name, make(name, known[name]["packages"]))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)]
        if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
            failed.append(name)
    subprocess.run([sys.executable, "-m", "tests.frontends.table"], cwd=ROOT, check=True)
    if failed:
        print(f"== failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
