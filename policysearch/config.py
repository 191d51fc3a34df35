"""The settings of a run: what was asked for, saved beside its results as `config.yaml`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from policysearch.errors import FormatError
from policysearch.files import read_text, write_atomic
from policysearch.measures import Direction, Scale
from policysearch.space_yaml import parse_yaml
from policysearch.validation import problems_of

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, lt=10**18)]
Share = Annotated[float, Field(gt=0, lt=1)]
MetricName = Literal["accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss"]

#: The generator that a search has where nobody says.
DEFAULT_GENERATOR = "gaussian"
#: Settings that mean nothing to another engine.
RAY_ONLY = ("ray_address", "cpus_per_trial", "gpus_per_trial")


#: Share of every magnitude range that is searched when a pretrained network is fine-tuned: it has
#: little left to gain from invariances that it knows, and is torn away from them by images unlike
#: those that it was trained on.
FINE_TUNING_STRENGTH = 0.5


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_lookback(n_workers: int, n_trials: int) -> int:
    """Trials that may be unknown when one is suggested.

    Workers stand idle while the window waits for its slowest trial, and of many trials the
    slowest is slower: a window of w (3 + log2 w) / 2 trials keeps some 90 % of w workers busy when
    trainings differ in length as a log-normal variable of spread 0.5 does and half of them are
    pruned, in virtual time. Beyond twice the workers it takes no more than a twentieth of the
    search: what is suggested without the newest outcomes is worse.
    """
    steady = round(n_workers * (3 + math.log2(n_workers)) / 2)
    return max(4, 2 * n_workers, min(steady, n_trials // 20))


class SearchConfig(BaseModel):
    """Settings of a search or a comparison; every field has the default of the command line.

    Attributes:
      data: What the user named: `digits`, a folder, an `.npz`, `package.module:function`.
      policies: What a comparison compares; empty for a search.
      space: Name of a shipped space, or a YAML file; `None`: `opwise` for the kind of data.
      modality: Kind of data, such as `series`; `None` goes by the name of the file.
      text_column: Column of a table that holds the texts; `None`: by its name.
      label_column: Column of a table that holds the classes; `None`: by its name.
      group_column: Column of a table that names what must not straddle a split.
      categorical_columns: Columns of rows that hold categories, though they are numbers.
      thesaurus: File of synonyms for operations on texts; `None`: those that ship.
      background: Folder of recordings that `background_mix` adds; `None`: the training clips.
      class_weights: `balanced`: every class is trained on equally often, and counts equally in the
        validation loss; `none`: as often as it occurs.
      rare_classes: Search also how much more often rare classes are augmented than frequent ones;
        every class then counts equally in the validation loss.
      generator: What `synthesize` and `latent_mix` draw from, fitted to the samples of each
        training: `gaussian`, `vae`, `gan`, a folder of synthetic images by class, or the user's
        `package.module:factory`.
      export_generators: Write the generator of an exported policy that needs one beside it, fitted
        to all training samples, with a report on what it has memorised.
      sampler: Refines after warm start and combination.
      strategy: How single operations are judged first: by trainings (`screened`) or by forward
        passes (`calibrated`), which is cheaper. Or a schedule by population based training
        (`pbt`). For comparison: `random`, and what others do,
        `fast-autoaugment` and `deepaugment` (see `policysearch.samplers.strategies`).
      objective: How the search scores a policy: by trainings `from_scratch`, by fine-tuning one
        half-trained model (`shared_checkpoint`), or by what networks trained without augmentation
        say of augmented data (`density`); `auto` chooses. The confirmation trains from scratch.
        By a function of the user's (`function`, named by `data`) or a program (`command`), in
        all rungs; what is said of command, score and direction is for these two.
      trials: Policies to try, warm start included.
      budget_seconds: Wall time for the whole run; the search gets what the final comparison
        leaves. `None`: no limit.
      workers: Processes; each computes with `threads` threads. The default, the usable cores, is
        not written to the settings: a run that goes on elsewhere uses the cores of that machine.
      lookback: Trial n is suggested from the outcomes of trials up to n - lookback: the
        suggestions then depend neither on timing nor on the number of workers. No more than
        `lookback` trials run at a time. By default twice the workers, at least 4; more for many
        workers and a long search (see `default_lookback`).
      seed: Root of every random decision of the search.
      split_seed: Decides splits and training subset; `None` takes `seed`.
      epochs: Length of a full training; `None` chooses by the size of the data.
      search_epochs: Length of a training in the search; `None`: full length up to 1,000 samples,
        half of it beyond.
      search_anyway: Search also where the search-free policies differ by no more than noise.
      candidates: Policies that reach the confirmation.
      confirm_seeds: Fresh seeds of the confirmation, each with folds of its own; `None`: enough
        for six trainings of a policy.
      metric: What the final comparison measures on the test split, one of
        `policysearch.metrics.METRICS`. The search goes by the log-loss in any case; with balanced
        accuracy or macro-F1 every class counts equally in it.
      verdict_seeds: Paired seeds of the final comparison.
      subsets: For a comparison: so many training sets of `train_size` are drawn anew and each is
        trained on with a seed of its own, in place of `verdict_seeds` on one training set.
      timeout_seconds: A task that takes longer is killed and retried; `None`: never.
      prune: Stop a trial whose running mean is worse than that of earlier trials.
      pruner: What decides it: the `median` of the visible trials, which is reproducible, or
        `asha`, the asynchronous successive halving of Ray Tune, which depends on timing.
      engine: What runs the trials: worker processes on this machine, beside Optuna (`optuna`), or
        Ray Tune (`ray`).
      ray_address: `HOST:PORT` of a running Ray cluster, or `auto` for that of this machine; `None`
        starts a private one.
      cpus_per_trial: Processors that Ray sets aside for a trial.
      gpus_per_trial: GPUs that Ray sets aside for a trial; several share one by a fraction.
      objectives: What a search looks for: the `score` alone, or `score` and `cost`, policies than
        which none is both better and cheaper to apply.
      network: `package.module:factory` or `file.py:factory` of the network to train in place of
        the small one; called as factory(n_classes=.., n_channels=..).
      checkpoint: File with its pretrained weights.
      learning_rate: Peak for that network; `None`: 0.01 with a checkpoint, else 0.1.
      normalization: What its images are normalised with.
      strength: Share of every magnitude range that is searched, from the weak end; `None`: a half
        with a checkpoint, else all.
      command: Command line with the placeholders {policy}, {seed}, {rung} and {out}.
      score_file: Where the program writes its score, with placeholders; `None`: {out}/score.json
        if it is there, else the last line of its output that is JSON and has the key.
      score_key: Key of the score in that JSON.
      direction: Whether a higher or a lower score is better.
      best_score: The best one possible; `None`: 1 to be maximised, 0 to be minimised.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    data: str = ""
    policies: tuple[str, ...] = ()
    space: str | None = None
    modality: str | None = None
    sampler: Literal["tpe", "random", "nsga2"] = "tpe"
    strategy: Literal[
        "screened", "calibrated", "pbt", "random", "fast-autoaugment", "deepaugment"
    ] = "calibrated"
    trials: Count = 16
    budget_seconds: Annotated[float, Field(gt=0)] | None = None
    workers: Annotated[int, Field(ge=1, le=4096)] = Field(default_factory=usable_cores)
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    lookback: Count = 4
    seed: Seed = 0
    split_seed: Seed | None = None
    train_size: Count | None = None
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None
    val_share: Share | None = None
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    group_pattern: str | None = None
    group_column: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    categorical_columns: tuple[str, ...] = ()
    skip_bad: bool = False
    thesaurus: str | None = None
    background: str | None = None
    class_weights: Literal["none", "balanced"] = "none"
    rare_classes: bool = False
    generator: str = DEFAULT_GENERATOR
    export_generators: bool = False
    epochs: Count | None = None
    search_epochs: Count | None = None
    search_anyway: bool = False
    candidates: Annotated[int, Field(ge=1, le=1000)] = 4
    confirm_seeds: Annotated[int, Field(ge=1, le=1000)] | None = None
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss"] = (
        "accuracy"
    )
    verdict_seeds: Annotated[int, Field(ge=2, le=1000)] = 10
    subsets: Annotated[int, Field(ge=2, le=1000)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None
    prune: bool = True
    pruner: Literal["median", "asha"] = "median"
    engine: Literal["optuna", "ray"] = "optuna"
    ray_address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0, le=1024)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0, le=1024)] = 0.0
    device: str = "cpu"
    objective: Literal[
        "auto", "from_scratch", "shared_checkpoint", "density", "function", "command"
    ] = "auto"
    objectives: tuple[Literal["score", "cost"], ...] = ("score",)
    network: str | None = None
    checkpoint: str | None = None
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    normalization: Literal["dataset", "imagenet", "none"] = "dataset"
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    command: str | None = None
    score_file: str | None = None
    score_key: str = "score"
    direction: Direction = "maximize"
    best_score: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_lookback(cls, settings: Any) -> Any:
        if not isinstance(settings, dict) or settings.get("lookback") is not None:
            return settings
        workers = settings.get("workers")
        n = workers if isinstance(workers, int) and workers >= 1 else usable_cores()
        trials = settings.get("trials", cls.model_fields["trials"].default)
        n_trials = trials if isinstance(trials, int) else 0
        return settings | {"lookback": default_lookback(n, n_trials)}

    @model_validator(mode="after")
    def _agrees_with_engine(self) -> SearchConfig:
        if self.engine == "ray":
            if self.ray_address is not None and "workers" not in self.model_fields_set:
                raise ValueError(
                    "`workers`, the number of trials at a time, must be given with `ray_address`: "
                    "the look-back window, which belongs to the record of a run, depends on it."
                )
            if self.device.startswith("cuda") and not self.gpus_per_trial:
                raise ValueError(
                    f"`gpus_per_trial` must be given with device '{self.device}': 1, or a part of "
                    "a GPU that several trials share, such as 0.25."
                )
            return self
        given = self.model_fields_set
        wrong = [name for name in RAY_ONLY if name in given and self._is_other(name)]
        if self.pruner == "asha":
            wrong.append("pruner: asha")
        if wrong:
            raise ValueError(f"`{wrong[0]}` needs the engine 'ray': --engine ray")
        return self

    def _is_other(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @model_validator(mode="after")
    def _subsets_are_compared(self) -> SearchConfig:
        if self.subsets is not None and not self.policies:
            raise ValueError("`subsets` belong to a comparison: `policysearch compare`")
        if self.subsets is not None and self.objective in {"function", "command"}:
            raise ValueError("`subsets` need data that are drawn from here, not your own training")
        return self

    @field_validator("objectives", mode="before")
    @classmethod
    def _as_words(cls, value: Any) -> Any:
        return tuple(value.replace(" ", "").split(",")) if isinstance(value, str) else value

    @field_validator("objectives")
    @classmethod
    def _begin_with_score(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value not in {("score",), ("score", "cost")}:
            raise ValueError("must be 'score' or 'score,cost'")
        return value

    @property
    def weighs_cost(self) -> bool:
        """Whether the cost of a policy is an objective too."""
        return "cost" in self.objectives

    @property
    def data_seed(self) -> int:
        """Seed of splits and subset."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def is_own_training(self) -> bool:
        """Whether the user's own training is what policies are tried in."""
        return self.objective in {"function", "command"}

    @property
    def range_share(self) -> float:
        """Share of every magnitude range that is searched."""
        if self.strength is not None:
            return self.strength
        return FINE_TUNING_STRENGTH if self.checkpoint is not None else 1.0

    @property
    def scale(self) -> Scale:
        """How results of trainings become scores."""
        if not self.is_own_training:
            return Scale()
        best = 1.0 if self.direction == "maximize" else 0.0
        return Scale(self.direction, best if self.best_score is None else self.best_score)


def make_config(settings: dict[str, Any]) -> SearchConfig:
    """Checks settings given by name; raises `FormatError` naming every problem."""
    return _checked(settings, "the given option")


def _checked(settings: dict[str, Any], what: str) -> SearchConfig:
    try:
        config = SearchConfig.model_validate(settings)
    except ValidationError as error:
        raise FormatError(what, problems_of(error, SearchConfig)) from None
    if problems := list(_contradictions(config)):
        raise FormatError(what, problems)
    return config


#: What means nothing where the training is the user's own, and why.
_NOT_FOR_OWN = {
    **dict.fromkeys(
        (
            *("train_size", "val_share", "folds", "group_pattern", "skip_bad", "split_seed"),
            *("thesaurus", "background", "class_weights", "generator"),
            *("export_generators", "rare_classes"),
        ),
        "your training reads and splits the data itself",
    ),
    **dict.fromkeys(
        ("epochs", "search_epochs"),
        "your training decides its length; it is told the rung, and may train shorter in 'search'",
    ),
    "device": "your training decides where it computes",
    "metric": "your training returns a score of its own",
    "objectives": "what a policy costs in your training only you can measure",
    "network": "your training makes its network itself",
    "checkpoint": "your training reads its weights itself",
}
_ONLY_FOR_NETWORK = ("checkpoint", "learning_rate", "normalization")
#: Strategies that are re-created as they were published.
_ONE_OBJECTIVE = ("fast-autoaugment", "deepaugment", "pbt")
_ONLY_FOR_OWN = ("direction", "best_score")
_ONLY_FOR_COMMAND = ("command", "score_file", "score_key")


def _contradictions(config: SearchConfig) -> Iterator[str]:
    """Settings that mean nothing together, each with the reason."""
    changed = {
        name
        for name, field in SearchConfig.model_fields.items()
        if name not in {"workers", "lookback"} and getattr(config, name) != field.default
    }
    if config.objective == "command":
        if not config.command:
            yield "`command` is missing: `objective` is 'command'."
        if config.data:
            yield f"`data` must be left out: the command finds its own data, got {config.data!r}."
    elif not config.data:
        yield "`data` is missing."
    if config.strategy == "pbt" and config.objective != "auto":
        yield (
            "`objective` must be left out: with `strategy` 'pbt' trainings from scratch go on "
            f"segment by segment, got {config.objective!r}."
        )
    if config.is_own_training:
        for name in sorted(changed & _NOT_FOR_OWN.keys()):
            yield f"`{name}` must be left out: {_NOT_FOR_OWN[name]}."
    else:
        for name in sorted(changed.intersection(_ONLY_FOR_OWN)):
            yield f"`{name}` needs `objective` 'function' or 'command', got {config.objective!r}."
    if config.weighs_cost and config.strategy in _ONE_OBJECTIVE:
        yield (
            f"`objectives` 'score,cost' needs the `strategy` calibrated, screened or random, "
            f"got {config.strategy!r}, which knows one objective."
        )
    if config.weighs_cost and config.pruner == "asha":
        yield "`objectives` 'score,cost' and `pruner` 'asha' exclude each other: ASHA knows one."
    if config.folds is not None and config.val_share is not None:
        yield (
            f"`folds` and `val_share` exclude each other, got {config.folds} and "
            f"{config.val_share:g}: validation data are either folds or one share."
        )
    if config.network is None:
        for name in sorted(changed.intersection(_ONLY_FOR_NETWORK)):
            yield f"`{name}` needs `network`: the function that makes your network."
    if config.objective != "command":
        for name in sorted(changed.intersection(_ONLY_FOR_COMMAND)):
            yield f"`{name}` needs `objective` 'command', got {config.objective!r}."


class _Dumper(yaml.SafeDumper):
    """Quotes words that begin like a number: `1e3` is a number where the settings are read."""

    def represent_word(self, word: str) -> yaml.ScalarNode:
        style = None if word[:1].isalpha() or word.startswith("/") else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", word, style=style)


_Dumper.add_representer(str, _Dumper.represent_word)


def write_config(path: Path, config: SearchConfig) -> None:
    """Writes the settings atomically as YAML, without what belongs to this machine."""
    settings = config.model_dump(mode="json")
    if "workers" not in config.model_fields_set:
        del settings["workers"]
    text = yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    write_atomic(path, text)


def read_config(path: Path) -> SearchConfig:
    """Reads settings; raises `FormatError` naming every problem."""
    what = f"settings '{path}'"
    data = parse_yaml(read_text(path, "settings"), what)
    if not isinstance(data, dict):
        raise FormatError(what, ["it must be a mapping."])
    return _checked(data, what)
