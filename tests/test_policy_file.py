"""Policy files: what is written comes back; what is wrong is said, all of it, and fast."""

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import JUNK, POLICIES

from policysearch.errors import FormatError, PolicySearchError
from policysearch.named import resolve_policy
from policysearch.ops.registry import check_policy
from policysearch.policy import Mix, OpCall, Policy, Schedule, Stage, SubPolicy
from policysearch.policy_json import (
    POLICY_FILES,
    GeneratorSource,
    PolicyDocument,
    policy_from_dict,
    policy_schema,
    policy_to_dict,
    read_policy_file,
    write_policy_file,
)
from policysearch.resources import policy_files, schema_file

FAST_SECONDS = 5.0  # of computing, for at most 8 MiB; it was half a minute without the bounds


def file_of(*ops, **fields):
    head = {"format": "policysearch.policy", "version": 1, "sub_policies": [{"ops": list(ops)}]}
    return head | fields


def mixed_file(**fields):
    return file_of(rotate(), version=2, mix=fields)


def scheduled_file(*knots):
    entries = [{"progress": progress, "strength": strength} for progress, strength in knots]
    return file_of(rotate(), version=3, schedule={"knots": entries})


def rotate(**fields):
    return {"op": "rotate", "magnitude": 5.0} | fields


def problems_of(data):
    with pytest.raises(FormatError) as caught:
        policy_from_dict(data)
    return caught.value.problems


def problems_of_text(tmp_path, text):
    path = tmp_path / "policy.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FormatError) as caught:
        read_policy_file(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


@settings(deadline=None, max_examples=150)
@given(POLICIES, st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_written_policy_comes_back_equal(policy, name):
    generator = None if name is None else GeneratorSource("own.py:make", "made-1.safetensors")
    told = {"seed": 3, "nested": [1, {"a": None}]}
    document = PolicyDocument(policy, name, told, {"arms": []}, generator)
    text = json.dumps(policy_to_dict(document), allow_nan=False)
    assert policy_from_dict(json.loads(text)) == document


def test_a_file_on_disk_comes_back_equal(tmp_path):
    policy = Policy((SubPolicy((Stage((OpCall("rotate", 1, 2, unit="deg"),), 0.5),), 2.0),))
    document = PolicyDocument(policy, "möwe", {"data": "bad name \udcff"}, {"chosen": "found"})
    write_policy_file(tmp_path / "p.json", document)
    assert read_policy_file(tmp_path / "p.json") == document
    plain = PolicyDocument(policy, "möwe")
    write_policy_file(tmp_path / "p.json", plain)
    assert "möwe" in (tmp_path / "p.json").read_text(encoding="utf-8")


def test_a_magnitude_without_unit_is_in_the_ops_own_unit():
    with_unit = policy_from_dict(file_of(rotate(unit="deg"))).policy
    assert policy_from_dict(file_of(rotate())).policy == with_unit
    by_hand = Policy((SubPolicy((Stage((OpCall("rotate", 5, 5),)),)),))
    written = policy_to_dict(PolicyDocument(by_hand))["sub_policies"][0]["ops"][0]
    assert written == {"op": "rotate", "magnitude": 5.0, "unit": "deg", "probability": 1.0}


def test_a_file_is_of_the_oldest_version_that_can_hold_it():
    policy = policy_from_dict(file_of(rotate())).policy
    written = policy_to_dict(PolicyDocument(policy))
    assert written["version"] == 1
    assert "mix" not in written
    assert policy_from_dict(file_of(rotate(), version=2)).policy == policy
    assert policy_from_dict(file_of(rotate(), version=2, mix=None)).policy == policy
    document = policy_from_dict(mixed_file(width=2))
    assert document.policy.mix == Mix(2, 1.0)
    written = policy_to_dict(document)
    assert (written["version"], written["mix"]) == (2, {"width": 2, "alpha": 1.0})
    assert policy_from_dict(file_of(rotate(), version=3, mix=None, schedule=None)).policy == policy
    document = policy_from_dict(scheduled_file((0, 0.25), (1, 1)))
    assert document.policy.schedule == Schedule(((0.0, 0.25), (1.0, 1.0)))
    written = policy_to_dict(document)
    assert written["version"] == 3
    assert written["schedule"] == scheduled_file((0.0, 0.25), (1.0, 1.0))["schedule"]
    assert "mix" not in written


@pytest.mark.parametrize("name", policy_files())
def test_every_shipped_policy_loads_and_is_written_as_it_stands(name):
    path = policy_files()[name]
    document = resolve_policy(name)
    check_policy(document.policy)
    assert document.name == name
    assert document.provenance["source"]
    assert policy_to_dict(document) == json.loads(path.read_text())


@settings(deadline=None, max_examples=200)
@given(JUNK)
def test_any_junk_is_a_format_error(junk):
    with pytest.raises(FormatError):
        policy_from_dict(junk)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_junk_anywhere_in_a_policy_file_is_a_format_error_or_valid(data):
    good = file_of(rotate(unit="deg"), {"one_of": [rotate(weight=1.0), {"op": "invert"}]})
    good |= {"name": "n", "fill": 0.5, "provenance": {}, "verdict": None, "schedule": None}
    if data.draw(st.booleans()):
        good |= {"version": 3, "mix": {"width": 2, "alpha": 0.5}}
        good |= {"schedule": scheduled_file((0.0, 0.5), (1.0, 1.0))["schedule"]}
    places = [good, good["sub_policies"][0], *good["sub_policies"][0]["ops"]]
    places += [good["sub_policies"], good["sub_policies"][0]["ops"], good.get("mix", good)]
    if good["schedule"]:
        places += [good["schedule"], good["schedule"]["knots"], good["schedule"]["knots"][0]]
    place = data.draw(st.sampled_from(places))
    keys = list(place) if isinstance(place, dict) else range(len(place))
    place[data.draw(st.sampled_from(list(keys)))] = data.draw(JUNK)
    try:
        document = policy_from_dict(good)
    except FormatError as error:
        problems = error.problems
    else:
        problems = ("none, it is valid.",)
        assert policy_from_dict(policy_to_dict(document)) == document
    assert problems
    assert all(problem.endswith((".", ")", "?")) for problem in problems)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([1], "it must be a JSON object, got list."),
        ({}, "`format` must be 'policysearch.policy', got None."),
        (file_of(format="optuna"), "`format` must be 'policysearch.policy', got 'optuna'."),
        (
            file_of(rotate(), version=5),
            "`version` must be at most 4, got 5: it was written by a newer policysearch. "
            "Upgrade it: pip install -U policysearch.",
        ),
        (file_of(rotate(), version=10**5000), "`version` must be at most 4, got a whole number"),
        (file_of(rotate(), version=0), "`version` must be 1, 2, 3 or 4, got 0."),
        (file_of(rotate(), version=True), "`version` must be 1, 2, 3 or 4, got True."),
        (file_of(rotate(), version="1"), "`version` must be 1, 2, 3 or 4, got '1'."),
        (file_of(rotate(), version=[1]), "`version` must be 1, 2, 3 or 4, got [1]."),
        (file_of(rotate(), mix={"width": 3}), "`mix` needs `version` 2, got 1."),
        (file_of(rotate(), mix=None), "`mix` needs `version` 2, got 1."),
        (
            mixed_file(width=9),
            "`width` must be less than or equal to 8, got 9 (in mix).",
        ),
        (mixed_file(width=2.5), "`width` must be a valid integer, got 2.5 (in mix)."),
        (
            mixed_file(alpha=0),
            "`alpha` must be greater than or equal to 0.000000001, got 0 (in mix).",
        ),
        (mixed_file(alfa=1), "Unknown key `alfa` (in mix). Did you mean `alpha`?"),
        (file_of(rotate(), version=2, mix=3), "`mix` must be an object, got 3."),
        (file_of(rotate(), modality="smell"), "`modality` must be one of image, "),
        (file_of(rotate(), modality=["a"]), "`modality` must be a valid string, got ['a']."),
        (
            file_of(rotate(), ops_version="image-9"),
            "`ops_version` must be one of image-1, got 'image-9'.",
        ),
        (
            file_of(rotate(), interpolation="cubic"),
            "`interpolation` must be 'nearest' or 'bilinear', got 'cubic'.",
        ),
        (file_of(rotate(), fill=1.5), "`fill` must be in [0, 1], got 1.5."),
        (file_of(rotate(), sub_policis=[]), "Unknown key `sub_policis`. Did you mean"),
        (
            file_of({"op": "rotat", "magnitude": 5.0}),
            "Unknown image op 'rotat'. Did you mean 'rotate'? Known: autocontrast, ",
        ),
        (
            file_of(rotate(probability=1.2)),
            "`probability` must be in [0, 1], got 1.2 (in sub_policies[0].ops[0]).",
        ),
        (
            file_of(rotate(probability=-1)),
            "`probability` must be in [0, 1], got -1 (in sub_policies[0].ops[0]).",
        ),
        (
            file_of(rotate(probability=True)),
            "`probability` must be a valid number, got True (in sub_policies[0].ops[0]).",
        ),
        (
            file_of({"op": "rotate", "magnitud": 5.0}),
            "Unknown key `magnitud` (in sub_policies[0].ops[0]). Did you mean `magnitude`?",
        ),
        (
            file_of(rotate(magnitude=math.nan)),
            "`magnitude` must be a finite number, or an object with `low` and `high`, got nan "
            "(in sub_policies[0].ops[0]).",
        ),
        (
            file_of(rotate(magnitude=math.inf)),
            "`magnitude` must be a finite number, or an object with `low` and `high`, got inf",
        ),
        (file_of(rotate(magnitude="5")), "`magnitude` must be a finite number, or an object"),
        (file_of(rotate(magnitude={"low": 1})), "`high` is missing (in sub_policies[0].ops[0]"),
        (
            file_of(rotate(magnitude={"low": 9, "high": 3})),
            "`low <= high` must hold, got low=9.0, high=3.0. (sub_policies[0].ops[0], op 'rotate'",
        ),
        (
            file_of(rotate(magnitude=500)),
            "`magnitude` of op 'rotate' must be in [0, 180] deg, got 500. (sub_policies[0].ops[0]",
        ),
        (file_of({"op": "rotate"}), "op 'rotate' needs a `magnitude` in deg."),
        (file_of(rotate(unit="px")), "`unit` of op 'rotate' must be 'deg', got 'px'."),
        (file_of({"op": "invert", "magnitude": 1.0}), "op 'invert' takes no magnitude, got 1.0"),
        (file_of({"op": "invert", "unit": "deg"}), "op 'invert' takes no magnitude, got None (u"),
        (file_of({"magnitude": 1.0}), "`op` is missing (in sub_policies[0].ops[0])."),
        (file_of({"one_of": []}), "`one_of` must hold at least 1 entries, got 0 (in sub_"),
        (file_of(), "`ops` must hold at least 1 entries, got 0 (in sub_policies[0])."),
        (file_of(*[rotate()] * 17), "`ops` must hold at most 16 entries, got 17 (in sub_"),
        (file_of(3), "entry [0] must be an object, got 3 (in sub_policies[0].ops)."),
        (
            file_of({"one_of": [{"op": "invert", "weight": 0}]}),
            "`weight` must be greater than or equal to 0.000000001, got 0 (in sub_policies[0]"
            ".ops[0].one_of[0]).",
        ),
        (file_of(rotate(weight=2.0)), "Unknown key `weight` (in sub_policies[0].ops[0])."),
        (file_of(rotate(), schedule=[]), "`schedule` needs `version` 3, got 1."),
        (file_of(rotate(), schedule=[]), "`schedule` must be an object, got []."),
        (
            scheduled_file((0, 1)),
            "`knots` must hold at least 2 entries, got 1 (in schedule).",
        ),
        (
            scheduled_file(*[(i / 16, 1) for i in range(17)]),
            "`knots` must hold at most 16 entries, got 17 (in schedule).",
        ),
        (
            scheduled_file((0, 1.5), (1, 1)),
            "`strength` must be in [0, 1], got 1.5 (in schedule.knots[0]).",
        ),
        (
            scheduled_file((0, 1), (0.5, 1)),
            "`progress` must rise from 0 at the first knot to 1 at the last, got [0.0, 0.5]. "
            "(in schedule.knots)",
        ),
        (
            file_of(rotate(), version=3, schedule={"knots": [{"progress": 0, "strenth": 1}] * 2}),
            "Unknown key `strenth` (in schedule.knots[0]). Did you mean `strength`?",
        ),
        (
            file_of(rotate(), version=3, class_probability=[1, 0.5]),
            "`class_probability` needs `version` 4, got 3.",
        ),
        (
            file_of(rotate(), version=4, class_probability=[1, 1.5]),
            "entry [1] must be less than or equal to 1, got 1.5 (in class_probability).",
        ),
        (
            file_of(rotate(), version=4, generator={"name": "vae", "file": "../x.safetensors"}),
            "`file` ",
        ),
        (file_of(rotate(), provenance={"x": math.nan}), "`x` must be a finite number, got nan"),
    ],
)
def test_a_wrong_entry_is_named_with_rule_value_and_place(data, problem):
    problems = problems_of(data)
    assert any(text.startswith(problem) for text in problems), problems


def test_a_mix_in_an_old_file_hides_no_other_problem():
    assert problems_of(file_of(rotate(), fill=2, mix={"width": 0})) == (
        "`mix` needs `version` 2, got 1.",
        "`fill` must be in [0, 1], got 2.",
        "`width` must be greater than or equal to 1, got 0 (in mix).",
    )


def test_a_schedule_in_an_old_file_hides_no_other_problem():
    data = scheduled_file((0, 1), (0, 1)) | {"version": 1, "fill": 2, "mix": None}
    assert problems_of(data) == (
        "`mix` needs `version` 2, got 1.",
        "`schedule` needs `version` 3, got 1.",
        "`fill` must be in [0, 1], got 2.",
        "`progress` must rise from 0 at the first knot to 1 at the last, got [0.0, 0.0]. "
        "(in schedule.knots)",
    )


def test_all_problems_of_a_file_are_reported_at_once():
    problems = problems_of(
        file_of(
            rotate(probability=1.2),
            {"op": "rotat", "magnitude": 1.0},
            {"one_of": [rotate(magnitude=500), {"op": "invert", "wait": 1.0}]},
            fill="white",
            colour=1,
        )
    )
    for part in ("got 1.2", "'rotat'", "got 500", "`wait`", "'white'", "`colour`"):
        assert any(part in problem for problem in problems), part
    assert len(problems) == 6


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON: Expecting value at line 1 column 1. The file seems to be cut off."),
        (json.dumps(file_of(rotate()))[:-20], "The file seems to be cut off."),
        ('{"format": 1, "format": 1}', "key 'format' is given twice in one object."),
        ('{"fill": NaN}', "numbers must be finite, got NaN."),
        ('{"fill": -Infinity}', "numbers must be finite, got -Infinity."),
        ('{"fill": 1e999}', "numbers must be finite, got 1e999."),
        ('{"fill": ' + "9" * 5000 + "}", "xceeds the limit"),
        ("[" * 100_000, "it is nested too deeply."),
        ('{"a":' * 100_000, "it is nested too deeply."),
        (b"\x80abc", "the text must be UTF-8, bad byte at offset 0."),
        (b'{"name": "\xff"}', "the text must be UTF-8, bad byte at offset 10."),
        ("{'format': 1}", "not JSON: Expecting property name enclosed in double quotes at line 1"),
    ],
)
def test_a_text_that_is_not_strict_json_is_refused(tmp_path, text, problem):
    problems = problems_of_text(tmp_path, text)
    assert problem in problems[0], problems


def test_a_cut_file_is_never_read_as_a_policy(tmp_path):
    whole = json.dumps(file_of(rotate(), {"op": "invert", "probability": 0.5}))
    for length in range(len(whole)):
        assert problems_of_text(tmp_path, whole[:length])


def test_deep_nesting_in_the_provenance_is_refused_in_short_words(tmp_path):
    deep = "[" * 400 + "]" * 400
    text = json.dumps(file_of(rotate(), provenance={"x": 0})).replace('"x": 0', f'"x": {deep}')
    (problem,) = problems_of_text(tmp_path, text)
    assert "must be nested less deeply" in problem
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            json.dumps(file_of(sub_policies=[{}] * 1_000_000)),
            "`sub_policies` must hold at most 1000 entries, got 1000000.",
        ),
        (
            json.dumps(file_of(sub_policies=[{"ops": [{"one_of": [{}] * 64}] * 16}] * 1000)),
            "a policy must hold at most 10000 op calls, got 1024000.",
        ),
        (json.dumps(file_of(*[rotate()] * 200_000)), "at most 10000 op calls, got 200000."),
        (json.dumps(file_of(**{f"k{i}": 1 for i in range(200_000)})), "Unknown key `k0`."),
        (
            json.dumps(file_of(sub_policies=[{"ops": [{"op": "rotat"}] * 10}] * 1000)),
            "Unknown image op 'rotat'",
        ),
        (json.dumps(file_of(format="x" * 1_000_000)), "`format` must be 'policysearch.policy'"),
    ],
    ids=["sub-policies", "choices", "stages", "keys", "unknown-ops", "format"],
)
def test_a_huge_file_is_answered_fast_and_in_few_words(tmp_path, text, problem):
    started = time.process_time()
    problems = problems_of_text(tmp_path, text)
    assert time.process_time() - started < FAST_SECONDS
    assert any(problem in text for text in problems)
    assert len(problems) <= 21
    assert all(len(text) < 700 for text in problems)  # one lists all operations


def test_a_file_of_a_hundred_megabytes_is_not_even_read(tmp_path):
    path = tmp_path / "policy.json"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    started = time.process_time()
    with pytest.raises(FormatError, match="at most 8,388,608 bytes, got 100,000,000"):
        read_policy_file(path)
    assert time.process_time() - started < 0.05  # reading it takes longer


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing.json", "policy file '.*missing.json' does not exist"),
        ("nul\0.json", "is not a possible file name"),
        ("x" * 5000 + ".json", "cannot be read: File name too long"),
        ("file/below.json", "cannot be read: Not a directory"),
        (".", "Directory '.*' holds no policy.json.*policysearch resume"),
    ],
)
def test_a_path_that_is_no_file_is_said(tmp_path, name, text):
    (tmp_path / "file").touch()
    with pytest.raises(PolicySearchError, match=text):
        resolve_policy(f"{tmp_path}/{name}")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text("\ufeff" + json.dumps(file_of(rotate())), encoding="utf-8")
    assert read_policy_file(path).policy == policy_from_dict(file_of(rotate())).policy


@pytest.mark.parametrize("version", POLICY_FILES)
def test_the_shipped_schema_is_the_one_the_reader_has(version):
    # For a new version write `files.json_text(policy_schema(version))` to `schema_file(version)`.
    assert json.loads(schema_file(version).read_text()) == policy_schema(version)
