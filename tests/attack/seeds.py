"""Small valid files of every format that is read, and what is read with them."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from snnhw import api
from snnhw.artifact import save
from snnhw.frontends.options import SourceOptions
from snnhw.shipped import shipped_folder
from snnhw.zoo.train import train
from tests.unit.frontends.checkpoints import content, saved
from tests.unit.frontends.foreign import unpacked
from tests.unit.frontends.netx.files import matrix
from tests.unit.frontends.official.files import SMALL, event_net
from tests.unit.frontends.onnx.steps import Layer, Leaky, export

RULES = {
    "dt": 1e-3,
    "reset": "subtract",
    "reset_timing": "next_step",
    "threshold": "ge",
    "multispike": 1,
    "v_min": None,
    "v_init": 0.0,
    "integrator": "euler",
    "current_order": "same_step",
    "nodes": {},
}


def made(folder: Path, kinds: Iterable[str]) -> dict[str, list[Path]]:
    """Seeds of each kind; every file that they are read with (`room`) lies beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.json").write_text(json.dumps(RULES))
    saved(folder / "net.pt", content("stbp_scnn"))
    artifact = api.compile(folder / "net.pt", target="loihi2")
    save(artifact, folder / "net.snnhw")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    np.savez(folder / "data.npz", x=x, y=rng.integers(0, 4, 2))
    np.savez(folder / "images.npz", x=rng.random((2, 1, 6, 6), np.float32))
    unpacked("snntorch", sorted_cases("snntorch")[0], folder)
    makers = {
        "pt": _checkpoints,
        "resume": _resume,
        "snnhw": _artifacts,
        "nir": _graphs,
        "onnx": _onnx,
        "net": _nets,
        "npz": _samples,
        "recording": _recordings,
        "toml": _targets,
        "json": _rules,
    }
    return {kind: makers[kind](folder) for kind in kinds}


def sorted_cases(framework: str) -> list[str]:
    """Names of the stored files of a framework, the smallest first."""
    from tests.unit.frontends.foreign import FILES

    with zipfile.ZipFile(FILES / f"{framework}.zip") as archive:
        found = [(entry.file_size, entry.filename[:-4]) for entry in archive.infolist()]
    return [name for _, name in sorted(pair for pair in found)]


def _checkpoints(folder: Path) -> list[Path]:
    events = saved(folder / "events.pth", event_net(SMALL, 3, 16))
    legacy = folder / "legacy.pt"
    torch.save(content("stbp_scnn"), legacy, _use_new_zipfile_serialization=False)
    return [folder / "net.pt", saved(folder / "sew.pt", content("sew_resnet")), events, legacy]


def _resume(folder: Path) -> list[Path]:
    with contextlib.redirect_stderr(io.StringIO()):
        train("spikeprop_xor", folder / "xor.pt", epochs=1, progress=False)
    return [folder / "xor.pt.resume"]


def _artifacts(folder: Path) -> list[Path]:
    plain = api.compile(folder / "net.pt", target="loihi1")
    save(plain, folder / "one.snnhw")
    save(api.compile(matrix("recurrent", folder / "loop.net"), target="loihi2"), folder / "loop.snnhw")
    return [folder / "net.snnhw", folder / "one.snnhw", folder / "loop.snnhw"]


def _graphs(folder: Path) -> list[Path]:
    from snnhw.frontends import load_source
    from snnhw.frontends.nir.file import write_nir

    write_nir(load_source(folder / "net.pt").graph, folder / "ours.nir")
    found = [folder / "ours.nir"]
    for framework in ("snntorch", "norse", "sinabs"):
        place = folder / framework
        place.mkdir(exist_ok=True)
        path, _, _ = unpacked(framework, sorted_cases(framework)[0], place)
        found.append(path.rename(folder / f"{framework}.nir"))
    return found


def _onnx(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    sizes = {"w": (2, 1, 3, 3), "b": (2,), "m": (3, 32), "n": (3,)}
    held = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in sizes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], strides=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "m", "n"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(n, 1, s) for n, s in (("x", ["N", 1, 6, 6]), ("y", ["N", 3]))]
    graph = helper.make_graph(nodes, "ann", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "ann.onnx")
    torch.manual_seed(0)
    export(Layer(Leaky()), [(6,), (8,)], folder / "step.onnx")
    return [folder / "ann.onnx", folder / "step.onnx"]


def _nets(folder: Path) -> list[Path]:
    names = ("dense", "recurrent", "conv", "synaptic delays", "input neurons")
    return [matrix(name, folder / f"{name.split()[0]}.net") for name in names]


def _samples(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    np.savez_compressed(folder / "packed.npz", x=rng.random((2, 1, 8, 8)), y=np.array([0, 3]), other=np.arange(3))
    parts = {f"x/{name}": rng.integers(0, 2, (2, 12, 4)).astype(np.uint8) for name in "ab"}
    np.savez(folder / "parts.npz", **parts, y=np.array([0, 1]))
    save(api.compile(matrix("dense", folder / "flat.net"), target="loihi2"), folder / "flat.snnhw")
    return [folder / "data.npz", folder / "packed.npz", folder / "parts.npz"]


def _recordings(folder: Path) -> list[Path]:
    artifact, x = api.load(folder / "net.snnhw"), np.load(folder / "data.npz")["x"]
    np.savez(folder / "run.npz", **api.run(artifact, x[:1], record="state"))
    return [folder / "run.npz"]


def _targets(folder: Path) -> list[Path]:
    found = []
    for name in ("loihi1", "loihi2"):
        found.append(folder / f"{name}.toml")
        found[-1].write_bytes((shipped_folder("targets") / found[-1].name).read_bytes())
    return found


def _rules(folder: Path) -> list[Path]:
    full = RULES | {"time_layout": "TNC", "v_min": -1.0, "multispike": "off"}
    (folder / "full.json").write_text(json.dumps(full))
    return [folder / "rules.json", folder / "full.json"]


OPTIONS = {
    "ann.onnx": SourceOptions(steps=4),
    "step.onnx": SourceOptions(steps=4),
    "events.pth": SourceOptions(steps=2, input_shape=(2, 8, 8), connect="ADD"),
    "snntorch.nir": SourceOptions(steps=4, dialect="snntorch"),
    "norse.nir": SourceOptions(steps=4, dialect="norse"),
    "sinabs.nir": SourceOptions(steps=4, dialect="sinabs"),
}
"""What a seed does not say itself."""
