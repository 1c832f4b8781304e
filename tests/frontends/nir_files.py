"""Files of tests/frontends/files: small networks as the frameworks' own exporters write them, with their own spikes.

`SNNHW_FRONTEND=NAME PYTHONPATH=.frontends/NAME python -m tests.frontends.nir_files NAME` writes NAME.zip (HDF5 is
mostly air) with CASE.nir and CASE.npz: `x` (samples, T, ...) and `spikes/NODE` (samples, T, ...) of every spiking node,
run by the framework.
"""

from __future__ import annotations

import importlib
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

FILES = Path(__file__).resolve().parent / "files"
SAMPLES, STEPS = 4, 12

Step = Callable[[Tensor], Any]


def spikes_in(shape: tuple[int, ...], rate: float = 0.4) -> Tensor:
    """(samples, T, *shape), zeros and ones."""
    return (torch.rand(SAMPLES, STEPS, *shape) < rate).float()


def recorded(
    modules: Mapping[str, nn.Module], run: Callable[[], Any], spikes: Callable[[Any], Tensor]
) -> dict[str, list[Tensor]]:
    """Outputs of modules, call by call, by node name.

    Args:
        spikes: the spikes in what a module returns.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in modules}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: found[name].append(spikes(out).detach().clone()))
        for name, module in modules.items()
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return found


def save(name: str, graph: nir.NIRGraph, x: Tensor, spikes: Mapping[str, Tensor]) -> None:
    """Both files; every layer must spike, or the file shows nothing.

    Args:
        name: FRAMEWORK-CASE.
    """
    for node, values in spikes.items():
        assert values.shape[:2] == x.shape[:2], (name, node, values.shape, x.shape)
        rate = float((values > 0).float().mean())
        assert 0.02 < rate < 0.95, (name, node, rate)
    arrays = {f"spikes/{node}": values.numpy().astype(np.uint8) for node, values in spikes.items()}
    framework, case = name.split("-", 1)
    held = io.BytesIO()
    np.savez(held, x=x.numpy().astype(np.uint8), **arrays)
    with tempfile.TemporaryDirectory() as folder:
        try:
            nir.write(Path(folder) / "net.nir", graph)
        except TypeError:  # gzip takes no scalars; users then write without
            nir.write(Path(folder) / "net.nir", graph, compression=None)  # type: ignore[arg-type]
        content = (Path(folder) / "net.nir").read_bytes()
    with zipfile.ZipFile(FILES / f"{framework}.zip", "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for ending, blob in (("nir", content), ("npz", held.getvalue())):
            archive.writestr(zipfile.ZipInfo(f"{case}.{ending}"), blob, zipfile.ZIP_DEFLATED)


def stepwise(name: str, found: Mapping[str, list[Tensor]]) -> Tensor:
    """Calls of one module, one a step, as (samples, T, ...)."""
    return torch.stack(found[name], 1)


def main(framework: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    FILES.mkdir(exist_ok=True)
    (FILES / f"{framework}.zip").unlink(missing_ok=True)
    importlib.import_module(f"tests.frontends.nir_files_{framework}").write()


if __name__ == "__main__":
    main(sys.argv[1])
