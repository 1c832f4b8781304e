"""The layer that the host computes in integers (direct encoding on chips without graded spikes), as ONNX nodes."""

from __future__ import annotations

from snnhw import fixed
from snnhw.encoding import HostOp, InputSpec
from snnhw.engines.onnx.graph import Graph, Value
from snnhw.engines.onnx.synapses import exact_type, magnitude, product
from snnhw.engines.onnx.trace import Traced


def host_layer(g: Graph, spec: InputSpec, host: HostOp, pixels: Value) -> Value:
    """clip((op(q) + bias) >> shift), the values of the input population, of the pixels q."""
    largest = max(abs(spec.low), abs(spec.high))
    dtype = exact_type(magnitude(host.op, host.weights, largest, spec.shape, host.out_shape), host.op)
    y = product(g, host.op, host.weights, pixels, spec.shape, host.out_shape, dtype)
    y = fixed.shifted(Traced(g, lambda: y) + host.bias, -host.shift).name
    return g.op("Max", g.op("Min", y, g.int64(host.high)), g.int64(host.low))
