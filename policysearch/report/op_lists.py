"""A policy that draws again and again from the same operations, in one table.

Told sub-policy by sub-policy, merged designs repeat some twenty operations ten times. Here every
list of operations has a letter, sub-policies are told by letters, and lists that agree on
strengths share a column.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from string import ascii_uppercase

from policysearch.ops.registry import get_spec
from policysearch.policy import OpCall, Policy, Stage
from policysearch.report.op_words import amount_text
from policysearch.report.words import percent, step_text

#: Op calls that a reader takes in one by one.
MAX_PLAIN = 60
#: Lists that have a letter, and columns of strengths that a terminal holds.
MAX_LISTS, MAX_COLUMNS = len(ascii_uppercase), 5


@dataclass(frozen=True, slots=True)
class OpRow:
    """An operation in the table.

    Attributes:
      lists: Letters of the lists that hold it, such as `A C`.
      amounts: Its strength in each column, such as `18°`, with `=` before it where it is always
        this one; `yes` for an operation without strengths, empty where it is in none of the lists.
    """

    op: str
    lists: str
    amounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpLists:
    """The table.

    Attributes:
      sub_policies: Share and steps of each, such as `("20%", "one of B, then twice one of C")`.
      columns: Letters of the lists that share each column of strengths.
      rows: One per operation, those of the same lists together.
    """

    sub_policies: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[OpRow, ...]


def op_lists(policy: Policy) -> OpLists | None:
    """The table of a policy; `None` where it is short, or is not made of lists.

    A list is a step that draws among operations which are all equally likely.
    """
    stages = [stage for sub in policy.sub_policies for stage in sub.stages]
    drawn = [stage.choices for stage in stages if len(stage.choices) > 1]
    lists = list(dict.fromkeys(drawn))
    is_even = all(len({call.weight for call in choices}) == 1 for choices in lists)
    is_distinct = all(len({call.op for call in choices}) == len(choices) for choices in lists)
    if policy.n_choices <= MAX_PLAIN or not is_even or not is_distinct:
        return None
    columns = _columns(lists)
    if not 0 < len(lists) <= MAX_LISTS or len(columns) > MAX_COLUMNS:
        return None
    letters = dict(zip(lists, ascii_uppercase, strict=False))
    total = sum(sub.weight for sub in policy.sub_policies)
    subs = tuple(
        (percent(sub.weight / total), _steps_text(sub.stages, letters, policy.modality))
        for sub in policy.sub_policies
    )
    members = {
        op: tuple(letters[choices] for choices in lists if any(c.op == op for c in choices))
        for op in dict.fromkeys(call.op for choices in lists for call in choices)
    }
    rows = tuple(
        OpRow(
            op, " ".join(held), tuple(_amount(op, column, policy.modality) for column in columns)
        )
        for op, held in sorted(members.items(), key=lambda item: item[1])
    )
    return OpLists(subs, tuple(" ".join(map(letters.__getitem__, c)) for c in columns), rows)


_List = tuple[OpCall, ...]


def _columns(lists: list[_List]) -> list[list[_List]]:
    """Lists that agree on the strengths of what they have in common, together."""
    columns: list[tuple[dict[str, OpCall], list[_List]]] = []
    for choices in lists:
        calls = {call.op: call for call in choices}
        for known, members in columns:
            if all(known.get(op, call) == call for op, call in calls.items()):
                known |= calls
                members.append(choices)
                break
        else:
            columns.append((calls, [choices]))
    return [members for _, members in columns]


def _amount(op: str, column: list[_List], modality: str) -> str:
    call = next((c for choices in column for c in choices if c.op == op), None)
    if call is None:
        return ""
    text = amount_text(call, get_spec(modality, op))
    if call.low is not None and call.low == call.high:
        return f"= {text}"
    return text.removeprefix("up to ") or "yes"


def _steps_text(stages: tuple[Stage, ...], letters: dict[_List, str], modality: str) -> str:
    texts = []
    for stage, equal in itertools.groupby(stages):
        letter = letters.get(stage.choices)
        phrase = None if letter is None else f"one of {letter}"
        texts.append(step_text(stage, len(list(equal)), modality, phrase))
    return ", then ".join(texts)
