"""Checkpoints: read without executing anything, checked key by key, refused word by word."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.check import check_import
from snnhw.zoo.registry import build
from tests.unit.frontends.checkpoints import CONFIGS, content, saved
from tests.unit.frontends.modules import values


def refusal(path: Path, parts: Any) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_source(saved(path / "net.pt", parts))
    return str(caught.value)


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_a_good_one(kind: str, tmp_path: Path) -> None:
    source = load_source(saved(tmp_path / "net.pt", content(kind)))
    assert source.origin["recipe"] == "tiny"
    assert source.calibration is not None
    assert source.calibration.shape == (4, 1, 8, 8)
    check = check_import(source, abs(values(source)))
    assert (check.different, check.samples) == (0, 3)


class Malicious:
    """Runs a shell command where `torch.load` unpickles everything."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_malicious_pickle_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    text = refusal(tmp_path, {**content(), "extra": Malicious(marker)})
    assert not marker.exists()
    assert text.startswith("unsafe-checkpoint: the file holds more than numbers: unpickling it would run code")
    assert "needed: posix.system" in text
    assert "limit: a torch file of tensors, plain containers and argparse.Namespace" in text


def test_a_whole_module(tmp_path: Path) -> None:
    text = refusal(tmp_path, build("stbp_scnn", CONFIGS["stbp_scnn"]))
    assert text.startswith("unsafe-checkpoint: the file holds more than numbers: unpickling it would run code")
    assert "needed: snnhw.zoo.stbp.StbpScnn" in text
    assert "torch.save(model.state_dict(), PATH)" in text


def test_no_dictionary(tmp_path: Path) -> None:
    assert refusal(tmp_path, [1, 2]).startswith("bad-checkpoint: the checkpoint holds no dictionary\n")


def test_arguments_of_millions_of_layers(tmp_path: Path) -> None:
    """Found out before they are built."""
    parts = content("sew_resnet")
    parts["network"]["config"] = {**parts["network"]["config"], "blocks": [10**9, 1]}
    text = refusal(tmp_path, parts)
    assert text.startswith("bad-keys: the weights do not belong to the network: it has many more\n  where: net.pt\n")
    assert f"needed: {len(parts['model'])} weights" in text


def test_an_image_of_negative_size(tmp_path: Path) -> None:
    parts = content()
    parts["deploy"]["input_shape"] = [1, -8, 8]
    assert refusal(tmp_path, parts).startswith(
        "bad-semantics: input_shape has a value it cannot have\n  where: net.pt: deploy\n"
    )


def test_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_text("hello")
    with pytest.raises(SnnhwError, match="bad-checkpoint: the checkpoint cannot be read"):
        load_source(tmp_path / "net.pt")


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_truncated_file(kept: float, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", content())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SnnhwError, match="bad-checkpoint: the checkpoint cannot be read"):
        load_source(path)


def test_a_state_dict_alone(tmp_path: Path) -> None:
    """Our own layers' names without the part that says what they are."""
    text = refusal(tmp_path, content()["model"])
    assert text.startswith("unknown-architecture: the weights' names and shapes belong to no network that is known")


def test_another_version(tmp_path: Path) -> None:
    text = refusal(tmp_path, {**content(), "version": 2})
    assert text.startswith("bad-checkpoint: the checkpoint has another format or version\n")
    assert "limit: format 'snnhw-checkpoint', version 1" in text


def with_weight(key: str, value: Any) -> dict[str, Any]:
    parts = content()
    parts["model"][key] = value
    return parts


def without(*path: str) -> dict[str, Any]:
    parts = content()
    inner = parts
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return parts


def changed(*path: str, to: Any) -> dict[str, Any]:
    parts = content()
    inner = parts
    for key in path[:-1]:
        inner[key] = dict(inner[key])
        inner = inner[key]
    inner[path[-1]] = to
    return parts


REFUSED: list[tuple[str, Callable[[], dict[str, Any]], str]] = [
    (
        "NaN weight",
        lambda: with_weight("conv1.0.weight", torch.full((2, 1, 3, 3), float("nan"))),
        "not-finite: 18 values are NaN or infinite\n"
        "  where: net.pt: conv1.0.weight\n  limit: finite numbers\n  hint: retrain or repair the checkpoint",
    ),
    (
        "missing key",
        lambda: without("model", "fc1.0.bias"),
        "bad-keys: the weights do not belong to the network: 1 missing (fc1.0.bias)\n"
        "  where: net.pt\n"
        "  hint: the file is damaged or its 'network' part names another architecture",
    ),
    (
        "unknown key",
        lambda: with_weight("fc9.weight", torch.ones(1)),
        "bad-keys: the weights do not belong to the network: 1 unknown (fc9.weight)\n",
    ),
    (
        "other architecture",
        lambda: changed("network", to={"kind": "sew_resnet", "config": CONFIGS["sew_resnet"]}),
        "bad-keys: the weights do not belong to the network: 38 missing (fc.0.bias, fc.0.weight, ",
    ),
    (
        "wrong shape",
        lambda: with_weight("fc2.0.bias", torch.ones(5)),
        "bad-shape: a weight has the wrong shape\n  where: net.pt: fc2.0.bias\n  needed: (4,)\n  limit: got (5,)",
    ),
    (
        "no tensor",
        lambda: with_weight("fc2.0.bias", "ones"),
        "bad-shape: a weight has the wrong shape\n  where: net.pt: fc2.0.bias\n  needed: (4,)\n  limit: got str",
    ),
    (
        "unknown network",
        lambda: changed("network", "kind", to="vgg"),
        "unknown-network: no network of that name\n",
    ),
    (
        "unknown argument",
        lambda: changed("network", "config", to={"depth": 3}),
        "bad-network: the network does not take this configuration\n",
    ),
    (
        "argument no layer takes",
        lambda: changed("network", "config", to={"channels": [-1, 3]}),
        "bad-checkpoint: no network can be built from the checkpoint's configuration: ",
    ),
    ("no network", lambda: without("network"), "bad-checkpoint: the checkpoint lacks 'network'\n  where: net.pt\n"),
    ("no weights", lambda: without("model"), "bad-checkpoint: the checkpoint lacks 'model'\n"),
    (
        "no deploy",
        lambda: without("deploy"),
        "bad-checkpoint: the checkpoint's 'deploy' part is incomplete: KeyError('deploy')\n  where: net.pt",
    ),
    (
        "no steps",
        lambda: without("deploy", "steps"),
        "bad-checkpoint: the checkpoint's 'deploy' part is incomplete: KeyError('steps')\n",
    ),
    ("zero steps", lambda: changed("deploy", "steps", to=0), "bad-semantics: steps has a value it cannot have\n"),
    (
        "empty shape",
        lambda: changed("deploy", "input_shape", to=[]),
        "bad-semantics: input_shape has a value it cannot have\n",
    ),
    (
        "calibration without samples",
        lambda: changed("calibration", to={}),
        "bad-checkpoint: the checkpoint's calibration samples cannot be read: KeyError('x')\n  where: net.pt",
    ),
    (
        "shape that no layer takes",
        lambda: changed("deploy", "input_shape", to=[1, 9]),
        "bad-shape: the module does not take the example input: ",
    ),
]


@pytest.mark.parametrize(("parts", "text"), [pytest.param(p, t, id=i) for i, p, t in REFUSED])
def test_refused(parts: Callable[[], dict[str, Any]], text: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, parts()).startswith(text)
