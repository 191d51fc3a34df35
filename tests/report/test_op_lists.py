"""Policies made of long lists in one table: nothing is lost, and lists that differ stay apart."""

import dataclasses

import pytest

from policysearch import cli
from policysearch.named import resolve_policy
from policysearch.ops.registry import get_spec
from policysearch.policy import OpCall, Policy, Stage, SubPolicy, merged
from policysearch.policy_json import PolicyDocument, write_policy_file
from policysearch.report.op_lists import MAX_PLAIN, op_lists
from policysearch.report.op_words import amount_text
from policysearch.samplers.layouts import Design, Designer, Layout
from policysearch.space_yaml import load_space

SPACE = load_space("image/opwise").restricted_to(1)


def design(n_moving, n_changing, share):
    return Designer(SPACE, None).policy(Design(Layout(0, n_moving, n_changing), share))


def wide():
    """Two designs of one share, one of another, and RandAugment's fixed strengths."""
    randaugment = resolve_policy("randaugment").policy
    designs = [design(1, 1, 0.5), design(1, 2, 0.5), design(1, 1, 0.8)]
    alike = dataclasses.replace(designs[0], sub_policies=randaugment.sub_policies)
    return merged([*designs, alike])


def test_every_list_has_a_letter_and_lists_of_one_strength_share_a_column():
    policy = wide()
    table = op_lists(policy)
    letters = sorted("".join(table.columns).replace(" ", ""))
    assert letters == ["A", "B", "C", "D", "E"]
    assert sorted(len(column.split()) for column in table.columns) == [1, 2, 2]
    assert [share for share, _ in table.sub_policies] == ["25%"] * 4
    steps = sorted(text for _, text in table.sub_policies)
    assert sum("then twice, one of" in text for text in steps) == 1
    assert sum(text.startswith("twice, one of") for text in steps) == 1


def test_what_the_table_says_of_an_operation_is_what_the_policy_does():
    policy = wide()
    table = op_lists(policy)
    told = {row.op: row for row in table.rows}
    assert set(told) == {call.op for _, call in policy.calls()}
    for row in table.rows:
        amounts = {
            letter: amount
            for letters, amount in zip(table.columns, row.amounts, strict=True)
            for letter in letters.split()
        }
        spec = get_spec("image", row.op)
        calls = {call for _, call in policy.calls() if call.op == row.op}
        expected = {amount_text(call, spec).removeprefix("up to ") or "yes" for call in calls}
        held = {amounts[letter].removeprefix("= ") for letter in row.lists.split()}
        assert held == expected
    fixed = {amount for row in table.rows for amount in row.amounts if amount.startswith("= ")}
    assert "= 9°" in fixed


def test_an_operation_that_a_list_lacks_has_no_strength_there():
    table = op_lists(wide())
    row = next(row for row in table.rows if row.op == "crop")  # not among RandAugment's
    assert row.amounts.count("") == 1
    missing = table.columns[row.amounts.index("")]
    assert not set(missing.split()) & set(row.lists.split())


def uneven(policy):
    def with_weight(stage):
        first, *rest = stage.choices
        return Stage((dataclasses.replace(first, weight=0.5), *rest), stage.probability)

    subs = (SubPolicy(tuple(map(with_weight, s.stages)), s.weight) for s in policy.sub_policies)
    return dataclasses.replace(policy, sub_policies=tuple(subs))


def one_operation(n):
    calls = tuple(OpCall("rotate", 0, high) for high in range(1, n // 2 + 1))
    return Policy((SubPolicy((Stage(calls), Stage(calls[::-1]))),))


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        design(1, 1, 0.5),
        resolve_policy("autoaugment-cifar10").policy,
        uneven(wide()),
        one_operation(MAX_PLAIN + 2),
    ],
    ids=["nothing", "short", "no lists", "uneven", "one operation many times"],
)
def test_other_policies_are_told_sub_policy_by_sub_policy(policy):
    assert op_lists(policy) is None


def test_a_step_with_one_operation_is_told_in_words():
    flip = Stage((OpCall("flip_horizontal"),), 0.5)
    subs = (SubPolicy((flip, *sub.stages), sub.weight) for sub in wide().sub_policies)
    table = op_lists(dataclasses.replace(wide(), sub_policies=tuple(subs)))
    assert all(
        t.startswith("in 50% of the cases mirror left to right") for _, t in table.sub_policies
    )


def test_show_prints_the_table(tmp_path, capsys):
    path = tmp_path / "policy.json"
    write_policy_file(path, PolicyDocument(wide(), "found"))
    assert cli.main(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "One sub-policy is drawn for each image:" in shown
    assert "- 25% of the images: one of " in shown
    assert len(shown.splitlines()) < 50
    assert max(map(len, shown.splitlines())) <= 80
