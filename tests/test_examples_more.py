"""The examples that need nothing but policysearch run, and do what they say."""

import pickle
import runpy
from pathlib import Path

import numpy as np
from PIL import Image

import policysearch

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_every_example_is_named_in_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    for path in EXAMPLES.glob("*.py"):
        assert f"{path.stem}.py" in tests or f'"{path.stem}"' in tests, path.name


def load_example(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_set_transform_gives_model_inputs_and_labels() -> None:
    rows = load_example("use_set_transform")["main"]()
    assert rows["label"] == [0, 1, 2]
    assert [x.shape for x in rows["pixel_values"]] == [(3, 48, 64)] * 3
    assert all(x.min() >= 0 and x.max() <= 1 for x in rows["pixel_values"])


def test_set_transform_takes_rows_that_differ_in_size_and_mode() -> None:
    augment_rows = load_example("use_set_transform")["augment_rows"]
    transform = pickle.loads(pickle.dumps(policysearch.load_policy("trivialaugment-wide")))
    images = [Image.new("L", (20, 10)), Image.new("RGBA", (7, 9)), Image.new("P", (5, 5))]
    rows = augment_rows({"image": images, "label": [1, 2, 3]}, transform)
    assert [x.shape for x in rows["pixel_values"]] == [(3, 10, 20), (3, 9, 7), (3, 5, 5)]


def test_set_transform_augments_each_reading_afresh() -> None:
    augment_rows = load_example("use_set_transform")["augment_rows"]
    transform = policysearch.load_policy("trivialaugment-wide", seed=1)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rows = {"image": [Image.fromarray(noise)] * 20, "label": [0] * 20}
    read = [augment_rows(rows, transform)["pixel_values"] for _ in range(2)]
    assert len({x.tobytes() for reading in read for x in reading}) > 20


def test_batches_are_augmented_in_a_training_with_a_compiled_step() -> None:
    # The backend of the example needs a C++ compiler; this one traces the step and runs it.
    accuracy = load_example("use_gpu_batches")["main"](epochs=3, compile_backend="eager")
    assert accuracy > 0.7  # a tenth by guessing


def test_a_function_of_ones_own_trains_reports_and_returns_its_accuracy(tmp_path) -> None:
    from policysearch.measures import Scale
    from policysearch.objectives.own import TrainingTrial
    from policysearch.trial import Replicate, Task

    train = load_example("train_function")["train"]
    transform = policysearch.load_policy("none", seed=3)
    task = Task("trial/0", transform.policy, (Replicate(0, 3),), 1)
    trial = TrainingTrial(task, task.replicates[0], Scale("maximize", 1.0), tmp_path)
    assert 0.7 < train(transform, trial) < 1
    assert len(trial.reports) == 30


def test_a_program_of_ones_own_is_compared_with(tmp_path) -> None:
    import shlex
    import sys

    line = f"{shlex.quote(sys.executable)} {shlex.quote(str(EXAMPLES / 'train_command.py'))}"
    verdict = policysearch.compare(
        "", ["none", "trivialaugment-wide"], objective="command", verdict_seeds=2, workers=2,
        command=line + " --policy {policy} --seed {seed} --rung {rung}", out=tmp_path / "run",
    )  # fmt: skip
    assert all(arm["mean"] > 0.5 for arm in verdict["arms"])  # a tenth by guessing
    assert "In your own training no augmentation reaches a score of" in verdict["sentence"]


def test_batches_of_sound_are_augmented_in_a_training() -> None:
    accuracy = load_example("train_audio")["main"]()
    assert accuracy > 0.7  # a third by guessing


def test_series_are_trained_on_with_their_lengths(monkeypatch, capsys) -> None:
    example = load_example("train_series")
    monkeypatch.setattr("sys.argv", ["train_series.py", "--epochs", "15"])
    example["main"]()
    first = capsys.readouterr().out
    example["main"]()
    assert capsys.readouterr().out == first, "equal seeds give equal trainings"
    without, with_policy = (line.split()[2] for line in first.splitlines())
    assert without != with_policy


def test_rows_of_a_table_are_trained_on(monkeypatch, capsys) -> None:
    example = load_example("train_tabular")
    monkeypatch.setattr("sys.argv", ["train_tabular.py", "--epochs", "20"])
    example["main"]()
    shown = capsys.readouterr().out
    without, with_policy = (float(line.split()[2][:-1]) for line in shown.splitlines())
    assert without != with_policy
    assert min(without, with_policy) > 80


def test_mixed_and_attacked_batches_are_trained_on(capsys) -> None:
    assert load_example("train_mixing")["main"](epochs=3) > 0.8
    assert "digits" in capsys.readouterr().out
