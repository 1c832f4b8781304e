"""`FILE.py:NAME`: a live module named on the command line.

The file is a program and is run, with all rights of the user: only where `--trust-code` allows it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from snnhw.data import load_samples
from snnhw.errors import SourceError
from snnhw.frontends.live_module import load_module
from snnhw.frontends.official.keys import weights_in
from snnhw.frontends.options import SourceOptions, checked, code_file
from snnhw.frontends.restricted import read_restricted
from snnhw.frontends.source import Source
from snnhw.frontends.trusted import described
from snnhw.limits import is_file


def load_code(path: Path, options: SourceOptions) -> Source:
    """The module that `FILE.py:NAME` names, in eval mode, read on the example.

    NAME is a module, or a class or function that gives one when called without arguments.

    Args:
        options: `example` (an .npz with `x`: what forward takes) is needed; `weights` is a state dict.

    Raises:
        SourceError: the file may not run, or fails; it has no such name; weights that do not fit; as `load_module`.
    """
    file, name = code_file(path)
    if not options.trust_code:
        raise SourceError(
            "unsafe-code",
            "the file is a program: reading the module runs it, and nothing was run",
            where=file.name,
            limit="--trust-code",
            hint="give --trust-code if you trust whoever wrote it: it runs with all your rights",
        )
    if name is None or options.example is None:
        what, flag = ("what its forward takes", "--example") if name else ("which class of the file", "FILE.py:NAME")
        raise SourceError(
            "needs-flag",
            f"nothing says {what}",
            where=file.name,
            needed=flag,
            hint="snnhw compile FILE.py:NAME --example DATA.npz --trust-code (the array x: what forward takes)",
        )
    module = _made(_run(file), name, file.name)
    if options.weights is not None:
        _load(module, Path(options.weights))
    module.eval()
    said = {
        key: checked(key, value, "flag") for key in ("steps", "encoding", "readout") if (value := options.said(key))
    }
    source = load_module(module, load_samples(options.example).held, steps=said.get("steps"))
    return described(source, said, {"file": file.name, "sha256": _digest(file), "trusted_code": True})


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(file: Path) -> ModuleType:
    """The file, run as Python runs a script: what stands beside it can be imported."""
    spec = importlib.util.spec_from_file_location(f"snnhw_code_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[spec.name] = code  # dataclasses and pickle look there
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no part of a command's answer
            spec.loader.exec_module(code)
    except (Exception, SystemExit) as error:  # whatever the file's code raises
        raise _failed(file.name, "running the file", error) from error
    finally:
        sys.path.remove(folder)
    return code


def _made(code: ModuleType, name: str, where: str) -> nn.Module:
    found: Any = getattr(code, name, None)
    if callable(found) and not isinstance(found, nn.Module):
        try:
            found = found()
        except Exception as error:
            raise _failed(where, f"calling {name}() without arguments", error) from error
    if isinstance(found, nn.Module):
        return found
    there = [key for key, value in vars(code).items() if isinstance(value, type) and issubclass(value, nn.Module)]
    raise SourceError(
        "no-module",
        f"{name} is no torch module, and gives none",
        where=where,
        needed=type(found).__name__,
        limit=", ".join(key for key in there if vars(code)[key].__module__ == code.__name__) or "torch.nn.Module",
        hint="name a class, a function without arguments that returns the module, or the module itself",
    )


def _load(module: nn.Module, path: Path) -> None:
    if not is_file(path):
        raise SourceError("no-such-file", "there is no such file", where=str(path))
    _, state = weights_in(read_restricted(path), path.name)
    if all(key.startswith("module.") for key in state):  # of DataParallel
        state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise SourceError(
            "weights-mismatch",
            "the weights do not fit the module",
            where=path.name,
            needed=" ".join(str(error).split())[:400],
            hint="give the state dict of this class",
        ) from None


def _failed(where: str, what: str, error: BaseException) -> SourceError:
    return SourceError(
        "code-failed",
        f"{what} raised {type(error).__name__}: {error}",
        where=where,
        hint="see that it runs by itself: python FILE.py; a function without arguments can make the module",
    )
