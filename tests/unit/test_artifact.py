"""The compiled file: the same bytes for the same network, nothing executable inside, refused when it is not itself."""

from __future__ import annotations

import io
import json
import os
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw import artifact as module
from snnhw import limits
from snnhw.artifact import Artifact, load, save, to_bytes
from snnhw.errors import ArtifactError, SnnhwError
from snnhw.rationale import Effect
from snnhw.zoo.neurons import IF

COMPILE = """
import sys, numpy as np, torch
from torch import nn
import snnhw
from snnhw.rationale import Effect
from snnhw.zoo.neurons import IF
from snnhw.artifact import to_bytes
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 5), IF(), nn.Linear(5, 3))
x = (np.random.default_rng(0).random((20, 4, 6)) < 0.5).astype(np.float64)
out = snnhw.compile(net, torch.zeros(4, 1, 6), target="loihi2", calibrate=x)
sys.stdout.buffer.write(to_bytes(out))
"""


@pytest.fixture(scope="module")
def compiled() -> Artifact:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), IF(), nn.Linear(5, 3))
    return snnhw.compile(net, torch.zeros(4, 1, 6), target="loihi2")


@pytest.fixture
def path(compiled: Artifact, tmp_path: Path) -> Path:
    found = tmp_path / "model.snnhw"
    save(compiled, found)
    return found


def refusal(path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        load(path)
    return str(caught.value)


def test_same_input_same_bytes_in_other_processes() -> None:
    """Other hash seeds, other numbers of threads: the same file."""
    found = []
    for seed, threads in (("0", "1"), ("1234", "2")):
        env = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", COMPILE], env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        found.append(done.stdout)
    assert found[0] == found[1]
    assert len(found[0]) > 2000


def test_what_is_read_is_what_was_written(compiled: Artifact, path: Path) -> None:
    again = load(path)
    assert to_bytes(again) == path.read_bytes()
    assert again.target.text == compiled.target.text
    assert again.deployment == compiled.deployment
    assert again.network.projections == compiled.network.projections
    for name, w in compiled.network.weights.items():
        np.testing.assert_array_equal(again.network.weights[name], w)
        assert again.network.weights[name].dtype == w.dtype
    x = (np.random.default_rng(1).random((7, 4, 6)) < 0.5).astype(np.int64)
    np.testing.assert_array_equal(snnhw.run(again, x)["output"], snnhw.run(compiled, x)["output"])


def test_no_pickle_and_one_date(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            blob = archive.read(info)
            assert info.filename == "manifest.json" or blob[:6] == b"\x93NUMPY"
            assert b"'O'" not in blob[:128], "an object array would be a pickle"
            with pytest.raises(Exception):  # noqa: B017, PT011
                list(pickletools.genops(blob))


def edited(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None], *, resealed: bool = False) -> Path:
    """The artifact with another manifest or arrays, with the hash made right again if asked for."""
    with zipfile.ZipFile(path) as archive:
        blobs = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(blobs.pop("manifest.json"))
    change(manifest, blobs)
    if resealed:
        content = {key: value for key, value in manifest.items() if key not in ("schema", "hash")}
        manifest["hash"] = module._hash(content, blobs)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, blob in blobs.items():
            archive.writestr(name, blob)
    return path


CHANGED = (
    "bad-hash: the artifact was changed after it was written\n  where: model.snnhw\n  hint: compile the source again"
)


def test_large_real_arrays_are_stored_as_they_are(
    compiled: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deflating a large network's float weights takes minutes and saves nothing; integers do shrink."""
    monkeypatch.setattr(module, "STORED", 200)
    save(compiled, tmp_path / "large.snnhw")
    with zipfile.ZipFile(tmp_path / "large.snnhw") as archive:
        names = {info.filename: info.compress_type for info in archive.infolist()}
        arrays = {name: np.load(io.BytesIO(archive.read(name))) for name in names if name.endswith(".npy")}
    stored = {name for name, how in names.items() if how == zipfile.ZIP_STORED}
    assert stored == {name for name, a in arrays.items() if a.dtype.kind == "f" and a.nbytes > 100}
    assert stored
    assert load(tmp_path / "large.snnhw").mapping == compiled.mapping


def test_changed_number(path: Path) -> None:
    def change(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
        manifest["network"]["steps"] += 1

    assert refusal(edited(path, change)) == CHANGED


def test_changed_array(path: Path) -> None:
    def change(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
        name = next(iter(blobs))
        blobs[name] = blobs[name][:-1] + bytes([blobs[name][-1] ^ 1])

    assert refusal(edited(path, change)) == CHANGED


def test_corrupted_byte_anywhere(path: Path) -> None:
    """Damage is either found or harmless (names of the local headers are stored twice)."""
    whole, wanted = path.read_bytes(), to_bytes(load(path))
    codes = []
    for at in range(0, len(whole), max(len(whole) // 60, 1)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert to_bytes(load(path)) == wanted
        except SnnhwError as error:
            codes.append(error.code)
    assert len(codes) > 40
    assert set(codes) <= {"bad-artifact", "bad-hash", "too-big"}  # too-big: a damaged size in the directory of the zip


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_not_an_artifact(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path).startswith("bad-artifact: not a readable artifact: ")


def test_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path).startswith("bad-artifact: not a readable artifact: BadZipFile")


def test_missing(tmp_path: Path) -> None:
    text = refusal(tmp_path / "none.snnhw")
    assert text == f"no-such-file: there is no such file\n  where: {tmp_path / 'none.snnhw'}"


def test_other_schema(path: Path) -> None:
    def change(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
        manifest["schema"] = 99

    assert refusal(edited(path, change)) == (
        "other-schema: the artifact was written by another version of snnhw\n  where: model.snnhw\n"
        f"  needed: schema 99\n  limit: schema {module.SCHEMA}\n  hint: compile the source again"
    )


def test_zip_bomb(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    with pytest.raises(SnnhwError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith("too-big: the file unpacks to too much\n  where: model.snnhw\n  needed: ")
    assert text.endswith("limit: 1000 bytes")


def test_unknown_class(path: Path) -> None:
    def change(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
        manifest["network"]["$class"] = "Popen"

    assert refusal(edited(path, change, resealed=True)).startswith(
        "bad-artifact: not a readable artifact: KeyError: 'Popen'"
    )


def test_an_array_of_text(path: Path) -> None:
    def change(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
        out = io.BytesIO()
        np.save(out, np.array(["1"]))
        blobs[next(iter(blobs))] = out.getvalue()

    text = refusal(edited(path, change, resealed=True))
    assert text.startswith("bad-artifact: the artifact does not fit together: a part of it is no array of numbers\n")


def test_an_array_that_claims_terabytes(path: Path) -> None:
    def change(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
        out = io.BytesIO()
        np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
        blobs[next(iter(blobs))] = out.getvalue()

    text = refusal(edited(path, change, resealed=True))
    assert text.startswith("bad-artifact: not a readable artifact: ValueError: an array of shape (1000000000000,)")


def test_pickled_array(path: Path) -> None:
    def change(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
        out = io.BytesIO()
        np.save(out, np.array([{}], dtype=object), allow_pickle=True)
        blobs[next(iter(blobs))] = out.getvalue()

    assert "Object arrays cannot be loaded" in refusal(edited(path, change, resealed=True))


@pytest.mark.parametrize("rule", [lambda m: m["network"].pop("steps"), lambda m: m["network"].update(projections=[])])
def test_sealed_but_broken_network(path: Path, rule: Callable[[dict[str, Any]], Any]) -> None:
    text = refusal(edited(path, lambda manifest, _: rule(manifest), resealed=True))
    assert text.startswith("bad-artifact: not a readable artifact: ")


def test_sealed_but_broken_reference(path: Path) -> None:
    text = refusal(edited(path, lambda manifest, _: manifest["reference"].update(projections=[]), resealed=True))
    assert text.startswith("bad-artifact: not a readable artifact: LoweringError: ")


Slices = list[dict[str, Any]]

MISPLACED: list[tuple[Callable[[Slices], Any], str]] = [
    (lambda slices: slices[0].update(population="ghost"), "a slice of a population that is not there"),
    (lambda slices: slices[0].update(core=-1), "a slice lies outside its population or the chip"),
    (lambda slices: slices[0].update(box=[[0, 99]]), "a slice lies outside its population or the chip"),
    (lambda slices: slices[0].update(box=[[0, 1], [0, 1]]), "a slice lies outside its population or the chip"),
    (lambda slices: slices.pop(), "not every neuron sits on exactly one core"),
    (lambda slices: slices.append(slices[0]), "not every neuron sits on exactly one core"),
]


@pytest.mark.parametrize(("change", "text"), MISPLACED)
def test_sealed_but_broken_mapping(path: Path, change: Callable[[Slices], Any], text: str) -> None:
    found = refusal(edited(path, lambda manifest, _: change(manifest["mapping"]["slices"]), resealed=True))
    assert found.startswith(f"bad-artifact: the artifact does not fit together: {text}\n  where: model.snnhw: ")


OVERFULL: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda m: m["mapping"]["slices"][0]["use"].update(syn_words=1 << 30), "a core is over a limit"),
    (lambda m: m["mapping"].update(chips=7), "the cores are on other chips than it says"),
    (lambda m: m["rationale"][0].update(population="ghost"), "a reason of no population"),
    (lambda m: m["inputs"].clear(), "its inputs are not those of its network"),
    (lambda m: m["inputs"].append(m["inputs"][0]), "its inputs are not those of its network"),
    (lambda m: m["arrays"].update(twice=next(iter(m["arrays"].values()))), "two of its arrays are one"),
]
WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda m: m.update(deployment=None), "TypeError: Artifact.deployment: Input should be an instance of Deployment"),
    (lambda m: m.update(inputs={}), "TypeError: Artifact.inputs: Input should be a valid tuple"),
    (lambda m: m.update(mapping=[]), "TypeError: Artifact.mapping: Input should be an instance of Mapping"),
    (lambda m: m.update(rationale=["x"]), "TypeError: Artifact.rationale.0: Input should be an instance of Reason"),
    (lambda m: m["deployment"].update(steps="4"), "TypeError: Deployment.steps: Input should be a valid integer"),
    (lambda m: m["inputs"][0].update(scale=[]), "TypeError: InputSpec.scale: Input should be a valid number"),
    (lambda m: m["network"]["populations"][1].update(payload=[0, 1, 2]), "TypeError: Population.payload: Tuple should"),
    (lambda m: m["network"]["populations"][1].update(start="soon"), "TypeError: Population.start: Input should be"),
    (lambda m: m["network"]["populations"][1].update(odd=1), "TypeError: Population has no odd"),
    (lambda m: m.update(checks=[{}]), "ValidationError: 6 validation errors"),
    (lambda m: m["bounds"][0].pop("status"), "ValidationError: 1 validation error"),
    (lambda m: m.update(source=None), "TypeError: Artifact.source: Input should be"),
    (lambda m: m["source"].update(flags={"steps": 4}), "ValidationError: 1 validation error"),
    (lambda m: m.update(calibration={"samples": "x"}), "ValidationError: 2 validation errors"),
    (lambda m: m.update(semantics=()), "TypeError: Artifact.semantics: Input should be"),
]


@pytest.mark.parametrize(("change", "text"), WRONG)
def test_sealed_with_fields_of_other_types(path: Path, change: Callable[[dict[str, Any]], Any], text: str) -> None:
    """A right hash says nothing of what is inside: another version's writer, or somebody's."""
    found = refusal(edited(path, lambda manifest, _: change(manifest), resealed=True))
    assert found.startswith(f"bad-artifact: not a readable artifact: {text}")


def test_a_manifest_that_would_fill_the_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MANIFEST", 1000)
    found = refusal(path)
    assert found.startswith("bad-artifact: the artifact does not fit together: its manifest is too long\n")


@pytest.mark.parametrize(("change", "text"), OVERFULL)
def test_sealed_with_what_no_compiler_writes(path: Path, change: Callable[[dict[str, Any]], Any], text: str) -> None:
    found = refusal(edited(path, lambda manifest, _: change(manifest), resealed=True))
    assert found.startswith(f"bad-artifact: the artifact does not fit together: {text}\n  where: model.snnhw: ")


@pytest.mark.parametrize("kind", ["perhaps", None])
def test_sealed_with_a_reason_of_no_kind(path: Path, kind: str | None) -> None:
    text = refusal(edited(path, lambda manifest, _: manifest["rationale"][0].update(kind=kind), resealed=True))
    assert text.startswith(f"bad-artifact: not a readable artifact: {'TypeError' if kind is None else 'ValueError'}: ")


def test_reasons_come_back_as_they_were(path: Path, compiled: Artifact) -> None:
    assert load(path).rationale == compiled.rationale
    assert {reason.kind for reason in compiled.rationale} == {Effect.EXACT, Effect.ROUNDED, Effect.CHOSEN}


NUMBERS: list[tuple[Callable[[dict[str, Any]], Any], str, str, str]] = [
    (lambda n: n.update(steps=0), "steps", "[0] of shape ()", "from 1 to 268435456"),
    (lambda n: n["populations"][1]["neuron"].update(dv=10**30), ".dv", "0000] of shape (), object", "from 0 to 4096"),
    (lambda n: n["populations"][1]["neuron"].update(act_shift=25), ".act_shift", "[25]", "from 0 to 24"),
    (lambda n: n["projections"][0].update(weight_exp=99), ".weight_exp", "[99]", "from -24 to 24"),
    (lambda n: n["projections"][0].update(delay=-1), ".delay", "[-1, 0]", "from 0 to"),
]


@pytest.mark.parametrize(("change", "field", "found", "limit"), NUMBERS)
def test_sealed_with_numbers_that_compiled_code_would_read(
    change: Callable[[dict[str, Any]], Any], field: str, found: str, limit: str, path: Path
) -> None:
    text = refusal(edited(path, lambda m, _: change(m["network"]), resealed=True))
    assert text.startswith("bad-artifact: the artifact holds a number that cannot be\n")
    where, needed, allowed = text.split("\n")[1:4]
    assert field in where
    assert found in needed
    assert limit in allowed


def test_sealed_with_an_unknown_readout(path: Path) -> None:
    text = refusal(edited(path, lambda m, _: m["network"]["readout"].update(kind="magic"), resealed=True))
    assert text.startswith("bad-artifact: the artifact does not fit together: its readout is none")


@pytest.mark.parametrize("payload", [[0, 0], [1, 1], [2, 0]])
def test_sealed_with_a_payload_that_its_spikes_exceed(path: Path, payload: list[int]) -> None:
    """Engines choose the width of their numbers by it."""
    found = refusal(edited(path, lambda m, _: m["network"]["populations"][1].update(payload=payload), resealed=True))
    assert "bad-artifact: the artifact does not fit together: its spikes are larger than it says" in found
