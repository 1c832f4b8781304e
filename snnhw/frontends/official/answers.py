"""Questions that a published checkpoint leaves open: who answered each, so that nothing is assumed in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnhw.errors import SourceError
from snnhw.frontends.options import SourceOptions, checked, flag_of, refuse_unused


class Answers:
    """Flag, then the file's `args`, then the published code's default; never a guess beyond that.

    Args:
        options: flags.
        args: the training script's arguments, if the file holds them.
        where: file name, for messages.
    """

    def __init__(self, options: SourceOptions, args: Mapping[str, Any], where: str) -> None:
        self._options, self._args, self._where = options, args, where
        self._rows: dict[str, dict[str, Any]] = {}
        self._constants: dict[str, dict[str, Any]] = {}

    def ask(
        self,
        name: str,
        *,
        args: tuple[str, ...] = (),
        assumed: Any = None,
        among: tuple[str, ...] = (),
        why: str = "",
    ) -> Any:
        """The value of one option.

        Args:
            name: field of SourceOptions.
            args: names it has in training scripts.
            assumed: what the published code fixes; None: it fixes nothing, so the user must say it.
            among: of all choices, those that these keys leave.
            why: for the message, where nobody answers: what is open; else: whose default it is.

        Raises:
            SourceError: nobody says it, or the value means nothing.
        """
        flag = self._flag(name)
        said = next((self._args[a] for a in args if self._args.get(a) is not None), None)
        if flag is not None:
            row = {"value": checked(name, flag, "flag"), "from": "flag"}
            if said is not None and str(said).lower() != str(row["value"]).lower():
                row["note"] = f"args say {said}"
        elif said is not None:
            row = {"value": checked(name, said, "args"), "from": "args"}
        elif assumed is not None:
            row = {"value": checked(name, assumed, "flag"), "from": "assumed", "note": why}
        else:
            raise SourceError(
                "needs-flag",
                f"the file does not say {why}",
                where=self._where,
                needed=flag_of(name),
                hint=f"give {flag_of(name)} (in Python: options=snnhw.SourceOptions({name}=...))",
            )
        if among and row["value"] not in among:
            raise self._contradiction(name, row["value"], " or ".join(among))
        self._rows[name] = row
        return row["value"]

    def told(self, name: str, value: Any, by: str = "keys") -> Any:
        """A value that the keys or shapes themselves say; a flag may repeat it but not deny it."""
        flag = self._options.given.get(name)
        if flag is not None and checked(name, flag, "flag") != value:
            raise self._contradiction(name, flag, value)
        self._rows[name] = {"value": value, "from": by}
        return value

    def family(self, among: tuple[str, ...], why: str) -> str:
        """The architecture, where keys leave it open: a flag says it, or a connect function, which only SEW has."""
        connected = self._flag("connect") or self._args.get("connect_f") or self._args.get("cnf")
        if connected and self._flag("architecture") is None:
            return str(self.told("architecture", "sew_resnet", by="connect"))
        return str(self.ask("architecture", among=among, why=why))

    def constant(self, name: str, value: Any, why: str) -> None:
        """Note what was taken from published code and no flag changes."""
        self._constants[name] = {"value": value, "from": "assumed", "note": why}

    def flagged(self, name: str) -> bool:
        """Whether a flag answers it."""
        return self._flag(name) is not None

    def arg(self, name: str) -> Any:
        """One of the training script's arguments, or None."""
        return self._args.get(name)

    def image(self, channels: int, assumed: tuple[int, int] | None, why: str) -> tuple[int, ...]:
        """C, H, W: C as in the keys; H = W from the flag or as the published code has it."""
        whole = None if assumed is None else (channels, *assumed)
        shape: tuple[int, ...] = self.ask("input_shape", assumed=whole, why=why)
        if len(shape) != 3 or shape[0] != channels or shape[1] != shape[2]:
            raise SourceError(
                "flag-contradicts",
                "--input-shape does not fit this network",
                where=self._where,
                needed=",".join(map(str, shape)),
                limit=f"C,H,W of {channels} channels (the stem's weights), height = width",
                hint=f"give --input-shape {channels},SIDE,SIDE",
            )
        return shape

    def rows(self, architecture: str) -> dict[str, dict[str, Any]]:
        """Every answer with its source, JSON-able; refuses flags that nobody asked for."""
        asked = ", ".join(map(flag_of, sorted(self._rows)))
        refuse_unused(set(self._options.given) - set(self._rows), self._where, f"{architecture} asks for {asked}")
        return {
            name: {**row, "value": list(row["value"]) if isinstance(row["value"], tuple) else row["value"]}
            for name, row in sorted((self._rows | self._constants).items())
        }

    def _contradiction(self, name: str, flag: Any, limit: Any) -> SourceError:
        return SourceError(
            "flag-contradicts",
            f"{flag_of(name)} contradicts the file's keys and shapes",
            where=self._where,
            needed=f"{flag_of(name)} {flag}",
            limit=f"the keys say {limit}",
            hint="leave the flag out",
        )

    def _flag(self, name: str) -> Any:
        given = getattr(self._options, name)
        return given if given is not None else self._options.remembered.get(name)
