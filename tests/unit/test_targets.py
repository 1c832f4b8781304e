"""Target files: complete, consistent, graded, and documented key by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from snnhw.errors import TargetError
from snnhw.mapping.resources import RESOURCES
from snnhw.target import SECTIONS, Target, available, load_target, parse_target

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "targets.md").read_text(encoding="utf-8")
OPTIONAL = {"core.words_per_axon", "core.delay_slots", "core.delay_slots_default", "numeric.bias_exp_min"}
UNITS = {"time": {"ns", "ns per message"}, "energy": {"pJ", "mW"}}


def keys(target: Target) -> set[str]:
    return {f"{section}.{key}" for section in SECTIONS for key in target.sections[section]}


def test_the_shipped_targets() -> None:
    assert available() == ["loihi1", "loihi1-davies", "loihi2"]
    assert [load_target(name).profile for name in available()] == ["lava-lif", "lava-lif", "programmable"]


@pytest.mark.parametrize("name", available())
def test_every_key_is_documented_and_every_documented_key_there(name: str) -> None:
    documented = {
        line.split("`")[1] for line in DOCS.splitlines() if line.startswith("| `") and "." in line.split("`")[1]
    }
    tables = ("time.sync", "time.sync_chips")
    given = keys(load_target(name))
    found = {f"{key.rpartition('.')[0]}.*" if key.rpartition(".")[0] in tables else key for key in given}
    assert found <= documented
    assert documented - found <= OPTIONAL


@pytest.mark.parametrize("name", available())
def test_units_sources_and_ranges(name: str) -> None:
    target = load_target(name)
    for section in SECTIONS:
        for key, constant in target.sections[section].items():
            assert constant.source.strip(), key
            if section in UNITS:
                assert constant.unit in UNITS[section], key
                assert constant.value >= 0, key
    for key in RESOURCES:
        assert target.get(f"core.{key}", 1) >= 1
    width, height = target["chip.mesh"]
    assert target["chip.cores_usable"] <= target["chip.cores"] == width * height * target["chip.cores_per_tile"]
    numeric = target.sections["numeric"]
    assert (numeric["weight_max"].value - numeric["weight_min"].value) // numeric["weight_step"].value < 256


@pytest.mark.parametrize("name", available())
def test_waiting_for_all_tiles_never_gets_shorter(name: str) -> None:
    target = load_target(name)
    for table in ("sync.", "sync_chips."):
        times = {
            int(key.rpartition("_")[2]): c.value for key, c in target.sections["time"].items() if key.startswith(table)
        }
        assert list(times) == sorted(times)
        assert list(times.values()) == sorted(times.values())
    assert "sync.tiles_1" in target.sections["time"]


def test_no_loihi2_joule_is_called_measured() -> None:
    energies = load_target("loihi2").sections["energy"].values()
    assert {c.grade for c in energies} <= {"inherited", "assumed", "definition"}
    times = {c.grade for c in load_target("loihi2").sections["time"].values()}
    assert "inherited" in times
    assert not times & {"measured-fit", "assumed"}


def test_the_two_loihi1_files_differ_in_time_and_energy_only() -> None:
    fit, spice = load_target("loihi1"), load_target("loihi1-davies")
    for section in ("chip", "core", "numeric"):
        assert fit.sections[section] == spice.sections[section]
    assert set(fit.sections["energy"]) == set(spice.sections["energy"])
    assert (fit["energy.synop.dense"], spice["energy.synop.dense"]) == (35.5, 23.6)


def test_hand_sum_of_the_davies_set() -> None:
    """hardware.md 6: 51.5 M synops, 18.68 M accesses of which 15.54 M updates cost 2.64 mJ without messages."""
    t = load_target("loihi1-davies")
    picojoules = 51.5e6 * t["energy.synop.dense"] + 18.68e6 * t["energy.access"] + 15.54e6 * t["energy.update"]
    assert picojoules * 1e-9 == pytest.approx(2.64, abs=0.005)


def test_loihi2_times_are_loihi1_times_over_intels_factors() -> None:
    one, two = load_target("loihi1"), load_target("loihi2")
    factors = {"access": 2, "update": 2, "spike_out": 10, "synop.dense": 5, "synop.sparse": 5, "synop.conv": 5}
    for key, factor in factors.items():
        assert two[f"time.{key}"] == pytest.approx(one[f"time.{key}"] / factor), key
        assert two.constant(f"time.{key}").grade == "scaled"


TEXT = load_target("loihi1").text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace('"lava-lif"', '"spinnaker"'), "bad-target: unknown profile 'spinnaker'\n  where: x.toml\n"
         "  limit: lava-lif, programmable"),
        (TEXT.replace("[energy]", "[joules]").replace("[energy.synop]", "[joules.synop]"),
         "bad-target: sections are missing: energy\n  where: x.toml"),
        (TEXT.replace("cores = { value = 128, unit", "cores = { value = 128, units", 1),
         "bad-target: every number is {value, unit, grade, source}\n  where: x.toml, chip.cores"),
        (TEXT.replace('grade = "measured-fit"', 'grade = "guess"', 1),
         "bad-target: unknown grade 'guess'\n  where: x.toml, time.access\n  limit: measured-fit, simulated, scaled, "
         "inherited, assumed, published, definition"),
        (TEXT.replace("value = 6.0", "value = nan", 1),
         "bad-target: the value is not finite\n  where: x.toml, time.access"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target("x", text)
    assert str(caught.value) == message


def test_a_missing_key_names_the_file() -> None:
    with pytest.raises(TargetError) as caught:
        load_target("loihi1")["core.magic"]
    assert str(caught.value) == "missing-constant: target loihi1 has no core.magic\n  where: loihi1.toml"


def test_unknown_targets_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        load_target("loihi3")
    assert str(caught.value) == (
        "unknown-target: no target named 'loihi3'\n  hint: choose one of: loihi1, loihi1-davies, loihi2"
    )
    with pytest.raises(TargetError) as caught:
        load_target("no/such.toml")
    assert str(caught.value) == "unknown-target: no target file no/such.toml\n  hint: give an existing .toml file"
    own = tmp_path / "mine.toml"
    own.write_text(TEXT, encoding="utf-8")
    assert load_target(str(own)).name == "mine"
    with pytest.raises(TargetError, match="bad-target: not TOML:"):
        parse_target("x", "profile = ")
