"""One tree of errors. Every refusal says what failed, where, what was needed, the limit, and what to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

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

    def __reduce__(self) -> tuple[Any, ...]:
        """A refusal of another process says what it said there."""
        return _again, (type(self), vars(self))

    def __str__(self) -> str:
        lines = [f"{self.code}: {shown(self.message)}"]
        for label in ("where", "needed", "limit", "hint"):
            value = getattr(self, label)
            if value is not None:
                lines.append(f"  {label}: {shown(value)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same five parts for `--json`."""
        parts = {"where": self.where, "needed": self.needed, "limit": self.limit, "hint": self.hint}
        given = {key: shown(value) for key, value in parts.items() if value is not None}
        return {"code": self.code, "message": shown(self.message), **given}


def _again(kind: type[SnnhwError], parts: dict[str, Any]) -> SnnhwError:
    error = kind.__new__(kind, parts["message"])
    vars(error).update(parts)
    return error


def shown(value: Any) -> str:
    """One part of a message: bounded, as names in a file can be megabytes long, and no line of it looks like a part."""
    text = str(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
    return printable(text).replace("\n", "\n    ")


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean 'X'?", or nothing where no known name is like this one."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=1)
    return f"did you mean {found[0]!r}?" if found else ""


def printable(text: str) -> str:
    """Text as a terminal, a page or a picture can take it.

    Control characters, escapes and marks that turn the direction of writing, which a name in a file may hold, are
    shown as Python writes them; line ends and tabs stay.
    """
    if text.isprintable():
        return text
    plain = (c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" for c in text)
    return "".join(c if ok else c.encode("unicode_escape").decode() for c, ok in zip(text, plain, strict=True))


class StreamLostError(Exception):
    """Standard output took no more; its cause is the system's error."""


class Plain:
    """A text stream that writes `printable` text only, in its own encoding, and is never a terminal.

    Args:
        styled: for a writer that styles text itself and has made it printable: nothing is changed.

    Raises:
        StreamLostError: where the stream fails, so that it is not taken for another file's failure.
    """

    def __init__(self, stream: TextIO, styled: bool = False) -> None:
        self.stream, self.plain = stream, not styled
        self.encoding, self.errors = stream.encoding or "utf-8", "backslashreplace"

    def write(self, text: str) -> int:
        """The text's length, whatever it was written as."""
        said = printable(text).encode(self.encoding, self.errors).decode(self.encoding) if self.plain else text
        try:
            self.stream.write(said)
        except OSError as error:
            raise StreamLostError from error
        return len(text)

    def flush(self) -> None:
        """As of the stream."""
        try:
            self.stream.flush()
        except OSError as error:
            raise StreamLostError from error

    def fileno(self) -> int:
        """As of the stream."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Not where only plain text is written, so that nobody tries to write a terminal's escapes."""
        return not self.plain and self.stream.isatty()


class OutOfMemoryError(SnnhwError, MemoryError):
    """This machine has too little memory; a MemoryError too."""


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
