"""Writes the ReLU network behind examples/ann_cnn.pt as ONNX: `python examples/export_ann.py model.pt.resume out.onnx`.

`snnhw train ann_cnn -o model.pt` keeps the network as it was trained beside the converted one, in model.pt.resume.
"""

from __future__ import annotations

import sys
import warnings

import torch

from snnhw.zoo.checkpoint import read_plain
from snnhw.zoo.registry import RECIPES, build


def main(state: str, out: str) -> None:
    """One file with all weights, BatchNorm folded by the exporter; the batch is left open."""
    network = build("ann_cnn", RECIPES["ann_cnn"].config)
    network.load_state_dict(read_plain(state)["model"])
    ann = network.get_submodule("ann").eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the newer exporter needs onnxscript
        torch.onnx.export(
            ann,
            (torch.zeros(1, 1, 28, 28),),
            out,
            dynamo=False,
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}},
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
