"""Checkpoints as the papers' authors (and SpikingJelly) publish them: architecture from keys and shapes alone.

Nothing is executed. What a file cannot say comes from flags, from the training arguments inside it, or from constants
of the published code; the artifact's `source` says which (docs/checkpoints.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.checkpoint import DEFAULT, check_keys, import_module, require_buildable
from snnhw.frontends.official.answers import Answers
from snnhw.frontends.official.chain import is_chain, read_chain
from snnhw.frontends.official.event import is_event, read_event
from snnhw.frontends.official.found import Found
from snnhw.frontends.official.keys import Keys, args_of, find_keys
from snnhw.frontends.official.resnet import is_resnet, read_resnet
from snnhw.frontends.official.stbp import is_stbp, read_stbp
from snnhw.frontends.official.tdbn import is_tdbn, read_tdbn
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.source import Source
from snnhw.limits import require_sample
from snnhw.tensor_file import SUFFIX
from snnhw.zoo.registry import build

_READERS: tuple[tuple[Callable[[Keys], bool], Callable[[Keys, Answers], Found]], ...] = (
    (is_tdbn, read_tdbn),
    (is_resnet, read_resnet),
    (is_event, read_event),
    (is_stbp, read_stbp),
    (is_chain, read_chain),
)


def load_official(content: Mapping[Any, Any], path: Path, options: SourceOptions) -> Source:
    """A published checkpoint's content as a source; raises SourceError naming the key or the flag."""
    keys = find_keys(content, path.name)
    answers = Answers(options, args_of(content), path.name)
    found = _found(keys, answers, path.name)
    flags = answers.rows(found.architecture)
    require_sample(found.deployment.steps, found.deployment.input_shape, path.name)
    module = _module(keys, found, path.name)
    source = import_module(module, found.deployment, DEFAULT)
    origin = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "architecture": found.architecture,
        "weights": keys.place or "the file itself",
        "layout": list(keys.layout),
        "flags": flags,
    }
    claimed = answers.arg("model")
    return replace(source, origin=origin if claimed is None else {**origin, "args_model": str(claimed)})


def _found(keys: Keys, answers: Answers, where: str) -> Found:
    for matches, read in _READERS:
        if matches(keys):
            try:
                return read(keys, answers)
            except LookupError:
                raise _unknown(keys, where) from None
    raise _unknown(keys, where)


def _unknown(keys: Keys, where: str) -> SourceError:
    read = "safetensors.torch.load_file" if where.endswith(SUFFIX) else "torch.load"
    return SourceError(
        "unknown-architecture",
        "the weights' names and shapes belong to no network that is known here",
        where=where,
        needed=", ".join(f"{key} {tuple(value.shape)}" for key, value in list(keys.state.items())[:4]) + ", …",
        limit="SEW and Spiking ResNet (ImageNet), 7B-Net and Wide-7B-Net, tdBN ResNets, STBP SCNN, "
        "SpikingJelly's PLIF networks, spiking VGGs and MNIST tutorials",
        hint="a state dict of a network of your own needs its class: snnhw compile FILE.py:NAME "
        f"--weights {where} --example DATA.npz --trust-code, or in Python net.load_state_dict({read}({where!r})), "
        "snnhw.compile(net, example, target=...)",
    )


def _module(keys: Keys, found: Found, where: str) -> nn.Module:
    """The zoo's network holding the file's numbers, in float64 so that none is rounded.

    It is built without memory first, so that keys and shapes are checked before anything large is made.
    """
    with require_buildable(where, len(keys.state)), torch.device("meta"):
        module = build(found.kind, found.config)
        found.adjust(module)
    file_keys = {key: found.file_key(key) for key in module.state_dict()}
    expected = {file_keys[key]: value for key, value in module.state_dict().items()}
    state = _completed(expected, {**keys.state, **found.constants})
    check_keys(expected, state, where, f"the keys look like {found.architecture}; these do not fit it")
    module.load_state_dict({key: _exact(state[name]) for key, name in file_keys.items()}, assign=True)
    return module


def _completed(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PLIF's `w` as one number (older SpikingJelly: a list of one); the count of batches, of no use here, may lack."""
    found = dict(state)
    for key, want in expected.items():
        if key not in found and key.endswith(".num_batches_tracked"):
            found[key] = torch.zeros((), dtype=torch.int64)
        elif key in found and key.endswith(".w") and found[key].shape == (1,) and want.shape == ():
            found[key] = found[key].reshape(())
    return found


def _exact(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value
