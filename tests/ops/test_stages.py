"""The work of a batch, before any kernel touches a sample."""

import numpy as np
import pytest

from policysearch.errors import InvalidValueError, UnknownNameError
from policysearch.ops.stages import stage_groups


def groups(ops, index, magnitude, draws=None):
    index = np.array(index)
    draws = np.zeros((*index.shape, 2)) if draws is None else np.array(draws)
    return list(stage_groups("series", ops, index, np.array(magnitude, dtype=float), draws))


def test_samples_with_the_same_op_come_together_stage_by_stage():
    work = groups(
        ("jitter", "sign_flip"),
        [[0, 1], [1, -1], [0, 1]],
        [[0.1, 9], [9, 9], [0.3, 9]],
        [[[0.1, 0.2]] * 2, [[0.3, 0.4]] * 2, [[0.5, 0.6]] * 2],
    )
    assert [(g.op, g.rows.tolist()) for g in work] == [
        ("jitter", [0, 2]),
        ("sign_flip", [1]),
        ("sign_flip", [0, 2]),
    ]
    assert work[0].magnitude.tolist() == [0.1, 0.3]
    assert work[0].draws.tolist() == [[0.1], [0.5]], "as many as the op declares"
    assert work[0].seeds().tolist() == [int(0.1 * 2**53), int(0.5 * 2**53)]


def test_what_changes_nothing_is_no_work():
    assert groups(("jitter", "identity", "permutation"), [[0], [1], [2]], [[0], [0], [1]]) == []
    assert groups(("jitter",), np.zeros((0, 2), dtype=int), np.zeros((0, 2))) == []


def test_missing_draws_are_zero():
    (work,) = groups(("frequency_noise",), [[0]], [[0.1]], [[[0.25]]])
    assert work.draws.tolist() == [[0.25, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((("jitter",), [0], [0.1]), "must have shape"),
        ((("jitter",), [[0]], [[0.1, 0.2]]), "must have shape"),
        ((("jitter",), [[0]], [[0.1]], [[0.1]]), "`draws` must have shape"),
        ((("jitter",), [[1]], [[0.1]]), r"`op_index` must be in \[-1, 0\]"),
        ((("jitter",), [[-2]], [[0.1]]), "op_index"),
        ((("jitter",), [[0]], [[11.0]]), "within the range of its operation"),
        ((("jitter",), [[0]], [[np.nan]]), "must be finite"),
        ((("jitter",), [[0]], [[0.1]], [[[1.0]]]), r"in \[0, 1\)"),
    ],
)
def test_wrong_arguments_say_which_rule_they_break(arguments, text):
    with pytest.raises(InvalidValueError, match=text):
        groups(*arguments)


def test_an_unknown_op_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'jitter'"):
        groups(("jiter",), [[0]], [[0.1]])
