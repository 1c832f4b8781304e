"""Small valid files of every format that is read, and what is read with them."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file

from snnhw import api
from snnhw.artifact import save
from snnhw.cli import main as snnhw
from snnhw.frontends.options import SourceOptions
from snnhw.shipped import shipped_folder
from snnhw.zoo.checkpoint import write
from snnhw.zoo.event_files import PACKET
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
        "npy": _arrays,
        "h5": _hdf5,
        "shards": _shards,
        "zarr": _zarr,
        "images": _images,
        "part": _parts,
        "words": _words,
        "safetensors": _safetensors,
        "card": _comparisons,
        "recording": _recordings,
        "csv": _measurements,
        "point": _points,
        "weights": _weights,
        "example": _examples,
        "events": _events,
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


def _arrays(folder: Path) -> list[Path]:
    np.save(folder / "x.npy", np.load(folder / "data.npz")["x"])
    return [folder / "x.npy"]


def _hdf5(folder: Path) -> list[Path]:
    content = np.load(folder / "data.npz")
    for name, more in (("plain", {}), ("packed", {"chunks": (1, 1, 8, 8), "compression": "gzip", "fletcher32": True})):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.create_dataset("x", data=content["x"], **more)
            file.create_dataset("y", data=content["y"])
    return [folder / "plain.h5", folder / "packed.h5"]


def _shards(folder: Path) -> list[Path]:
    content = np.load(folder / "data.npz")
    found = [folder / f"{name}.shards" for name in ("stored", "deflated", "arrays")]
    for path in found:
        path.mkdir()
        for i in range(2):
            part = {"x": content["x"][i : i + 1], "y": content["y"][i : i + 1]}
            if path.stem == "arrays":
                for name, array in part.items():
                    np.save(path / f"{name}{i}.npy", array)
            else:
                (np.savez if path.stem == "stored" else np.savez_compressed)(path / f"{i}.npz", **part)
    return found


def _zarr(folder: Path) -> list[Path]:
    import zarr

    content, found = np.load(folder / "data.npz"), []
    for version in (2, 3):
        found.append(folder / f"v{version}.zarr")
        group = zarr.open_group(found[-1], mode="w", zarr_format=version)
        group.create_array("x", data=content["x"], chunks=(1, 1, 8, 8))
        group.create_array("y", data=content["y"])
    return found


def _images(folder: Path) -> list[Path]:
    path = folder / "all.images"
    images = np.load(folder / "data.npz")["x"][:, 0]
    for i, name in enumerate(("a/1.png", "a/2.bmp", "b/1.gif", "b/2.tif")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i % 2]).save(path / name)
    return [path]


def _parts(folder: Path) -> list[Path]:
    """The first of two; the second lies beside it."""
    x = np.random.default_rng(1).integers(0, 256, (40, 1, 8, 8)).astype(np.uint8)
    np.savez(folder / "many.npz", x=x, y=np.arange(40) % 4)
    given = ["--shard", "{}/2", "-o", str(folder / "{}-{}.npz")]
    with contextlib.redirect_stdout(io.StringIO()):
        for command, files in LINES_OF_PARTS.items():
            for i in "12":
                words = [command, *(str(folder / file) for file in files[:-1]), files[-1], str(folder / "many.npz")]
                with contextlib.suppress(SystemExit):
                    snnhw([*words, *(word.format(*([i] if word == "{}/2" else [command, i])) for word in given)])
    return [folder / "run-1.npz", folder / "compare-1.npz"]


LINES_OF_PARTS = {"run": ["net.snnhw", "--input"], "compare": ["net.pt", "net.snnhw", "--data"]}


def _safetensors(folder: Path) -> list[Path]:
    write(folder / "net.safetensors", content("stbp_scnn"))
    return [folder / "net.safetensors"]


def _comparisons(folder: Path) -> list[Path]:
    files = [str(folder / name) for name in ("net.pt", "net.snnhw", "data.npz")]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        snnhw(["compare", *files[:2], "--data", files[2], "--json"])
    (folder / "compared.json").write_text(said.getvalue(), encoding="utf-8")
    return [folder / "compared.json"]


def _measurements(folder: Path) -> list[Path]:
    """Paths are relative to the file, which lies in a folder beside this one."""
    rows = [f"../{folder.name}/net.snnhw,../{folder.name}/data.npz,{n},{s},{j}" for n, s, j in RUNS]
    (folder / "board.csv").write_text("\r\n".join(["artifact,data,samples,seconds,joules", *rows, ""]))
    return [folder / "board.csv"]


RUNS = (("2", "1e-3", "2e-6"), ("", "0.00125", ""), ("1", "", '"3e-6"'))
"""samples, seconds, joules."""


def _points(folder: Path) -> list[Path]:
    """The one point of a sweep; `SWEEP` is the line that reads it again."""
    words = [word.format(file=folder / "swept", room=folder) for word in SWEEP]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        snnhw(words)
    return [(folder / "swept" / point_in(folder)).rename(folder / "point.json")]


def point_in(room: Path) -> str:
    """The name of the point's file in a sweep's folder: that of its artifact."""
    return next(path.stem for path in (room / "swept").glob("*.snnhw")) + ".json"


SWEEP = ["sweep", "{room}/net.pt", "--data", "{room}/data.npz", "--target", "loihi2", "-o", "{file}"]


def _weights(folder: Path) -> list[Path]:
    """State dicts of the class in `own.py`, which is made with `own.npz` as its example."""
    (folder / "own.py").write_text(OWN)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))  # the same names
    torch.save(net.state_dict(), folder / "own.pt")
    save_file(net.state_dict(), folder / "own.safetensors")
    return [folder / "own.pt", folder / "own.safetensors"]


OWN = """\
import torch
class Lif(torch.nn.Module):
    def forward(self, x):
        mem, out = torch.zeros_like(x[0]), []
        for now in x:
            mem = 0.5 * mem + now
            spike = (mem > 1.0).float()
            mem = mem - spike
            out.append(spike)
        return torch.stack(out)
def net():
    return torch.nn.Sequential(torch.nn.Linear(6, 4), Lif(), torch.nn.Linear(4, 3))
"""


def _examples(folder: Path) -> list[Path]:
    _weights(folder)
    np.savez(folder / "own.npz", x=np.random.default_rng(0).random((3, 4, 6), np.float32))
    return [folder / "own.npz"]


def _events(folder: Path) -> list[Path]:
    """Event files and images of the data sets that recipes train on."""
    rng = np.random.default_rng(0)
    (folder / "1.bin").write_bytes(rng.integers(0, 34, 100, np.uint8).tobytes())
    pairs = np.stack([rng.integers(0, 1 << 15, 20), np.arange(20)], 1).astype(">u4")
    (folder / "two.aedat").write_bytes(b"#!AER-DAT2.0\r\n# made here\r\n" + pairs.tobytes())
    data = np.stack([rng.integers(0, 128, 20) << 17 | rng.integers(0, 128, 20) << 2 | 1, np.arange(20)], 1)
    head = np.array([(1, 0, 8, 4, 0, 20, 20, 20)], PACKET)
    packets = (head.tobytes() + data.astype("<u4").tobytes()) * 2
    (folder / "three.aedat").write_bytes(b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + packets)
    (folder / "trials_labels.csv").write_text("class,startTime_usec,endTime_usec\n1,0,9\n11,10,20\n")
    idx = b"\0\0\x08\x03" + np.array([2, 5, 4], ">u4").tobytes() + rng.integers(0, 256, 40, np.uint8).tobytes()
    (folder / "images.idx").write_bytes(idx)
    (folder / "images.gz").write_bytes(gzip.compress(idx, mtime=0))
    n = 1001
    starts = np.arange(0, 2 * n + 1, 2)
    t, xyp = np.arange(2 * n), rng.integers(0, 34, 2 * n)
    np.savez_compressed(folder / "subset.npz", t=t, xyp=xyp, start=starts, y=np.arange(n) % 10)
    names = ("1.bin", "two.aedat", "three.aedat", "trials_labels.csv", "images.idx", "images.gz", "subset.npz")
    return [folder / name for name in names]


def _words(folder: Path) -> list[Path]:
    _shards_and_more = (_recordings, _graphs, _onnx, _checkpoints, _images, _parts)
    for maker in _shards_and_more:
        maker(folder)
    found = []
    for i, line in enumerate(WORDS):
        found.append(folder / f"{i:02d}.words")
        found[-1].write_text(json.dumps(line.split(" ")), encoding="utf-8")
    return found


WORDS = """\
check {room}/net.pt --target loihi2 --set core.neurons=512 --rates 0.1 --map balanced --json
check {room}/net.pt --target loihi1 --hard-reset --weight-bits *conv*=6,*=4 --rates lif*=0.2,*=0.1 --sums relays
check {room}/net.pt --target loihi2 --calibrate {room}/data.npz --set core.neurons=512
check {room}/norse.nir --target loihi2 --steps 4 --dialect norse --readout sum[1:] --semantics {"dt":0.001}
check {room}/norse.nir --target loihi2 --steps 4 --dialect norse --readout last --encoding spikes --output-node output
check {room}/ann.onnx --target loihi2 --steps 4 --calibrate {room}/images.npz --readout mean
check {room}/events.pth --target loihi2 --steps 2 --input-shape 2,8,8 --connect ADD --encoding spikes
compile {room}/net.pt --target loihi2 --stop-after lowered --dump {place}/dump
run {room}/net.snnhw --input {room}/data.npz --samples 1 --memory 3GiB --steps 3 --seed 1 --encode bernoulli
run {room}/net.snnhw --input {room}/many.npz --shard 1/2 -o {place}/o.npz --engine fast --record spikes --json
run {room}/net.snnhw --input {room}/all.images --preprocess resize=9,crop=8x8,gray --engine reference
run {room}/net.pt --engine float --input {room}/data.npz --steps 3
compare {room}/net.pt {room}/net.snnhw --data {room}/data.npz --samples 2 --steps 3 --judge classes --timing event
explain {room}/net.snnhw --population lif1
explain {room}/net.pt --target loihi2 --map fastest --rates 0.3
targets loihi2 --set core.neurons=512 --json
inspect {room}/net.snnhw
diff {room}/run.npz {room}/run.npz
merge {room}/run-1.npz {room}/run-2.npz
merge {room}/compare-1.npz {room}/compare-2.npz --artifact {room}/net.snnhw
export {room}/net.snnhw --to nir --for norse -o {place}/o.nir
train spikeprop_xor -o {place}/o.pt --epochs 1 --seed 3
""".splitlines()
"""Command lines with a value of every kind."""


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
