"""One side of benchmarks/engines.py, in a process of its own: it prepares, says so, and runs once a line that it reads.

What a user pays once (reading, compiling, packing weights and their self-test) is not in the times.

    python contender.py '{"kind": "fast", "net": "layer.nir", "data": "layer.npz", ...}'

Runs with any version of snnhw since 9e06522, which is how an older one is measured beside this one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[], float]
"""Runs all samples; gives the number of spikes of the last layer, or of right answers: who counts alike did alike."""


def _snnhw(said: dict[str, Any]) -> Run:
    import torch

    torch.set_num_threads(1)
    from snnhw import api
    from snnhw.encoding import encode
    from snnhw.engines.choose import integer_engine
    from snnhw.frontends.options import SourceOptions

    x = np.load(said["data"])["x"][: said["samples"]]
    options = SourceOptions(**said.get("options", {}))
    calibrate = np.load(said["calibrate"])["x"] if "calibrate" in said else None
    artifact = api.compile(said["net"], target="loihi2", calibrate=calibrate, options=options)
    size = said["batch"]
    chunks = [encode(x[i : i + size], artifact.inputs, artifact.steps) for i in range(0, len(x), size)]
    engine = integer_engine(said["kind"])
    last = artifact.network.readout.population

    class Output:
        """Counts the last population's spikes, which every engine makes anyway."""

        spikes = 0
        needs: Any = None

        def observe(self, first_sample: int, population: str, record: Any) -> None:
            if population == last:
                self.spikes += int(np.asarray(record.spikes).sum())

    session: Any = None
    if hasattr(engine, "open"):
        from snnhw.engines.base import Needs

        Output.needs = Needs(spikes=frozenset([last]))
        session = engine.open(artifact.network, artifact.target, Output.needs)

    def run() -> float:
        seen = Output()
        if session is None:  # before sessions
            engine.run(artifact, chunks, [seen])
        else:
            session.run(chunks, [seen])
        return seen.spikes

    return run


def _layer(said: dict[str, Any]) -> tuple[Any, Any, float]:
    """Samples (T, B, C, H, W) float32, the convolution, and the threshold of a one-layer file."""
    import torch

    torch.set_num_threads(1)
    found = np.load(said["data"])
    x = torch.from_numpy(np.swapaxes(found["x"][: said["samples"]], 0, 1).astype(np.float32).copy())
    weight = torch.from_numpy(found["weight"])
    conv = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=weight.shape[2] // 2, bias=False)
    conv.weight.data = weight
    return x, conv, float(found["threshold"])


def _spikingjelly(said: dict[str, Any]) -> Run:
    import torch
    from spikingjelly.activation_based import functional, layer, neuron

    x, conv, threshold = _layer(said)
    net = torch.nn.Sequential(
        layer.SeqToANNContainer(conv), neuron.IFNode(v_threshold=threshold, v_reset=0.0, step_mode="m")
    )

    def run() -> float:
        with torch.no_grad():
            functional.reset_net(net)
            return float(net(x).sum())

    return run


def _snntorch(said: dict[str, Any]) -> Run:
    import snntorch
    import torch

    x, conv, threshold = _layer(said)
    neuron = snntorch.Leaky(beta=1.0, threshold=threshold, reset_mechanism="zero")

    def run() -> float:
        with torch.no_grad():
            state, spikes = neuron.init_leaky(), 0.0
            for step in x:
                out, state = neuron(conv(step), state)
                spikes += float(out.sum())
            return spikes

    return run


def _peak(said: dict[str, Any]) -> Run:
    """A large product, a sum, or a copy: what this machine can do at most on one thread; gives operations or bytes."""
    import torch

    torch.set_num_threads(1)
    kind = said["kind"]
    if kind == "peak-float":
        a = torch.rand(1024, 1024)

        def run() -> float:
            for _ in range(4):
                a @ a
            return 4 * 1024.0**3

    elif kind == "peak-int8":
        ops = torch.ops.onednn
        a8 = torch.randint(0, 2, (4096, 1024), dtype=torch.uint8)
        w = ops.qlinear_prepack(torch.randint(-127, 128, (1024, 1024), dtype=torch.int8).t(), a8.shape)
        one, zero = torch.ones(1024), torch.zeros(1024, dtype=torch.long)

        def run() -> float:
            for _ in range(4):
                ops.qlinear_pointwise(a8, 1.0, 0, w, one, zero, None, 1.0, 0, torch.float32, "none", [], "")
            return 4 * 4096 * 1024.0**2

    else:
        source = np.zeros(1 << 27, np.int8)
        target = np.ones_like(source)

        def run() -> float:
            np.copyto(target, source)
            return 2.0 * source.nbytes

    return run


def main() -> None:
    said = json.loads(sys.argv[1])
    kind = said["kind"]
    makers = {"spikingjelly": _spikingjelly, "snntorch": _snntorch}
    run = (_peak if kind.startswith("peak") else makers.get(kind, _snnhw))(said)
    run()  # compiles kernels, fills caches
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=out, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        found = run()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, found]), file=out, flush=True)


if __name__ == "__main__":
    main()
