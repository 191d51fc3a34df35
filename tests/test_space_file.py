"""Space files: plain YAML, strictly typed, with every problem said at once."""

import dataclasses
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import JUNK, SPECS

from policysearch.errors import FormatError, InvalidValueError, PolicySearchError, UnknownNameError
from policysearch.ops.registry import check_policy
from policysearch.resources import space_files
from policysearch.space import METHODS
from policysearch.space_yaml import load_space, parse_yaml, space_from_dict

HEAD = "format: policysearch.space\nversion: 1\nmethod: opwise\n"


def space_of(text):
    return space_from_dict(parse_yaml(HEAD + text, "space"), "mine", "space")


def problems_of(text):
    with pytest.raises(FormatError) as caught:
        space_of(text)
    return caught.value.problems


@st.composite
def space_data(draw):
    specs = draw(st.lists(st.sampled_from(SPECS), min_size=1, max_size=5, unique=True))
    ops = []
    for spec in specs:
        entry = {"op": spec.name}
        if spec.has_magnitude and draw(st.booleans()):
            low, high = sorted(draw(st.tuples(*[st.floats(spec.low, spec.maximum)] * 2)))
            entry |= {"low": low, "high": high, "unit": spec.unit}
        ops.append(entry)
    ends = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    knots = {"n_knots": draw(st.integers(2, 16)), "low": ends[0], "high": ends[1]}
    return {
        "format": "policysearch.space",
        "version": 1,
        "method": draw(st.sampled_from(METHODS)),
        "interpolation": draw(st.sampled_from(["nearest", "bilinear"])),
        "fill": draw(st.floats(0, 1)),
        "n_ops": sorted(draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))),
        "probability": sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1)))),
        "n_sub_policies": draw(st.integers(1, 6)),
        "schedule": draw(st.sampled_from([None, {}, knots])),
        "ops": ops,
    }


@settings(deadline=None, max_examples=60)
@given(space_data())
def test_a_space_file_says_what_the_space_is(data):
    space = space_from_dict(parse_yaml(yaml.safe_dump(data), "space"), "mine", "space")
    assert space.method == data["method"]
    assert [entry.op for entry in space.ops] == [entry["op"] for entry in data["ops"]]
    for entry, given_entry in zip(space.ops, data["ops"], strict=True):
        spec = space.spec(entry.op)
        if spec.has_magnitude:
            assert entry.low == given_entry.get("low", spec.low)
            assert entry.high == given_entry.get("high", spec.high)
            assert entry.unit == spec.unit
        else:
            assert (entry.low, entry.high, entry.unit) == (None, None, None)
    for field in ("interpolation", "fill", "n_sub_policies"):
        assert getattr(space, field) == data[field]
    schedule = {} if space.schedule is None else dataclasses.asdict(space.schedule)
    assert (space.schedule is None) == (data["schedule"] is None)
    assert schedule == (schedule and {"n_knots": 3, "low": 0.0, "high": 1.0} | data["schedule"])
    for field in ("n_ops", "probability"):
        assert list(getattr(space, field)) == data[field]


@settings(deadline=None, max_examples=150)
@given(JUNK)
def test_any_junk_is_a_format_error(junk):
    with pytest.raises(FormatError):
        space_from_dict(junk, "mine", "space")


@settings(deadline=None, max_examples=200)
@given(space_data(), st.data())
def test_junk_anywhere_in_a_space_file_is_a_format_error_or_valid(good, data):
    places = [good, good["ops"], good["ops"][0], good["n_ops"], good["schedule"]]
    place = data.draw(st.sampled_from([place for place in places if place]))
    keys = list(place) if isinstance(place, dict) else range(len(place))
    place[data.draw(st.sampled_from(list(keys)))] = data.draw(JUNK)
    try:
        space = space_from_dict(good, "mine", "space")
    except FormatError as error:
        n_problems = len(error.problems)
    else:
        n_problems = 1
        check_policy(space.uniform_policy())
    assert 1 <= n_problems <= 21


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("ab1:{}[]-?!&*|>'\"#%@,.~ \n\t<=\0é"), max_size=30))
def test_any_text_is_yaml_or_a_format_error(text):
    try:
        value = parse_yaml(text, "space")
    except FormatError as error:
        (value,) = error.problems
    assert isinstance(value, (dict, list, str, int, float, bool, type(None)))


@pytest.mark.parametrize("name", space_files())
def test_every_shipped_space_loads_with_references(name):
    space = load_space(name)
    assert space.name == name
    assert space.summary
    assert space.references
    assert load_space(name.removeprefix("image/")) == space


def test_a_file_of_ones_own_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "ops: [{op: rotate}]\n")
    space = load_space(str(path))
    assert space.name == "mine"
    assert space.ops[0].high == 30.0
    path.rename(tmp_path / "mine.txt")
    assert load_space(str(tmp_path / "mine.txt")) == space


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a: !!python/object/apply:os.system [ls]",
            "tags are not allowed, got 'tag:yaml.org,2002:",
        ),
        ("a: !!python/object/new:os.system [ls]", "tags are not allowed"),
        ("!!python/name:os.system x", "tags are not allowed"),
        ("a: !own 1", "tags are not allowed, got '!own' at line 1 column 4."),
        ("a: !!timestamp soon", "tags are not allowed"),
        ("a: !!bool soon", "tags are not allowed"),
        ("a: !!int ''", "tags are not allowed"),
        ("a: !!map soon", "tags are not allowed"),
        ("a: !!set {b}", "tags are not allowed"),
        ("a: &x [1]\nb: *x", "aliases are not allowed at line 2 column 4."),
        ("a: 1\nb: 2\na: 3", "key 'a' is given twice at line 3 column 1."),
        ("ops:\n- {op: a, op: b}", "key 'op' is given twice at line 2 column 11."),
        ("? [a]\n: 1", "a key must be a word at line 1 column 3."),
        ("a: [1", "expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n---\nb: 1", "another document"),
        ("a: \0", "special characters are not allowed"),
        ("[" * 3000, "it is nested too deeply."),
    ],
)
def test_yaml_that_is_not_plain_data_is_refused(text, problem):
    with pytest.raises(FormatError) as caught:
        parse_yaml(text, "space")
    assert problem in caught.value.problems[0], caught.value.problems


def test_a_billion_laughs_are_not_laughed():
    levels = ["l0: &l0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    levels += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(FormatError, match="aliases are not allowed at line 2"):
        parse_yaml("\n".join(levels), "space")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("010", 10),
        ("-3", -3),
        (".5", 0.5),
        ("no", "no"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("2001-01-01", "2001-01-01"),
        ("1:30", "1:30"),
        ("=", "="),
        ("'1'", "1"),
    ],
)
def test_scalars_are_what_they_look_like(text, value):
    parsed = parse_yaml(f"a: {text}", "space")["a"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ops: [{op: rotat}]", "Unknown image op 'rotat'. Did you mean 'rotate'?"),
        ("ops: [{op: rotate, lo: 1}]", "Unknown key `lo` (in ops[0]). Did you mean `low`?"),
        ("opps: []\nops: [{op: rotate}]", "Unknown key `opps`. Did you mean `ops`?"),
        ("ops: []", "`ops` must hold at least 1 entries, got 0."),
        ("summary: x", "`ops` is missing."),
        (
            "ops: [{op: rotate, low: 20, high: 10}]",
            "`low <= high` must hold, got low=20, high=10.",
        ),
        ("ops: [{op: rotate, low: 40}]", "`low <= high` must hold, got low=40, high=30."),
        (
            "ops: [{op: rotate, high: 500}]",
            "`magnitude` of op 'rotate' must be in [0, 180] deg, got 0 to 500. (ops[0])",
        ),
        (
            "ops: [{op: rotate, high: .inf}]",
            "`high` must be a finite number, got inf (in ops[0]).",
        ),
        (
            "ops: [{op: rotate, high: .nan}]",
            "`high` must be a finite number, got nan (in ops[0]).",
        ),
        (
            "ops: [{op: rotate, high: '20'}]",
            "`high` must be a valid number, got '20' (in ops[0]).",
        ),
        (
            "ops: [{op: rotate, high: true}]",
            "`high` must be a valid number, got True (in ops[0]).",
        ),
        ("ops: [{op: rotate, unit: px}]", "`unit` of op 'rotate' must be 'deg', got 'px'. (ops[0"),
        ("ops: [{op: invert, low: 0}]", "op 'invert' takes no magnitude, got `low`. (ops[0])"),
        ("ops: [{op: rotate}, {op: rotate}]", "op 'rotate' is given twice (ops[1])."),
        ("n_ops: [3, 1]\nops: [{op: invert}]", "`n_ops` must be [low, high] with low <= high"),
        ("n_ops: [0, 1]\nops: [{op: invert}]", "entry [0] must be greater than or equal to 1"),
        ("n_ops: [1]\nops: [{op: invert}]", "`n_ops` must hold at least 2 entries, got 1."),
        ("n_ops: [1.5, 2]\nops: [{op: invert}]", "entry [0] must be a valid integer, got 1.5"),
        ("probability: [0, 2]\nops: [{op: invert}]", "entry [1] must be less than or equal to 1"),
        ("n_sub_policies: 51\nops: [{op: invert}]", "`n_sub_policies` must be less than or equal"),
        (
            "schedule: {n_knots: 1}\nops: [{op: invert}]",
            "`n_knots` must be greater than or equal to 2, got 1 (in schedule).",
        ),
        (
            "schedule: {low: 0.9, high: 0.1}\nops: [{op: invert}]",
            "`low <= high` must hold, got low=0.9, high=0.1. (in schedule)",
        ),
        (
            "schedule: {low: -0.5}\nops: [{op: invert}]",
            "`low` must be greater than or equal to 0, got -0.5 (in schedule).",
        ),
        (
            "schedule: {knots: 3}\nops: [{op: invert}]",
            "Unknown key `knots` (in schedule). Did you mean `n_knots`?",
        ),
        ("schedule: up\nops: [{op: invert}]", "`schedule` must be an object, got 'up'."),
        ("modality: smell\nops: [{op: rotate}]", "`modality` must be one of image, "),
        ("ops_version: x\nops: [{op: rotate}]", "`ops_version` must be one of image-1, got 'x'."),
    ],
)
def test_a_wrong_entry_is_named_with_rule_value_and_place(text, problem):
    problems = problems_of(text)
    assert any(found.startswith(problem) for found in problems), problems


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "it must be a mapping, got NoneType."),
        ({"version": 2}, "`version` must be at most 1, got 2: it was written for a newer"),
        ({"version": 10**5000}, "`version` must be at most 1, got a whole number of"),
        ({"version": True}, "`version` must be 1, got True."),
        ({}, "`format` is missing."),
        ({"format": "x"}, "`format` must be 'policysearch.space', got 'x'."),
        ({"method": "opwize"}, "`method` must be 'opwise', 'triples', 'randaugment' or 'fixed'"),
    ],
)
def test_a_wrong_head_is_named(data, problem):
    with pytest.raises(FormatError) as caught:
        space_from_dict(data, "mine", "space")
    assert any(found.startswith(problem) for found in caught.value.problems)


def test_all_problems_of_a_file_are_reported_at_once():
    problems = problems_of(
        "n_ops: [3, 1]\nprobability: [0.5, 0.1]\nops_version: image-0\n"
        "fill: white\nops: [{op: rotat}, {op: invert, unit: deg}, {op: blur, high: 99}, "
        "{op: invert}, {opp: invert}]"
    )
    assert len(problems) == 10, problems


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{i}: 1\n" for i in range(25_000)),
        "a: " + ":".join(["1"] * 100_000) + ".5",
        "[" * 250_000,
        "ops: [" + "{}, " * 60_000 + "]",
    ],
    ids=["keys", "sexagesimal", "nesting", "ops"],
)
def test_a_large_file_is_answered_in_bounded_time(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(FormatError):
        load_space(str(path))
    assert time.process_time() - started < 30  # of computing; quadratic readers need minutes


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("#" * 300_000)
    with pytest.raises(FormatError, match="at most 262,144 bytes, got 300,000"):
        load_space(str(path))


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UnknownNameError, match=r"'image/opwize'\. Did you mean 'image/opwise'\?"):
        load_space("opwize")


@pytest.mark.parametrize("name", ["missing.yaml", "nul\0.yaml", "x" * 5000, "", "."])
def test_a_name_that_is_no_file_is_no_other_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicySearchError):
        load_space(name)


def test_something_else_than_a_name_is_refused_by_its_type():
    with pytest.raises(InvalidValueError, match="got int"):
        load_space(3)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            "{op: noise_snr, low: 5, high: 40}",
            "`low >= high` must hold, got low=5, high=40 ('noise_snr' is weakest at `low`).",
        ),
        ("{op: gain, low: 5, high: 4}", "`low <= high` must hold, got low=5, high=4."),
        (
            "{op: low_pass, low: 4000, high: 5}",
            "`magnitude` of op 'low_pass' must be in [20, 100000] Hz, got 5 to 4000.",
        ),
    ],
)
def test_a_range_must_run_from_weak_to_strong(entry, problem):
    head = "modality: audio\nops_version: audio-1\n"
    assert any(text.startswith(problem) for text in problems_of(f"{head}ops: [{entry}]"))


def test_a_range_that_is_not_given_runs_from_weak_to_strong():
    space = space_of("modality: audio\nops_version: audio-1\nops: [{op: noise_snr, high: 20}]")
    assert (space.ops[0].low, space.ops[0].high) == (40.0, 20.0)
