"""Layers of a `.net` file as populations and projections, in logical integers and in the same integers as reals.

Units of the reals are weight units: a membrane is v / 64, a threshold vThMant, a bias its mantissa.
"""

from __future__ import annotations

import numpy as np

from snnhw.encoding import HostOp, InputSpec
from snnhw.frontends.netx.fields import MAX_VALUES, bad, unsupported
from snnhw.frontends.netx.layers import DECAY_ONE, Cuba, Layer
from snnhw.limits import require_windows
from snnhw.network import (
    Array,
    Comparison,
    Conv,
    Dense,
    Diagonal,
    FloatNeuron,
    IntNeuron,
    Kind,
    LinearOp,
    Population,
    Projection,
    Shape,
    Sparse,
)
from snnhw.rationale import Effect, Figure, Reason

SHIFT = 6
"""Lava's LIF shifts synaptic sums, thresholds and (as netx sets bias_exp) biases by so much."""

NEVER = (1 << 17) - 1
"""A threshold mantissa of all 17 bit: the neuron is not meant to fire, its membrane is read."""

INPUT = "input"
INPUT_WEIGHT = 64
"""netx's weight of an input layer that names none."""

FRACTION = 12
"""Fraction bits of analog samples, from which the host computes bias mantissas of an input layer."""

MANTISSA = (1 << 12) - 1
"""Largest bias mantissa, 13 bit with sign."""


class Builder:
    """Populations and projections made so far, one layer after another.

    Args:
        comparison: `>` as Lava's LIF, or `>=` as slayer trains.
    """

    def __init__(self, shape: Shape, comparison: Comparison) -> None:
        """Begin with the input."""
        self.comparison = comparison
        self.populations: list[Population[FloatNeuron]] = [Population(INPUT, shape, Kind.INPUT)]
        self.neurons: dict[str, IntNeuron] = {}
        self.projections: list[Projection] = []
        self.weights: dict[str, Array] = {}
        self.inputs: list[InputSpec] = []
        self.reasons: list[Reason] = []
        self.flat = False  # neurons in a row: behind a flatten or a matrix, where netx knows no image

    @property
    def last(self) -> Population[FloatNeuron]:
        """The population that the next layer reads."""
        return self.populations[-1]

    def add(self, layer: Layer, is_last: bool) -> None:
        """Add a layer behind the ones before it."""
        match layer.kind:
            case "input":
                self._input(layer)
            case "flatten":
                self.flat = True
            case "conv" | "pool":
                self._image(layer)
                self._neurons(layer, is_last)
            case "average":
                self._average(layer)
                self._neurons(layer, is_last)
            case _:
                self._matrix(layer)
                self._neurons(layer, is_last)
                self.flat = True

    def _input(self, layer: Layer) -> None:
        """netx gives weight * x + bias to such a layer as bias currents; the host computes them."""
        if layer.neuron is None:
            return
        weight = int(layer.weight.item()) if layer.weight is not None else INPUT_WEIGHT
        shift = int(layer.bias.item()) if layer.bias is not None else 0
        if weight == 0:
            raise bad("the input's weight is 0, so that no sample reaches the network", f"{layer.where}/weight")
        name = f"{INPUT}@{layer.name}"
        low, high = sorted(((-MANTISSA - shift) / weight, (MANTISSA - shift) / weight))
        unit = 1 << FRACTION
        host = HostOp(
            INPUT,
            Diagonal(""),
            {"": np.asarray(weight, np.int64)},
            np.asarray(shift * unit + unit // 2, np.int64),
            FRACTION,
            layer.shape,
            -MANTISSA,
            MANTISSA,
        )
        values = int(np.ceil(low * unit)), int(np.floor(high * unit))
        self.inputs.append(InputSpec(name, layer.shape, "direct", 1.0 / unit, *values, host=host))
        self._reason(
            layer, "input transform", f"{weight} * x + {shift}", "bias mantissas, rounded by the host", "weight"
        )
        self.weights[layer.name] = np.asarray(weight, np.int32)
        self._connect(layer, Diagonal(layer.name))
        self._neurons(layer, False, bias=np.asarray(shift), memory=False)

    def _matrix(self, layer: Layer) -> None:
        assert layer.weight is not None
        pre = self.last
        if pre.size != layer.weight.shape[1]:
            raise bad(
                "the weights do not fit the layer before", f"{layer.where}/weight", layer.weight.shape[1], pre.size
            )
        if not self.flat and sorted(pre.shape)[:-1] not in ([], [1, 1]):
            raise bad("a dense layer reads an image", layer.where, pre.shape, "neurons", "put a flatten layer between")
        both = [layer.weight] if layer.recurrent is None else [layer.weight, layer.recurrent]
        _require_packable(np.concatenate([w.ravel() for w in both]), f"{layer.where}/weight")
        if layer.delay is None or not (layer.delay.astype(bool) & layer.weight.astype(bool)).any():
            self.weights[layer.name] = layer.weight
            self._connect(layer, Dense(layer.name))
        else:
            self._delayed(layer, layer.weight, layer.delay)
        if layer.recurrent is not None:
            name = f"{layer.name}.rec"
            self.weights[name] = layer.recurrent
            self.projections.append(
                Projection(f"{layer.name}->{layer.name}", layer.name, layer.name, Dense(name), lag=1)
            )

    def _average(self, layer: Layer) -> None:
        """Spike counts of groups of neurons that follow each other; the division happens when they are read."""
        if self.last.kind is not Kind.NEURON or self.last.size % layer.size:
            where = f"{layer.where}/shape"
            raise bad("the average does not divide the layer before into groups", where, layer.size, self.last.size)
        if layer.size * self.last.size > MAX_VALUES:
            raise unsupported(
                "the average joins more neurons than its matrix can hold",
                f"{layer.where}/shape",
                f"{layer.size} x {self.last.size} weights",
                MAX_VALUES,
                "put a pool, or a smaller layer, before it",
            )
        group = np.ones((1, self.last.size // layer.size), np.int32)
        self.weights[layer.name] = np.kron(np.eye(layer.size, dtype=np.int32), group)
        self._connect(layer, Dense(layer.name))

    def _delayed(self, layer: Layer, weight: Array, delay: Array) -> None:
        """One sparse projection for each delay, of all synapses that have it and are not 0."""
        for steps in np.unique(delay[weight != 0]).tolist():
            label = f"{layer.name}+{steps}"
            rows, columns = np.nonzero((delay == steps) & (weight != 0))
            self.weights |= {
                label: weight[rows, columns],
                f"{label}/indices": columns.astype(np.int32),
                f"{label}/indptr": np.searchsorted(rows, np.arange(layer.size + 1)).astype(np.int32),
            }
            self._connect(layer, Sparse(label), int(steps))
        self._reason(layer, "delay", f"{delay.min()} to {delay.max()}", "steps, a projection for each", "delay")

    def _image(self, layer: Layer) -> None:
        assert layer.weight is not None
        pre = self.last
        if self.flat or len(pre.shape) != 3:
            raise bad("a convolution or pool does not read an image", layer.where, pre.shape, "(C, H, W)")
        weight, groups = layer.weight, layer.groups
        if layer.kind == "pool":
            _require_plain_pool(layer, pre.shape)
            weight, groups = np.broadcast_to(weight.reshape(1, 1, 1, 1), (pre.shape[0], 1, *layer.kernel)), pre.shape[0]
        if weight.shape[1] * groups != pre.shape[0] or weight.shape[0] % groups:
            where = f"{layer.where}/weight"
            raise bad("the weights do not fit the layer before", where, weight.shape[1] * groups, pre.shape[0])
        op = Conv(layer.name, layer.stride, layer.padding, layer.dilation, groups)
        made = op.shape({layer.name: weight}, pre.shape)
        if made != layer.shape:
            raise bad(
                "the layer's shape is not what its window makes of the one before", layer.where, layer.shape, made
            )
        require_windows(pre.shape, weight.shape[2:], layer.padding, made[1:], layer.where)
        self.weights[layer.name] = np.ascontiguousarray(weight)
        self._connect(layer, op)

    def _connect(self, layer: Layer, op: LinearOp, lag: int = 0) -> None:
        route = f"{self.last.name}->{layer.name}" + (f" after {lag}" if lag else "")
        self.projections.append(Projection(route, self.last.name, layer.name, op, lag=lag))
        if op.multiplies:
            w = self.weights[op.weight]
            self._reason(layer, f"weights {op.weight}", f"{w.min()} to {w.max()}", "as they act in netx", "weight")

    def _neurons(self, layer: Layer, is_last: bool, bias: Array | None = None, memory: bool = True) -> None:
        """The population of a layer.

        Args:
            bias: an input's, which the host adds.
            memory: False where currents enter behind the synaptic filter (bias mantissas of an input layer).
        """
        cuba, spiking = layer.neuron, True
        if cuba is None:  # netx sums currents in u and shows u as v: the same number as v without a leak
            _require_sum(layer, is_last)
            cuba, spiking = Cuba(DECAY_ONE, 0, NEVER), False
        elif is_last and cuba.vth >= NEVER:
            spiking = False
        elif cuba.vth > NEVER:
            raise bad("a hidden layer cannot fire", f"{layer.where}/neuron/vThMant", cuba.vth, f"below {NEVER + 1}")
        du = cuba.i_decay if memory else DECAY_ONE
        own = _bias(layer) if bias is None else np.zeros((), np.int64)
        vth = np.asarray(min(cuba.vth, NEVER), np.int64)
        comparison = self.comparison if spiking else Comparison.GT
        integers = IntNeuron(
            dv=cuba.v_decay, vth=vth << SHIFT, bias=own << SHIFT, du=du, act_shift=SHIFT, comparison=comparison
        )
        reals = FloatNeuron(
            v_keep=1.0 - cuba.v_decay / DECAY_ONE,
            threshold=vth.astype(np.float64),
            bias=(own if bias is None else bias).astype(np.float64),
            u_keep=1.0 - du / DECAY_ONE,
            comparison=comparison,
        )
        self.neurons[layer.name] = integers
        kind = Kind.NEURON if spiking else Kind.ACCUMULATOR
        self.populations.append(Population(layer.name, layer.shape, kind, reals))
        self._neuron_reasons(layer, integers, spiking)

    def _neuron_reasons(self, layer: Layer, n: IntNeuron, spiking: bool) -> None:
        given = layer.neuron is not None
        self._reason(layer, "du", int(n.du), int(n.du) / DECAY_ONE, "neuron/iDecay" if given else "")
        self._reason(layer, "dv", int(n.dv), int(n.dv) / DECAY_ONE, "neuron/vDecay" if given else "")
        self._reason(layer, "act_shift", n.act_shift, "Lava's LIF shifts by 6", "")
        self._reason(
            layer,
            "bias",
            f"{n.bias.min()} to {n.bias.max()}",
            "bias mantissas << 6",
            "bias" if layer.bias is not None else "",
        )
        what = f"neuron/vThMant << 6, v {'>' if n.comparison is Comparison.GT else '>='} vth"
        self._reason(
            layer,
            "vth",
            int(n.vth),
            what if spiking else "never reached: the membrane is the result",
            "neuron" if given else "",
        )

    def _reason(self, layer: Layer, parameter: str, integer: Figure, real: Figure, field: str) -> None:
        text = f"from the file: {layer.where}/{field}" if field else f"netx's default for {layer.where}"
        self.reasons.append(Reason(layer.name, parameter, integer, real, Effect.GIVEN, text))


def _bias(layer: Layer) -> Array:
    """Bias mantissas that broadcast to the layer's shape; netx reads full ones in its own order (W, H, C)."""
    bias = layer.bias
    if bias is None:
        return np.zeros((), np.int64)
    bias = bias.astype(np.int64)
    if bias.size == 1:
        return bias.reshape(())
    if len(layer.shape) == 1 or bias.size != layer.shape[0]:
        return bias.reshape(layer.shape) if bias.ndim != 3 else bias.transpose(2, 1, 0)
    return bias.reshape(-1, 1, 1)


def _require_sum(layer: Layer, is_last: bool) -> None:
    if not is_last:
        raise bad("only the last layer can be without neurons", f"{layer.where}/neuron", "neuron/type, iDecay, ...")
    if layer.bias is not None and layer.bias.any():
        raise unsupported(
            "a layer without neurons has a bias, which netx adds once, not at every step",
            f"{layer.where}/bias",
            layer.bias.ravel()[:4].tolist(),
            "none",
            "leave it out",
        )


def _require_packable(weight: Array, where: str) -> None:
    """Whether netx's `optimize_weight_bits` and Lava's Dense leave the weights of a matrix as they are."""
    low, high = int(weight.min()), int(weight.max())
    limits = (0, 255) if low >= 0 else (-255, -1) if high < 0 else (-256, 254)
    if low < limits[0] or high > limits[1]:
        raise unsupported(
            "weights do not fit 8 bit: netx clips them, so that it does not run what was trained",
            where,
            f"{low} to {high}",
            f"{limits[0]} to {limits[1]}",
            "train with slayer.utils.quantize at 8 bits, or clip them in the file as netx does",
        )
    if high == 0 and low < -128 and (weight & 1).any():
        raise unsupported(
            "netx cannot pack odd weights below -128 beside zeros", where, low, "even weights", "make them even"
        )


def _require_plain_pool(layer: Layer, pre: Shape) -> None:
    whole = all(n % k == 0 for n, k in zip(pre[1:], layer.kernel, strict=True))
    if layer.stride != layer.kernel or layer.padding != (0, 0) or layer.dilation != (1, 1) or not whole:
        raise unsupported(
            "slayer's pools mix channels unless their windows tile the image",
            layer.where,
            f"kernel {layer.kernel}, stride {layer.stride}, padding {layer.padding} on {pre[1:]}",
            "stride = kernel, no padding, a whole number of windows",
            "train with such a pool",
        )
