"""Every refusal has a code in docs/errors.md and a test on its text."""

from __future__ import annotations

import re

from tests import raises


def test_codes_are_literals() -> None:
    hidden = [r.place for r in raises.refusals() if not r.codes]
    assert len(raises.codes()) > 20, "the walk finds the errors"
    assert not hidden, f"the code cannot be read from the source: {hidden}"


def test_codes_are_kebab_case() -> None:
    odd = [code for code in raises.codes() if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)]
    assert not odd


def test_every_refusal_is_tested() -> None:
    texts = raises.test_texts()
    missing = [
        f"{r.place} {r.codes[0]}: {r.message}" for r in raises.refusals() if r.codes and not raises.is_tested(r, texts)
    ]
    assert not missing, "no test has the code and this text:\n" + "\n".join(missing)


def test_every_code_is_documented() -> None:
    missing = sorted(set(raises.codes()) - raises.documented())
    assert not missing, f"docs/errors.md lacks {missing}; `python -m tests.raises` prints their rows"


def test_no_documented_code_is_gone() -> None:
    gone = sorted(raises.documented() - set(raises.codes()))
    assert not gone, f"docs/errors.md lists codes that nothing raises: {gone}"
