"""Population based training: its generations, who goes on, and that a member is its schedule."""

import dataclasses
from itertools import pairwise

import pytest
from contracts.sampler_contract import SPACES, SamplerContract
from faults.driver import silent
from faults.formula import Formula, Uneven
from samplers.test_calibration import answers

from policysearch.config import make_config
from policysearch.engines.local import LocalEngine
from policysearch.policy import MAX_KNOTS
from policysearch.run import Run, StopRequest
from policysearch.samplers.calibration import calibration_of
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.samplers.population import LOWEST, PopulationSampler, generations
from policysearch.search_loop import SearchLoop
from policysearch.selection import pick_candidates
from policysearch.trial import Outcome, Replicate, Trial

SPACE = SPACES["opwise"]()
CALIBRATION = calibration_of([answers()])
N_TRIALS = 49


def population(space, n_trials=N_TRIALS, seed=0):
    warm = {"none": space.uniform_policy().without_ops()}
    inner = OptunaSampler(space, seed, "random")
    return PopulationSampler(space, CALIBRATION, warm, n_trials, inner, seed)


class TestPopulation(SamplerContract):
    @classmethod
    def make_sampler(cls, space, seed):
        return population(space, cls.N, seed)


def seen_by(sampler, trials, number):
    return trials[: max(0, number - 3, sampler.n_needed(number))]


def played(n_trials=N_TRIALS, failing=()):
    """A search in which weak augmentation is best early and strong augmentation late."""
    sampler, trials = population(SPACE, n_trials), []
    for number in range(n_trials):
        suggestion = sampler.suggest(number, seen_by(sampler, trials, number))
        outcome = Outcome("failed", failure="error", message="no luck")
        if number not in failing:
            done = len(suggestion.segments)
            strength = suggestion.state["strengths"][-1] if done else 0.0
            outcome = Outcome("complete", strength if done < 4 else 1 - strength)
        trials.append(Trial(number, suggestion, outcome))
    return trials


@pytest.mark.parametrize("n_trials", [2, 3, 7, 12, 23, 40, 48, 49, 120, 1000])
def test_generations_fill_the_trials_and_a_schedule(n_trials):
    begins = [*generations(n_trials, 1), 1 + n_trials]
    sizes = [end - begin for begin, end in pairwise(begins)]
    assert begins[0] == 1
    assert 1 <= len(sizes) < MAX_KNOTS
    assert len(set(sizes[1:])) <= 1
    assert min(sizes) >= 2
    assert sizes[0] < 2 * min(sizes)


def test_a_generation_is_asked_for_when_the_one_before_has_ended(tmp_path):
    """Whatever the window, the workers and the order in which trainings end."""
    results, asked = [], []
    for workers, lookback, kind in [(1, 1, Formula), (3, 4, Uneven), (3, 30, Uneven)]:
        folder = tmp_path / f"{workers} {lookback}"
        folder.mkdir()
        settings = {"data": "digits", "trials": 20, "lookback": lookback, "strategy": "pbt"}
        with (
            Run(folder, make_config(settings), {}) as run,
            StopRequest(silent) as stop,
            LocalEngine(kind(folder), workers) as engine,
        ):
            warm = {"none": SPACE.uniform_policy().without_ops()}
            loop = SearchLoop(run, SPACE, warm, (Replicate(0, 1),), 4, 20)
            ask = loop.sampler.suggest
            loop.sampler.suggest = lambda n, seen, ask=ask: (
                asked.append((n, len(seen))) or ask(n, seen)
            )
            trials = loop.run(engine, stop, silent, None)
            again = SearchLoop(run, SPACE, warm, (Replicate(0, 1),), 4, 20)
            assert again.run(engine, stop, silent, None) == trials
        results.append([(t.number, t.suggestion, t.score) for t in trials])
    assert results[0] == results[1] == results[2]
    begins = generations(19, 1)
    assert len(begins) == 4
    needed = {n: max([0, *(b for b in begins if b <= n)]) for n in range(20)}
    assert asked[20:40] == [(n, max(n - 3, needed[n])) for n in range(20)]
    assert asked[40:] == [(n, needed[n]) for n in range(20)]


def test_a_member_goes_on_as_its_parent_went_so_far():
    trials = played()
    begins = generations(N_TRIALS - 1, 1)
    assert [len(t.suggestion.segments) for t in trials[1:]] == [
        1 + sum(t.number >= b for b in begins[1:]) for t in trials[1:]
    ]
    n_changed = 0
    for trial in trials[begins[1] :]:
        parent = trials[int(trial.suggestion.origin.rpartition(" ")[2])]
        ours, theirs = trial.suggestion, parent.suggestion
        reached = theirs.segments[-1]
        assert ours.segments[:-1] == theirs.segments
        assert ours.policy.schedule.until(reached).knots == theirs.policy.schedule.knots
        assert ours.policy.at_full_strength() == theirs.policy.at_full_strength()
        *before, last = ours.state["strengths"]
        assert before == theirs.state["strengths"]
        assert LOWEST <= last <= 1
        n_changed += last != before[-1]
    assert n_changed == (N_TRIALS - begins[1]) / 2


def test_the_better_half_goes_on_twice_best_first():
    trials = played()
    begins = [*generations(N_TRIALS - 1, 1), N_TRIALS]
    for generation in range(1, 6):
        begin, end = begins[generation : generation + 2]
        before = trials[begins[generation - 1] : begin]
        parents = [int(t.suggestion.origin.rpartition(" ")[2]) for t in trials[begin:end]]
        ranked = sorted(before, key=lambda t: (t.score, t.number))
        assert parents == [trial.number for trial in ranked[:4]] * 2


def test_the_last_generation_is_what_is_confirmed():
    trials = played()
    chosen = pick_candidates(trials, 3, [])
    best = sorted(trials[-8:], key=lambda t: (t.score, t.number))
    assert next(iter(chosen.values())) == best[0].suggestion.policy
    assert all(int(name.removeprefix("trial-")) >= N_TRIALS - 8 for name in chosen)
    late = [t.suggestion.state["strengths"][-1] for t in trials[-8:]]
    early = [t.suggestion.state["strengths"][3] for t in trials[-8:]]
    assert sum(late) > sum(early)


def test_a_population_is_filled_up_when_members_fail_and_begins_anew_when_all_do():
    trials = played(failing={9, 10, 12, *range(17, 25)})
    begins = generations(N_TRIALS - 1, 1)
    from_second = [t.suggestion.origin for t in trials[begins[2] : begins[3]]]
    assert not any(origin.endswith((" 9", " 10", " 12")) for origin in from_second)
    assert len(from_second) == 8
    anew = trials[begins[3]].suggestion
    assert "trial" not in anew.origin
    assert len(anew.state["strengths"]) == 5
    assert dataclasses.replace(anew.policy.schedule).constant == 1.0
