"""`make netx` puts lava-dl 0.6.0 into .frontends/lavadl and runs the tests that need it.

It declares Python 3.10 and torch 2.3; only its netx is used, which runs on what .venv has. 68 MB to download.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".frontends" / "lavadl"
PACKAGE = "lava-dl==0.6.0"


def make() -> Path:
    """The unpacked wheel, without its dependencies."""
    if not (FOLDER / "lava_dl-0.6.0.dist-info").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--ignore-requires-python", "--target", str(FOLDER), PACKAGE], check=True)
    return FOLDER


def main() -> int:
    make()
    test = str(Path(__file__).with_name("test_netx.py"))
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "slow", test], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
