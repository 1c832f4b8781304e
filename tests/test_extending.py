"""Every example of docs/extending.md, as it stands on the page, in a folder outside of the package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "extending.md"
FILES = dict(re.findall(r"```\w+\n(?:# )(\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
USES = sorted(name for name in FILES if name.startswith("use_"))

RUN = """
import json, runpy, sys, traceback
found = {}
for name in sys.argv[1:]:
    try:
        runpy.run_path(name)
        found[name] = ""
    except BaseException:
        found[name] = traceback.format_exc()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong with each use; nothing where all is well. One process runs them all, as imports are slow."""
    folder = tmp_path_factory.mktemp("outside")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    where = os.pathsep.join([str(folder), str(PAGE.parent.parent)])
    command = [sys.executable, "-c", RUN, *USES]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": where}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", USES)
def test_an_example_runs_as_it_stands_on_the_page(name: str, outcomes: dict[str, str]) -> None:
    assert outcomes[name] == ""


def test_what_the_page_promises_is_there() -> None:
    shown = {name.removeprefix("use_").removesuffix(".py") for name in USES}
    assert shown == {"engine", "front_end", "neuron", "operator", "target"}
