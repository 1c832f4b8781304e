"""`python -m tests.versions`: other versions of Python and of the dependencies, each in an overlay or environment.

oldest, newest: what `pyproject.toml` allows, in front of the running interpreter's own packages: unit tests, the tour,
the demo. Where torch would bring gigabytes of CUDA, the running one stays, which is said.

3.12, 3.13: the same with Lava where a CPU build of torch can be had. Where none can, what needs torch is skipped by
name, and what does not is run: artifacts are read, run, checked, explained, and say what this interpreter says.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "versions"
PYTHONS = ("3.12", "3.13")
TESTS = ["tests/test_tour.py", "tests/unit/test_fixed.py", "tests/unit/test_artifact.py", "tests/unit/test_data.py",
         "tests/unit/test_rows.py", "tests/unit/test_targets.py", "tests/unit/quantize", "tests/unit/frontends/nir",
         "tests/unit/report"]  # fmt: skip
LAVA = "lava-nc==0.10.0"
OWN = ("torch",)
"""Left as the running interpreter has it: older CPU builds are in no registry that is asked."""


def project() -> dict[str, list[str]]:
    """Extra ('' for the dependencies) -> requirements."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": found["dependencies"], **found["optional-dependencies"]}


def requirements(*extras: str) -> list[str]:
    """Of the package and of some extras, other extras of its own left out."""
    return [line for extra in ("", *extras) for line in project()[extra] if not line.startswith("snnhw[")]


def name_of(requirement: str) -> str:
    return requirement.partition(">=")[0].partition("==")[0].strip()


def oldest(requirement: str) -> str:
    """numpy>=2.0,<3 as numpy==2.0.*, of which pip takes the newest: patches of the oldest minor version."""
    bound = requirement.partition(">=")[2].partition(",")[0]
    return f"{name_of(requirement)}=={bound}" + ("", ".*", ".0.*")[max(0, 2 - bound.count("."))]


def run(what: str, words: list[str], **more: str) -> bool:
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **threads, **more}, check=False)
    print(f"== {what}: {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
    return done.returncode == 0


def pip(python: str, *words: str) -> bool:
    asked = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    return subprocess.run(asked, cwd=ROOT, check=False).returncode == 0


def overlay(name: str, wanted: list[str]) -> bool:
    """The tests and the demo with these versions in front."""
    folder = PLACE / name
    shutil.rmtree(folder, ignore_errors=True)
    if not pip(sys.executable, "--only-binary", ":all:", "--target", str(folder), *wanted):
        print(f"== {name}: FAILED, no environment")
        return False
    print(f"== {name}: {', '.join(sorted(wanted))}; {', '.join(OWN)} as it is", flush=True)
    return tried(name, sys.executable, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")


def tried(name: str, python: str, **more: str) -> bool:
    tests = run(f"{name}: tests", [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS], **more)
    demo = [python, "-m", "snnhw.cli", "demo", "--lava-samples", "2", "-o", str(PLACE / f"{name}-demo")]
    return run(f"{name}: demo, Lava", demo, **more) and tests


def interpreter(version: str) -> str | None:
    """python3.12 of the PATH that is that version, or one of pyenv's."""
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/{version}.*/bin/python"))
    for python in (shutil.which(f"python{version}"), *map(str, pyenv)):
        asked = [python or "false", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if python and done.stdout.strip() == version:
            return python
    return None


def python(version: str) -> bool:
    """An environment of another Python."""
    found = interpreter(version)
    if found is None:
        print(f"== Python {version}: skipped, it is not installed")
        return True
    folder = PLACE / version
    if not run(f"Python {version}: environment", [found, "-m", "venv", "--clear", str(folder)]):
        return False
    own, constraints = str(folder / "bin" / "python"), ("-c", "constraints.txt")
    plain = sys.platform == "darwin" or platform.machine() == "aarch64"  # their builds have no CUDA
    torch = pinned("torch") if plain else f"{pinned('torch')}+cpu"
    if pip(own, "--only-binary", ":all:", torch) or pip(own, "--no-deps", "--only-binary", ":all:", torch):
        return (
            pip(own, *constraints, "-e", ".[all,dev]")
            and pip(own, "--no-deps", "--ignore-requires-python", LAVA)
            and tried(f"Python {version}", own)
        )
    print(f"== Python {version}: tour, demo and Lava skipped: no CPU build of {torch}", flush=True)
    without = [line for line in requirements("onnx") if name_of(line) not in OWN]
    return pip(own, *constraints, *without) and integers(f"Python {version}", own)


def integers(name: str, python: str) -> bool:
    """Whether another interpreter, without torch, says of artifacts what this one says, bit for bit."""
    said = []
    for which in (sys.executable, python):
        folder = PLACE / f"integers-{len(said)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        compiled = ["compile", "example:stbp_scnn", "--target", "loihi2", "-o", str(PLACE / "net.snnhw")]
        if not said:
            subprocess.run([which, "-m", "snnhw.cli", *compiled], cwd=ROOT, env=env, check=True, capture_output=True)
        words = [[which, "-m", "snnhw.cli", *line.format(PLACE / "net.snnhw", folder).split()] for line in INTEGERS]
        done = [subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False) for line in words]
        with np.load(folder / "run.npz") as arrays:
            held = {key: arrays[key].tobytes() for key in sorted(arrays)}
        said.append(([(d.returncode, d.stdout.replace(str(folder), "")) for d in done], held))
    same = said[0] == said[1] and all(code == 0 for code, _ in said[0][0])
    print(f"== {name}: {len(INTEGERS)} commands on an artifact, {'equal' if same else 'FAILED: different'}", flush=True)
    return same


INTEGERS = """\
inspect {0} --json
explain {0} --json
check {0} --json
targets loihi1 --json
run {0} --input example:fashion_mnist_500 --samples 3 --engine reference --record state -o {1}/run.npz --json
export {0} --to onnx -o {1}/net.onnx --json
""".splitlines()
"""What needs no torch."""


def pinned(name: str) -> str:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{name}=="))


def main(names: list[str]) -> int:
    wanted = [r for r in requirements("report", "onnx", "images", "zarr", "train", "frames") if name_of(r) not in OWN]
    known = {
        "oldest": lambda: overlay("oldest", list(dict.fromkeys(map(oldest, wanted)))),
        "newest": lambda: overlay("newest", list(dict.fromkeys(wanted))),
        **{version: lambda version=version: python(version) for version in PYTHONS},
    }
    PLACE.mkdir(parents=True, exist_ok=True)
    failed = [name for name in names or known if not known[name]()]
    print(f"== failed: {', '.join(failed)}" if failed else "== all done")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
