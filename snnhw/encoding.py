"""From a user's samples to the values of input populations, the same for float and integer networks.

Stochastic draws are keyed by the seed and the sample's own bytes, so they do not depend on order or batch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.errors import DataError
from snnhw.network import Array, LinearOp, Network, Part, Shape
from snnhw.rows import Rows
from snnhw.semantics import ENCODINGS


@dataclass(frozen=True)
class HostOp:
    """A linear layer that the host computes in exact integers (direct encoding on chips without graded spikes).

    value = clip((op(q) + bias) >> shift) with the pixels q; `weight` and `bias` already carry 2**shift and half of
    it for rounding, so no float decides a bit.

    Args:
        reads: input population of the float network whose values it takes.
    """

    reads: str
    op: LinearOp
    weights: Mapping[str, Array]
    bias: Array
    shift: int
    out_shape: Shape
    low: int
    high: int


@dataclass(frozen=True)
class InputSpec:
    """How samples become the values of one input population.

    Args:
        population: name of the input population.
        shape: shape of one sample.
        encoding: 'direct' (the same values at every step), 'bernoulli' (spikes drawn from values in [0, 1]),
            'latency' (one spike, the earlier the larger the value) or 'spikes' (data already come as (T, ...)).
        scale: real value of one unit of the quantised value (1 for spikes).
        low, high: range of the quantised value.
        seed: of the Bernoulli draws.
        exact: values outside the range are refused (spikes, pixels), not clipped (a range told from calibration data).
        host: what the host computes before the values reach the chip, if anything.
        part: of one of several inputs: where its values begin and end in a flat sample of so many.
    """

    population: str
    shape: Shape
    encoding: str
    scale: float = 1.0
    low: int = 0
    high: int = 1
    seed: int = 0
    exact: bool = True
    host: HostOp | None = None
    part: Part | None = None

    @property
    def reads(self) -> str:
        """Input population of the float network: its own, or the one that the host's layer reads."""
        return self.population if self.host is None else self.host.reads

    @property
    def sample_shape(self) -> Shape:
        """Shape of a sample as the user gives it."""
        return self.shape if self.part is None else (self.part[2],)


def to_real(x: Array, where: str = "x", *, pixels: bool = True) -> Array:
    """Samples as float64: of `pixels`, uint8 is divided by 255; everything else is taken as it is."""
    if x.dtype == np.uint8 and pixels:
        return x.astype(np.float64) / 255.0
    if x.dtype.kind not in "fiub":
        raise DataError("bad-data", f"samples of type {x.dtype} are not numbers", where=where)
    real = x.astype(np.float64)
    if not np.isfinite(real).all():
        raise DataError(
            "bad-data", "samples hold values that are not finite", where=where, hint="remove NaN and infinity"
        )
    return real


def real_steps(x: Array, shape: Shape, encoding: str, steps: int, seed: int, first: int = 0) -> Array:
    """Real input of the float network.

    Args:
        x: samples (B, *shape), or (B, T, *shape) that are already a sequence.
        encoding: one of ENCODINGS.
        first: steps of direct or Bernoulli encoding that were before.

    Returns:
        float64 array (B, T, *shape); direct encoding is a broadcast view.
    """
    sequence = is_sequence(x, shape, steps)
    real = to_real(x, pixels=encoding == "direct" or not sequence)  # a sequence of spikes may well be uint8
    if sequence:
        return real
    match encoding:
        case "direct":
            return np.broadcast_to(real[:, None], (real.shape[0], steps, *shape))
        case "bernoulli":
            return _bernoulli(real, steps, seed, first)
        case "latency":
            return _latency(real, steps)
        case "spikes":
            raise DataError(
                "bad-shape",
                "this network takes spikes over time, the data have no time axis",
                where="x",
                needed=f"(samples, {steps}, {', '.join(map(str, shape))})",
                limit=x.shape,
                hint="give --encode direct, bernoulli or latency for static samples",
            )
        case _:
            raise DataError("bad-encoding", f"unknown encoding {encoding!r}", limit=", ".join(ENCODINGS))


def is_sequence(x: Array | Rows, shape: Shape, steps: int) -> bool:
    """Whether samples (B, ...) have a time axis; raises DataError 'bad-shape' for what fits in neither way."""
    if x.ndim == len(shape) + 1 and x.shape[1:] == shape:
        return False
    if x.ndim == len(shape) + 2 and x.shape[2:] == shape and x.shape[1] == steps:
        return True
    dims = ", ".join(map(str, shape))
    raise DataError(
        "bad-shape",
        "the data do not fit the network's input",
        where="x",
        needed=f"(samples, {dims}) or (samples, {steps}, {dims})",
        limit=f"got {tuple(x.shape)}",
        hint="reshape the data, or compile for the shape you have",
    )


def _within_one(real: Array, encoding: str) -> None:
    if real.size and (real.min() < 0 or real.max() > 1):
        raise DataError(
            "bad-range",
            f"{encoding} encoding needs values in [0, 1]",
            where="x",
            needed=f"[{real.min():g}, {real.max():g}]",
            limit="[0, 1]",
            hint="scale the data, or give uint8 pixels",
        )


def _latency(real: Array, steps: int) -> Array:
    """One spike a value at step rint((1 - x)(W - 1)) of the first W = ceil(T / 2); 0 never spikes."""
    _within_one(real, "Latency")
    values = real.astype(np.float32)  # as bernoulli: uint8, float32 and float64 of an image spike alike
    times = np.rint((np.float32(1.0) - values) * np.float32(-(-steps // 2) - 1))
    at = np.arange(steps, dtype=np.float32).reshape(steps, *[1] * (real.ndim - 1))
    return np.asarray((times[:, None] == at) & (values > 0)[:, None], np.float64)


def _bernoulli(real: Array, steps: int, seed: int, first: int) -> Array:
    _within_one(real, "Bernoulli")
    out = np.empty((real.shape[0], steps, *real.shape[1:]))
    for i, sample in enumerate(real.astype(np.float32)):  # uint8, float32 and float64 of an image draw the same
        out[i] = sample > _generator(sample, seed, first * sample.size).random((steps, *sample.shape))
    return out


def _generator(sample: Array, seed: int, drawn: int) -> np.random.Generator:
    """Keyed by the sample, behind so many draws."""
    key = hashlib.blake2b(f"{int(seed)} ".encode() + np.ascontiguousarray(sample).tobytes(), digest_size=16)
    found = np.random.Generator(np.random.Philox(key=int.from_bytes(key.digest(), "little")).advance(drawn // 4))
    found.random(drawn % 4)  # Philox counts in fours
    return found


def quantized_steps(real: Array, spec: InputSpec) -> Array:
    """Integer values of the input population from its real input (B, T, ...); a static input stays a view."""
    static = real.shape[1] > 1 and real.strides[1] == 0
    source = real[:, :1] if static else real
    units = np.rint(source / spec.scale)
    if spec.exact:
        _require_representable(source, units, spec)
    else:
        _warn_of_clipping(units, spec)
    values = np.clip(units, spec.low, spec.high).astype(np.int32)
    if spec.host is not None:
        values = _host(values, spec.host)
    return np.broadcast_to(values, (values.shape[0], real.shape[1], *values.shape[2:])) if static else values


class ClippedInput(UserWarning):
    """Input values lie outside the range that calibration data had."""


def _warn_of_clipping(units: Array, spec: InputSpec) -> None:
    outside = int(((units < spec.low) | (units > spec.high)).sum())
    if outside:
        warnings.warn(
            f"{outside} of {units.size} values of {spec.population} lie outside the calibrated range "
            f"[{spec.low * spec.scale:g}, {spec.high * spec.scale:g}] and were clipped",
            ClippedInput,
            stacklevel=4,
        )


def _require_representable(source: Array, units: Array, spec: InputSpec) -> None:
    if not units.size:
        return
    if units.min() < spec.low or units.max() > spec.high:
        raise DataError(
            "bad-range",
            "the data leave the range the network was compiled for",
            where="x",
            needed=f"[{source.min():g}, {source.max():g}]",
            limit=f"[{spec.low * spec.scale:g}, {spec.high * spec.scale:g}]",
            hint="scale the data, or compile with --calibrate on data like them",
        )
    if spec.scale == 1.0 and (units != source).any():
        raise DataError(
            "bad-range",
            "the data are not whole numbers of spikes",
            where="x",
            needed=float(source[units != source][0]),
            limit="whole numbers",
            hint="give --encode bernoulli for values in [0, 1], or compile with --calibrate for analog sequences",
        )


def _host(values: Array, host: HostOp) -> Array:
    folded = values.reshape(-1, *values.shape[2:])
    total = host.op.apply(host.weights, folded.astype(np.int64), host.out_shape) + host.bias
    clipped = np.asarray(np.clip(total >> host.shift, host.low, host.high), np.int32)
    return clipped.reshape(*values.shape[:2], *host.out_shape)


def encode(x: Array, specs: tuple[InputSpec, ...], steps: int, first: int = 0) -> dict[str, Array]:
    """Integer values of every input population, name -> int32 array (B, T, *population shape).

    Args:
        first: as of `real_steps`.
    """
    real = ((spec, real_steps(x, spec.sample_shape, spec.encoding, steps, spec.seed, first)) for spec in specs)
    return {spec.population: quantized_steps(taken(values, spec.part, spec.shape), spec) for spec, values in real}


def taken(real: Array, part: Part | None, shape: Shape) -> Array:
    """What one input takes of real values (B, T, ...): all, or its part of flat samples."""
    return real if part is None else real[..., part[0] : part[1]].reshape(*real.shape[:2], *shape)


def real_inputs(network: Network[Any], real: Array) -> dict[str, Array]:
    """Real values by input population."""
    return {p.name: taken(real, p.part, p.shape) for p in network.inputs}


def data_hash(x: Array) -> str:
    """SHA-256 of samples: type, shape and bytes."""
    head = f"{x.dtype.str}{x.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(x).tobytes()).hexdigest()
