"""Command lines: their values changed, as a script with an empty variable or a slip of the hand would."""

from __future__ import annotations

import json

from tests.attack.forms import NAMES, NUMBERS, Mutant, Random

TEXTS = [*(name for name in NAMES[:14] if "\0" not in name),
         " ", "-", "--", ",", "=", "a=b", "a=", "=1", "1/0", "0/3", "9" * 5000, "1e999", "nan", "-inf",
         "0x10", "١٢", "²", "1_0", "+3", "1,2,3,4", "[", "[]", "{}", '{"a":[', "[1,2", '"', "'", "*", "*=3",
         "4GiB", "1KiB", "true", "inf", "1979-05-27", "[5:]", "sum[5:]", "\udc80", "mean[99:]",
         "max[-1:]", "1" + "0" * 400]  # fmt: skip
# no NUL: no system hands one over
SPLITS = ["=", ",", "[", ":", "/", "x", "."]


def of_words(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    """One to three values of a command line; never where it writes."""
    words: list[str] = json.loads(blob)
    free = [i for i, word in enumerate(words) if i > 0 and not word.startswith("-") and "{place}" not in word]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        i = rng.choice(free)
        words[i] = _bent(rng, words[i])
    if rng.random() < 0.1:
        words.insert(rng.randrange(1, len(words) + 1), rng.choice(["--json", "--hard-reset", "--force", *TEXTS]))
    return json.dumps(words).encode(), False


def _bent(rng: Random, word: str) -> str:
    kind = rng.randrange(6)
    cuts = [c for c in SPLITS if c in word]
    if kind < 3 and cuts and "{" not in word:
        cut = rng.choice(cuts)
        parts = word.split(cut)
        at = rng.randrange(len(parts))
        parts[at] = rng.choice([_value(rng), parts[at] * 2, "", parts[rng.randrange(len(parts))]])
        return cut.join(parts if rng.random() < 0.8 else [*parts, parts[at]])
    return _value(rng) if kind < 5 else word + rng.choice(TEXTS)


def _value(rng: Random) -> str:
    return str(rng.choice(NUMBERS)) if rng.random() < 0.4 else rng.choice(TEXTS)
