"""`--trust-pickle`: the only door through which code from a file runs.

A pickle can name any function that Python can import, and unpickling calls it: whoever wrote the file can do whatever
the user can. So this reader is used only where the user asks for it by name, and only for files that the restricted
reader refuses because they hold more than numbers: whole pickled modules, mostly.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnhw.errors import SourceError
from snnhw.frontends.live_module import load_module
from snnhw.frontends.official.keys import PLACES
from snnhw.frontends.options import SourceOptions, checked, flag_of
from snnhw.frontends.restricted import UNSAFE, read_restricted, unreadable
from snnhw.frontends.source import Source
from snnhw.limits import require_sample
from snnhw.semantics import to_metadata

ASKED = ("steps", "input_shape", "encoding", "readout")
"""Flags that a live module takes: it says nothing of its input."""

SAMPLES_FIRST = {"sinabs", "Rockpool"}
"""Frameworks whose modules take (N, T, ...); the others take (T, N, ...)."""

SAMPLES, RATE = 2, 0.5
"""Samples and spike rate of the run in which the module is read."""


def read_checkpoint(path: Path, options: SourceOptions) -> tuple[Any, bool]:
    """What a torch file holds, and whether its code was run: only if it must and `options.trust_pickle` allows it."""
    try:
        return read_restricted(path), False
    except SourceError as error:
        if error.code != UNSAFE or not options.trust_pickle:
            raise
    return _unpickled(path), True


def module_in(content: Any) -> nn.Module | None:
    """The module that a file is, or holds where training scripts put it; None for tensors alone."""
    held = [content, *(content.get(place) for place in PLACES)] if isinstance(content, dict) else [content]
    return next((found for found in held if isinstance(found, nn.Module)), None)


def load_module_file(module: nn.Module, path: Path, options: SourceOptions) -> Source:
    """A pickled module as a live one; T and its input's shape are flags, since a module does not say them."""
    for name in ("steps", "input_shape"):
        if options.said(name) is None:
            raise SourceError(
                "needs-flag",
                f"the file holds a pickled {type(module).__name__}, which does not say "
                + ("T" if name == "steps" else "the shape of its input"),
                where=path.name,
                needed=flag_of(name),
                hint=f"give {flag_of(name)} (in Python: options=snnhw.SourceOptions({name}=...))",
            )
    said = {name: checked(name, value, "flag") for name in ASKED if (value := options.said(name)) is not None}
    require_sample(said["steps"], said["input_shape"], path.name)
    encoding = said.get("encoding", "spikes")
    source = _read(module, path.name, said["steps"], said["input_shape"], encoding)
    return described(source, said, {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def described(source: Source, said: Mapping[str, Any], origin: Mapping[str, Any]) -> Source:
    """A live module's source with what flags say of it, and where it is from."""
    changes = {name: value for name, value in said.items() if name in ("encoding", "readout")}
    deployment = replace(source.deployment, **changes)
    source.graph.metadata = to_metadata(source.semantics, deployment)
    flags = {name: {"value": _plain(value), "from": "flag"} for name, value in said.items()}
    return replace(source, deployment=deployment, origin={**source.origin, **origin, "flags": flags})


def _read(module: nn.Module, where: str, steps: int, input_shape: tuple[int, ...], encoding: str) -> Source:
    """The module, run on random samples in the order of axes that its framework has, or without time if it loops."""
    from snnhw.frontends.live.registry import frameworks

    whole = (SAMPLES, steps) if set(frameworks(module)) & SAMPLES_FIRST else (steps, SAMPLES)
    errors, other = [], None
    for lead in (whole, (SAMPLES,)):
        values = torch.rand(*lead, *input_shape, generator=torch.Generator().manual_seed(0))
        try:
            source = load_module(module, values if encoding == "direct" or lead != whole else (values < RATE).float())
        except SourceError as error:
            errors.append(error)
            continue
        other = source.deployment
        if (other.steps, other.input_shape) == (steps, input_shape):
            return source
    if other is None:
        raise errors[0]
    raise SourceError(
        "flag-contradicts",
        "the pickled module does not take samples of this T and shape",
        where=where,
        needed=f"--steps {steps} --input-shape {','.join(map(str, input_shape))}",
        limit=f"T = {other.steps}, shape {','.join(map(str, other.input_shape))}",
        hint="give the T and the shape of one step of a sample that it was trained on",
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _unpickled(path: Path) -> Any:
    """Runs what the file asks for."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise SourceError(
            "missing-class",
            f"the file needs a class that cannot be imported here: {error}",
            where=path.name,
            hint="install the package that defines it, or put your own module's folder on PYTHONPATH",
        ) from error
    except Exception as error:  # whatever the file's code raises
        raise unreadable(path, error) from error
