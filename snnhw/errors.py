"""One tree of errors. Every refusal says what failed, where, what was needed, the limit, and what to do."""

from __future__ import annotations

from typing import Any

LONGEST = 1000
"""Characters of one part of a message."""


class SnnhwError(Exception):
    """A refused model, target or data.

    Args:
        code: stable, kebab-case name of the refusal (`docs/errors.md` lists them).
        message: what failed, one sentence.
        where: layer path, file or field it happened at.
        needed: what the input asks for.
        limit: what is allowed.
        hint: the nearest legal change.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: str | None = None,
        needed: Any = None,
        limit: Any = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.needed = needed
        self.limit = limit
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"{self.code}: {_shown(self.message)}"]
        for label in ("where", "needed", "limit", "hint"):
            value = getattr(self, label)
            if value is not None:
                lines.append(f"  {label}: {_shown(value)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same five parts for `--json`."""
        parts = {"where": self.where, "needed": self.needed, "limit": self.limit, "hint": self.hint}
        given = {key: _shown(value) for key, value in parts.items() if value is not None}
        return {"code": self.code, "message": _shown(self.message), **given}


def _shown(value: Any) -> str:
    """Text as a terminal can take it: names in a file can be megabytes long, or hold commands to the terminal."""
    text = str(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class SourceError(SnnhwError):
    """The model source cannot be read or is not what it says it is."""


class LoweringError(SnnhwError):
    """The network cannot be expressed as populations and projections."""


class QuantizeError(SnnhwError):
    """No integers of the target stand for this network."""


class TargetError(SnnhwError):
    """The target is unknown or its file is wrong."""


class MappingError(SnnhwError):
    """The network does not fit the target."""


class ArtifactError(SnnhwError):
    """The compiled file is damaged, foreign or of another schema."""


class DataError(SnnhwError):
    """Input data do not fit the network."""


class EngineError(SnnhwError):
    """An engine is missing, failed or ran out of time."""
