"""The choice on validation data: lower scores win, and ties go to what needs no search."""

import dataclasses
import math

import pytest

from policysearch.confirmation import halving, is_clearly_worse, survivors
from policysearch.errors import RunError
from policysearch.policy import OpCall, Policy, Schedule, Stage, SubPolicy, merged
from policysearch.samplers.layouts import Design, Layout
from policysearch.samplers.response import design_state, smoothed_scores
from policysearch.selection import MAX_MERGED, paired, pick_candidates, select
from policysearch.trial import FINAL, Outcome, Suggestion, Trial

BASELINES = ("none", "default")


def policy_of(*ops):
    return Policy((SubPolicy((Stage(tuple(OpCall(op) for op in ops)),)),))


ARMS = {
    "none": Policy(),
    "default": policy_of("flip_horizontal"),
    "trial-1": policy_of("invert", "equalize"),
    "trial-2": policy_of("autocontrast"),
    "trial-3": policy_of("posterize"),
}


def chosen(**scores):
    named = {name.replace("_", "-"): values for name, values in scores.items()}
    return select({name: ARMS[name] for name in named}, named, BASELINES)


def test_a_candidate_that_beats_every_baseline_is_chosen():
    selection = chosen(none=[0.5, 0.5], default=[0.4, 0.5], trial_1=[0.1, 0.3], trial_2=[0.4, 0.4])
    assert selection.chosen_arm == "found"
    assert selection.origin == "trial-1"
    assert selection.chosen is selection.found is ARMS["trial-1"]
    assert selection.margin == pytest.approx(0.25)


def test_a_baseline_that_is_not_beaten_is_chosen_and_the_found_policy_kept():
    selection = chosen(none=[0.3], default=[0.2], trial_1=[0.25])
    assert selection.chosen_arm == "default"
    assert selection.chosen is ARMS["default"]
    assert selection.found is ARMS["trial-1"]
    assert selection.margin == pytest.approx(-0.05)


def test_a_tie_goes_to_the_baseline_and_among_baselines_to_the_simplest():
    selection = chosen(none=[0.2], default=[0.2], trial_1=[0.2])
    assert selection.chosen_arm == "none"
    assert selection.margin == 0


def test_a_tie_between_candidates_goes_to_the_smaller_policy():
    selection = chosen(none=[0.3], trial_1=[0.2], trial_2=[0.2])
    assert selection.origin == "trial-2"


def test_a_simpler_policy_within_the_noise_of_the_best_is_chosen():
    best, noisy = [0.10, 0.30, 0.20], [0.20, 0.25, 0.18]  # 0.01 worse, standard error 0.05
    assert chosen(none=noisy, trial_1=best).chosen_arm == "none"
    assert chosen(none=[0.9] * 3, trial_1=best, trial_2=noisy).origin == "trial-2"
    steady = [0.11, 0.31, 0.21]  # as much worse, every time
    assert chosen(none=steady, trial_1=best).chosen_arm == "found"
    assert chosen(none=[0.9] * 3, trial_1=best, trial_2=steady).origin == "trial-1"


def test_simpler_is_what_has_at_most_half_as_many_operations_searched_or_not():
    best, noisy = [0.10, 0.30, 0.20], [0.20, 0.25, 0.18]  # 0.01 worse, within the noise
    four = policy_of("invert", "equalize", "autocontrast", "posterize")
    three, two = (policy_of(*("invert", "equalize", "rotate")[:n]) for n in (3, 2))

    def exported(default, trial, is_default_best):
        arms = {"none": Policy(), "default": default, "trial-1": trial}
        a, b = (best, noisy) if is_default_best else (noisy, best)
        return select(arms, {"none": [0.9] * 3, "default": a, "trial-1": b}, BASELINES).chosen_arm

    assert exported(four, two, is_default_best=True) == "found"
    assert exported(two, four, is_default_best=False) == "default"
    assert exported(four, three, is_default_best=True) == "default"  # hardly simpler
    assert exported(three, four, is_default_best=False) == "found"
    often = Policy((SubPolicy((Stage((OpCall("invert"), OpCall("equalize"))),) * 3),))
    assert exported(often, two, is_default_best=True) == "default"  # no more to learn about

    arms = {"none": Policy(), "default": policy_of("invert", "posterize"), "trial-1": two}
    scores = {"none": [0.9] * 3, "default": best, "trial-1": best}
    assert select(arms, scores, BASELINES).chosen_arm == "default"


def test_a_merged_policy_wins_ties_with_its_parts_and_not_with_search_free_ones():
    best, noisy = [0.10, 0.30, 0.20], [0.20, 0.25, 0.18]
    steady = [0.11, 0.31, 0.21]  # clearly worse, every time
    arms = {
        "none": Policy(),
        "default": policy_of("posterize", "solarize"),
        "merged": policy_of("invert", "equalize", "autocontrast"),
        "trial-1": policy_of("invert", "equalize"),
        "trial-2": policy_of("invert"),
    }
    scores = {"none": [0.9] * 3, "default": best, "merged": noisy, "trial-1": best}
    selection = select({name: arms[name] for name in scores}, scores, BASELINES)
    assert (selection.origin, selection.chosen_arm) == ("merged", "default")
    scores |= {"default": noisy, "merged": steady}
    assert select({name: arms[name] for name in scores}, scores, BASELINES).origin == "trial-1"
    scores |= {"merged": best, "trial-1": noisy, "trial-2": noisy}
    assert select(arms, scores, BASELINES).origin == "trial-2"  # simpler, and within the noise


@pytest.mark.parametrize("whole", ["merged", "trial-1"])
def test_a_tie_goes_to_the_policy_without_its_rare_parts(whole):
    best, noisy = [0.10, 0.30, 0.20], [0.20, 0.25, 0.18]
    arms = {
        "none": Policy(),
        whole: policy_of("invert", "equalize", "autocontrast"),
        f"{whole}-pruned": policy_of("invert", "equalize"),
    }
    scores = {"none": [0.9] * 3, whole: best, f"{whole}-pruned": noisy}
    assert select(arms, scores, BASELINES).origin == f"{whole}-pruned"
    twice = SubPolicy((Stage((OpCall("invert"),)), Stage((OpCall("invert"), OpCall("equalize")))))
    arms[whole] = Policy((twice,))  # as many different operations
    assert select(arms, scores, BASELINES).origin == f"{whole}-pruned"


def test_where_cost_counts_a_tie_goes_to_the_cheaper_and_none_is_chosen_that_is_beaten_in_both():
    """`default` and `trial-1` are equally large; the fewest operations are the dearest."""
    best, noisy = [0.10, 0.30, 0.20], [0.20, 0.25, 0.18]  # 0.01 worse, within the noise
    scores = {"none": [0.9] * 3, "default": noisy, "trial-1": best, "trial-2": best}
    arms = {name: ARMS[name] for name in scores} | {"default": policy_of("invert", "posterize")}

    def costing(**costs):
        by_policy = {arms[name.replace("_", "-")]: cost for name, cost in costs.items()}
        return select(arms, scores, BASELINES, lambda policy: by_policy.get(policy, 0.0))

    beaten = costing(default=2.0, trial_1=1.0, trial_2=9.0)
    assert (beaten.chosen_arm, beaten.origin) == ("found", "trial-1")
    assert costing(default=1.0, trial_1=2.0, trial_2=9.0).chosen_arm == "default"
    assert costing(default=1.0, trial_1=2.0, trial_2=0.5).origin == "trial-2"


def test_a_policy_within_the_noise_is_passed_over_where_another_one_beats_it_in_both():
    """That other one is a little worse than the best every time, and so no tie with it."""
    best, noisy = [0.10, 0.30, 0.20], [0.20, 0.25, 0.18]  # 0.01 worse, within the noise
    steady = [0.105, 0.305, 0.205]

    def costing(scores, **costs):
        names = {name.replace("_", "-"): cost for name, cost in costs.items()}
        by_policy = {ARMS[name]: cost for name, cost in names.items()}
        arms = {name: ARMS[name] for name in scores}
        return select(arms, scores, BASELINES, lambda policy: by_policy[policy])

    free = {"none": steady, "default": noisy, "trial-1": best}
    assert costing(free, none=0.0, default=2.0, trial_1=9.0).chosen_arm == "found"
    found = {"none": [0.9] * 3, "trial-1": best, "trial-2": noisy, "trial-3": steady}
    assert costing(found, none=0.0, trial_1=9.0, trial_2=2.0, trial_3=1.0).origin == "trial-1"


def test_an_arm_that_dropped_out_early_does_not_win_by_its_few_trainings():
    selection = chosen(none=[0.9] * 4, trial_1=[0.3, 0.3, 0.3, 0.3], trial_2=[0.1, 0.3])
    assert selection.origin == "trial-1"
    assert selection.scores["trial-2"] == pytest.approx(0.2)


def test_the_margin_has_an_error_over_paired_trainings():
    selection = chosen(none=[0.5, 0.7, 0.9], trial_1=[0.4, 0.5, 0.6])
    assert selection.margin == pytest.approx(0.2)
    assert selection.margin_error == pytest.approx(0.1 / 3**0.5)
    assert selection.to_dict()["margin_error"] == pytest.approx(0.1 / 3**0.5, abs=1e-6)
    assert paired([0.2], [0.1]) == (pytest.approx(0.1), None)


def test_trainings_on_folds_of_one_data_set_are_not_independent():
    a, b = [0.5, 0.7, 0.9, 0.3, 0.4, 0.8], [0.4, 0.5, 0.6, 0.3, 0.5, 0.6]
    mean, error = paired(a, b)
    assert paired(a, b, 1 / 3) == (mean, pytest.approx(2 * error))  # 1/6 + 1/2 in place of 1/6
    scores = {"none": [0.9] * 6, "merged": a, "trial-1": b}
    arms = {name: ARMS["trial-1"] for name in scores} | {"none": Policy()}
    assert error < mean < 2 * error
    assert select(arms, scores, BASELINES).origin == "trial-1"
    assert select(arms, scores, BASELINES, overlap=1 / 3).origin == "merged"


def test_arms_that_failed_drop_out():
    selection = chosen(
        none=[0.3, 0.3], default=[0.1, math.inf], trial_1=[math.inf, 0.1], trial_2=[0.2, 0.2]
    )
    assert selection.chosen_arm == "found"
    assert selection.origin == "trial-2"
    assert selection.to_dict() == {
        "chosen": "found",
        "origin": "trial-2",
        "metric": "log_loss",
        "scores": {"none": 0.3, "trial-2": 0.2},
        "margin": 0.1,
        "margin_error": 0.0,
    }


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ({"none": [math.inf], "trial_1": [0.1]}, "No search-free policy could be trained"),
        ({"none": [0.1], "trial_1": [math.inf]}, "The search found no policy that could be"),
        ({"none": [0.1]}, "The search found no policy"),
    ],
)
def test_nothing_is_chosen_from_failures_alone(scores, text):
    with pytest.raises(RunError, match=text):
        chosen(**scores)


def trial(number: int, origin: str, score: float | None, level: float) -> Trial:
    stage = Stage((OpCall("rotate", 0.0, level),))
    suggestion = Suggestion(Policy((SubPolicy((stage,)),)), origin)
    failed = Outcome("failed", failure="error", message="x")
    return Trial(number, suggestion, failed if score is None else Outcome("complete", score))


def test_halving_keeps_a_few_to_the_end() -> None:
    assert halving(12, 4) == [12, 12, 6, 6]
    assert halving(2, 3) == [2, 2, 1]
    assert halving(0, 2) == [0, 0]
    assert halving(5, 1) == [5]


def test_the_best_half_goes_on_and_a_merged_policy_is_among_it() -> None:
    scores = {"trial-1": [0.3, 0.2], "trial-2": [0.1, 0.1], "trial-3": [0.2, 0.2]}
    assert survivors(scores, 2) == ["trial-2", "trial-3"]
    assert survivors({"merged": [0.4, 0.4]} | scores, 2) == ["merged", "trial-2"]
    assert survivors({"merged": [0.4, 0.4]} | scores, 1) == ["trial-2"]
    assert survivors({"trial-1": [math.inf, 0.1], "trial-2": [0.3, 0.3]}, 1) == ["trial-2"]
    behind = {"merged": [0.4 + i / 100 for i in range(5)], "trial-1": [0.1] * 5}
    assert survivors(behind, 2) == ["trial-1"]  # clearly worse, five times


def test_a_candidate_that_loses_every_training_is_clearly_worse_and_a_noisy_one_is_not() -> None:
    leader = [0.10, 0.20, 0.30, 0.40, 0.50]
    assert is_clearly_worse([s + 0.01 * (1 + i) for i, s in enumerate(leader)], leader)
    assert not is_clearly_worse([s + 0.1 for s in leader[:4]], leader[:4])  # too few to say so
    assert not is_clearly_worse([0.2, 0.1, 0.5, 0.3, 0.6], leader)
    assert not is_clearly_worse(leader, leader)
    assert is_clearly_worse([*leader[:4], math.inf], leader)


def design_trial(number: int, score: float | None, design: Design) -> Trial:
    made = trial(number, f"design:{design}", score, 1.0 + number)
    state = design_state(design)
    return dataclasses.replace(made, suggestion=dataclasses.replace(made.suggestion, state=state))


def designs_with(*scores: float | None) -> list[Trial]:
    """Trials of designs that have nothing to do with each other: their order is that of scores."""
    return [design_trial(i, s, Design(Layout(0, 1, 1), 0.05 * i)) for i, s in enumerate(scores)]


def test_the_better_half_of_what_was_tried_is_merged_and_comes_first() -> None:
    trials = designs_with(0.4, 0.1, None, 0.2)  # two of four that were tried
    trials.append(trial(9, "tpe", 0.05, 9.0))  # by a score, not by design
    first, *others = pick_candidates(trials, 9, ()).items()
    parts = [trials[1].suggestion.policy, trials[3].suggestion.policy]
    assert first == ("merged", merged(parts))
    assert [name for name, _ in others] == ["trial-1", "trial-9", "trial-3", "trial-0"]
    assert list(pick_candidates(trials, 1, ())) == ["merged"]


def test_where_cost_is_an_objective_a_merge_stands_beside_what_none_beats() -> None:
    trials = [
        dataclasses.replace(t, cost=1e-6 * t.number) for t in designs_with(0.4, 0.1, 0.3, 0.2)
    ]
    chosen = pick_candidates(trials, 3, ())
    assert sorted(chosen) == ["merged", "trial-0", "trial-1"]  # 1 beats 2 and 3 in both
    assert chosen["merged"] == merged([trials[1].suggestion.policy, trials[3].suggestion.policy])
    assert list(pick_candidates(trials, 1, ())) == ["merged"]


def test_what_is_cut_to_what_the_data_bear_is_merged_as_well_and_what_has_a_schedule_is_not() -> (
    None
):
    trials = designs_with(0.4, 0.2)
    capped = trial(5, "capped:randaugment @0.9", 0.1, 5.0)
    ramp = trial(6, "ramp:0.3 to 1 of trial 1", 0.05, 6.0)
    scheduled = dataclasses.replace(ramp.suggestion.policy, schedule=Schedule.even([0.3, 1.0]))
    ramp = dataclasses.replace(
        ramp, suggestion=dataclasses.replace(ramp.suggestion, policy=scheduled)
    )
    candidates = pick_candidates([*trials, capped, trial(7, "capped:b", 0.9, 7.0), ramp], 2, ())
    assert list(candidates) == ["merged", "trial-6"]
    parts = [capped.suggestion.policy, trials[1].suggestion.policy]
    assert candidates["merged"] == merged(parts)


def test_no_more_than_a_few_designs_are_merged_and_one_is_not() -> None:
    many = designs_with(*(0.1 + i / 100 for i in range(30)))
    candidate = pick_candidates(many, 1, ())["merged"]
    assert len(candidate.sub_policies) == MAX_MERGED
    assert "merged" not in pick_candidates(designs_with(0.1, 0.2, 0.3), 3, ())  # half of them: one
    assert "merged" not in pick_candidates([trial(i, "tpe", 0.1, i) for i in range(9)], 3, ())
    final = dataclasses.replace(many[0], suggestion=Suggestion(Policy(), f"{FINAL}merged"))
    assert list(pick_candidates([*many[1:], final], 3, ())) == ["trial-0"]


def test_single_scores_are_ranked_as_noisy_as_those_of_designs() -> None:
    """A lucky policy of its own does not pass a design that many trials speak for."""
    designs = [
        design_trial(i, 0.2 + 0.03 * (i % 2), Design(Layout(0, 1, 1), 0.5 + 0.02 * i))
        for i in range(8)
    ]
    lucky = trial(20, "capped:randaugment @0.9", 0.19, 30.0)
    scores = smoothed_scores([*designs, lucky])
    assert 0.19 < scores[20] < 0.23
    worse = trial(21, "capped:randaugment @0.65", 0.9, 31.0)
    assert scores[20] < smoothed_scores([*designs, lucky, worse])[21] < 0.9


def test_combinations_and_the_rest_take_turns_as_candidates() -> None:
    trials = [trial(i, "tpe", 0.1 + i / 100, 1.0 + i) for i in range(4)]
    trials += [trial(10 + i, "combine:3 ops x 2", 0.5 + i / 100, 10.0 + i) for i in range(4)]
    assert list(pick_candidates(trials, 4, ())) == ["trial-10", "trial-0", "trial-11", "trial-1"]


def test_candidates_fill_up_when_one_kind_runs_out() -> None:
    trials = [trial(i, "tpe", 0.1 + i / 100, 1.0 + i) for i in range(5)]
    assert list(pick_candidates(trials, 3, ())) == ["trial-0", "trial-1", "trial-2"]


def test_failed_trials_baselines_and_twins_are_no_candidates() -> None:
    trials = [
        trial(0, "warm:none", 0.1, 1.0),
        trial(1, "tpe", None, 2.0),
        trial(2, "tpe", 0.3, 3.0),
        trial(3, "tpe", 0.2, 3.0),
    ]
    taken = [trials[0].suggestion.policy]
    assert list(pick_candidates(trials, 5, taken)) == ["trial-3"]


def test_a_simpler_policy_that_wins_a_tie_is_not_told_as_the_best() -> None:
    best, noisy = [0.10, 0.30, 0.20], [0.20, 0.25, 0.18]
    tied = chosen(none=noisy, default=best, trial_1=[0.9] * 3)
    assert (tied.chosen_arm, tied.best, tied.to_dict()["best"]) == ("none", "default", "default")
    assert "best" not in chosen(none=[0.5] * 3, trial_1=[0.1] * 3).to_dict()
