"""Files of other frameworks' exporters give the spikes of those frameworks; what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnhw
from snnhw.errors import SnnhwError
from snnhw.frontends.nir.dialects import fitting, translate
from snnhw.frontends.nir.file import load_nir, write_nir
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.simulate import run
from tests.unit.frontends.foreign import cases, unpacked
from tests.unit.frontends.graphs import graph, lif

LOST_SUMS = {("snntorch", "residual"), ("sinabs", "residual"), ("norse", "residual"), ("rockpool", "residual")}
MISEXPORTS = LOST_SUMS | {("norse", "tau_times_dt")}


def refused(graph_or_path: Any, dialect: str | None, **options: Any) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_nir(graph_or_path, SourceOptions(dialect=dialect, steps=4, **options))
    return str(caught.value)


def written(tmp_path: Path, **parts: Any) -> Path:
    nir.write(tmp_path / "net.nir", graph(metadata={}, **parts))
    return tmp_path / "net.nir"


def cuba(**changes: Any) -> nir.CubaLIF:
    parts = {"tau_syn": 3e-4, "tau_mem": 2e-4, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, "w_in": 3.0}
    return nir.CubaLIF(**{name: np.full(2, value) for name, value in {**parts, **changes}.items()})


def test_every_framework_has_files() -> None:
    assert {framework for framework, _ in cases()} == {"snntorch", "spikingjelly", "sinabs", "norse", "rockpool"}
    assert len(cases()) >= 18


@pytest.mark.parametrize(("framework", "case"), [c for c in cases() if c not in MISEXPORTS])
def test_spikes_are_the_frameworks_own(framework: str, case: str, tmp_path: Path) -> None:
    path, x, spikes = unpacked(framework, case, tmp_path)
    found = snnhw.run_float(path, x, record=True, options=SourceOptions(dialect=framework))
    assert spikes
    for name, want in spikes.items():
        assert want.any()
        assert np.array_equal(found[f"spikes/{name}"].reshape(want.shape), want), name


@pytest.mark.parametrize(("framework", "case"), [c for c in cases() if c not in MISEXPORTS])
def test_our_file_of_it_says_the_same(framework: str, case: str, tmp_path: Path) -> None:
    """Literal meaning and metadata: no dialect is needed any more, and `nir.read` takes the file."""
    path, x, _ = unpacked(framework, case, tmp_path)
    source = load_nir(path, SourceOptions(dialect=framework, steps=x.shape[1]))
    write_nir(source.graph, tmp_path / "ours.nir")
    back = load_nir(tmp_path / "ours.nir")
    nir.read(tmp_path / "ours.nir")
    assert (back.semantics, back.deployment) == (source.semantics, source.deployment)
    one, other = (run(s.graph, s.semantics, x) for s in (source, back))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_residual_edges_that_snntorch_lost(tmp_path: Path) -> None:
    path, _, _ = unpacked("snntorch", "residual", tmp_path)
    assert refused(path, "snntorch") == (
        "lost-edge: snntorch's exporter loses the edges of sums (residual connections), and this graph shows it\n"
        "  where: input_fc3\n"
        "  needed: 2 inputs: input, input_fc3\n"
        "  limit: one input, and one edge into the output\n"
        "  hint: compile the module instead of the file: snnhw.compile(module, example_input, target=...)"
    )


@pytest.mark.parametrize(("framework", "case"), sorted(LOST_SUMS - {("snntorch", "residual")}))
def test_residual_edges_that_others_lost(framework: str, case: str, tmp_path: Path) -> None:
    path, _, _ = unpacked(framework, case, tmp_path)
    text = refused(path, framework)
    assert text.startswith(f"lost-edge: {framework}'s exporter loses the edges of sums (residual connections)")
    assert "  where: output\n  needed: 2 edges into an output\n" in text


def test_two_edges_into_the_output_are_a_lost_sum(tmp_path: Path) -> None:
    edges = [("input", "fc"), ("fc", "neuron"), ("neuron", "output"), ("fc", "output")]
    text = refused(written(tmp_path, edges=edges), "rockpool")
    assert text.startswith("lost-edge: rockpool's exporter loses the edges of sums (residual connections)")
    assert "  where: output\n  needed: 2 edges into an output\n" in text


def test_tau_times_dt_of_norse(tmp_path: Path) -> None:
    path, x, spikes = unpacked("norse", "tau_times_dt", tmp_path)
    text = refused(path, "norse")
    assert text.startswith(
        "bad-parameter: a step is longer than a time constant\n"
        "  where: 1.tau\n"
        "  needed: tau = 2.5228e-06 s, dt = 0.001 s\n"
        "  limit: dt / tau <= 1\n"
        "  hint: Norse 1.1.0 writes tau times dt: export with norse.torch.to_nir(net, x, dt=1.0), or read this file"
    )
    options = SourceOptions(dialect="norse", semantics={"dt": 1e-6})
    found = snnhw.run_float(path, x, record=True, options=options)  # what the hint says
    assert all(np.array_equal(found[f"spikes/{name}"], want) for name, want in spikes.items())


@pytest.mark.parametrize(
    ("dialect", "changes", "text"),
    [
        ("snntorch", {}, None),
        ("snntorch", {"v_leak": 0.5}, "v_leak = 0.5\n  limit: v_leak = 0, with dt = 0.0001"),
        ("spikingjelly", {}, None),
        ("spikingjelly", {"r": 1.0}, None),
        ("spikingjelly", {"v_leak": 0.1}, "v_leak = 0.1\n  limit: v_leak = v_reset, with dt = 0.0001"),
        ("norse", {}, "r = 2\n  limit: r = 1, with dt = 0.0001"),
        ("sinabs", {}, "r = 2\n  limit: r = 1, with dt = 0.0001"),
    ],
)
def test_parameters_that_are_not_the_dialects(
    dialect: str, changes: dict[str, float], text: str | None, tmp_path: Path
) -> None:
    path = written(tmp_path, changes={"neuron": lif(**changes)})
    said = {"dt": 1e-4} if dialect in ("norse", "sinabs") else {}
    if text is None:
        load_nir(path, SourceOptions(dialect=dialect, steps=4, semantics=said))
        return
    found = refused(path, dialect, semantics=said)
    assert found.startswith(f"dialect-contradicts: the node's parameters are not as {dialect} writes them\n")
    assert text in found


def test_the_hint_names_the_dialects_that_fit(tmp_path: Path) -> None:
    text = refused(written(tmp_path), "norse", semantics={"dt": 1e-4})
    assert text.endswith("  hint: this node is as snntorch, spikingjelly writes it")
    text = refused(written(tmp_path, changes={"neuron": lif(r=0.3)}), "norse", semantics={"dt": 1e-4})
    assert text.endswith("  hint: read it literally: --dialect nir")


def test_a_node_that_the_exporter_does_not_write(tmp_path: Path) -> None:
    text = refused(written(tmp_path, changes={"neuron": nir.IF(np.ones(2), np.ones(2))}), "snntorch")
    assert text == (
        "dialect-contradicts: snntorch's exporter writes no nodes of type IF\n"
        "  where: neuron\n  limit: CubaLIF, LIF\n"
        "  hint: read it with the dialect of the framework that wrote it, or literally: --dialect nir"
    )


def test_dt_that_the_file_denies(tmp_path: Path) -> None:
    text = refused(written(tmp_path), "snntorch", semantics={"dt": 1e-3})
    assert text == (
        "dialect-contradicts: dt is not the one that the file's parameters imply in the dialect snntorch\n"
        "  where: net.nir\n  needed: dt = 0.001\n  limit: dt = 0.0001\n  hint: leave dt out"
    )


def test_the_integrator_is_part_of_a_dialect(tmp_path: Path) -> None:
    text = refused(written(tmp_path), "snntorch", semantics={"integrator": "exp"})
    assert text.startswith("dialect-contradicts: the integrator is part of the dialect snntorch\n")


def test_the_literal_dialect_asks_for_dt(tmp_path: Path) -> None:
    assert refused(written(tmp_path), "nir") == (
        "needs-dt: read literally, a NIR file needs the seconds of a step\n"
        "  where: net.nir\n  needed: dt\n"
        '  hint: give --semantics FILE.json with {"dt": SECONDS}'
    )
    source = load_nir(written(tmp_path), SourceOptions(dialect="nir", steps=4, semantics={"dt": 1e-4}))
    assert source.semantics.reset == "v_reset"
    assert source.semantics.threshold == "gt"


def test_a_literal_step_longer_than_tau(tmp_path: Path) -> None:
    text = refused(written(tmp_path), "nir", semantics={"dt": 1e-3})
    assert text.startswith("bad-parameter: a step is longer than a time constant\n  where: neuron.tau\n")


@pytest.mark.parametrize("key", ["tau", "r"])
def test_nan_is_named_before_the_dialect_is(key: str, tmp_path: Path) -> None:
    text = refused(written(tmp_path, changes={"neuron": lif(**{key: np.nan})}), "snntorch")
    assert text.startswith(f"not-finite: 2 values are NaN or infinite\n  where: neuron.{key}\n")


def test_tau_of_zero(tmp_path: Path) -> None:
    text = refused(written(tmp_path, changes={"neuron": lif(tau=0.0)}), "snntorch")
    assert text == "bad-parameter: a time constant is not positive\n  where: neuron.tau\n  limit: tau > 0"


def test_beta_of_one_is_a_membrane_without_a_leak(tmp_path: Path) -> None:
    """snnTorch divides by 1 - beta: tau and r are infinite."""
    path = written(tmp_path, changes={"neuron": lif(tau=np.inf, r=np.inf)})
    source = load_nir(path, SourceOptions(dialect="snntorch", steps=4))
    assert isinstance(source.graph.nodes["neuron"], nir.IF)
    mixed = nir.LIF(*(np.array([a, np.inf]) for a in (2e-4, 2.0)), *(np.full(2, v) for v in (0.0, 1.0, 0.0)))
    source = load_nir(written(tmp_path, changes={"neuron": mixed}), SourceOptions(dialect="snntorch", steps=4))
    assert source.semantics.dt == 1e-4
    x = np.zeros((1, 4, 3))
    x[0, 0] = 0.2
    spikes = run(source.graph, source.semantics, x)["neuron"]
    assert spikes.shape == (1, 4, 2)


def test_a_hard_reset_over_a_dialect_with_a_late_soft_one(tmp_path: Path) -> None:
    source = load_nir(written(tmp_path), SourceOptions(dialect="snntorch", steps=4, semantics={"reset": "zero"}))
    assert (source.semantics.reset, source.semantics.reset_timing) == ("zero", "same_step")
    said = {"nodes": {"neuron": {"reset": "zero"}}}
    source = load_nir(written(tmp_path), SourceOptions(dialect="snntorch", steps=4, semantics=said))
    assert source.semantics.reset == "subtract"
    assert source.semantics.at("neuron").reset == "zero"


def test_dialects_that_fit_a_graph() -> None:
    assert fitting(graph()) == ["snntorch", "spikingjelly"]
    assert fitting(graph({"neuron": cuba()})) == ["snntorch", "spikingjelly"]
    assert fitting(graph({"neuron": nir.IF(np.full(2, 1e4), np.ones(2))})) == ["spikingjelly"]
    assert fitting(graph({"neuron": nir.IF(np.ones(2), np.ones(2))})) == ["spikingjelly", "sinabs", "norse"]  # dt = 1
    assert fitting(graph({"neuron": nir.Threshold(np.ones(2))})) == []


def test_what_was_added_is_said(tmp_path: Path) -> None:
    flags = load_nir(written(tmp_path), SourceOptions(dialect="snntorch", steps=4)).origin["flags"]
    assert flags["dialect"] == {"value": "snntorch", "from": "flag"}
    assert flags["dt"] == {"value": 1e-4, "from": "assumed", "note": "told from r and tau"}
    assert "reset_delay=True" in flags["unsaid"]["value"]
    assert json.dumps(flags)


def test_norse_starts_its_neurons_as_it_does() -> None:
    found = translate(graph({"neuron": nir.IF(np.ones(2), np.ones(2))}), "norse", {}, "net.nir")
    assert found.fields["nodes"] == {"neuron": {"v_init": "v_reset"}}
    assert found.fields["v_init"] == "v_leak"


def recurrent_lif() -> dict[str, Any]:
    way_back = nir.Linear(np.full((2, 2), 0.1))
    edges = [("input", "fc"), ("fc", "neuron"), ("neuron", "back"), ("back", "neuron"), ("neuron", "output")]
    return {"changes": {"back": way_back}, "edges": edges}


@pytest.mark.parametrize("parts", [{"changes": {"neuron": cuba()}}, recurrent_lif()], ids=["CubaLIF", "loop"])
def test_snntorchs_zero_with_a_delay_is_no_hard_reset(parts: dict[str, Any], tmp_path: Path) -> None:
    """It loses the whole step after a spike; only reset_delay=False is a reset at once, and has to be said."""
    path = written(tmp_path, **parts)
    text = (
        "dialect-contradicts: snntorch's reset to zero with its delay drops the input of the step after a spike\n"
        "  where: neuron\n  needed: reset zero, reset_timing not said\n"
        "  limit: a synaptic current or a recurrent layer needs reset_delay=False\n"
    )
    assert refused(path, "snntorch", semantics={"reset": "zero"}).startswith(text)
    assert refused(path, "snntorch", semantics={"nodes": {"neuron": {"reset": "zero"}}}).startswith(text)
    said = {"reset": "zero", "reset_timing": "same_step"}
    for semantics in (said, {"nodes": {"neuron": said}}):
        source = load_nir(path, SourceOptions(dialect="snntorch", steps=4, semantics=semantics))
        rule = source.semantics.at("neuron")
        assert (rule.reset, rule.reset_timing) == ("zero", "same_step")


def test_defaults_that_the_user_overruled_are_not_said(tmp_path: Path) -> None:
    def unsaid(dialect: str, **semantics: Any) -> Any:
        options = SourceOptions(dialect=dialect, steps=4, semantics=semantics or None)
        return load_nir(path, options).origin["flags"].get("unsaid", {}).get("value")

    path = written(tmp_path)
    assert unsaid("snntorch") == "reset_mechanism='subtract', reset_delay=True"
    assert unsaid("snntorch", reset_timing="same_step") == "reset_mechanism='subtract'"
    assert unsaid("snntorch", reset="zero") is None
    path = written(tmp_path, changes={"neuron": nir.IF(np.ones(2), np.ones(2))})
    assert unsaid("sinabs", multispike=1) == (
        "norm_input=True (LIF), False (ExpLeak), tau_syn=None, min_v_mem=None, MembraneSubtract"
    )
