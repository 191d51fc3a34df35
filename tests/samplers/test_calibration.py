"""What networks say of single operations, and how it is told."""

import json

import pytest
from contracts.sampler_contract import SPACES

from policysearch.samplers.calibration import calibration_of, probes_of
from policysearch.trial import Outcome

SPACE = SPACES["opwise"]()
#: Share of the clean accuracy that an op leaves, by level; others leave all.
KEPT = {
    "rotate": {"0.25": 0.95, "0.5": 0.8, "0.75": 0.6, "1": 0.4},
    "blur": {"0.25": 0.2, "0.5": 0.1, "0.75": 0.1, "1": 0.1},
    "flip_horizontal": {"1": 0.35},
    "invert": {"1": 0.1},
}
N_CLASSES, N_HITS = 4, 20.0


def answers(kept=KEPT, harmed=None):
    """Metrics of a network; `harmed` is (op, class): of that class nothing is left."""
    metrics = {"log_loss": 0.5, "accuracy": 0.8, "score": 0.5}
    metrics |= {f"hits:{label}": N_HITS for label in range(N_CLASSES)}
    for name in probes_of(SPACE):
        op, _, level = name.partition("@")
        share = kept.get(op, {}).get(level, 1.0)
        metrics[f"{name}:accuracy"] = 0.8 * share
        metrics[f"{name}:log_loss"] = 0.5 / share
        for label in range(N_CLASSES):
            left = 0.0 if (op, label) == harmed else share
            metrics[f"{name}:hits:{label}"] = N_HITS * left
    return metrics


def test_every_op_is_asked_about_at_four_levels_or_as_it_is():
    probes = probes_of(SPACE)
    with_range = [r.op for r in SPACE.ops if r.low is not None]
    assert len(probes) == 4 * len(with_range) + len(SPACE.ops) - len(with_range)
    [[call]] = [stage.choices for sub in probes["rotate@0.5"].sub_policies for stage in sub.stages]
    assert (call.op, call.low, call.high) == ("rotate", 15.0, 15.0)


def test_levels_are_where_a_share_of_the_accuracy_is_left():
    levels = calibration_of([answers(), answers()]).levels(0.9)
    # A third of the way from 0.95 at level 0.25 to 0.8 at 0.5.
    assert levels["rotate"] == pytest.approx(0.25 + 0.25 / 3, abs=1e-3)
    assert levels["shear_x"] == 1.0
    assert "invert" not in levels
    assert "flip_horizontal" not in levels
    assert calibration_of([answers()]).levels(0.3)["flip_horizontal"] == 1.0
    # From all of the accuracy at level 0 to a fifth of it at 0.25.
    assert calibration_of([answers()]).levels(0.5)["blur"] == pytest.approx(
        0.25 * 0.5 / 0.8, abs=1e-3
    )


def test_networks_are_averaged():
    weak = {"rotate": {level: share / 2 for level, share in KEPT["rotate"].items()}}
    both = calibration_of([answers(), answers(weak)])
    assert [r.kept for r in both.curves["rotate"]] == pytest.approx([0.7125, 0.6, 0.45, 0.3])


def test_the_class_that_an_op_destroys_is_named_and_no_other():
    found = calibration_of([answers(harmed=("scale", 2))])
    assert {op for op, curve in found.curves.items() for r in curve if r.harmed} == {"scale"}
    assert [dict(r.harmed) for r in found.curves["scale"]] == [{2: 0.0}] * 4


def test_a_class_that_loses_as_the_others_do_is_not_named():
    found = calibration_of([answers({op: {"1": 0.2} for op in KEPT})])
    assert not any(r.harmed for curve in found.curves.values() for r in curve)


def test_a_single_sample_that_is_lost_harms_no_class():
    metrics = answers({}) | {"posterize@1:hits:1": N_HITS - 1}
    found = calibration_of([metrics])
    assert not any(r.harmed for curve in found.curves.values() for r in curve)


def test_without_answers_nothing_is_known():
    assert calibration_of([{"log_loss": 0.5, "accuracy": 0.8}]) is None
    assert calibration_of([]) is None


def test_answers_survive_the_ledger():
    outcome = Outcome("complete", 0.5, (answers(harmed=("scale", 2)),))
    restored = Outcome.from_dict(json.loads(json.dumps(outcome.to_dict())))
    assert calibration_of(restored.metrics) == calibration_of(outcome.metrics)


def test_it_is_told_in_natural_units_with_classes_by_name():
    told = calibration_of([answers(harmed=("scale", 2))]).to_dict(SPACE, ["a", "b", "c", "d"])
    assert told["accuracy"] == 0.8
    rotate = told["ops"]["rotate"]
    assert rotate["unit"] == "deg"
    assert [r["magnitude"] for r in rotate["readings"]] == [7.5, 15, 22.5, 30]
    assert [r["kept"] for r in rotate["readings"]] == [0.95, 0.8, 0.6, 0.4]
    assert told["ops"]["scale"]["readings"][0]["harmed"] == {"c": 0.0}
    [flip] = told["ops"]["flip_horizontal"]["readings"]
    assert "magnitude" not in flip
