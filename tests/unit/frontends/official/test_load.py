"""Published checkpoints: layouts to networks, values to their sources, and what is refused."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.check import check_import
from snnhw.frontends.official.answers import Answers
from snnhw.frontends.official.event import is_event, read_event
from snnhw.frontends.official.keys import args_of, find_keys
from snnhw.frontends.official.resnet import DEPTHS, is_resnet, read_resnet
from snnhw.frontends.official.tdbn import is_tdbn, read_tdbn
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.source import Source
from snnhw.zoo.event_net import SevenBNet, WideSevenBNet
from snnhw.zoo.registry import build
from tests.unit.frontends.official.files import (
    SEVEN_B,
    SMALL,
    WIDE,
    State,
    event_net,
    imagenet_file,
    resnet,
    stbp,
    tdbn_resnet,
)

IMAGE = (3, 32, 32)
FRAMES = (2, 8, 8)


def loaded(folder: Path, content: Any, name: str = "net.pth", **flags: Any) -> Source:
    torch.save(content, folder / name)
    return load_source(folder / name, SourceOptions(**flags))


def refused(folder: Path, content: Any, **flags: Any) -> str:
    with pytest.raises(SnnhwError) as caught:
        loaded(folder, content, **flags)
    return str(caught.value)


def row(source: Source, name: str) -> dict[str, Any]:
    found: dict[str, Any] = source.origin["flags"][name]
    return found


def said(source: Source, name: str) -> tuple[Any, str]:
    return row(source, name)["value"], row(source, name)["from"]


def same_weights(one: Source, other: Source) -> bool:
    assert one.module is not None
    assert other.module is not None
    a, b = one.module.state_dict(), other.module.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("family", ["sew", "spiking"])
def test_old_and_new_layout_are_one_network(family: str, tmp_path: Path) -> None:
    old, new = (loaded(tmp_path, imagenet_file(resnet(k, family)), input_shape=IMAGE) for k in ("old", "new"))
    assert same_weights(old, new)
    assert (old.origin["layout"], new.origin["layout"]) == (["old containers"], [])
    assert old.origin["architecture"] == {"sew": "SEW ResNet-18", "spiking": "Spiking ResNet-18"}[family]
    assert old.origin["args_model"] == "spiking_resnet18"  # a name that both have in the authors' logs
    assert (old.deployment.steps, old.deployment.encoding, old.deployment.readout) == (4, "direct", "mean")
    check = check_import(old, torch.randn(1, 4, *IMAGE).double().numpy())
    assert check.different == 0


def test_where_each_value_comes_from(tmp_path: Path) -> None:
    source = loaded(tmp_path, imagenet_file(resnet()), input_shape=IMAGE, threshold=0.9)
    assert said(source, "connect") == ("ADD", "args")  # 'add' in the file
    assert said(source, "steps") == (4, "args")
    assert said(source, "threshold") == (0.9, "flag")
    assert said(source, "architecture") == ("sew_resnet", "keys")
    assert row(source, "neuron") == {"value": "if", "from": "assumed", "note": "the SEW ResNet authors' code"}
    assert source.origin["weights"] == "model"


def test_a_flag_wins_over_args_and_that_is_noted(tmp_path: Path) -> None:
    source = loaded(tmp_path, imagenet_file(resnet()), input_shape=IMAGE, connect="IAND", steps=2)
    assert row(source, "connect") == {"value": "IAND", "from": "flag", "note": "args say add"}
    assert row(source, "steps") == {"value": 2, "from": "flag", "note": "args say 4"}
    assert source.deployment.steps == 2
    unread = imagenet_file(resnet(), T="four", connect_f="XOR")
    assert loaded(tmp_path, unread, input_shape=IMAGE, connect="AND", steps=2).deployment.steps == 2


def test_ddp_prefix(tmp_path: Path) -> None:
    wrapped = {f"module.{key}": value for key, value in resnet().items()}
    one = loaded(tmp_path, {"state_dict": wrapped}, input_shape=IMAGE, connect="ADD", steps=4)
    assert one.origin["layout"] == ["DDP prefix", "old containers"]
    assert same_weights(one, loaded(tmp_path, imagenet_file(resnet("new")), input_shape=IMAGE))


@pytest.mark.parametrize("family", ["sew", "spiking"])
def test_spikingjellys_keys(family: str, tmp_path: Path) -> None:
    """The same numbers under other names; SEW's and Spiking ResNet's names are the same there."""
    state, flags = resnet("jelly", family), {"input_shape": IMAGE, "steps": 4}
    text = refused(tmp_path, state, **flags)
    assert text.startswith("needs-flag: the file does not say whether it is a sew_resnet or a spiking_resnet")
    assert "needed: --architecture" in text
    extra = {"connect": "ADD"} if family == "sew" else {"architecture": "spiking_resnet"}
    source = loaded(tmp_path, state, **flags, **extra)
    assert source.origin["architecture"].startswith("SEW" if family == "sew" else "Spiking")
    assert same_weights(source, loaded(tmp_path, imagenet_file(resnet("new", family)), input_shape=IMAGE))


def test_spikingjellys_bottleneck_swaps_iand(tmp_path: Path) -> None:
    state = resnet("jelly", counts=(3, 4, 6, 3), bottleneck=True, width=2)
    flags = {"input_shape": IMAGE, "steps": 1}
    text = refused(tmp_path, state, connect="IAND", **flags)
    assert text.startswith("unsupported-connect: SpikingJelly's bottleneck computes IAND with its operands swapped")
    assert loaded(tmp_path, state, connect="ADD", **flags).origin["architecture"].startswith("SEW ResNet-50")


@pytest.mark.parametrize("layout", ["new", "jelly"])
def test_plif_is_told_by_its_weights(layout: str, tmp_path: Path) -> None:
    flags = {"input_shape": IMAGE, "steps": 2, "connect": "ADD"}
    source = loaded(tmp_path, resnet(layout, plif=True), **flags)
    assert said(source, "neuron") == ("plif", "keys")
    assert source.module is not None
    assert float(source.module.state_dict()["layer2.0.sn1.w"]) == pytest.approx(0.3)
    text = refused(tmp_path, resnet(layout, plif=True), neuron="if", **flags)
    assert text.startswith("flag-contradicts: --neuron contradicts the file's keys and shapes")
    assert "limit: the keys say plif" in text
    assert "limit: the keys say if or lif" in refused(tmp_path, resnet(layout), neuron="plif", **flags)


def test_lif_with_a_decay(tmp_path: Path) -> None:
    source = loaded(tmp_path, imagenet_file(resnet()), input_shape=IMAGE, neuron="lif", decay=0.75)
    decays = {round(m.decay, 9) for m in source.module.modules() if hasattr(m, "decay")}  # type: ignore[union-attr]
    assert decays == {0.75}


def keys_of(state: State) -> Any:
    return find_keys(state, "net.pth")


def parameters_of(state: State) -> int:
    """Buffers of BatchNorm are no parameters."""
    return sum(v.numel() for key, v in state.items() if not key.endswith(("mean", "var", "tracked")))


def answers(**flags: Any) -> Answers:
    return Answers(SourceOptions(**flags), {}, "net.pth")


@pytest.mark.parametrize(("bottleneck", "counts", "depth"), [(*key, depth) for key, depth in DEPTHS.items()])
@pytest.mark.parametrize("family", ["sew", "spiking"])
def test_depths(bottleneck: bool, counts: tuple[int, ...], depth: int, family: str) -> None:
    """Narrow ones, so that 152 layers are small; the keys do not depend on the width."""
    state = resnet("old", family, counts, bottleneck, width=2, classes=7)
    keys = keys_of(state)
    assert is_resnet(keys)
    found = read_resnet(keys, answers(steps=4, **({"connect": "ADD"} if family == "sew" else {})))
    assert found.architecture == f"{'SEW' if family == 'sew' else 'Spiking'} ResNet-{depth}"
    assert (found.config["classes"], found.config["in_channels"], found.config["width"]) == (7, 3, 2)
    assert found.deployment.input_shape == (3, 224, 224)
    with torch.device("meta"):
        ours = build(found.kind, found.config).state_dict()
    assert ours.keys() == keys.state.keys()
    assert all(ours[key].shape == keys.state[key].shape for key in ours)


def test_blocks_of_no_known_depth(tmp_path: Path) -> None:
    text = refused(tmp_path, imagenet_file(resnet(counts=(1, 2, 1, 1))), input_shape=IMAGE)
    assert text.startswith("unknown-architecture: no ResNet of the published code has these blocks")
    assert "needed: (1, 2, 1, 1) basic blocks" in text


@pytest.mark.parametrize("old", [True, False])
def test_seven_b_net(old: bool) -> None:
    keys = keys_of(event_net(SEVEN_B, 11, 32, old=old))
    assert is_event(keys)
    assert parameters_of(keys.state) == 130_426
    found = read_event(keys, Answers(SourceOptions(), {"T": 16, "connect_f": "add"}, "net.pth"))
    assert found.architecture == "7B-Net (sew_resnet)"
    assert (found.deployment.steps, found.deployment.encoding, found.deployment.readout) == (16, "spikes", "mean")
    assert build(found.kind, found.config).state_dict().keys() == SevenBNet().state_dict().keys() == keys.state.keys()


def test_wide_seven_b_net() -> None:
    keys = keys_of(event_net(WIDE, 10, 128))
    assert "conv.9.0.0.weight" in keys.state  # the second 1x1 convolution
    found = read_event(keys, Answers(SourceOptions(steps=16), {"cnf": "ADD"}, "net.pth"))
    assert found.architecture == "Wide-7B-Net (sew_resnet)"
    ours = build(found.kind, found.config).state_dict()
    assert ours.keys() == WideSevenBNet().state_dict().keys() == keys.state.keys()
    assert parameters_of(ours) == 1_192_218


def test_event_families(tmp_path: Path) -> None:
    flags = {"input_shape": FRAMES, "steps": 2}
    sew = {"net": event_net(SMALL, 10, 16)}
    basic = loaded(tmp_path, {"net": event_net(SMALL, 10, 16, "basic")}, **flags)
    assert said(basic, "architecture") == ("spiking_resnet", "keys")
    assert "connect" not in basic.origin["flags"]
    assert said(loaded(tmp_path, sew, connect="AND", **flags), "architecture") == ("sew_resnet", "connect")
    plain = loaded(tmp_path, {**sew, "args": Namespace(model="PlainNet", connect_f="ADD")}, **flags)
    assert said(plain, "architecture") == ("plain_net", "args")
    assert plain.origin["flags"]["pool"]["from"] == "assumed"
    text = refused(tmp_path, sew, **flags)
    assert text.startswith(
        "needs-flag: the file does not say whether its blocks are SEW blocks (--connect ADD|AND|IAND)"
    )


def test_frames_that_the_linear_does_not_fit(tmp_path: Path) -> None:
    text = refused(tmp_path, {"net": event_net(SMALL, 10, 16)}, steps=2, connect="ADD")
    assert text.startswith("bad-shape: the Linear's width does not fit frames of this size\n")
    assert "hint: give --input-shape C,H,W" in text


@pytest.mark.parametrize(("stem", "parameters"), [(64, 12_630_858), (128, 12_697_994)])
def test_resnet19(stem: int, parameters: int) -> None:
    keys = keys_of(tdbn_resnet(stem, (128, 256, 512), (3, 3, 2), hidden=256))
    assert is_tdbn(keys)
    assert parameters_of(keys.state) == parameters
    found = read_tdbn(keys, answers(steps=2, threshold=0.2))
    assert found.architecture == "tdBN ResNet-19"
    assert (found.config["stem"], found.config["channels"], found.config["blocks"]) == (
        stem,
        [128, 256, 512],
        [3, 3, 2],
    )
    assert found.deployment.input_shape == (3, 32, 32)
    with torch.device("meta"):
        ours = build(found.kind, found.config).state_dict()
    assert {found.file_key(key) for key in ours} == keys.state.keys()


def test_tdbn_aliases_change_nothing(tmp_path: Path) -> None:
    flags = {"steps": 2, "threshold": 0.2, "input_shape": (3, 8, 8)}
    one = loaded(tmp_path, tdbn_resnet(), **flags)
    other = loaded(tmp_path, tdbn_resnet(aliased=False), **flags)
    assert (one.origin["layout"], other.origin["layout"]) == (["tdBN aliases"], [])
    assert one.origin["weights"] == "the file itself"
    assert same_weights(one, other)
    assert said(one, "tdbn_dialect") == ("forward", "assumed")
    assert said(one, "decay") == (0.25, "assumed")


def test_tdbn_aliases_that_differ(tmp_path: Path) -> None:
    state = tdbn_resnet()
    state["layer1.0.conv2_s.bn.weight"] = state["layer1.0.bn2.weight"] + 1
    text = refused(tmp_path, state, steps=2, threshold=0.2)
    assert text.startswith("aliases-differ: two keys name one weight and hold different numbers")
    assert "layer1.0.conv2_s.bn.weight" in text


def test_tdbn_threshold_and_steps_are_asked_for(tmp_path: Path) -> None:
    text = refused(tmp_path, tdbn_resnet(), steps=2)
    assert text.startswith("needs-flag: the file does not say Vth, of which published codes have .2, .4 and .5")
    assert "needed: --threshold" in text
    assert "needed: --steps" in refused(tmp_path, tdbn_resnet(), threshold=0.2)
    assert "needed: --alpha" in refused(tmp_path, tdbn_resnet(), threshold=0.2, steps=2, tdbn_dialect="init", alpha=0.5)


def test_stbp_t7(tmp_path: Path) -> None:
    torch.save(stbp(), tmp_path / "net.t7", _use_new_zipfile_serialization=False)
    source = load_source(tmp_path / "net.t7")
    assert source.origin["architecture"] == "STBP SCNN"
    assert source.origin["weights"] == "net"
    assert {name: (r["value"], r["from"]) for name, r in source.origin["flags"].items()} == {
        "decay": (0.2, "assumed"),
        "encoding": ("bernoulli", "assumed"),
        "input_shape": ([1, 28, 28], "assumed"),
        "readout": ("rate", "assumed"),
        "steps": (20, "assumed"),
        "threshold": (0.5, "assumed"),
    }
    assert said(load_source(tmp_path / "net.t7", SourceOptions(threshold=0.4)), "threshold") == (0.4, "flag")


def test_flags_that_mean_nothing() -> None:
    wrong: list[dict[str, Any]] = [
        *({"steps": n} for n in (0, 2.5, True)),
        *({"threshold": v} for v in (0.0, float("nan"), "high")),
        *({"decay": v} for v in (1.0, -0.1)),
        *({"input_shape": s} for s in ((3, 32, 32, 1), (3, 0, 32), 3)),
    ]
    for flags in wrong:
        with pytest.raises(SnnhwError, match=r"bad-flag: --\S+ has a value it cannot have"):
            answers(**flags).ask(next(iter(flags)), assumed=1)


def test_args_as_a_dictionary() -> None:
    assert args_of({"args": {"T": 4}}) == {"T": 4}
    assert args_of({"args": Namespace(T=4)}) == {"T": 4}
    assert args_of({"args": [1]}) == args_of({}) == {}
    assert args_of({"args": Namespace(T=((1, 1), (1, 1)), amp=None)}) == {"amp": None}  # containers can be bombs


def test_counts_of_batches_may_lack(tmp_path: Path) -> None:
    state = {key: value for key, value in resnet().items() if not key.endswith("num_batches_tracked")}
    assert loaded(tmp_path, imagenet_file(state), input_shape=IMAGE).origin["architecture"] == "SEW ResNet-18"


def test_half_precision_is_taken_exactly(tmp_path: Path) -> None:
    halves = {key: value.half() if value.is_floating_point() else value for key, value in resnet().items()}
    source = loaded(tmp_path, imagenet_file(halves), input_shape=IMAGE)
    assert source.module is not None
    weight = source.module.state_dict()["fc.weight"]
    assert torch.equal(weight, halves["fc.weight"].double())


def test_flags_of_an_earlier_compilation_are_remembered(tmp_path: Path) -> None:
    first = loaded(tmp_path, tdbn_resnet(), steps=3, threshold=0.4, input_shape=(3, 8, 8))
    again = load_source(tmp_path / "net.pth", SourceOptions(threshold=0.3).remembering(first.origin))
    assert (said(again, "threshold"), said(again, "steps")) == ((0.3, "flag"), (3, "flag"))
    assert again.deployment.input_shape == (3, 8, 8)
    assert SourceOptions().remembering({"flags": {"steps": 3}}).remembered == {}
