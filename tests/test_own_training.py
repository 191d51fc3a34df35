"""A training of the user's own as an objective: what it is told and returns, and how it ends."""

import json
import math
import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import gone_within

from policysearch.engines.local import LocalEngine
from policysearch.engines.worker import evaluate
from policysearch.errors import InvalidValueError
from policysearch.measures import Scale
from policysearch.named import resolve_policy
from policysearch.objectives.command import CommandTraining
from policysearch.objectives.command_line import filled, split_command
from policysearch.objectives.function import FunctionTraining
from policysearch.objectives.own import (
    MAX_REPORTS,
    OwnTraining,
    TrainingTrial,
    TrialPruned,
    folder_of,
)
from policysearch.objectives.program import KEPT_BYTES
from policysearch.policy_json import read_policy_file
from policysearch.trial import Outcome, Replicate, Task

POLICY = resolve_policy("trivialaugment-wide").policy
UP = Scale("maximize", 1.0)


def task(key="trial/3", thresholds=None, seed=11):
    return Task(key, POLICY, (Replicate(0, seed),), 1, prune_reports_above=thresholds or {})


def outcome_of(objective, a_task) -> Outcome:
    """As a worker makes it: plain data."""
    return Outcome.from_dict(json.loads(evaluate(objective, a_task)))


# ---- functions, in modules that are found by name


def returns_half(policy, trial):
    return 0.5


def uses_everything(policy, trial):
    x = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    assert policy(x).shape == x.shape
    assert policy.policy == POLICY
    assert policy.seed == trial.seed == 11
    (trial.out / "note.txt").write_text(f"{trial.key} {trial.number} {trial.rung}")
    return np.float32(0.25)


def draws_from_global_generators(policy, trial):
    import random

    return (random.random() + np.random.rand() + torch.rand(()).item()) / 3  # noqa: NPY002


def reports_and_stops(policy, trial):
    for step in range(4):
        trial.report(step, 0.1 * step)
        if trial.should_prune():
            raise TrialPruned
    return 0.9


def reports_and_returns(policy, trial):
    for step in range(4):
        trial.report(step, 0.1 * step)
        if trial.should_prune():
            break
    return 0.9


def prunes_itself(policy, trial):
    raise TrialPruned


def fails(policy, trial):
    raise LookupError("no such column: label")


def function(name, tmp_path, scale=UP):
    return FunctionTraining(f"{Path(__file__)}:{name}", OwnTraining(scale, tmp_path))


def test_a_function_gets_a_policy_it_can_use_and_what_it_must_know(tmp_path):
    outcome = outcome_of(function("uses_everything", tmp_path), task())
    assert (outcome.state, outcome.score) == ("complete", 0.75), outcome.message
    assert outcome.metrics[0]["value"] == 0.25
    note = tmp_path / "trainings" / "trial-3" / "note.txt"
    assert note.read_text() == "trial/3 3 search"
    assert outcome_of(function("uses_everything", tmp_path), task("verdict/none/0")).score == 0.75
    note = tmp_path / "trainings" / "verdict-none-0" / "note.txt"
    assert note.read_text() == "verdict/none/0 None verdict"


def test_a_training_that_never_thought_of_seeds_is_repeatable(tmp_path):
    objective = function("draws_from_global_generators", tmp_path)
    first, again = (outcome_of(objective, task()).score for _ in range(2))
    assert first == again
    assert outcome_of(objective, task(seed=12)).score != first


@pytest.mark.parametrize("name", ["reports_and_stops", "reports_and_returns"])
def test_a_training_is_pruned_at_the_step_whose_threshold_it_misses(tmp_path, name):
    outcome = outcome_of(function(name, tmp_path), task(thresholds={1: 0.95, 2: 0.75}))
    assert outcome.state == "pruned"
    assert outcome.reports == ((0, 1.0), (1, 0.9), (2, 0.8))
    assert outcome.score == 0.8
    outcome = outcome_of(function(name, tmp_path), task(thresholds={1: 0.95, 2: 0.85}))
    assert outcome.state == "complete"
    assert [step for step, _ in outcome.reports] == [0, 1, 2, 3]


def test_optunas_exception_prunes_too(tmp_path):
    import optuna

    trial = TrainingTrial(task(), Replicate(0, 1), UP, tmp_path)

    def train(_, trial):
        trial.report(0, 0.5)
        raise optuna.TrialPruned

    assert OwnTraining(UP, tmp_path).evaluate(task(), train).state == "pruned"
    assert not trial.should_prune()


@pytest.mark.parametrize("key", ["trial/0", "confirm/none/0", "verdict/none/0"])
def test_pruning_nobody_asked_for_is_a_failure(tmp_path, key):
    outcome = outcome_of(function("prunes_itself", tmp_path), task(key))
    assert (outcome.state, outcome.failure) == ("failed", "error")
    assert "only when trial.should_prune() is true" in outcome.message


def test_what_a_function_raises_is_told_with_its_traceback(tmp_path):
    outcome = outcome_of(function("fails", tmp_path), task())
    assert outcome.failure == "error"
    assert outcome.message.strip().endswith("LookupError: no such column: label")


@pytest.mark.parametrize(
    ("value", "failure", "text"),
    [
        (math.nan, "not_finite", "nan"),
        (math.inf, "not_finite", "inf"),
        (None, "error", "got None: is there a `return`?"),
        ("0.5", "error", "must be a number, got str"),
        (True, "error", "must be a number, got bool"),
        (torch.zeros(3), "error", "must be a number, got Tensor"),
        (93.0, "error", "The score 93 is above the best possible one, 1. Give the right one as"),
    ],
)
def test_what_is_no_score_is_a_failure_with_the_reason(tmp_path, value, failure, text):
    outcome = OwnTraining(UP, tmp_path).evaluate(task(), lambda *_: value)
    assert (outcome.state, outcome.failure) == ("failed", failure)
    assert text in outcome.message


@pytest.mark.parametrize(
    ("scale", "value", "score"),
    [(UP, 0.9, 0.1), (Scale("maximize", 100.0), 93.0, 7.0), (Scale("minimize", 0.0), 0.3, 0.3)],
)
def test_scores_are_distances_from_the_best_possible_one(tmp_path, scale, value, score):
    outcome = OwnTraining(scale, tmp_path).evaluate(task(), lambda *_: value)
    assert outcome.score == pytest.approx(score)
    assert outcome.metrics[0]["value"] == value
    assert scale.value_of(outcome.score) == value


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ([(0.93, 3)], r"`step` must be a whole number from 0, got 0.93. .*report\(step, value\)"),
        ([(-1, 0.5)], "`step` must be a whole number"),
        ([(True, 0.5)], "`step` must be a whole number"),
        ([(1, 0.5), (1, 0.6)], "`step` must rise, got 1 after 1"),
        ([(1, "high")], "must be a number, got str"),
        ([(1, math.nan)], "reported at step 1 is nan"),
        ([(i, 0.5) for i in range(MAX_REPORTS + 1)], "may report 1,000 times"),
    ],
)
def test_wrong_reports_are_refused(tmp_path, calls, text):
    trial = TrainingTrial(task(), Replicate(0, 1), UP, tmp_path)
    *good, wrong = calls
    for call in good:
        trial.report(*call)
    with pytest.raises(InvalidValueError, match=text):
        trial.report(*wrong)


def test_steps_of_numpy_are_steps(tmp_path):
    trial = TrainingTrial(task(), Replicate(0, 1), UP, tmp_path)
    trial.report(np.int64(4), np.float64(0.5))
    assert trial.reports == ((4, 0.5),)


def test_no_key_leads_out_of_the_run_and_none_shares_a_folder(tmp_path):
    keys = ["trial/1", "verdict/../../x/0", "verdict/..-..-x/0", "verdict/a b/0", "verdict/a-b/0"]
    keys += ["verdict/" + "x" * 500 + "/0", "verdict/é/0", "verdict/\udcff/0"]
    folders = [folder_of(tmp_path, key) for key in keys]
    assert len(set(folders)) == len(keys)
    assert all(f.parent == tmp_path / "trainings" and len(f.name) < 100 for f in folders)
    assert folders[0].name == "trial-1"


# ---- programs


def command(tmp_path, code, *words, score_file=None, score_key="score", scale=UP):
    """A program that runs Python code; `-S` starts in no time."""
    path = tmp_path / "program.py"
    path.write_text(code)
    own = OwnTraining(scale, tmp_path / "run")
    words = words or ("{policy}", "{seed}", "{rung}", "{out}")
    return CommandTraining((sys.executable, "-S", str(path), *words), score_file, score_key, own)


HEAD = "import json, os, sys, time\npolicy, seed, rung, out = sys.argv[1:]\n"


def folder(tmp_path) -> Path:
    return tmp_path / "run" / "trainings" / "trial-3"


def test_a_program_is_told_policy_seed_rung_and_folder(tmp_path):
    code = HEAD + (
        "assert json.load(open(policy))['format'] == 'policysearch.policy'\n"
        "open(os.path.join(out, 'note.txt'), 'w').write(seed + ' ' + rung)\n"
        "print('some talk'); print(json.dumps({'score': 0.25, 'more': [1]})); print('bye')\n"
    )
    outcome = outcome_of(command(tmp_path, code), task())
    assert (outcome.state, outcome.score) == ("complete", 0.75), outcome.message
    assert (folder(tmp_path) / "note.txt").read_text() == "11 search"
    assert read_policy_file(folder(tmp_path) / "policy.json").policy == POLICY
    output = (folder(tmp_path) / "output.txt").read_text()
    assert output.startswith("some talk\n")
    assert output.endswith("bye\n")


@pytest.mark.parametrize(
    ("code", "options", "value"),
    [
        ("print('{\"score\": 0.1}'); print('{\"score\": 0.2}', end='')", {}, 0.2),
        ('print(\'{"auroc": 0.3, "score": 9}\')', {"score_key": "auroc"}, 0.3),
        ("open(out + '/score.json', 'w').write('{\"score\": 0.4}')", {}, 0.4),
        ("open(out + '/score.json', 'w').write('0.5'); print('{\"score\": 0.1}')", {}, 0.5),
        (
            "open(out + '/m.json', 'w').write('{\"score\": 0.6}'); print('{\"score\": 0.1}')",
            {"score_file": "{out}/m.json"},
            0.6,
        ),
        ("print('x' * 10**6); print('{\"score\": 0.7}'); print('{broken')", {}, 0.7),
        ("sys.stderr.write('{\"score\": 0.1}\\n'); print('{\"score\": 0.8}')", {}, 0.8),
    ],
)
def test_the_score_is_read_from_a_file_or_the_last_line_that_has_it(
    tmp_path, code, options, value
):
    outcome = outcome_of(command(tmp_path, HEAD + code, **options), task())
    assert outcome.state == "complete", outcome.message
    assert outcome.metrics[0]["value"] == value


@pytest.mark.parametrize(
    ("code", "options", "failure", "text"),
    [
        ("print('loading'); sys.exit('no data')", {}, "error", "exit code 1. Its last output (mo"),
        ("print('loading'); sys.exit('no data')", {}, "error", "loading\nno data"),
        ("sys.exit(3)", {}, "error", "exit code 3. It printed nothing."),
        ("print('hello')", {}, "error", "The program told no score. Write {out}/score.json with"),
        ("print('{\"score\": NaN}')", {}, "not_finite", "nan"),
        ('print(\'{"score": "high"}\')', {}, "error", "must be a number, got str"),
        ("print('{\"score\": 93}')", {}, "error", "--best-score"),
        ("open(out + '/score.json', 'w').write('{\"acc\": 1}')", {}, "error", "it has acc."),
        ("open(out + '/score.json', 'w').write('{')", {}, "error", "cannot be read"),
        ("", {"score_file": "{out}/m.json"}, "error", "m.json' does not exist"),
        ("os.kill(os.getpid(), 9)", {}, "memory", "most often out of memory"),
        ("os.kill(os.getpid(), 11)", {}, "crash", "SIGSEGV"),
        ('print(\'{"step": 0.5, "value": 1}\')', {}, "error", "`step` must be a whole number"),
        ('print(\'{"step": 1, "value": NaN}\')', {}, "not_finite", "step 1 is nan"),
    ],
)
def test_a_program_that_fails_is_told_with_its_last_words(tmp_path, code, options, failure, text):
    outcome = outcome_of(command(tmp_path, HEAD + code, **options), task())
    assert (outcome.state, outcome.failure) == ("failed", failure)
    assert text in outcome.message
    assert (folder(tmp_path) / "output.txt").exists()


def test_a_pruned_program_and_what_it_started_are_ended(tmp_path):
    code = HEAD + (
        "child = os.fork()\n"
        "if child == 0: time.sleep(600)\n"
        "print(json.dumps({'step': 0, 'value': 0.5}))\n"
        "open('%s', 'w').write(f'{os.getpid()} {child}')\n"
        "print(json.dumps({'step': 1, 'value': 0.5}))\n"
        "time.sleep(600)\n" % (tmp_path / "pids")
    )
    started = time.monotonic()
    outcome = outcome_of(command(tmp_path, code), task(thresholds={1: 0.4}))
    assert time.monotonic() - started < 60
    assert outcome.state == "pruned"
    assert outcome.reports == ((0, 0.5), (1, 0.5))
    assert gone_within(5, *map(int, (tmp_path / "pids").read_text().split()))


def test_what_a_program_leaves_behind_is_ended_and_not_waited_for(tmp_path):
    code = HEAD + (
        "child = os.fork()\n"
        "if child == 0: time.sleep(600)\n"
        "open('%s', 'w').write(str(child))\n"
        "print(json.dumps({'score': 0.5}))\n" % (tmp_path / "pid")
    )
    started = time.monotonic()
    assert outcome_of(command(tmp_path, code), task()).state == "complete"
    assert time.monotonic() - started < 60
    assert gone_within(5, int((tmp_path / "pid").read_text()))


def test_endless_output_is_kept_to_its_end(tmp_path):
    code = HEAD + (
        "for i in range(40_000): print('line', i)\n"
        "sys.stderr.write('y' * 300_000)\n"
        "print(json.dumps({'score': 0.5}))\n"
    )
    assert outcome_of(command(tmp_path, code), task()).state == "complete"
    size = (folder(tmp_path) / "output.txt").stat().st_size
    assert KEPT_BYTES <= size <= 2 * KEPT_BYTES + 65536


def test_a_score_left_by_a_killed_training_is_not_read(tmp_path):
    old = folder(tmp_path)
    old.mkdir(parents=True)
    (old / "score.json").write_text('{"score": 0.9}')
    outcome = outcome_of(command(tmp_path, HEAD + "print('{\"score\": 0.5}')"), task())
    assert outcome.metrics[0]["value"] == 0.5


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path):
    """By the time-out of the engine, in a real worker."""
    code = HEAD + (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.setsid(); time.sleep(600)\n"
        "open('%s', 'a').write(f'{os.getpid()} {child} ')\n"
        "print('here I am'); time.sleep(600)\n" % (tmp_path / "pids")
    )
    with LocalEngine(command(tmp_path, code), 1, timeout_seconds=1.0) as engine:
        engine.submit(task())
        ended = []
        while not ended:
            ended = engine.wait(10)
    assert ended[0].outcome.failure == "timeout"
    assert ended[0].outcome.attempts == 3
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 6
    assert gone_within(5, *pids)
    assert "here I am" in (folder(tmp_path) / "output.txt").read_text()


# ---- command lines


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must name a program"),
        ("python 'train.py {policy}", "cannot be split into words: No closing quotation"),
        ("python train.py", r"must hold \{policy\}"),
        ("python train.py {policy} {sed}", r"Unknown placeholder 'sed'.*Did you mean 'seed'\?"),
        ("no-such-program-x {policy}", "The program 'no-such-program-x' of `command` was not fo"),
    ],
)
def test_a_command_that_cannot_work_is_refused(text, problem):
    with pytest.raises(InvalidValueError, match=problem):
        split_command(text)


def test_no_shell_reads_a_command_and_no_value_is_read_again():
    line = f"{shlex.quote(sys.executable)} -c 'x; rm -rf $HOME > y' {{policy}} '{{\"a\": {{}}}}'"
    arguments = split_command(line)
    assert arguments[1:] == ("-c", "x; rm -rf $HOME > y", "{policy}", '{"a": {}}')
    values = {"policy": "/tmp/{seed} and $HOME", "seed": "1"}
    assert filled("--p={policy}", values) == "--p=/tmp/{seed} and $HOME"


def test_a_program_that_vanishes_is_a_failure(tmp_path):
    own = OwnTraining(UP, tmp_path)
    gone = CommandTraining((str(tmp_path / "gone"), "{policy}"), None, "score", own)
    outcome = outcome_of(gone, task())
    assert outcome.failure == "error"
    assert "cannot be started: No such file or directory" in outcome.message
    assert os.listdir(tmp_path / "trainings" / "trial-3")
