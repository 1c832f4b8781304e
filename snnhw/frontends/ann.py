"""ReLU networks as sources: an ONNX file or a torch module is converted to spikes, then imported like any module."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from snnhw.errors import SourceError
from snnhw.frontends.checkpoint import import_module
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.semantics import Deployment
from snnhw.zoo.conversion import PERCENTILE, convert

MOST_SAMPLES = 1000
"""Samples that the thresholds are chosen from; of more, so many evenly spread ones are taken."""


def convert_source(
    source: str | Path | nn.Module,
    samples: Array,
    steps: int,
    reset: str = "subtract",
    percentile: float = PERCENTILE,
) -> Source:
    """The spiking network of a ReLU classifier, as a source.

    Args:
        source: an ``.onnx`` file, or a module on ``[N, ...]``, trained on values like ``samples`` (uint8: over 255).
        samples: ``[n, ...]`` training samples, uint8 or float; the thresholds come from them.
        steps: T of the deployed network.
        reset: ``subtract`` (needs a target with soft reset, loihi2) or ``zero``.
        percentile: see `snnhw.zoo.conversion.convert`.
    """
    samples = np.asarray(samples)
    if samples.ndim < 2 or not len(samples) or samples.dtype.kind not in "uif" or not np.isfinite(samples).all():
        raise SourceError(
            "needs-calibration",
            "converting a ReLU network needs training samples (n, ...) of finite numbers",
            where="samples",
            needed="finite numbers of shape (samples, ...)",
            limit=f"got {samples.dtype} of shape {samples.shape}",
            hint="give training samples with --calibrate DATA.npz",
        )
    module, origin = _module(source)
    pixels = samples.dtype == np.uint8
    chosen = samples[np.linspace(0, len(samples) - 1, min(len(samples), MOST_SAMPLES)).astype(int)]
    values = torch.tensor(chosen, dtype=torch.float64) / (255.0 if pixels else 1.0)
    network = convert(module, values, percentile=percentile, reset=reset)
    preprocessing = "uint8/255" if pixels else "none"
    deployment = Deployment(steps, "direct", tuple(samples.shape[1:]), "mean", preprocessing)
    imported = import_module(network, deployment)
    return replace(
        imported, origin={**origin, "conversion": {"reset": reset, "percentile": percentile}}, calibration=samples
    )


def _module(source: str | Path | nn.Module) -> tuple[nn.Module, Mapping[str, Any]]:
    if isinstance(source, nn.Module):
        return source, {"module": type(source).__name__}
    from snnhw.frontends.onnx.ann import load_ann  # onnx is imported only where it is needed

    path = Path(source)
    module = load_ann(path)
    return module, {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
