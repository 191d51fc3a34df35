"""The user's own training as a program in any framework."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policysearch.errors import PolicySearchError
from policysearch.files import read_text
from policysearch.objectives.command_line import filled
from policysearch.objectives.own import (
    OwnTraining,
    TrainingError,
    TrainingTrial,
    TrialPruned,
)
from policysearch.objectives.program import Program
from policysearch.policy_json import PolicyDocument, write_policy_file
from policysearch.trial import FailureKind, Outcome, Task

#: Names in the folder of a training.
POLICY_FILE, OUTPUT_FILE, SCORE_FILE = "policy.json", "output.txt", "score.json"
_MAX_SCORE_BYTES = 1024 * 1024


class _Ended(Exception):  # noqa: N818 - it may be nobody's error
    """The program did not end as it should."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CommandTraining:
    """Scores a policy by what a program says.

    A line of its standard output that is a JSON object with `step` and `value` is a report; where
    it means that the trial is pruned, the program is ended. The score is read from a file, or from
    the last line that is a JSON object with the key of the score.

    Args:
      arguments: Program and arguments with placeholders.
      score_file: With placeholders; `None`: `{out}/score.json` if it is there, else the output.
      score_key: Key of the score.
      own: Scale and run directory.
    """

    def __init__(
        self, arguments: tuple[str, ...], score_file: str | None, score_key: str, own: OwnTraining
    ) -> None:
        self._arguments = arguments
        self._score_file = score_file
        self._score_key = score_key
        self._own = own

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`)."""
        try:
            return self._own.evaluate(task, self._train)
        except _Ended as end:
            return Outcome("failed", failure=end.kind, message=str(end))

    def _train(self, task: Task, trial: TrainingTrial) -> Any:
        folder = trial.out
        values = {
            "policy": str(folder / POLICY_FILE),
            "seed": str(trial.seed),
            "rung": trial.rung,
            "out": str(folder),
        }
        write_policy_file(folder / POLICY_FILE, PolicyDocument(task.policy, trial.key))
        arguments = [filled(argument, values) for argument in self._arguments]
        printed = None
        try:
            program = Program(arguments, folder / OUTPUT_FILE)
        except OSError as error:
            raise TrainingError(
                f"The program '{arguments[0]}' cannot be started: {error.strerror}."
            ) from error
        with program:
            for line in program.lines():
                found = _object(line)
                if self._score_key in found and "value" not in found:
                    printed = found
                if "step" in found and "value" in found:
                    trial.report(found["step"], found["value"])
                    if trial.should_prune():
                        raise TrialPruned
            _check_end(program.wait(), program.last_words(), folder / OUTPUT_FILE)
        return self._score(folder, values, printed)

    def _score(
        self, folder: Path, values: Mapping[str, str], printed: Mapping[str, Any] | None
    ) -> Any:
        default = folder / SCORE_FILE
        if self._score_file is not None:
            return self._from_file(Path(filled(self._score_file, values)))
        if default.exists():
            return self._from_file(default)
        if printed is not None:
            return printed[self._score_key]
        raise TrainingError(
            f"The program told no score. Write {{out}}/{SCORE_FILE} with the key "
            f"`{self._score_key}`, or print a line such as "
            f'{{"{self._score_key}": 0.93}}. Its output: {folder / OUTPUT_FILE}'
        )

    def _from_file(self, path: Path) -> Any:
        try:
            content = json.loads(read_text(path, "The score file", _MAX_SCORE_BYTES))
        except (ValueError, RecursionError, PolicySearchError) as error:
            raise TrainingError(f"The score file '{path}' cannot be read: {error}") from error
        if not isinstance(content, dict):
            return content
        if self._score_key not in content:
            raise TrainingError(
                f"The score file '{path}' must have the key `{self._score_key}`, it has "
                f"{', '.join(sorted(map(str, content))[:10]) or 'none'}. Name another one with "
                "--score-key."
            )
        return content[self._score_key]


def _object(line: bytes) -> Mapping[str, Any]:
    """The JSON object that a line is; empty where it is none."""
    if not line.lstrip().startswith(b"{"):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_end(code: int, words: str, log: Path) -> None:
    """Raises `_Ended` for an end by a signal or with an exit code."""
    if code == 0:
        return
    by_signal = -code if code < 0 else code - 128  # as shells tell it
    last = f" Its last output (more in {log}):\n{words}" if words else " It printed nothing."
    if by_signal == signal.SIGKILL:  # the kernel's out-of-memory killer; nobody else here did
        raise _Ended("memory", f"The program was killed: most often out of memory.{last}")
    if code < 0:
        raise _Ended("crash", f"The program was ended by {signal.Signals(-code).name}.{last}")
    raise _Ended("error", f"The program ended with exit code {code}.{last}")
