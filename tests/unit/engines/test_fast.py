"""What only the fast engine does: float products that must stay exact, and summands added before one product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from snnhw.engines.base import Needs
from snnhw.engines.fast import FastEngine, FastSession
from snnhw.engines.observe import Recorder
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import EngineError
from snnhw.limits import FLOAT32_EXACT, FLOAT64_EXACT
from snnhw.network import (
    Array,
    Conv,
    Dense,
    Inject,
    IntNeuron,
    Kind,
    LinearOp,
    Network,
    Population,
    Projection,
    Readout,
    Shape,
)
from tests.generate import PROGRAMMABLE, machine

SILENT = IntNeuron(0, np.array((1 << 24) - 1), np.array(0), act_shift=0, du=4096)
Input = tuple[Shape, tuple[int, int]]


def joined(
    inputs: list[Input], op: LinearOp, weights: dict[str, Array], post: Shape, exp: int = 0
) -> Network[IntNeuron]:
    """Some inputs, all over the same operator into one population."""
    cells = [Population(f"in{i}", shape, Kind.INPUT, payload=payload) for i, (shape, payload) in enumerate(inputs)]
    links = [Projection(f"p{i}", f"in{i}", "n", op, 1, exp) for i in range(len(inputs))]
    top = Population("n", post, Kind.NEURON, SILENT, 1)
    return Network((*cells, top), tuple(links), weights, 2, Readout("rate", "n"))


def states(network: Network[IntNeuron], stream: dict[str, Array]) -> tuple[Array, Array]:
    """u of the population by fast and by reference."""
    found = []
    for engine in (FastEngine(), ReferenceEngine()):
        recorder = Recorder(network, state=True)
        engine.run(network, machine(PROGRAMMABLE), [stream], [recorder])
        found.append(recorder.arrays()["u/n"])
    return found[0], found[1]


def opened(network: Network[IntNeuron]) -> FastSession:
    return FastEngine().open(network, machine(PROGRAMMABLE), Needs())


def dtype_of(network: Network[IntNeuron]) -> torch.dtype:
    return opened(network).inputs["n"].groups[0].dtype


@pytest.mark.parametrize(("exp", "groups"), [(0, 1), (2, 1), (-1, 2)])
def test_summands_share_a_product_only_where_that_is_the_same(exp: int, groups: int) -> None:
    """1 >> 1 twice is 0, 2 >> 1 is 1."""
    network = joined([((1,), (0, 1))] * 2, Dense("w"), {"w": np.array([[1]])}, (1,), exp)
    assert len(opened(network).inputs["n"].groups) == groups
    ones = {f"in{i}": np.ones((1, 2, 1), np.int8) for i in range(2)}
    fast, reference = states(network, ones)
    np.testing.assert_array_equal(fast, reference)
    assert reference.ravel().tolist() == [2 << exp if exp >= 0 else 0] * 2


def test_summands_of_other_shapes_keep_apart() -> None:
    network = joined(
        [((1, 4, 4), (0, 1)), ((1, 5, 5), (0, 1))], Conv("w", (2, 2)), {"w": np.ones((1, 1, 2, 2), int)}, (1, 2, 2)
    )
    rng = np.random.default_rng(0)
    stream = {p.name: rng.integers(0, 2, (2, 2, *p.shape)) for p in network.inputs}
    np.testing.assert_array_equal(*states(network, stream))


def test_small_integers_add_without_overflow() -> None:
    network = joined([((1,), (0, 100))] * 3, Dense("w"), {"w": np.array([[1]])}, (1,))
    fast, reference = states(network, {f"in{i}": np.full((1, 2, 1), 100, np.int8) for i in range(3)})
    assert fast.ravel().tolist() == reference.ravel().tolist() == [300, 300]


def test_injections_add_and_shift() -> None:
    network = joined([((3,), (-9, 9))] * 2, Inject(), {}, (3,), -1)
    stream = {f"in{i}": np.array([[[1, -1, 9], [3, -3, 0]]]) for i in range(2)}
    np.testing.assert_array_equal(*states(network, stream))


@pytest.mark.parametrize(
    ("limit", "below", "from_it_on"),
    [(FLOAT32_EXACT, torch.float32, torch.float64), (FLOAT64_EXACT, torch.float64, None)],
)
def test_float_type_at_the_limit_of_its_mantissa(
    limit: int, below: torch.dtype, from_it_on: torch.dtype | None
) -> None:
    """|w| * payload adds to limit - 1 and to limit; signs do not matter, partial sums do."""
    payload = (-(limit // 4), limit // 4)
    weights = np.array([[-3, 1]])
    assert dtype_of(joined([((2,), (0, limit // 4 - 1))], Dense("w"), {"w": weights}, (1,))) == below
    at = joined([((2,), payload)], Dense("w"), {"w": weights}, (1,))
    if from_it_on is not None:
        assert dtype_of(at) == from_it_on
        return
    with pytest.raises(EngineError) as caught:
        opened(at)
    assert str(caught.value) == (
        "sum-too-large: a sum of synaptic inputs exceeds what 53 bit hold exactly\n  where: p0\n"
        f"  needed: {limit}\n  limit: {limit}\n  hint: use --engine reference"
    )


@pytest.mark.parametrize("size", [FLOAT32_EXACT - 1, FLOAT32_EXACT + 1, (1 << 30) + 1])
def test_sums_at_the_limit_are_exact(size: int) -> None:
    """Odd sums that the next smaller float type could not hold; v wraps them the same in both engines."""
    network = joined([((2,), (0, size // 2 + 1))], Dense("w"), {"w": np.array([[1, 1]])}, (1,))
    stream = {"in0": np.array([[[size // 2, size - size // 2], [size // 2 + 1, 1]]])}
    np.testing.assert_array_equal(*states(network, stream))


@contextmanager
def lent(place: Any, value: str) -> Iterator[None]:
    """A precision flag of torch, as a user sets it; its value after the body is the user's still."""
    before = place.fp32_precision
    place.fp32_precision = value
    try:
        yield
        assert place.fp32_precision == value
    finally:
        place.fp32_precision = "none" if before == "ieee" else before


@contextmanager
def legacy(value: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(value)
    try:
        yield
        assert torch.get_float32_matmul_precision() == value
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        yield


FLAGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "conv bf16": lambda: lent(torch.backends.mkldnn.conv, "bf16"),
    "conv tf32": lambda: lent(torch.backends.mkldnn.conv, "tf32"),
    "matmul bf16": lambda: lent(torch.backends.mkldnn.matmul, "bf16"),
    "mkldnn bf16": lambda: lent(torch.backends.mkldnn, "bf16"),
    "all backends bf16": lambda: lent(torch.backends, "bf16"),
    "all backends tf32": lambda: lent(torch.backends, "tf32"),
    "matmul medium": lambda: legacy("medium"),
    "matmul high": lambda: legacy("high"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "oneDNN": lambda: variable("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
}


@pytest.mark.parametrize("flag", list(FLAGS))
@pytest.mark.parametrize("op", [Conv("w", (1, 1), (1, 1)), Dense("w")], ids=["conv", "dense"])
def test_reduced_precision_of_the_user_reaches_no_product(
    flag: str, op: LinearOp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payloads and weights that bfloat16 cannot hold; autocast rounds on every CPU, the others on some."""
    rng = np.random.default_rng(0)
    shape, post = ((2, 4, 4), (2, 4, 4)) if isinstance(op, Conv) else ((32,), (8,))
    weights = rng.integers(-300, 300, (2, 2, 3, 3) if isinstance(op, Conv) else (8, 32))
    network = joined([(shape, (0, 999))], op, {"w": weights}, post)
    stream = {"in0": rng.integers(0, 1000, (2, 2, *shape))}
    wide: list[bool] = []
    asked = torch.Tensor.double

    def double(x: torch.Tensor) -> torch.Tensor:
        wide.append(True)
        return asked(x)

    assert dtype_of(network) == torch.float32
    monkeypatch.setattr(torch.Tensor, "double", double)
    with FLAGS[flag]():
        fast, reference = states(network, stream)
    np.testing.assert_array_equal(fast, reference)
    assert wide
    wide.clear()
    states(network, stream)
    assert not wide, "float32 is as fast as it was where nobody asks for less"


def test_reversed_and_empty_batches() -> None:
    network = joined([((4,), (0, 9))], Dense("w"), {"w": np.arange(8).reshape(2, 4)}, (2,))
    x = np.random.default_rng(0).integers(0, 10, (5, 2, 4))
    fast, reference = states(network, {"in0": x[::-1]})
    np.testing.assert_array_equal(fast, reference)
    recorder = Recorder(network, spikes=True)
    FastEngine().run(network, machine(PROGRAMMABLE), [{"in0": x[:0]}], [recorder])
    assert recorder.arrays()["spikes/n"].shape == (0, 2, 2)


def test_nnpack_is_off_only_while_a_product_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own torch code keeps its setting."""
    seen: list[bool] = []

    product = Dense.forward

    def spy(*given: Any) -> torch.Tensor:
        seen.append(torch._C._get_nnpack_enabled())
        return product(*given)

    monkeypatch.setattr(Dense, "forward", spy)
    network = joined([((3,), (0, 1))], Dense("w"), {"w": np.ones((2, 3), np.int64)}, (2,))
    with torch.backends.nnpack.flags(enabled=True):  # type: ignore[no-untyped-call]
        session = opened(network)
        assert torch._C._get_nnpack_enabled()
        session.advance(np.ones((1, 2, 3), np.int64))
        assert torch._C._get_nnpack_enabled()
    assert seen == [False]
