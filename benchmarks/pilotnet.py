"""PilotNet LIF (lava-dl's example) on loihi2: cores under both memory values, time and energy with their bands.

python -m benchmarks.pilotnet              # the topology with weights that are drawn
python -m benchmarks.pilotnet network.net  # the trained file of lava-dl, tutorials/.../netx/pilotnet_snn
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import snnhw

CONVS = ((24, 3, 2, 2, 0, 0), (36, 24, 2, 2, 0, 0), (48, 36, 2, 2, 0, 0), (64, 48, 2, 1, 1, 0), (64, 64, 1, 1, 0, 0))
"""Channels out and in, strides and paddings (rows, columns) of the 3 x 3 convolutions on an image of 66 x 200 x 3."""

DENSE = ((100, 2560), (50, 100), (10, 50), (1, 10))
STEPS = 16
MEMORY = {
    "published pool": {},
    "Intel's compiler": {"core.syn_words": 12000, "core.neurons": 3168},
}
"""What a core may hold (docs/targets.md, "One number")."""


def drawn(path: Path) -> None:
    """A .net of the topology, weights of about four bits."""
    draw = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["simulation/Ts"], file["simulation/tSample"] = 1, STEPS
        layers: list[dict[str, Any]] = [{"type": b"input", "shape": [3, 66, 200], "weight": 40.0, "bias": 36.0}]
        rows, columns = 66, 200
        for out, inside, down, across, pad_rows, pad_columns in CONVS:
            rows, columns = (rows + 2 * pad_rows - 3) // down + 1, (columns + 2 * pad_columns - 3) // across + 1
            layers.append({
                "type": b"conv", "shape": [out, rows, columns], "inChannels": inside, "outChannels": out,
                "kernelSize": [3, 3], "stride": [down, across], "padding": [pad_rows, pad_columns], "dilation": [1, 1],
                "groups": 1, "weight": _weights(draw, out, inside, 3, 3),
            })  # fmt: skip
        layers.append({"type": b"flatten", "shape": [1, 1, 2560]})
        for out, inside in DENSE:
            layers.append({
                "type": b"dense", "shape": [out, 1, 1], "inFeatures": inside, "outFeatures": out,
                "weight": _weights(draw, out, inside),
            })  # fmt: skip
        for number, layer in enumerate(layers):
            for name, value in layer.items():
                file[f"layer/{number}/{name}"] = [value] if name == "type" else value
            if layer["type"] != b"flatten":
                last = number == len(layers) - 1
                neuron = {"type": b"LOIHI", "iDecay": 4096, "vDecay": 0 if last else 1024, "refDelay": 1,
                          "vThMant": 131071 if last else 25}  # fmt: skip
                for name, value in neuron.items():
                    file[f"layer/{number}/neuron/{name}"] = value


def _weights(draw: np.random.Generator, *shape: int) -> np.ndarray:
    """Even, about half of them zero, each neuron's sum about zero."""
    return 2.0 * np.round(draw.normal(0.0, 0.7, shape) * 30 / np.sqrt(np.prod(shape[1:]))).clip(-8, 7)


def main(words: list[str]) -> None:
    """Print both mappings with their bands."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(words[0]) if words else Path(folder) / "pilotnet.net"
        if not words:
            drawn(path)
        x = np.random.default_rng(1).uniform(0, 1, (1, 3, 66, 200)).astype(np.float32)
        for name, settings in MEMORY.items():
            artifact = snnhw.compile(path, target="loihi2", set=settings, map="fewest-cores")
            c = snnhw.compare(path, artifact, x)
            time, energy = c.latency.band, c.energy.band
            print(f"{name} ({', '.join(f'{k} = {v}' for k, v in settings.items()) or 'as the target says'})")
            print(f"  {c.cores_used} cores; Intel's compiler used 74 for the trained file")
            print(
                f"  {1e3 * time.likely:.2f} ms ({1e3 * time.low:.2f} to {1e3 * time.high:.2f}), {c.latency.steps} steps"
            )
            print(f"  x {(time.high / time.low) ** 0.5:.2f} each way of the geometric middle")
            print(f"  {1e3 * energy.likely:.2f} mJ ({1e3 * energy.low:.2f} to {1e3 * energy.high:.2f})")
            print(f"  {c.bottleneck}")


if __name__ == "__main__":
    main(sys.argv[1:])
