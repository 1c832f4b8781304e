"""snnhw in Python: live modules, sources, artifacts; the same refusals as on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw import api, limits, pipeline
from snnhw.artifact import Artifact
from snnhw.errors import DataError, EngineError, LoweringError, SnnhwError, SourceError
from snnhw.evaluate import evaluate
from snnhw.frontends import load_source
from snnhw.pipeline import Pipeline
from snnhw.quantize import activity
from snnhw.rationale import Effect
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF
from tests.unit.frontends.checkpoints import content, saved
from tests.unit.frontends.modules import Flow, settled


def module() -> nn.Module:
    torch.manual_seed(0)
    first, second = PerStep(nn.Linear(6, 5)), PerStep(nn.Linear(5, 3))
    return Flow(lambda m, x: m.n2(m.f2(m.n1(m.f1(x)))), f1=first, n1=LIF(v_threshold=0.2), f2=second, n2=IF(0.2))


def spikes(samples: int = 4, steps: int = 5) -> Any:
    return (np.random.default_rng(0).random((samples, steps, 6)) < 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("api") / "net.pt", content("sew_resnet"))


def refusal(kind: type[SnnhwError], call: Any) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_a_live_module(artifact: Artifact) -> None:
    assert artifact.deployment == Deployment(5, "spikes", (6,), "rate")
    assert artifact.source == {"module": "Flow"}
    found = snnhw.run(artifact, spikes(), record="state")
    assert found["counts"].shape == (4, 3)
    assert found["spikes/n1"].any()
    assert found["output"].sum() == found["counts"].sum()


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_engines_agree(target: str) -> None:
    compiled = snnhw.compile(module(), torch.zeros(5, 1, 6), target=target)
    one, other = (snnhw.run(compiled, spikes(), engine, record="state") for engine in ("fast", "reference"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_samples_do_not_depend_on_each_other(artifact: Artifact) -> None:
    x = spikes(70)  # more than one chunk
    whole = snnhw.run(artifact, x, record="state")
    part = snnhw.run(artifact, x[::-1][:3], record="state")
    assert whole.pop("saturations") == 0
    assert whole.pop("scale") == part["scale"]
    assert all(np.array_equal(whole[name][::-1][:3], part[name]) for name in whole)


def test_integers_follow_the_module(artifact: Artifact) -> None:
    x = spikes(200)
    with torch.no_grad():
        counts = module()(torch.from_numpy(x.swapaxes(0, 1))).sum(0).numpy()
    assert (snnhw.run(artifact, x)["counts"] == counts).mean() > 0.9


def test_saving_and_loading(artifact: Artifact, tmp_path: Path) -> None:
    snnhw.save(artifact, tmp_path / "a.snnhw")
    back = snnhw.load(tmp_path / "a.snnhw")
    one, other = snnhw.run(artifact, spikes()), snnhw.run(tmp_path / "a.snnhw", spikes())
    assert np.array_equal(one["counts"], other["counts"])
    assert back.deployment == artifact.deployment


def test_the_float_reference_survives_the_file(artifact: Artifact, tmp_path: Path) -> None:
    snnhw.save(artifact, tmp_path / "a.snnhw")
    x = {"input": spikes().astype(float)}
    one, other = (dict(evaluate(a.reference, x)) for a in (artifact, snnhw.load(tmp_path / "a.snnhw")))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.snnhw", "b.snnhw"):
        snnhw.save(snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2"), tmp_path / name)
    assert (tmp_path / "a.snnhw").read_bytes() == (tmp_path / "b.snnhw").read_bytes()


def test_the_float_run_is_the_modules(checkpoint: Path) -> None:
    source = load_source(checkpoint)
    x = np.random.default_rng(0).random((3, 1, 8, 8))
    found = api.run_float(checkpoint, x, record=True)
    sequence = torch.from_numpy(x).unsqueeze(0).expand(4, *x.shape)
    assert source.module is not None
    with torch.no_grad():
        want = source.module(sequence).numpy().swapaxes(0, 1)
    np.testing.assert_allclose(found["output"], want, rtol=1e-12, atol=1e-12)
    assert "spikes/stem_if" in found


def test_zero_initialised_branches_compile() -> None:
    """gamma = 0: a layer of zeros has no largest weight to scale by."""
    norm = settled(nn.BatchNorm2d(2))
    nn.init.zeros_(norm.weight)  # type: ignore[arg-type]
    nn.init.zeros_(norm.bias)  # type: ignore[arg-type]
    branch = PerStep(nn.Conv2d(2, 2, 3, padding=1, bias=False), norm)
    layers = {"c": PerStep(nn.Conv2d(2, 2, 1)), "n": IF(0.1), "b": branch, "bn": IF()}
    head = PerStep(nn.Flatten(), nn.Linear(32, 3))

    def flow(m: Any, x: Any) -> Any:
        s = m.n(m.c(x))
        return m.head(m.bn(m.b(s)) + s)

    for target in ("loihi1", "loihi2"):
        compiled = snnhw.compile(Flow(flow, **layers, head=head), torch.zeros(3, 1, 2, 4, 4), target=target)
        x = (np.random.default_rng(0).random((2, 3, 2, 4, 4)) < 0.5).astype(float)
        found = snnhw.run(compiled, x, record="spikes")
        assert not found["spikes/bn"].any()
        assert found["spikes/n"].any()


def test_a_module_without_an_example() -> None:
    text = (
        "needs-example: a live module needs an example input\n"
        "  where: Flow\n  needed: (T, N, *input shape)\n  hint: give example_input=, or deployment="
    )
    assert refusal(SourceError, lambda: snnhw.compile(module(), target="loihi2")) == text
    assert refusal(SourceError, lambda: snnhw.compile(module(), torch.zeros(5, 6), target="loihi2")) == text


def test_a_stage_that_changes_spikes_is_a_refusal(checkpoint: Path) -> None:
    source = load_source(checkpoint)
    source.graph.nodes["stem.conv"].weight *= -1
    text = refusal(LoweringError, lambda: snnhw.compile(source, target="loihi2"))
    assert text.startswith("not-equal: two stages give different spikes (source = NIR)\n  where: ")
    assert text.endswith("  hint: this is a defect of snnhw: please report it with the model")


def test_steps_below_one(artifact: Artifact) -> None:
    assert refusal(DataError, lambda: api.with_input(artifact, None, 0, None)) == (
        "bad-steps: a sample has at least one step\n  needed: 0\n  limit: 1 to 2^53"
    )


def test_other_input_options(artifact: Artifact) -> None:
    changed = api.with_input(artifact, "bernoulli", 9, 3)
    assert (changed.steps, changed.deployment.encoding, changed.deployment.seed) == (9, "bernoulli", 3)
    assert changed.inputs[0].seed == 3
    assert {row["steps"] for row in changed.bounds} == {9}
    x = np.random.default_rng(0).random((2, 6))
    one, other = (snnhw.run(changed, x)["output"] for _ in range(2))
    assert one.shape == (2, 9, 3)
    assert np.array_equal(one, other), "Bernoulli draws are seeded"
    assert api.with_input(artifact, None, None, None) == artifact


def test_an_unknown_encoding(artifact: Artifact) -> None:
    wrong = replace(artifact, inputs=tuple(replace(spec, encoding="morse") for spec in artifact.inputs))
    text = refusal(DataError, lambda: snnhw.run(wrong, np.zeros((2, 6))))
    assert text.startswith("bad-encoding: unknown encoding 'morse'\n  limit: ")


def test_spikes_without_a_time_axis(artifact: Artifact) -> None:
    assert refusal(DataError, lambda: snnhw.run(artifact, np.zeros((2, 6)))) == (
        "bad-shape: this network takes spikes over time, the data have no time axis\n"
        "  where: x\n  needed: (samples, 5, 6)\n  limit: (2, 6)\n"
        "  hint: give --encode direct, bernoulli or latency for static samples"
    )


def test_engines_that_are_none(artifact: Artifact) -> None:
    text = refusal(EngineError, lambda: snnhw.run(artifact, spikes(), "spice"))
    assert text == "unknown-engine: no engine named 'spice'\n  limit: fast, reference, lava, onnx"


def test_networks_that_do_not_belong_together(artifact: Artifact, checkpoint: Path) -> None:
    text = refusal(DataError, lambda: snnhw.compare(checkpoint, artifact, spikes()))
    assert text.startswith("different-networks: the artifact was not compiled from this source\n  where: ")
    assert text.endswith("  hint: compile the source again")


def test_other_weights_are_another_network(checkpoint: Path, tmp_path: Path) -> None:
    compiled = snnhw.compile(checkpoint, target="loihi2")
    retrained = saved(tmp_path / "net.pt", content("sew_resnet", gain=2.9))
    x = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    assert snnhw.compare(checkpoint, compiled, x).samples == 2
    text = refusal(DataError, lambda: snnhw.compare(retrained, compiled, x))
    assert "where: output<-fc.0, stages.0.0.if1<-" in text


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError):
        _ = snnhw.deploy  # type: ignore[attr-defined]


def test_every_engine_here_gives_the_same(artifact: Artifact) -> None:
    found = [snnhw.run(artifact, spikes(), engine, record="state") for engine in ("fast", "reference", "onnx")]
    for name in found[0]:
        np.testing.assert_array_equal(found[1][name], found[0][name])
        np.testing.assert_array_equal(found[2][name], found[0][name])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "bad-range: the data leave the range the network was compiled for\n  where: x\n  needed: [0, 3]\n"),
        (0.5, "bad-range: the data are not whole numbers of spikes\n  where: x\n  needed: 0.5\n"),
    ],
)
def test_values_that_are_no_spikes_are_not_clipped(artifact: Artifact, value: float, text: str) -> None:
    assert refusal(DataError, lambda: snnhw.run(artifact, value * spikes())).startswith(text)


def test_spikes_may_be_of_any_number_type(artifact: Artifact) -> None:
    """uint8 are pixels only where the network was deployed for pixels."""
    counts = [snnhw.run(artifact, spikes().astype(kind))["counts"] for kind in (np.float64, np.uint8, np.int64, bool)]
    assert counts[0].any()
    assert all(np.array_equal(counts[0], other) for other in counts)


def test_what_is_proven_holds_for_the_steps_that_run(checkpoint: Path) -> None:
    """An accumulator adds up every step: a proof for 4 steps says nothing about a million."""
    compiled = snnhw.compile(checkpoint, target="loihi2")
    status = {row["population"]: row["status"] for row in compiled.bounds}
    assert status["output"] == "proven"
    longer = api.with_input(compiled, None, 2000, None)
    assert {row["population"]: row["status"] for row in longer.bounds}["output"] != "proven"
    assert longer.network.readout.scale == pytest.approx(compiled.network.readout.scale * 4 / 2000)


def test_the_readout_of_a_live_module_is_told_from_its_end() -> None:
    ends = {"n": IF(), "d": nn.Dropout(), "f": PerStep(nn.Linear(3, 2))}  # registered in another order than they run
    compiled = snnhw.compile(Flow(lambda m, x: m.d(m.n(m.f(x))), **ends), torch.zeros(4, 1, 3), target="loihi2")
    assert compiled.deployment.readout == "rate"


def test_another_threshold_is_another_network(artifact: Artifact) -> None:
    """seeds.md N5: thresholds differ between clones of one network; that is no loss of quantisation."""
    from snnhw.frontends.checkpoint import import_module

    other = module()
    other.n1 = LIF(v_threshold=0.5, comparison="gt")
    source = import_module(other, artifact.deployment)
    text = refusal(DataError, lambda: api.compare(source, artifact, spikes()))
    assert text.startswith("different-networks: the artifact was not compiled from this source\n  where: n1\n")


def test_agreement_is_measured_not_equal() -> None:
    compiled = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=spikes(16), weight_bits=2)
    last = compiled.checks[-1]
    assert last["status"] == "measured"
    agree = int(str(last["detail"]).split()[0])
    assert last["different"] == last["samples"] - agree


def test_silent_populations_are_named_in_the_check() -> None:
    quiet = Flow(lambda m, x: m.n(m.f(x)), f=PerStep(nn.Linear(6, 5)), n=IF(1e6))
    compiled = snnhw.compile(quiet, torch.zeros(5, 1, 6), target="loihi2")
    assert "silent on these samples" in compiled.checks[0]["detail"]


def test_large_networks_are_checked_on_one_sample_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CHECK_VALUES", 5 * 8)
    compiled = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2")
    assert [check["samples"] for check in compiled.checks] == [4, 4]
    monkeypatch.setattr(pipeline, "CHECK_VALUES", 5 * 8 - 1)
    compiled = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2")
    assert [check["samples"] for check in compiled.checks] == [1, 1]
    assert all("one sample only: 40 neurons x steps" in check["detail"] for check in compiled.checks)


def test_long_samples_are_checked_on_their_first_steps_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers of a network whose samples are short do not change."""
    monkeypatch.setattr(pipeline, "CHECK_STEPS", 5)
    whole = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=spikes(9))
    monkeypatch.setattr(pipeline, "CHECK_STEPS", 3)
    part = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=spikes(9))
    assert [check["stage"] for check in whole.checks] == ["source = NIR", "NIR = lowered", "float ~ integer"]
    assert [check["stage"] for check in part.checks] == ["source = NIR", "NIR = lowered"]
    assert not any("steps only" in check["detail"] for check in whole.checks)
    assert all(check["detail"].endswith("the first 3 of 5 steps only") for check in part.checks)
    assert [5 * check["compared"] for check in part.checks] == [3 * check["compared"] for check in whole.checks[:2]]


def test_batches_of_large_networks_are_smaller_and_change_nothing(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Largest population: 6 inputs at 5 steps."""
    whole, told = snnhw.run(artifact, spikes(9), record="state"), []
    agreed = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=spikes(9)).checks[-1]
    monkeypatch.setattr(limits, "MAX_VALUES", 4 * 30 + 29)
    found = snnhw.run(artifact, spikes(9), record="state", progress=lambda done, _: told.append(done))
    assert told == [4, 8, 9]
    assert set(found) == set(whole)
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values)
    again = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=spikes(9)).checks[-1]
    assert again == agreed
    monkeypatch.setattr(activity, "HELD_VALUES", 5 * (6 + 5) * 2)  # the input and the first layer, five steps
    part = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=spikes(9)).calibration
    assert part is not None
    assert (part["samples"], part["used"], part["apart"]) == (9, 2, 2)
    monkeypatch.setattr(pipeline, "AGREEMENT_VALUES", 1 * 40)
    fewer = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=spikes(9)).checks[-1]
    assert (fewer["samples"], fewer["detail"][-23:]) == (1, ", of samples kept apart")


def test_calibration_does_not_depend_on_the_order_of_a_file() -> None:
    """Sorted by class, or not: the same integers, and one sample alone is warned of."""
    x, y = spikes(200), np.arange(200) % 3
    order = np.argsort(y, kind="stable")
    one, other = (
        snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=x[i], labels=y[i])
        for i in (slice(None), order)
    )
    assert one.calibration is not None
    assert (one.calibration["samples"], one.calibration["used"], one.calibration["apart"]) == (200, 64, 50)
    assert not any(w.code == "one-calibration-sample" for w in one.warnings)
    for name, w in one.network.weights.items():
        np.testing.assert_array_equal(w, other.network.weights[name])
    alone = snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=x[:1])
    assert [w.size for w in alone.warnings if w.code == "one-calibration-sample"] == ["1 sample"]
    with pytest.raises(snnhw.SnnhwError, match="there are no calibration samples"):
        snnhw.compile(module(), torch.zeros(5, 1, 6), target="loihi2", calibrate=x[:0])


def test_a_leaking_tie_on_loihi1_fires_and_is_called_approximate() -> None:
    """The review's case: every input meets the threshold exactly; `>` alone would halve the rate."""
    layer = nn.Linear(6, 6, bias=False)
    layer.weight.data = torch.eye(6)
    tied = Flow(lambda m, x: m.n(m.f(x)), f=PerStep(layer), n=LIF(tau=2.0, decay_input=False))
    compiled = snnhw.compile(tied, torch.zeros(5, 1, 6), target="loihi1")
    assert snnhw.run(compiled, np.ones((1, 5, 6), np.float32))["output"].all()
    assert any(row.parameter == "vth" and row.kind is Effect.APPROXIMATE for row in compiled.rationale)


def test_a_target_file_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "loihi2"\ntitle = "mine"\n')
    found = [Pipeline("unread.nir", name).chip for name in (tmp_path / "mine.toml", str(tmp_path / "mine.toml"))]
    assert found[0] == found[1]
    assert found[0].name == "mine"
