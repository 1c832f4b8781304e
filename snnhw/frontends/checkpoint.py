"""Checkpoints of `snnhw train`: checked key by key, then imported as a module."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends.live.load import import_module as read_module
from snnhw.frontends.source import Source
from snnhw.limits import require_sample
from snnhw.network import Array
from snnhw.semantics import PLAIN, Deployment, Semantics
from snnhw.zoo import checkpoint as zoo
from snnhw.zoo.registry import build

DT = 1e-4
"""Seconds per step written into NIR: what snnTorch and SpikingJelly write too. Spikes do not depend on it."""

DEFAULT = Semantics(**{**PLAIN, "dt": DT, "v_init": "v_reset"})
"""Semantics of the zoo's neurons; comparison and reset are stated per node where they differ."""


def load_checkpoint(content: Mapping[str, Any], path: Path) -> Source:
    """Rebuild, check and import what was read from a file; raises SourceError naming the key or layer."""
    if content.get("format") != zoo.FORMAT or content.get("version") != zoo.VERSION:
        raise SourceError(
            "bad-checkpoint",
            "the checkpoint has another format or version",
            where=path.name,
            needed=f"format {content.get('format')!r}, version {content.get('version')!r}",
            limit=f"format {zoo.FORMAT!r}, version {zoo.VERSION}",
            hint="train it again with this snnhw",
        )
    deployment = _deployment(content, path.name)
    require_sample(deployment.steps, deployment.input_shape, path.name)
    module = _module(content, path.name)
    origin = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "recipe": str(content.get("recipe", "")),
        "seed": content.get("seed", 0),
        "epoch": content.get("epoch", 0),
    }
    source = import_module(module, deployment, DEFAULT)
    return replace(source, origin=origin, calibration=_calibration(content, path.name))


def _calibration(content: Mapping[str, Any], where: str) -> Array | None:
    """Training samples inside the checkpoint, if there are any."""
    try:
        samples = None if content.get("calibration") is None else np.asarray(content["calibration"]["x"])
        return samples if samples is not None and len(samples) else None
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            "bad-checkpoint", f"the checkpoint's calibration samples cannot be read: {error!r}", where=where
        ) from None


def import_module(module: nn.Module, deployment: Deployment, semantics: Semantics = DEFAULT) -> Source:
    """A live module of snnhw.zoo that takes (T, N, *input shape); it is copied to float64."""
    return read_module(module, deployment, semantics)


def _deployment(content: Mapping[str, Any], where: str) -> Deployment:
    try:
        deploy = content["deploy"]
        return Deployment(
            steps=int(deploy["steps"]),
            encoding=str(deploy["encoding"]),
            input_shape=tuple(map(int, deploy["input_shape"])),
            readout=str(deploy["readout"]),
            preprocessing=str(deploy["preprocessing"]),
            seed=int(deploy.get("seed", 0)),
        )
    except SourceError as error:
        error.where = f"{where}: deploy"
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SourceError(
            "bad-checkpoint", f"the checkpoint's 'deploy' part is incomplete: {error!r}", where=where
        ) from None


def _module(content: Mapping[str, Any], where: str) -> nn.Module:
    try:
        kind, config, state = content["network"]["kind"], dict(content["network"]["config"]), dict(content["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            "bad-checkpoint", f"the checkpoint lacks {error}", where=where, hint="train it again"
        ) from None
    hint = "the file is damaged or its 'network' part names another architecture"
    with require_buildable(where, len(state)), torch.device("meta"):
        check_keys(build(kind, config).state_dict(), state, where, hint)  # before memory is taken for it
    with require_buildable(where, len(state)):
        module = build(kind, config)
    module.load_state_dict(state)
    return module


@contextmanager
def require_buildable(where: str, weights: int) -> Iterator[None]:
    """A refusal where torch cannot build a network of such arguments, or where it has far more than so many weights."""
    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
        if made > 4 * weights + 100:  # arguments of a hostile file can ask for millions of layers
            raise SourceError(
                "bad-keys",
                "the weights do not belong to the network: it has many more",
                where=where,
                needed=f"{weights} weights",
                hint="the file is damaged or its 'network' part names another architecture",
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except SnnhwError as error:
        if not str(error.where or "").startswith(where):
            error.where = f"{where}: {error.where}" if error.where else where
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
        raise SourceError(
            "bad-checkpoint", f"no network can be built from the checkpoint's configuration: {error}", where=where
        ) from None
    finally:
        handle.remove()


def check_keys(expected: Mapping[str, Tensor], found: Mapping[str, Any], where: str, hint: str) -> None:
    """Same keys, same shapes, finite numbers; raises SourceError naming those that are not."""
    missing = sorted(set(expected) - set(found))
    unknown = sorted(set(found) - set(expected), key=str)
    if missing or unknown:
        parts = [f"{len(missing)} missing ({_some(missing)})"] * bool(missing) + [
            f"{len(unknown)} unknown ({_some(unknown)})"
        ] * bool(unknown)
        raise SourceError(
            "bad-keys",
            "the weights do not belong to the network: " + ", ".join(parts),
            where=where,
            hint=hint,
        )
    for key, want in expected.items():
        have = found[key]
        if not isinstance(have, Tensor) or have.shape != want.shape:
            got = tuple(have.shape) if isinstance(have, Tensor) else type(have).__name__
            raise SourceError(
                "bad-shape",
                "a weight has the wrong shape",
                where=f"{where}: {key}",
                needed=tuple(want.shape),
                limit=f"got {got}",
            )
        if have.is_floating_point() and not torch.isfinite(have).all():
            bad = int((~torch.isfinite(have)).sum())
            raise SourceError(
                "not-finite",
                f"{bad} values are NaN or infinite",
                where=f"{where}: {key}",
                limit="finite numbers",
                hint="retrain or repair the checkpoint",
            )


def _some(keys: list[str]) -> str:
    return ", ".join(map(str, keys[:3])) + (", …" if len(keys) > 3 else "")
