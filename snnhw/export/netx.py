"""An artifact as a `.net` file that lava-dl's netx loads and runs in Lava to the same spikes (docs/netx.md)."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np

from snnhw import files
from snnhw.artifact import Artifact
from snnhw.encoding import encode
from snnhw.export.netx_layers import SHIFT, NetLayer, cannot, layers_of
from snnhw.fixed import LOIHI
from snnhw.network import Array


def write_net(artifact: Artifact, path: str | Path) -> None:
    """Write it, whole or not at all; the same artifact gives the same bytes.

    Raises:
        ArtifactError: 'netx-cannot' with the population that netx cannot hold.
        DataError: 'cannot-write'.
    """
    n = artifact.target.numeric
    if artifact.target.widths != LOIHI:
        needed = f"u {n.u_bits} bits {n.u_overflow}, v {n.v_bits} bits {n.v_overflow}, decays {n.decay_bits} bits"
        limit = "u 24 bits wrap-once, v 24 bits saturate, decays 12 bits"
        hint = "compile for loihi1-netx or loihi2"
        raise cannot("netx has Loihi's states and decays only", artifact.target.name, needed, limit, hint)
    out = io.BytesIO()  # in memory: the HDF5 library ends the process where a disk is full
    with h5py.File(out, "w") as file:
        for index, layer in enumerate(layers_of(artifact.network, artifact.inputs)):
            _write(file.create_group(f"layer/{index}"), layer)
        file["simulation/Ts"] = 1
        file["simulation/tSample"] = artifact.steps
    files.write({Path(path): out.getvalue()})


def _write(group: h5py.Group, layer: NetLayer) -> None:
    """As slayer's blocks write theirs: the type as an array of one string, numbers as they are."""
    group.create_dataset("type", data=np.array([layer.kind.encode()], "S10"))
    for key, value in sorted(layer.fields.items()):
        group[key] = value if isinstance(value, str) else np.asarray(value)


def input_currents(artifact: Artifact, x: Array) -> Array:
    """What netx's first layer must be given for samples, int32 (B, T, *shape): spikes, or `bias_mant` of an input layer
    with neurons (the host's currents and the layer's own biases).

    Args:
        x: samples as `snnhw run` takes them.
    """
    (spec,) = artifact.inputs
    values = encode(x, artifact.inputs, artifact.steps)[spec.population]
    if spec.host is None:
        return values
    (projection,) = artifact.network.out_of(spec.population)
    return np.asarray(values + (np.asarray(artifact.network[projection.post].model.bias) >> SHIFT), np.int32)
