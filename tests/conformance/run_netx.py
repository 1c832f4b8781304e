"""Runs a `.net` file in the real netx (lava-dl 0.6.0) on Lava 0.10.0, in a process of its own.

    python run_netx.py FOLDER NET.net INPUT.npy OUT.npz

FOLDER is an unpacked lava-dl wheel. INPUT.npy is (samples, T, *shape), our axis order: bias mantissas (the same at
every step) where the first layer is an input with neurons, else spikes. OUT.npz gets `layer<i>` spikes of every layer
with neurons, and `v` of the last one, (samples, T, *shape in netx's order).
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from snnhw.engines.lava import compat

RESET = 1 << 20
"""Steps between resets: longer than any run, so that each layer is reset once."""


def load_netx(folder: Path) -> Any:
    """The module `lava.lib.dl.netx.hdf5`; slayer's object detection, which needs a camera library, is not loaded."""
    compat._import_var_model()
    compat._patch_reshape()
    compat._patch_shared_memory()
    import lava

    lava.__path__.append(str(folder / "lava"))
    import lava.lib

    if str(folder / "lava" / "lib") not in lava.lib.__path__:
        lava.lib.__path__.append(str(folder / "lava" / "lib"))
    for name in ("slayer", "slayer.neuron", "slayer.neuron.rf"):
        stub = types.ModuleType(f"lava.lib.dl.{name}")
        stub.__path__ = []
        sys.modules[stub.__name__] = stub
    sys.modules["lava.lib.dl.slayer.neuron.rf"].neuron_params = None  # type: ignore[attr-defined]
    from lava.lib.dl.netx import hdf5

    hdf5.int = lambda x: np.asarray(x).item()  # numpy 2 refuses int() of an array of one value
    return hdf5


def run(hdf5: Any, path: str, sample: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """One sample from rest; rows are aligned to sample steps by each layer's place in the pipeline."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io import sink, source

    hosted = _takes_currents(path)
    # each layer is reset where its first step begins, so that biases that ran while the pipeline filled are forgotten
    resets = {"reset_interval": RESET, "reset_offset": 0 if hosted else 1}
    net = hdf5.Network(net_config=path, input_shape=sample.shape[:0:-1], **resets)
    steps = len(sample)
    length = steps + len(net.layers) - hosted  # until the last layer has computed its last step
    if hosted:
        net.layers[0].neuron.bias_mant.init = sample[0].T
    else:
        data = np.zeros((*net.in_layer.inp.shape, length), int)
        data[..., :steps] = sample.T if len(net.in_layer.inp.shape) > 1 else sample.reshape(steps, -1).T
        feed = source.RingBuffer(data=data)
        feed.s_out.connect(net.inp)
    sinks = []
    for layer in net.layers:
        kept = sink.RingBuffer(shape=layer.neuron.s_out.shape, buffer=length)
        layer.neuron.s_out.connect(kept.a_in)
        sinks.append(kept)
    found = {}
    try:
        net.run(condition=RunSteps(length), run_cfg=Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=True))
        for i, kept in enumerate(sinks):
            # the layer computes step t at chip step t + hops before it; a source is one hop, and a sink hears at once
            first = i if hosted else i + 1
            found[f"layer{i}"] = np.moveaxis(kept.data.get(), -1, 0)[first : first + steps]
        found["v"] = net.layers[-1].neuron.v.get()
    finally:
        net.stop()
    return found


def _takes_currents(path: str) -> bool:
    import h5py

    with h5py.File(path) as file:
        return "layer/0/neuron" in file and file["layer/0/type"][0] == b"input"


def main() -> None:
    """See the module."""
    folder, path, given, out = sys.argv[1:]
    hdf5 = load_netx(Path(folder))
    parts = [run(hdf5, path, sample) for sample in np.load(given)]
    np.savez(out, **{key: np.stack([part[key] for part in parts]) for key in parts[0]})


if __name__ == "__main__":
    main()
