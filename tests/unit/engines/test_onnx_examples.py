"""Every shipped model on the targets that have its neurons: onnxruntime gives the bits of our own engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnhw
from snnhw.artifact import Artifact
from snnhw.network import Array
from snnhw.shipped import shipped_folder

MODELS = sorted(path.stem for path in Path(str(shipped_folder("examples"))).glob("*.pt"))
QUICK = ("sew_resnet", "spikeprop_xor")


def samples(artifact: Artifact, count: int = 4) -> Array:
    """Random data as the network's encoding takes them."""
    spec, rng = artifact.inputs[0], np.random.default_rng(0)
    if spec.encoding == "spikes":
        return (rng.random((count, artifact.steps, *spec.shape)) < 0.3).astype(np.uint8)
    return rng.integers(0, 256, (count, *spec.shape)).astype(np.uint8)


PER_NEURON = ("stdp_digits",)
"""Thresholds by neuron, which loihi1 refuses."""
PAIRS = [(name, target) for name in MODELS for target in ("loihi2", "loihi1")[: 1 if name in PER_NEURON else 2]]


@pytest.mark.parametrize(
    ("name", "target"), [pytest.param(*pair, marks=[] if pair[0] in QUICK else [pytest.mark.slow]) for pair in PAIRS]
)
def test_onnx_equals_fast(name: str, target: str, examples: Path) -> None:
    hard_reset = name == "ann_cnn" and target == "loihi1"
    artifact = snnhw.compile(examples / f"{name}.pt", target=target, hard_reset=hard_reset)
    x = samples(artifact)
    want, have = (snnhw.run(artifact, x, engine, record="state") for engine in ("fast", "onnx"))
    assert want.keys() == have.keys()
    for key in want:
        np.testing.assert_array_equal(have[key], want[key], err_msg=key)
    assert sum(bool((array > 0).any()) for key, array in want.items() if key.startswith("spikes/")) > 1
