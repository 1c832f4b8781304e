"""The Python blocks of a page, run in order in one namespace, as a reader would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run_blocks(page: str) -> dict[str, Any]:
    """Run them; returns what they defined. A line that fails is found under the page's own line number."""
    text = (ROOT / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        above = text.count("\n", 0, block.start(1))
        exec(compile("\n" * above + block[1], page, "exec"), names)
    return names
