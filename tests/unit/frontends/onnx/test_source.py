"""An ONNX file of a ReLU network as a source: converted with training samples, refused without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends import load_source
from snnhw.frontends.options import SourceOptions
from snnhw.shipped import shipped_folder

ANN = Path(str(shipped_folder("examples") / "ann_cnn.onnx"))


def samples() -> np.ndarray:  # type: ignore[type-arg]
    with np.load(str(shipped_folder("examples") / "fashion_mnist_calibration.npz")) as file:
        return file["x"][:32]


def test_it_compiles_and_its_nir_compares(tmp_path: Path) -> None:
    source = load_source(ANN, SourceOptions(steps=8), samples())
    assert source.deployment.steps == 8
    assert source.semantics.at(next(n for n in source.graph.nodes if n.endswith("Relu"))).reset == "subtract"
    artifact = snnhw.compile(source, target="loihi2")
    assert artifact.source["flags"] == {"steps": {"value": 8, "from": "flag"}}
    found = snnhw.compare(source, artifact, samples()[:4])
    assert found.to_dict()["agreement"] >= 0.75


@pytest.mark.parametrize(
    ("options", "given"), [(SourceOptions(), True), (SourceOptions(steps=8), False)], ids=["no steps", "no samples"]
)
def test_it_needs_steps_and_samples(options: SourceOptions, given: bool) -> None:
    with pytest.raises(SourceError) as caught:
        load_source(ANN, options, samples() if given else None)
    assert str(caught.value) == (
        "needs-conversion: a ReLU network becomes a spiking one with thresholds from training samples, and T steps\n"
        "  where: ann_cnn.onnx\n"
        "  needed: --steps T and --calibrate DATA.npz\n"
        "  hint: compile it with --emit-nir F.nir: that file is the spiking network, for run, check and compare"
    )


def test_flags_of_checkpoints_are_refused() -> None:
    with pytest.raises(SourceError, match="unused-flag: a flag says something that this source does not ask"):
        load_source(ANN, SourceOptions(steps=8, connect="ADD"), samples())


def test_loihi1_only_with_hard_reset() -> None:
    source = load_source(ANN, SourceOptions(steps=4), samples())
    with pytest.raises(snnhw.SnnhwError) as caught:
        snnhw.compile(source, target="loihi1")
    assert "hint: use --target loihi2, or --hard-reset to reset to zero instead (compare shows the loss)" in str(
        caught.value
    )
    artifact = snnhw.compile(source, target="loihi1", hard_reset=True)
    rows = [row for row in artifact.rationale if row.parameter == "reset"]
    assert {(row.integer, row.real) for row in rows} == {("zero", "subtract")}
    assert all(p.model.reset == "zero" for p in artifact.network.computed)
    assert any(p.model.reset == "subtract" for p in artifact.reference.computed)
