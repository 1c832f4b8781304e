"""Target files: shipped ones complete, graded and documented key by key; wrong ones refused by key and rule."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from snnhw.errors import TargetError
from snnhw.machine import EVENTS, KEYS, SECTIONS, Machine, available, load_target, parse_target, variants
from tests.unit.commands.line import snnhw

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "targets.md").read_text(encoding="utf-8")
OPTIONAL = {
    "chip.flit_bits", "core.list_align_bits", "core.message_per_axon", "core.memory_words", "core.state_bits",
    "core.parameter_bits", "core.program_bits", "core.in_axon_bits", "core.out_axon_bits", "core.delay_slot_bits",
    "time.bypass_hop", "chip.networks", "chip.bypass_hops", "time.border", "energy.border",
    "core.words_per_axon", "core.delay_slots", "core.delay_slots_default",
    "numeric.bias_exp_min", "numeric.dv_max", "numeric.u_ends", "numeric.v_ends", "time.sync_chips.*", "time.reference",
}  # fmt: skip
TEXT = load_target("loihi2").text


def generic(keys: Any) -> set[str]:
    """Keys, those of the barrier tables without their sizes."""
    return {re.sub(r"^(time\.sync\w*)\.\w+$", r"\1.*", key) for key in keys}


@pytest.mark.parametrize("name", available())
def test_every_key_is_documented_and_every_documented_key_there(name: str) -> None:
    documented = {
        line.split("`")[1] for line in DOCS.splitlines() if line.startswith("| `") and "." in line.split("`")[1]
    }
    found = generic(load_target(name).constants)
    assert documented == generic(KEYS)
    assert found <= documented
    assert documented - found <= OPTIONAL


def test_a_barrier_never_gets_shorter_and_the_keys_of_event_time_are_keys() -> None:
    for name in available():
        times = load_target(name).time
        assert list(times.sync.values()) == sorted(times.sync.values())
    assert set(EVENTS) < set(KEYS)
    assert "chip.link_buffer" in EVENTS


def test_no_loihi2_joule_is_called_measured() -> None:
    graded = [(key, c.grade) for key, c in load_target("loihi2").constants.items()]
    assert {grade for key, grade in graded if key.startswith("energy.")} <= {"inherited", "assumed", "definition"}
    times = {grade for key, grade in graded if key.startswith("time.") and key != "time.border"}
    assert "inherited" in times
    assert not times & {"measured-fit", "assumed"}


def test_the_two_loihi1_files_differ_in_time_and_energy_only() -> None:
    fit, spice = load_target("loihi1"), load_target("loihi1-davies")
    for section in ("chip", "core", "numeric"):
        assert getattr(fit, section) == getattr(spice, section)
    assert (fit.energy.synop.dense, spice.energy.synop.dense) == (35.5e-12, 23.6e-12)


def test_hand_sum_of_the_davies_set() -> None:
    """hardware.md 6: 51.5 M synops, 18.68 M accesses of which 15.54 M updates cost 2.64 mJ without messages."""
    e = load_target("loihi1-davies").energy
    joules = 51.5e6 * e.synop.dense + 18.68e6 * e.access + 15.54e6 * e.update
    assert joules * 1e3 == pytest.approx(2.64, abs=0.005)


def test_loihi2_times_are_loihi1_times_over_intels_factors() -> None:
    one, two = load_target("loihi1"), load_target("loihi2")
    factors = {"access": 2, "update": 2, "spike_out": 10, "synop.dense": 5, "synop.sparse": 5, "synop.conv": 5}
    for key, factor in factors.items():
        mine, base = two.constant(f"time.{key}"), one.constant(f"time.{key}")
        assert mine.value == pytest.approx(base.value / factor), key
        assert mine.grade == "scaled"


def edited(key: str, value: str, part: str = "value", base: str = "loihi2") -> str:
    """The text of a target with another value (or unit, grade, source) at a key, as TOML writes it."""
    section, _, name = key.rpartition(".")
    head, found, tail = load_target(base).text.partition(f"[{section}]\n")
    assert found, section
    ends = {"value": ", unit", "unit": ", grade", "grade": ", source", "source": r"(?:, alternatives| \})"}[part]
    old = rf"^({name} = {{.*?{part} = ).*?({ends}.*)$"
    tail, count = re.subn(old, lambda m: f"{m[1]}{value}{m[2]}", tail, count=1, flags=re.MULTILINE)
    assert count == 1, key
    return head + found + tail


def refusal(text: str) -> str:
    with pytest.raises(TargetError) as caught:
        parse_target("x", text)
    said = str(caught.value)
    assert said.startswith("bad-target: "), said
    assert "where: x.toml" in said, said
    return said


WRONG_VALUES = [
    ("core.neurons", "0", "should be greater than or equal to 1"),
    ("core.neurons", "-5", "should be greater than or equal to 1"),
    ("core.neurons", "7.5", "should be a valid integer"),
    ("core.neurons", "1e30", "should be a valid integer"),
    ("core.neurons", "1" + "0" * 30, "should be less than or equal to 2147483647"),
    ("core.neurons", "true", "should be a valid integer"),
    ("core.neurons", '"many"', "should be a valid integer"),
    ("core.neurons", "[1, 2]", "should be a valid integer"),
    ("core.neurons", "1979-05-27", "should be a valid integer"),
    ("core.axon_sources", '"unlimited"', "should be a valid integer"),
    ("core.list_align_bits", "5", "should divide core.syn_word_bits, 32"),
    ("core.memory_words", "100", "should be at least core.syn_words, 32768"),
    ("core.syn_word_bits", "0", "should be greater than or equal to 1"),
    ("core.syn_word_bits", "4", "should be less than core.syn_word_bits"),
    ("core.entry_synapses", "0", "should be greater than or equal to 1"),
    ("core.entry_prefix_bits", "-1", "should be greater than or equal to 0"),
    ("core.conv_shared", '"no"', "should be a valid boolean"),
    ("core.conv_shared", "1", "should be a valid boolean"),
    ("chip.mesh", "8", "should be a valid tuple"),
    ("chip.mesh", "[0, 4]", "should be greater than or equal to 1"),
    ("chip.mesh", "[8, 4, 2]", "should have at most 2 items"),
    ("chip.mesh", "[2, 2]", "should be at most mesh x cores_per_tile, 16"),
    ("chip.cores", "0", "should be greater than or equal to 1"),
    ("chip.cores_usable", "200", "should be at most chip.cores, 128"),
    ("chip.chips", "2000000000", "times chip.cores should be at most 2147483647"),
    ("numeric.weight_bits", "1", "should be greater than or equal to 2"),
    ("numeric.weight_bits", "4", "leaves 256 weights from weight_min to weight_max: should be at most 2**weight_bits"),
    ("numeric.weight_min", "5", "should be at most -weight_step, -1"),
    ("numeric.weight_max", "0", "should be at least weight_step, 1"),
    ("numeric.weight_step", "0", "should be greater than or equal to 1"),
    ("numeric.weight_step", "200", "should be at most -weight_step, -200"),
    ("numeric.weight_exp_min", "1", "should be 0 or less"),
    ("numeric.weight_exp_max", "-1", "should be 0 or more"),
    ("numeric.u_bits", "64", "should be less than or equal to 31"),
    ("numeric.v_bits", "12", "plus vth_shift, 0, should be at most v_bits, 12"),
    ("numeric.u_overflow", '"clamp"', "should be 'wrap-once', 'wrap' or 'saturate'"),
    ("numeric.decay_bits", "0", "should be greater than or equal to 1"),
    ("numeric.act_shift_min", "7", "should be at most act_shift_max, 6"),
    ("numeric.act_shift_max", "99", "should be less than or equal to 24"),
    ("numeric.bias_mant_bits", "25", "plus the largest exponent, 0, should be at most v_bits, 24"),
    ("numeric.comparisons", "[]", "should have at least 1 item"),
    ("numeric.comparisons", '["gt", "gt"]', "should name nothing twice"),
    ("numeric.comparisons", '["gt", "eq"]', "should be 'gt' or 'ge'"),
    ("numeric.comparisons", '"gt"', "should be a valid tuple"),
    ("numeric.resets", '["zero"]', "should name 'next_step' only where resets have 'subtract'"),
    ("numeric.payload_bits", "0", "should be greater than or equal to 1"),
    ("numeric.payload_bits", "1", "should be 2 or more where multi_spike is true"),
    ("numeric.delay_max", "0", "should be greater than or equal to 1"),
    ("time.access", "nan", "should be a finite number"),
    ("time.access", "inf", "should be a finite number"),
    ("time.access", "-3", "should be from 0 to 1 s"),
    ("time.access", "1e30", "should be from 0 to 1 s"),
    ("time.access", '"fast"', "should be a finite number"),
    ("time.access", "1e-6", "should be 0 or at least 1 ps"),
    ("time.sync.tiles_2", "0", "should be at least time.sync.tiles_1"),
    ("energy.access", "-51.2", "should be from 0 to 1 J"),
    ("energy.static_core", "true", "should be a finite number"),
]


NAMED = {
    "core.syn_word_bits": "core.", "chip.mesh": "chip.", "numeric.resets": "numeric.reset_timings",
    "numeric.v_bits": "numeric.vth_bits", "numeric.weight_step": "numeric.weight_",
    "numeric.weight_bits": "numeric.weight_",
}  # fmt: skip
"""Keys whose wrong value is told at another key, by a rule between both."""


@pytest.mark.parametrize(("key", "value", "rule"), WRONG_VALUES)
def test_a_wrong_value_is_refused_by_key_value_and_rule(key: str, value: str, rule: str) -> None:
    said = refusal(edited(key, value))
    assert said.startswith(f"bad-target: the target cannot be used: {NAMED.get(key, key)}")
    assert rule in said
    assert "\n  needed: " in said


NEURONS = next(line for line in TEXT.splitlines() if line.startswith("neurons = "))
OTHER_WRONG = [
    (edited("core.neurons", '"ns"', "unit"), "core.neurons the unit should be neurons", "needed: 'ns'"),
    (edited("core.neurons", "5", "unit"), "core.neurons the unit should be text that is not empty", "needed: 5"),
    (edited("time.access", '"fortnight"', "unit"), "time.access the unit should be s or ms or us", "'fortnight'"),
    (edited("time.access", '"guess"', "grade"), "time.access the grade should be one of: definition,", "'guess'"),
    (edited("time.access", '" "', "source"), "time.access the source should be text that is not empty", "needed: ' '"),
    (edited("time.access", r'"\u001b[31m"', "source"), "the source should have no control characters", r"\x1b[31m"),
    (TEXT.replace("neurons = {", "nuerons = {"), "core.nuerons is no key of a target", "did you mean core.neurons?"),
    (TEXT.replace("[core]", "[core]\nv_bits = 3"), "core.v_bits is no key", "did you mean numeric.v_bits?"),
    (TEXT + "\n[noc]\nlinks = 3\n", "noc is no key of a target", "docs/targets.md lists the keys"),
    (TEXT + "\n[core.synop]\ndense = 3\n", "core.synop is no key of a target", "where: x.toml, core.synop"),
    ('name = "me"\n' + TEXT, "name is no key of a target", "needed: 'me'"),
    (TEXT.replace(NEURONS + "\n", ""), "core.neurons is missing", 'hint: core.neurons = { value = ..., unit = "neur'),
    (TEXT.replace(NEURONS, "neurons = 8192"), "every number is {value, unit, grade, source}", "needed: 8192"),
    (TEXT.replace(", grade = ", ", Grade = ", 1), "chip.chips every number is {value, unit,", "needed: {"),
    (TEXT.replace("tiles_29", "tiles_x"), "time.sync.tiles_x is no key", "did you mean time.sync.tiles_1?"),
    (TEXT.replace("tiles_1 =", "tiles_3 ="), "time.sync should have tiles_1: the barrier of one tile", "time.sync"),
    (TEXT.replace("[energy]", "[joules]").replace("[energy.synop]", "[joules.synop]"), "joules is no key", "joules"),
    (TEXT.partition("[energy]")[0], "energy is missing", "where: x.toml, energy"),
    (TEXT.replace('"programmable"', '"spinnaker"'), "profile should be 'lava-lif' or 'programmable'", "'spinnaker'"),
    (TEXT.replace('"programmable"', '"lava-lif"'), "should be ['gt'] in profile 'lava-lif'", "needed: ['gt', 'ge']"),
    (re.sub('title = ".*"', "title = 5", TEXT), "title should be a valid string", "needed: 5"),
    (re.sub('title = ".*"', 'title = ""', TEXT), "title the title should be text that is not empty", "needed: ''"),
    (TEXT.replace("[core]", "[cor]"), "cor is no key of a target", "did you mean core?"),
    ("", "is missing", "where: x.toml"),
    (TEXT.replace("[core]", f"[core]\n{NEURONS}"), "not TOML: Cannot overwrite a value", "needed: neurons = {"),
    (TEXT + "[core]\n", "not TOML: Cannot declare ('core',) twice", "needed: [core]"),
    (TEXT.replace("[core]", "[core"), "not TOML: ", "needed: [core"),
    ("profile = ", "not TOML: Invalid value", "where: x.toml"),
    ("x = " + "[" * 5000, "not TOML: ", "where: x.toml"),
    ("x = " + "9" * 5000, "not TOML: ", "where: x.toml"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rule", "more"), OTHER_WRONG)
def test_other_wrong_files_are_refused_by_name(text: str, rule: str, more: str) -> None:
    said = refusal(text)
    assert rule in said
    assert more in said


def test_the_whole_message() -> None:
    assert refusal(edited("core.neurons", "0")) == (
        "bad-target: the target cannot be used: core.neurons should be greater than or equal to 1\n"
        "  where: x.toml, core.neurons\n  needed: 0"
    )


def test_right_files_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(TEXT, encoding="utf-8")
    assert load_target(str(own)) == parse_target("mine", TEXT)
    assert parse_target("x", edited("time.access", "3")).time.access == 3_000
    assert parse_target("x", edited("time.access", '"us"', "unit")).time.access == 3_000_000
    assert parse_target("x", edited("core.neurons", '"unlimited"')).core.neurons is None
    assert parse_target("x", edited("numeric.weight_step", "100")).numeric.weight_step == 100


def test_a_base_with_one_number_of_an_inner_table() -> None:
    said = 'base = "loihi2"\n[time.synop]\ndense = { value = 1.0, unit = "ns", grade = "assumed", source = "ours" }\n'
    found, base = parse_target("x", said).time, load_target("loihi2").time
    assert (found.synop.dense, found.synop.sparse, found.sync) == (1000, base.synop.sparse, base.sync)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for content, rule in (
        (b"\xff\xfe", "not text: 'utf-8' codec"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "the file begins with a byte order mark"),
    ):
        path.write_bytes(content)
        with pytest.raises(TargetError, match=f"bad-target: {rule}") as caught:
            load_target(str(path))
        assert caught.value.where == "x.toml"
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(TargetError, match="unknown-target: no target file"):
        load_target(str(tmp_path / "folder.toml"))


def test_unknown_targets_list_the_known_ones() -> None:
    with pytest.raises(TargetError) as caught:
        load_target("loihi3")
    assert str(caught.value) == (
        "unknown-target: no target named 'loihi3'\n"
        f"  hint: choose one of: {', '.join(available())}, or give a path that ends in .toml; did you mean 'loihi2'?"
    )
    with pytest.raises(TargetError) as caught:
        load_target("no/such.toml")
    assert str(caught.value) == "unknown-target: no target file no/such.toml\n  hint: give an existing .toml file"


def test_mutations_of_a_right_file_never_give_another_error() -> None:
    """Bytes taken out, doubled, or replaced by others that TOML has: a Machine or a TargetError."""
    draw, refused = random.Random(0), 0
    for _ in range(300):
        text = TEXT
        for _ in range(draw.randint(1, 3)):
            at, size = draw.randrange(len(text)), draw.choice((1, 1, 1, 8, 200))
            put = draw.choice(("", text[at : at + size] * 2, draw.choice('0-9."[]{}=\n#exn')))
            text = text[:at] + put + text[at + size :]
        try:
            assert isinstance(parse_target("x", text), Machine)
        except TargetError as error:
            refused += "x.toml" in str(error)
    assert refused > 100


OTHER = {"core.neurons": 512, "time.sync_chips.chips_999": 30000, "numeric.v_ends": "full"}


@pytest.mark.parametrize("name", [*available(), *variants()])
def test_other_values_are_recorded_in_the_text(name: str) -> None:
    machine, before = load_target(name, OTHER), load_target(name).constants
    assert machine.core.neurons == 512
    assert parse_target(name, machine.text) == machine
    constant = machine.constant("core.neurons")
    assert (constant.unit, constant.grade) == ("neurons", "assumed")
    assert constant.source.startswith(f"set by the user; {name}.toml says ")
    assert machine.title.endswith(", core.neurons = 512, time.sync_chips.chips_999 = 30000, numeric.v_ends = full")
    assert load_target(name).changed(OTHER).text == machine.text
    assert {key for key, constant in machine.constants.items() if constant != before.get(key)} == set(OTHER)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("core.nuerons", 5, "core.nuerons is no key of a target\n  where: loihi2.toml, core.nuerons\n  needed: 5\n"
         "  hint: did you mean core.neurons?"),
        ("neurons", 5, "neurons is no key of a target\n  where: loihi2.toml, neurons\n  needed: 5\n"
         "  hint: did you mean core.neurons?"),
        ("core", 5, "core is no key of a target"),
        ("", 5, " is no key of a target"),
        ("time.sync", 5, "time.sync is no key of a target"),
        ("core.neurons.value", 5, "core.neurons.value is no key of a target"),
        ("core.neurons", 0, "core.neurons should be greater than or equal to 1"),
        ("core.neurons", "512", "core.neurons should be a valid integer"),
        ("chip.cores", 64, "chip.cores_usable should be at most chip.cores, 64"),
    ],
)  # fmt: skip
def test_other_values_are_checked_like_a_file(key: str, value: Any, message: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target("loihi2", {key: value})
    assert f"bad-target: the target cannot be used: {message}" in str(caught.value)


def test_the_command_lists_checks_and_shows(tmp_path: Path) -> None:
    out = snnhw("targets", "loihi2", "--set", "core.neurons=512").out
    assert "chip.link_buffer (event time alone) = 16 messages [assumed]" in out
    shown = snnhw("targets", "loihi2", "--set", "core.neurons=512", "--json").json
    assert shown["core"]["neurons"]["value"] == 512
    (tmp_path / "x.toml").write_text(edited("core.neurons", "0"), encoding="utf-8")
    for words in (("targets", tmp_path / "x.toml"), ("check", "a.pt", "--target", tmp_path / "x.toml")):
        done = snnhw(*words)
        assert (done.code, done.err.count("core.neurons should be")) == (1, 1)
    assert set(SECTIONS) < set(shown)
