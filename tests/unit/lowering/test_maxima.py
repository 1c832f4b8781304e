"""Maxima of currents as tournaments of relays: exact for the quantised layer, whatever the windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnhw
from snnhw.artifact import load, save
from snnhw.engines.floating import FloatEngine
from snnhw.engines.lava import compat
from snnhw.errors import LoweringError, QuantizeError, SourceError
from snnhw.frontends.nir.file import load_nir, write_nir
from snnhw.lowering.lower import lower_for
from snnhw.lowering.pooled_spikes import effects
from snnhw.machine import load_target
from snnhw.network import Conv, Kind
from snnhw.operators.candidate import Candidate, Lift, Pool
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF
from tests.unit.frontends.modules import Flow, imported, settled

STEPS, SHAPE = 4, (2, 9, 8)


def spikes_in(shape: tuple[int, ...], samples: int = 3) -> Any:
    return (np.random.default_rng(0).random((samples, STEPS, *shape)) < 0.4).astype(np.float64)


def network(*stem: nn.Module, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    """Layers with a pool, a neuron, a matrix that is read."""
    torch.manual_seed(0)
    first = nn.Sequential(*stem)
    size = first.eval()(torch.zeros(1, *shape)).numel()
    tail = [LIF(tau=2.0, v_threshold=0.3, v_reset=None), PerStep(nn.Flatten(), nn.Linear(size, 3))]
    return nn.Sequential(PerStep(first), *tail).double()


def compiled(module: nn.Module, shape: tuple[int, ...] = SHAPE, **options: Any) -> Any:
    x = spikes_in(shape)
    used = Deployment(STEPS, "spikes", shape, "mean")
    return snnhw.compile(module.eval(), target="loihi2", calibrate=x, deployment=used, **options), x


def largest_currents(artifact: Any, x: Any) -> Any:
    """Of what the convolution's own integers give for x, the largest of each window as torch pools it."""
    net = artifact.network
    anchors = [q for q in net.into("1") if isinstance(q.op, Candidate)]
    flat, pool = x.reshape(-1, *x.shape[2:]).astype(np.int64), anchors[0].op.windows
    shape = anchors[0].op.plain.shape(net.weights, x.shape[2:])
    lifts = [q for q in net.into("1") if isinstance(q.op, Lift)]
    signs = net.array(lifts[0].op)  # 1, or -1 for channels that a BatchNorm behind the pool turns round
    values = sum(q.op.plain.apply(net.weights, flat, shape) << q.weight_exp for q in anchors) * signs
    kind: Any = nn.functional.max_pool2d if len(shape) == 3 else nn.functional.max_pool1d
    windows = (pool.kernel, pool.stride, pool.padding, pool.dilation, pool.ceil)
    most = kind(torch.from_numpy(values.astype(np.float64)), *windows).numpy().astype(np.int64) * signs
    return most.reshape(*x.shape[:2], *most.shape[1:])


MODULES: dict[str, tuple[list[nn.Module], tuple[int, ...]]] = {
    "2x2": ([nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)], SHAPE),
    "BatchNorm before": ([nn.Conv2d(2, 3, 3), settled(nn.BatchNorm2d(3)), nn.MaxPool2d(2)], SHAPE),
    "BatchNorm behind, of both signs": ([nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), settled(nn.BatchNorm2d(4))], SHAPE),
    "padded and cut": ([nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(3, 2, 1)], SHAPE),
    "ceil mode": ([nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True)], SHAPE),
    "overlapping": ([nn.Conv2d(2, 2, 3, 2, groups=2), nn.MaxPool2d((3, 2), 1, (1, 0))], SHAPE),
    "dilated": ([nn.Conv2d(2, 2, (1, 3), 1, (0, 2), 2), nn.MaxPool2d((2, 3), (1, 2), (1, 1), (2, 1))], SHAPE),
    "of sequences": ([nn.Conv1d(2, 3, 5, 2, 2), nn.MaxPool1d(3, 2, 1)], (2, 19)),
    "two convolutions": (
        [Flow(lambda m, x: m.a(x) + m.b(x), a=nn.Conv2d(2, 3, 3, padding=1), b=nn.Conv2d(2, 3, 1)), nn.MaxPool2d(2)],
        SHAPE,
    ),
    "of the spikes themselves, scaled": ([Flow(lambda m, x: x * 0.7), nn.MaxPool2d(2)], SHAPE),
}
each = pytest.mark.parametrize(("stem", "shape"), [pytest.param(*rest, id=name) for name, rest in MODULES.items()])


@each
def test_what_reaches_the_neuron_is_the_largest_current(stem: list[nn.Module], shape: tuple[int, ...]) -> None:
    """Source = NIR = lowered is checked by compile; here integers, in all engines, and within their bounds."""
    artifact, x = compiled(network(*stem, shape=shape), shape)
    found = {e: snnhw.run(artifact, x, engine=e, record="state") for e in ("reference", "fast", "onnx")}
    for engine in ("fast", "onnx"):
        for key, values in found["reference"].items():
            np.testing.assert_array_equal(found[engine][key], values, err_msg=f"{engine} {key}")
    net, have = artifact.network, found["reference"]
    relays = [p for p in net.populations if p.kind is Kind.RELAY]
    windows = next(q.op for q in net.projections if isinstance(q.op, Candidate)).windows
    assert len(relays) == np.prod(windows.kernel) - 1
    assert net.depth == 2 + sum((n - 1).bit_length() for n in windows.kernel)
    assert have["spikes/1"].any()
    for p in relays:
        sent = have[f"spikes/{p.name}"]
        assert 0 < sent.max() <= p.payload[1]
    for row in artifact.bounds:
        assert row["status"] == "proven"
        for state in ("u", "v"):
            seen = have.get(f"{state}/{row['population']}")
            low, high = row[state]
            assert seen is None or (low <= seen.min() and seen.max() <= high)
    np.testing.assert_array_equal(have["u/1"], largest_currents(artifact, x) << net["1"].model.act_shift)


@settings(max_examples=25)
@given(st.data())
def test_candidates_are_those_of_a_pool(data: st.DataObject) -> None:
    """Each window's candidates, however it is padded, cut or spread, are the values that torch's pool is over."""
    kernel, stride, dilation = (data.draw(st.integers(1, n)) for n in (5, 4, 3))
    size, padding = data.draw(st.integers(1, 12)), data.draw(st.integers(0, kernel // 2))
    ceil = data.draw(st.booleans())
    if size + 2 * padding < dilation * (kernel - 1) + 1:
        return
    pool, x = Pool((kernel,), (stride,), (padding,), (dilation,), ceil), torch.randn(1, 1, size)
    at = pool.candidates(0, size)
    want = nn.functional.max_pool1d(x, kernel, stride, padding, dilation, ceil)[0, 0].numpy()
    have = np.where(at < 0, -np.inf, x[0, 0].numpy()[at]).max(axis=0)
    np.testing.assert_array_equal(have, want)
    assert (np.diff(at < 0, axis=0) >= 0).all()  # those that are there come first


def test_two_pools_into_one_neuron_and_a_convolution_beside_them() -> None:
    layers = {name: PerStep(nn.Conv2d(2, 3, 3, padding=1)) for name in "ab"} | {"d": PerStep(nn.Conv2d(2, 3, 2, 2))}
    pool = nn.functional.max_pool2d

    def flow(m: Any, x: Any) -> Any:
        pooled = [torch.stack([s * pool(step, 2) for step in m.get_submodule(n)(x)]) for s, n in ((1, "a"), (-1, "b"))]
        return m.out(m.neuron(pooled[0] + pooled[1] + m.d(x)))

    torch.manual_seed(0)
    out = PerStep(nn.Flatten(), nn.Linear(3 * 16, 3))
    module = Flow(flow, **layers, neuron=IF(v_threshold=0.4), out=out).double()
    artifact, x = compiled(module, (2, 8, 8))
    relays = sorted(p.name for p in artifact.network.computed if p.kind is Kind.RELAY)
    assert relays == [f"neuron.max{n}" for n in range(1, 7)]
    one, other = (snnhw.run(artifact, x, engine=engine, record="state") for engine in ("reference", "fast"))
    assert one["spikes/neuron"].any()
    for key, values in one.items():
        np.testing.assert_array_equal(other[key], values, err_msg=key)


TWICE: dict[str, Any] = {
    "two pools": lambda m, a, b: m.two(a) + m.wide(a),
    "two pools, a factor behind one": lambda m, a, b: m.bn(m.two(a)) + m.two(a),
    "a pool with factors and the convolution": lambda m, a, b: m.bn(m.same(a)) + a,
    "twice a pool and the convolution": lambda m, a, b: m.same(a) * 2.0 + a,
    "a pool of a sum, and one of a summand": lambda m, a, b: m.bn(m.two(a + b)) + m.two(b),
    "pools of opposite signs": lambda m, a, b: m.two(a) * -1.0 + m.wide(a),
}


@pytest.mark.parametrize("flow", TWICE.values(), ids=TWICE)
def test_a_convolution_that_a_neuron_reads_in_two_ways(flow: Any) -> None:
    """Each way has weights and routes of its own where they differ."""
    torch.manual_seed(0)
    pools = {"two": nn.MaxPool2d(2), "wide": nn.MaxPool2d(3, 2, 1), "same": nn.MaxPool2d(3, 1, 1)}
    layers = {"a": nn.Conv2d(2, 3, 3, padding=1), "b": nn.Conv2d(2, 3, 1), "bn": settled(nn.BatchNorm2d(3)), **pools}
    parts = {name: PerStep(layer) for name, layer in layers.items()}
    out = PerStep(nn.Flatten(), nn.LazyLinear(3))
    module = Flow(lambda m, x: m.out(m.neuron(flow(m, m.a(x), m.b(x)))), **parts, neuron=IF(v_threshold=0.4), out=out)
    x = spikes_in((2, 6, 6))
    module.double().eval()(torch.from_numpy(x.swapaxes(0, 1)))
    artifact, _ = compiled(module, (2, 6, 6))
    one, *others = (snnhw.run(artifact, x, engine=engine, record="state") for engine in ("reference", "fast", "onnx"))
    for other in others:
        for key, values in one.items():
            np.testing.assert_array_equal(other[key], values, err_msg=key)
    with torch.no_grad():
        steps = torch.from_numpy(x.swapaxes(0, 1))
        want = module.neuron(flow(module, module.a(steps), module.b(steps))).numpy().swapaxes(0, 1)
    have = FloatEngine(artifact.reference, Deployment(STEPS, "spikes", (2, 6, 6), "mean")).values(x)["neuron"]
    np.testing.assert_array_equal(have, want)
    assert 0 < want.mean() < 1


def test_a_comparison_counts_the_convolution_that_the_source_has() -> None:
    """The float network's own operations: every spike times the whole convolution's synapses, and no relay."""
    module = network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2))
    artifact, x = compiled(module)
    found = snnhw.compare(module, artifact, x)
    reached = Conv("w").fan_out({"w": np.ones((3, 2, 3, 3))}, SHAPE, (3, 7, 6))
    spikes = snnhw.run(artifact, x, record="spikes")["spikes/1"].sum() / len(x)
    want = (x.sum(axis=(0, 1)) * reached).sum() / len(x)
    assert found.convention_45nm.float_snn.acs - want == pytest.approx(3 * spikes, rel=0.2)
    assert {row.name for row in found.drift} == {"1"}


def test_explain_says_what_a_maximum_costs() -> None:
    artifact, _ = compiled(network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)))
    (row,) = (r for r in artifact.rationale if r.parameter == "maximum")
    assert (row.population, row.integer, row.kind) == ("1", "3 relays of differences", "exact")
    assert "3 populations of 27 neurons and 2 hops more" in row.text
    lossless = [r for r in artifact.rationale if r.parameter == "max_spikes"]
    assert [(r.population, r.kind) for r in lossless] == [(f"1.max{n}", "lossless") for n in (1, 2, 3)]


def test_an_artifact_and_a_file_of_ours_hold_it(tmp_path: Any) -> None:
    module = network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2, ceil_mode=True), shape=(2, 5, 5))
    artifact, _ = compiled(module, (2, 5, 5))
    save(artifact, tmp_path / "a.snnhw")
    assert load(tmp_path / "a.snnhw").network.projections == artifact.network.projections
    source = imported(module, (2, 5, 5), STEPS, "mean")
    with pytest.raises(SourceError) as caught:
        write_nir(source.graph, tmp_path / "a.nir")
    assert caught.value.message == "NIR has no node for the maximum of currents"
    write_nir(source.graph, tmp_path / "a.nir", own=True)
    again, chip = load_nir(tmp_path / "a.nir"), load_target("loihi2")
    assert lower_for(again, chip).projections == lower_for(source, chip).projections


@pytest.mark.lava
@pytest.mark.skipif(not compat.lava_status()[0], reason="Lava is not installed")
def test_lava_gives_the_same_bits() -> None:
    module = network(nn.Conv2d(2, 2, 3), nn.MaxPool2d(2), settled(nn.BatchNorm2d(2)), shape=(2, 6, 6))
    artifact, x = compiled(module, (2, 6, 6))
    want, have = (snnhw.run(artifact, x, engine=engine, record="state") for engine in ("reference", "lava"))
    for key, values in want.items():
        np.testing.assert_array_equal(have[key], values, err_msg=key)


REFUSED: dict[str, tuple[list[nn.Module], str]] = {
    "a layer behind the pool": (
        [nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 3, 1)],
        "behind-maximum: between the maximum of currents and its neuron there is more than a factor and a bias for "
        "each channel\n  where: 0.0.1\n  needed: Conv from (3, 3, 3) to (3, 3, 3)\n  limit: BatchNorm, or a factor "
        "of each channel\n  hint: put a neuron behind the pool",
    ),
    "a pool behind the pool": (
        [nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.MaxPool2d(2)],
        "maximum-of: a maximum of currents is taken of another one\n  where: 0.0.2\n  needed: 0.0.1\n"
        "  limit: a convolution in front\n  hint: make the two pools one, or put a neuron between them",
    ),
    "uneven biases": (
        [nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1, groups=2), nn.MaxPool2d(2)],
        "maximum-of: biases in front of a maximum differ inside of a channel\n  where: 0.0.2\n"
        "  limit: one bias for each channel\n"
        "  hint: a layer behind a padded one spreads its bias unevenly: put a neuron between them",
    ),
    "a factor for each neuron": (
        [nn.Conv2d(2, 1, 3), nn.MaxPool2d(2), Flow(lambda m, x: x * torch.arange(9.0).reshape(3, 3))],
        "behind-maximum: between the maximum of currents and its neuron there is more than a factor and a bias for "
        "each channel\n  where: 0.0.1\n  needed: another map, or a factor for each neuron\n"
        "  limit: BatchNorm, or a factor of each channel\n"
        "  hint: put a neuron behind the pool",
    ),
    "no convolution": (
        [nn.Upsample(scale_factor=2), nn.MaxPool2d(2)],
        "maximum-of: a maximum of what is no convolution cannot be made of relays\n  where: 0.0.1\n  needed: Upsample\n"
        "  limit: convolutions, of images or sequences, with BatchNorm, scales and average pools\n"
        "  hint: put the neuron before the pool, or --approximate pool-after-spikes",
    ),
}


@pytest.mark.parametrize(("stem", "text"), [pytest.param(*case, id=name) for name, case in REFUSED.items()])
def test_what_no_tournament_is_made_of(stem: list[nn.Module], text: str) -> None:
    with pytest.raises(LoweringError) as caught:
        compiled(network(*stem))
    assert str(caught.value) == text


def test_targets_without_graded_spikes_name_both_ways() -> None:
    source = imported(network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)).eval(), SHAPE, STEPS, "mean")
    with pytest.raises(LoweringError) as caught:
        lower_for(source, load_target("loihi1"))
    assert str(caught.value) == (
        "maximum-of-currents: a maximum of currents takes graded spikes, which the target does not have\n"
        "  where: 0.0.1\n  needed: payloads of more than one bit\n  limit: spikes of 0 or 1\n"
        "  hint: choose a target that has them (--target loihi2: exact), or --approximate pool-after-spikes"
    )


def test_differences_beyond_a_payload_are_refused() -> None:
    with pytest.raises(QuantizeError) as caught:
        compiled(network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)), set={"numeric.payload_bits": 8})
    assert str(caught.value).startswith("payload-range: a difference of currents may be more than an event can carry\n")
    assert caught.value.limit == "255"
    assert int(caught.value.needed) > 255


def test_targets_that_hand_on_no_differences_are_refused() -> None:
    with pytest.raises(QuantizeError) as caught:
        compiled(network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)), set={"numeric.comparisons": ["gt"]})
    text = "unsupported-neuron: the target cannot hand on differences of currents as they are\n"
    assert str(caught.value).startswith(text)


def test_a_window_without_candidates_is_refused() -> None:
    module = network(nn.Conv2d(2, 2, 1), nn.MaxPool2d((2, 1), padding=(1, 0), dilation=2), shape=(2, 1, 3))
    with pytest.raises(LoweringError) as caught:
        compiled(module, (2, 1, 3))
    assert caught.value.message == "a window of a maximum lies in its padding whole"


def test_a_pool_of_spikes_instead_is_measured_and_said() -> None:
    """On a target without graded spikes: integers are exactly that network; compare's floats keep the maximum."""
    norm: Any = settled(nn.BatchNorm2d(3))
    norm.weight.data.abs_()
    module, x = network(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(3, 2, 1), norm), spikes_in(SHAPE, 8)
    module[1] = LIF(tau=2.0, v_threshold=0.3)
    used = Deployment(STEPS, "spikes", SHAPE, "mean")
    said = {"target": "loihi1", "calibrate": x, "deployment": used, "approximate": "pool-after-spikes"}
    artifact = snnhw.compile(module.eval(), **said)
    net, was = artifact.network, artifact.reference
    assert (net["1"].kind, net["1"].shape) == (Kind.GATE, was["1"].shape)
    assert net["1.unpooled"].shape == (3, *SHAPE[1:])
    (caution,) = (w for w in artifact.warnings if w.code == "pool-after-spikes")
    assert caution.where == "1"
    real = FloatEngine(was, used).values(x)["1"]
    rates = caution.size.rpartition("step: ")[2].split(", now ")
    assert float(rates[0]) == pytest.approx(real.mean(), rel=1e-2) != float(rates[1])
    assert "of 8 predictions stay on calibration samples" in caution.size
    (row,) = (r for r in artifact.rationale if r.parameter == "maximum")
    assert (row.integer, row.kind) == ("an OR of spikes", "approximate")
    have = snnhw.run(artifact, x, engine="reference", record="state")
    single = torch.from_numpy(have["spikes/1.unpooled"].reshape(-1, *net["1.unpooled"].shape).astype(float))
    pooled = nn.functional.max_pool2d(single, 3, 2, 1).numpy().reshape(have["spikes/1"].shape)
    np.testing.assert_array_equal(have["spikes/1"], pooled)
    assert 0 < pooled.mean() < 1
    compared = snnhw.compare(module, artifact, x)
    assert [w.code for w in compared.warnings if w.code == "pool-after-spikes"]
    again = snnhw.compile(module, **{**said, "target": "loihi2", "approximate": ""})
    np.testing.assert_array_equal(FloatEngine(again.reference, used).values(x)["1"], real)


def test_without_samples_the_effect_is_not_known() -> None:
    source = imported(network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)).eval(), SHAPE, STEPS, "mean")
    chip = load_target("loihi2")
    exact, other = lower_for(source, chip), lower_for(source, chip, approximate="pool-after-spikes")
    (caution,) = effects(exact, other, None)
    assert caution.size == "not measured: there are no calibration samples"


LATE: dict[str, tuple[Any, str]] = {
    "others beside it": (lambda m, x: m.n(m.pool(m.c(x)) + m.d(x)), "other inputs beside the maximum"),
    "ceil mode": (lambda m, x: m.n(m.cut(m.c(x))), "ceil_mode, which adds a window that does not fit"),
}


@pytest.mark.parametrize(("flow", "needed"), [pytest.param(*case, id=name) for name, case in LATE.items()])
def test_neurons_that_cannot_come_before_their_pool(flow: Any, needed: str) -> None:
    layers = {"c": nn.Conv2d(2, 3, 1), "d": nn.Conv2d(2, 3, 2, 2), "pool": nn.MaxPool2d(2)}
    layers |= {"cut": nn.MaxPool2d(2, ceil_mode=True)}
    parts = {name: PerStep(layer) for name, layer in layers.items()}
    source = imported(Flow(flow, **parts, n=IF()), (2, 5, 5), STEPS)
    with pytest.raises(LoweringError) as caught:
        lower_for(source, load_target("loihi1"), approximate="pool-after-spikes")
    assert str(caught.value).startswith("pool-after-spikes: this neuron cannot come before its max-pool\n")
    assert caught.value.needed == needed


@pytest.mark.parametrize("last", [nn.BatchNorm2d(3), Flow(lambda m, x: x * -1.0)], ids=["BatchNorm", "factor"])
def test_no_pool_of_spikes_is_the_least_current(last: nn.Module) -> None:
    if isinstance(last, nn.BatchNorm2d):
        last.weight.data.copy_(torch.tensor([1.0, -1.0, 0.5]))
    stem = network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), last)
    with pytest.raises(LoweringError) as caught:
        lower_for(imported(stem.eval(), SHAPE, STEPS, "mean"), load_target("loihi1"), approximate="pool-after-spikes")
    assert str(caught.value) == (
        "pool-after-spikes: this neuron cannot come before its max-pool\n  where: 0.0.1\n"
        "  needed: a negative factor behind the pool, of a BatchNorm or a weight\n"
        "  limit: a neuron that reads a max-pool alone, with parameters of channels, and fires once a step\n"
        "  hint: a target with graded spikes has the maximum itself: --target loihi2"
    )


def test_approximations_have_names() -> None:
    source = imported(network(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)).eval(), SHAPE, STEPS, "mean")
    with pytest.raises(LoweringError) as caught:
        lower_for(source, load_target("loihi1"), approximate="pool-first")
    assert str(caught.value).startswith("bad-approximation: no such approximation\n")
    assert caught.value.limit == "pool-after-spikes"
