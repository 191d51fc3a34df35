"""The user's own training, as a function or a program: no dataset of ours, no network of ours."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from policysearch.baselines import baseline_policies
from policysearch.config import SearchConfig
from policysearch.errors import InvalidValueError
from policysearch.measures import Measure
from policysearch.objectives.base import Objective
from policysearch.objectives.command import CommandTraining
from policysearch.objectives.command_line import check_placeholders, split_command
from policysearch.objectives.function import FunctionTraining
from policysearch.objectives.own import VALUE, OwnTraining
from policysearch.policy import Policy
from policysearch.run import Progress
from policysearch.space import SearchSpace
from policysearch.space_yaml import DEFAULT_SPACE, load_space
from policysearch.trial import Rung
from policysearch.user_code import find_function, source_digest

#: Kind of data where neither the settings nor the space say one.
DEFAULT_MODALITY = "image"
#: Side in pixels that images have where nobody says: published magnitudes hold there and above.
DEFAULT_SIDE = 32


class TrainerProblem:
    """What the settings say about the user's training.

    A training is one unit: its length is the user's affair, and it has seeds but no folds.

    Raises:
      InvalidValueError: When there is no such function or program, or it cannot be called.
    """

    classes: tuple[str, ...] = ()
    n_folds = 1
    validation_share = 0.0
    epochs = 1
    search_epochs = 1
    search_cost = 1.0
    overlap: float | None = None  # what is trained on is not ours to draw

    def __init__(self, config: SearchConfig, progress: Progress) -> None:
        self._config = config
        self.left_out: dict[str, str] = {}
        of_kind = config.modality or DEFAULT_MODALITY
        self.modality = load_space(config.space or DEFAULT_SPACE, of_kind).modality
        self.searched_by: str = config.objective
        self._code = ""
        self.measure = Measure(
            key=VALUE,
            title="score",
            score_title="score",
            is_share=False,
            is_loss=config.direction == "minimize",
            on_test="In your own training",
            on_validation="in the confirmation with fresh seeds",
            holds_for="your training and its data; new training seeds",
            remark="These are the scores that your training returned in the rung 'verdict'; which "
            "data it read for them only you know.",
        )
        notices = []
        if config.objective == "function":
            with contextlib.redirect_stdout(sys.stderr):  # a user's module may print
                function = find_function(config.data)
            _check_signature(function, config.data)
            self._code = source_digest(function)
            what = f"the function {config.data}"
        else:
            self._arguments = split_command(config.command or "")
            what = f"the command {config.command}"
            check_placeholders(config.score_file or "", "score_file")
            if "{seed}" not in (config.command or ""):
                notices.append(
                    "The command has no {seed}: its trainings cannot be paired, and unless they "
                    "draw seeds of their own the intervals are too narrow."
                )
        better = "higher" if config.direction == "maximize" else "lower"
        text = f"{what}; {better} is better, the best possible score is "
        text += f"{config.scale.best:g}. How long one takes is known when the first has ended"
        progress({"event": "training", "text": text, "notices": notices})

    def objective(self, rung: Rung, run: Path) -> Objective:
        """Scores the policies of a rung (see `Problem`); one object serves all rungs."""
        del rung  # the task tells it
        if self._objective is None:
            self._objective = self._make(OwnTraining(self._config.scale, run.resolve()))
        return self._objective

    _objective: Objective | None = None

    def _make(self, own: OwnTraining) -> Objective:
        config = self._config
        if config.objective == "function":
            return FunctionTraining(config.data, own)
        return CommandTraining(self._arguments, config.score_file, config.score_key, own)

    def restricted(self, space: SearchSpace) -> SearchSpace:
        """The space as it is: what the data are like only the user knows (see `Problem`).

        Raises:
          InvalidValueError: Where it must know the classes.
        """
        if space.rare_classes is not None:
            raise InvalidValueError(
                f"`rare_classes` of space '{space.name}' needs data whose classes are known here; "
                "your training reads them itself. Leave it out."
            )
        return space

    def baselines(self, space: SearchSpace) -> dict[str, Policy]:
        """The search-free policies (see `Problem`)."""
        return baseline_policies(space, self._config.image_size or DEFAULT_SIDE)

    def chance_score(self) -> None:
        """Not known: nobody here knows what the scores mean (see `Problem`)."""

    def training_seconds(self, policy: Policy) -> None:
        """Not known before the first training has ended (see `Problem`)."""
        del policy

    def op_costs(self, space: SearchSpace, policies: Iterable[Policy]) -> None:
        """Not known: the samples are not here (see `Problem`)."""
        del space, policies

    def header(self) -> Mapping[str, Any]:
        """The function and its file, or the command; and how the score is read."""
        config = self._config
        header: dict[str, Any] = {
            "objective": config.objective,
            "scale": {"direction": config.direction, "best": config.scale.best},
        }
        if config.objective == "function":
            return header | {"function": config.data, "code": self._code}
        return header | {
            "command": config.command,
            "score_file": config.score_file,
            "score_key": config.score_key,
        }

    def generator_source(self, policy: Policy, out: Path) -> None:
        """Your training fits what it needs (see `Problem`)."""

    def provenance(self) -> Mapping[str, Any]:
        """What was trained (see `Problem`)."""
        config = self._config
        return {
            "objective": config.objective,
            "training": config.data or config.command,
            "direction": config.direction,
        }


def _check_signature(function: Callable[..., Any], name: str) -> None:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise InvalidValueError(
            f"'{name}' must be callable as train(policy, trial): {error}."
        ) from error
    except ValueError:  # built-in, without a signature
        pass
