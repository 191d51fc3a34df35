"""The default search: designs from a calibration, led by a model of all of them."""

import dataclasses

import numpy as np
import pytest
from contracts.sampler_contract import SPACES, SamplerContract, play
from samplers.test_calibration import KEPT, answers

from policysearch.baselines import baseline_policies
from policysearch.ops.registry import check_policy
from policysearch.policy import Stage, SubPolicy, merged
from policysearch.samplers.calibrated import MAX_LED, N_LED, CalibratedSampler
from policysearch.samplers.calibration import Calibration, Reading, calibration_of
from policysearch.samplers.known import Known
from policysearch.samplers.layouts import (
    Design,
    Designer,
    Layout,
    all_designs,
    first_designs,
)
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.samplers.response import Response, design_of, smoothed_scores
from policysearch.samplers.strategies import STRATEGIES, Plan
from policysearch.samplers.variations import variations_of
from policysearch.selection import pick_candidates
from policysearch.space_yaml import load_space
from policysearch.trial import Outcome, Trial

SPACE = SPACES["opwise"]()
CALIBRATION = calibration_of([answers()])
#: The same data, but they bear horizontal flips.
WITH_FLIPS = calibration_of([answers(KEPT | {"flip_horizontal": {"1": 0.97}})])
NONE = {"none": baseline_policies(SPACE, 8)["none"]}
MOVING = {r.op for r in SPACE.ops if SPACE.spec(r.op).family == "geometry"}


def sampler(space=SPACE, calibration=CALIBRATION, seed=0, algorithm="random"):
    inner = OptunaSampler(space, seed, algorithm)
    return CalibratedSampler(space, Known(calibration), NONE, inner, seed)


class TestCalibrated(SamplerContract):
    N = 40
    SPACES = ("opwise",)

    @classmethod
    def make_sampler(cls, space, seed):
        return sampler(space, seed=seed, algorithm="tpe")


def calls_of(policy):
    return [{c.op: c for c in stage.choices} for stage in policy.sub_policies[0].stages]


def test_ops_are_laid_out_up_to_where_a_share_of_the_accuracy_is_left():
    policy = Designer(SPACE, CALIBRATION).policy(Design(Layout(0, 1, 2), 0.7))
    moving, changing, again = calls_of(policy)
    assert set(moving) <= MOVING
    assert not set(changing) & MOVING
    assert changing == again
    assert "invert" not in changing  # keeps a tenth
    assert "flip_horizontal" not in moving  # keeps 0.35
    assert moving["rotate"].high == pytest.approx(30 * 0.625)
    assert moving["rotate"].low == 0
    [both] = calls_of(Designer(SPACE, CALIBRATION).policy(Design(Layout(1), 0.3)))
    assert set(both) > MOVING - {"flip_vertical"}
    assert "flip_horizontal" in both


def test_flips_that_the_data_bear_have_a_stage_of_their_own_for_half_of_the_samples():
    designer = Designer(SPACE, WITH_FLIPS)
    assert designer.has_mirrors
    policy = designer.policy(Design(Layout(0, 1, 1, True), 0.7))
    horizontal, vertical, moving, _ = policy.sub_policies[0].stages
    assert [c.op for c in horizontal.choices] == ["flip_horizontal"]
    assert [c.op for c in vertical.choices] == ["flip_vertical"]
    assert horizontal.probability == 0.5
    assert "flip_horizontal" not in {c.op for c in moving.choices}
    assert any(d.layout.is_mirrored for d in first_designs(designer))
    assert any(not d.layout.is_mirrored for d in first_designs(designer))


def test_flips_that_the_data_do_not_bear_have_none():
    kept = KEPT | {op: {"1": 0.3} for op in ("flip_horizontal", "flip_vertical")}
    designer = Designer(SPACE, calibration_of([answers(kept)]))
    assert not designer.has_mirrors
    assert not any(layout.is_mirrored for layout in designer.layouts())


def test_without_a_calibration_all_ops_are_tried_at_equal_levels():
    designer = Designer(SPACE, None)
    assert not designer.has_mirrors
    for design in first_designs(designer):
        calls = {op: c for stage in calls_of(designer.policy(design)) for op, c in stage.items()}
        assert set(calls) == {r.op for r in SPACE.ops}
        assert calls["rotate"].high == pytest.approx(30 * (1 - design.share))


def test_ops_that_cannot_be_parted_share_their_stages():
    only = dataclasses.replace(SPACE, ops=tuple(r for r in SPACE.ops if r.op in MOVING))
    single = dataclasses.replace(SPACE, n_ops=(1, 1))
    for space in (only, single):
        designer = Designer(space, CALIBRATION)
        assert not designer.is_parted
        assert first_designs(designer)
        assert all(design.layout.n_any for design in all_designs(designer))


def test_a_share_that_leaves_no_op_makes_no_policy():
    nothing = calibration_of(
        [answers({op.op: dict.fromkeys(["0.25", "0.5", "0.75", "1"], 0.01) for op in SPACE.ops})]
    )
    assert Designer(SPACE, nothing).policy(Design(Layout(2), 0.99)) is None
    trials = play(sampler(calibration=nothing), 30)
    assert len(trials) == 30


def best_sampler(best, space=SPACE, calibration=CALIBRATION):
    inner = OptunaSampler(space, 0, "random")
    return CalibratedSampler(space, Known(calibration, best=("best", best)), NONE, inner)


def test_the_best_search_free_policy_is_tried_first_with_its_ops_cut_to_what_the_data_bear():
    best = baseline_policies(SPACE, 8)["trivialaugment"]
    trials = play(best_sampler(best), 4)
    origins = [trial.suggestion.origin for trial in trials]
    assert origins[:3] == ["warm:none", "capped:best @0.9", "capped:best @0.65"]
    assert origins[3].startswith("design:")
    for trial, share in zip(trials[1:3], (0.9, 0.65), strict=True):
        levels = CALIBRATION.levels(share)
        before, after = calls_of(best)[0], calls_of(trial.suggestion.policy)[0]
        inside = {entry.op: entry for entry in SPACE.ops}
        assert after.keys() == {op for op in before if op in levels} | {"identity"}
        for op in after.keys() - {"identity"}:
            full = inside[op].call(levels[op], is_range=True)
            if before[op].unit == "px":  # the space translates by fractions
                assert after[op] == full
            elif full.high is not None:
                assert after[op].high == min(before[op].high, full.high)
    assert trials[1].suggestion.policy != trials[2].suggestion.policy


def test_a_policy_that_the_data_bear_as_it_is_is_not_tried_again():
    for best in (NONE["none"], Designer(SPACE, CALIBRATION).policy(Design(Layout(2), 0.95))):
        origins = [trial.suggestion.origin for trial in play(best_sampler(best), 3)]
        assert origins[0] == "warm:none"
        assert all(origin.startswith("design:") for origin in origins[1:])
    best = baseline_policies(SPACE, 8)["trivialaugment"]
    origins = [trial.suggestion.origin for trial in play(best_sampler(best, calibration=None), 3)]
    assert origins[1].startswith("design:")


def test_an_op_that_is_not_in_the_space_does_nothing_instead():
    space = SPACE.without([e.op for e in SPACE.ops if e.op not in ("rotate", "brightness")])
    best = baseline_policies(SPACE, 8)["randaugment"]
    capped = Designer(space, CALIBRATION).capped(best, 0.9)
    for stage, before in zip(
        capped.sub_policies[0].stages, best.sub_policies[0].stages, strict=True
    ):
        assert {c.op for c in stage.choices} == {"rotate", "brightness", "identity"}
        assert len(stage.choices) == len(before.choices)
    check_policy(capped)


def test_of_a_policy_of_which_nothing_is_borne_nothing_is_left():
    nothing = calibration_of(
        [answers({op.op: dict.fromkeys(["0.25", "0.5", "0.75", "1"], 0.01) for op in SPACE.ops})]
    )
    best = Designer(SPACE, CALIBRATION).policy(Design(Layout(2), 0.8))
    assert Designer(SPACE, nothing).capped(best, 0.9) is None
    trivial = baseline_policies(SPACE, 8)["trivialaugment"]  # it has the identity
    assert Designer(SPACE, nothing).capped(trivial, 0.9) is None


@pytest.mark.parametrize("name", ["scheduled", "opwise"])
def test_first_designs_leave_room_for_variations_and_a_trial_that_the_model_leads(name):
    space, n = load_space(name), 16
    known = Known(CALIBRATION, best=("best", baseline_policies(SPACE, 8)["trivialaugment"]))
    plan = Plan(space, NONE, n, n_folds=3, seed=0, algorithm="random", known=known)
    found = STRATEGIES["calibrated"].make(plan)
    kinds = [trial.suggestion.origin.partition(":")[0] for trial in play(found, n)]
    n_varied = len(variations_of(space))
    assert kinds.count("capped") == 2
    assert kinds.count("ramp") == n_varied
    assert kinds.count("model") >= 1
    assert kinds.count("design") >= 9


def test_ops_whose_strength_rises_as_the_number_falls_are_cut_from_below():
    space = load_space("opwise", "audio")
    entry = next(e for e in space.ops if e.low is not None and e.low > e.high)
    best = space.policy((SubPolicy((Stage((entry.full(),)),)),))
    kept = {0.25: 1.0, 0.5: 0.9, 0.75: 0.5, 1.0: 0.2}
    curve = tuple(Reading(level, share, 0.5, {}) for level, share in kept.items())
    found = Calibration({entry.op: curve}, 0.8, 0.5)
    [[after]] = [list(s.values()) for s in calls_of(Designer(space, found).capped(best, 0.9))]
    assert after.high == entry.low
    assert after.low == pytest.approx((entry.low + entry.high) / 2)


def valued(share=0.6, moving=1, changing=2, noise=0.0, seed=0):
    """A score that is best at one design, and how the search would see it."""
    rng = np.random.default_rng(seed)

    def true(design):
        x = design.layout
        half = x.n_any / 2
        return (
            0.4
            + 2 * (design.share - share) ** 2
            + 0.05 * (abs(x.n_moving + half - moving) + abs(x.n_changing + half - changing))
        )

    def score(suggestion):
        fields = suggestion.state.get("design")
        if fields is None:
            return 1.0
        design = design_of(Trial(0, suggestion, Outcome("complete", 0.0)))
        return true(design) + noise * float(rng.standard_normal())

    return true, score


def searched(n, score, window=4):
    trials, made = [], sampler()
    for number in range(n):
        suggestion = made.suggest(number, trials[: max(0, number - window + 1)])
        value = score(suggestion)
        trials.append(Trial(number, suggestion, Outcome("complete", value, ({"score": value},))))
    return trials


def test_the_model_leads_to_the_best_design():
    true, score = valued(share=0.4, moving=0, changing=3)
    best = min(true(d) for d in all_designs(Designer(SPACE, CALIBRATION)))
    trials = searched(25, score)
    n_first = len(first_designs(Designer(SPACE, CALIBRATION)))
    first = min(t.score for t in trials[: n_first + 1])
    assert min(t.score for t in trials) < best + 0.2 * (first - best) + 1e-3
    assert [t.suggestion.origin.partition(":")[0] for t in trials] == (
        ["warm"] + ["design"] * n_first + ["model"] * (24 - n_first)
    )


def test_no_design_is_tried_twice_whatever_the_window():
    for window in (1, 4, 16):
        trials = searched(30, valued(noise=0.05)[1], window)
        tried = [design_of(t) for t in trials if design_of(t)]
        assert len(set(tried)) == len(tried)


def test_the_noise_of_single_trials_is_taken_out():
    """Candidates by the model are better designs than those with the lowest scores."""
    gains = []
    for seed in range(12):
        true, score = valued(noise=0.08, seed=seed)
        trials = searched(25, score)
        designed = [t for t in trials if design_of(t)]
        lowest = min(designed, key=lambda t: t.score)
        believed = smoothed_scores(trials)
        chosen = min(designed, key=lambda t: believed[t.number])
        gains.append(true(design_of(lowest)) - true(design_of(chosen)))
    assert np.mean(gains) > 0
    by_number = {t.number: t.suggestion.policy for t in trials}
    together, first, *_ = pick_candidates(trials, 3, ()).values()
    ranked = sorted((t.number for t in designed), key=lambda n: (believed[n], n))
    assert first == by_number[ranked[0]]
    assert together == merged([by_number[number] for number in ranked[:5]])


def test_a_trial_that_was_stopped_counts_as_if_it_had_gone_on():
    trials = searched(14, valued()[1])
    full = [
        dataclasses.replace(
            t,
            outcome=Outcome(
                "complete", t.score, ({"score": t.score - 0.1}, {"score": t.score + 0.1})
            ),
        )
        for t in trials
    ]
    last = full[-1]
    stopped = dataclasses.replace(
        last, outcome=Outcome("pruned", last.score - 0.1, ({"score": last.score - 0.1},))
    )
    designs = [design_of(t) for t in full[1:]]
    whole = Response(full).belief(designs).mean
    cut = Response([*full[:-1], stopped]).belief(designs).mean
    assert cut == pytest.approx(whole, abs=1e-6)


def test_a_long_search_refines_and_goes_on_with_designs():
    trials = searched(1 + N_LED + 40, valued(noise=0.05)[1])
    kinds = [t.suggestion.origin.partition(":")[0] for t in trials[-12:]]
    assert kinds.count("random") in (6, 7)
    assert kinds.count("model") >= 5


def test_a_very_long_search_is_refined_alone():
    trials = searched(20, valued(noise=0.05)[1])
    begins = trials[-1].number + MAX_LED
    asked = [sampler().suggest(number, trials).origin for number in range(begins, begins + 20)]
    assert asked == ["random"] * 20


def test_ops_on_whole_batches_come_in_the_last_stage():
    space = load_space("image/full").restricted_to(1)
    designer = Designer(space, None)
    for layout in (Layout(3), Layout(0, 1, 2), Layout(0, 2, 0)):
        *before, last = calls_of(designer.policy(Design(layout, 0.5)))
        assert not any({"mixup", "pgd", "hardest_of_k", "synthesize"} & set(s) for s in before)
        assert {"mixup", "pgd", "hardest_of_k", "synthesize"} <= set(last)
        assert set(before[-1]) < set(last)


def test_a_policy_that_several_shares_lead_to_is_tried_once():
    """Where everything is borne to the full, designs that differ by their share are the same."""
    full = {op.op: dict.fromkeys(["0.25", "0.5", "0.75", "1"], 1.0) for op in SPACE.ops}
    trials = play(sampler(calibration=calibration_of([answers(full)])), 30)
    designed = [t.suggestion.policy for t in trials if t.suggestion.is_designed]
    assert len(designed) > 5
    assert len(set(designed)) == len(designed)
