"""A labelled dataset and the proxy that is trained on it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from policysearch.baselines import baseline_policies
from policysearch.config import DEFAULT_GENERATOR, SearchConfig
from policysearch.costs import OpCosts
from policysearch.data.dataset import Dataset
from policysearch.data.duplicates import split_duplicates
from policysearch.data.source import load_source
from policysearch.data.splits import Splits, make_splits
from policysearch.errors import GeneratorError, InvalidValueError
from policysearch.files import write_json
from policysearch.measures import measure_of
from policysearch.objectives.base import Objective
from policysearch.objectives.choose import OBJECTIVES, objective_for
from policysearch.objectives.from_scratch import FinalTraining, FromScratch
from policysearch.objectives.in_segments import InSegments
from policysearch.ops.registry import company_ops
from policysearch.policy import Policy
from policysearch.policy_json import GeneratorSource
from policysearch.problems.base import Rung
from policysearch.problems.extras import proxy_extras
from policysearch.proxies.base import ProxySettings, seconds_per_epoch, settings_for
from policysearch.proxies.checkpoint import file_digest, read_checkpoint
from policysearch.proxies.costs import measure_op_costs
from policysearch.proxies.generators import (
    GeneratorChoice,
    chosen_generator,
    generator_for,
    samples_of,
)
from policysearch.proxies.training import TrainingConfig, check_device
from policysearch.run import Progress
from policysearch.samplers.strategies import STRATEGIES
from policysearch.seeding import derive_seed
from policysearch.space import SearchSpace
from policysearch.user_code import find_function, source_digest

#: Classes are told to differ in frequency from this ratio on.
IMBALANCED = 3
#: Trainings of the search are half as long beyond this many samples.
FULL_LENGTH_UP_TO = 1000


class DatasetProblem:
    """Splits, proxy and lengths of trainings for the data that the settings name.

    Raises:
      PolicySearchError: When the data cannot be read or split, or do not suit the metric.
    """

    def __init__(self, config: SearchConfig, progress: Progress) -> None:
        self._config = config
        self._progress = progress
        self.left_out: dict[str, str] = {}
        choice = chosen_generator(config.generator, derive_seed(config.seed, "generator"))
        self.measure = measure_of(config.metric)
        check_device(config.device)
        if config.checkpoint is not None:
            read_checkpoint(Path(config.checkpoint))
        self.splits = load_splits(config, progress)
        train = self.splits.final.train
        self.modality = train.modality
        self.classes = tuple(train.classes)
        self._proxy, self._extras = _proxy_settings(config, train, choice, progress)
        self.n_folds = len(self.splits.search.folds)
        n_trained, n_held_out = map(len, self.splits.search.folds[0])
        self.validation_share = n_held_out / (n_trained + n_held_out)
        self.epochs = config.epochs or self._proxy.default_epochs(len(train))
        halves = 1 if len(train) <= FULL_LENGTH_UP_TO else 2
        self.search_epochs = config.search_epochs or math.ceil(self.epochs / halves)
        if self.search_epochs > self.epochs:
            raise InvalidValueError(
                f"`search_epochs` must be at most `epochs`, which are {self.epochs}: a training "
                f"of the search is no longer than a full one, got {self.search_epochs}."
            )
        self._confirmed = FromScratch(self.splits.search, self._proxy)
        self.searched_by = objective_for(config.objective, STRATEGIES[config.strategy].objective)
        made = OBJECTIVES[self.searched_by]
        self.search_cost = made.cost
        self._searched: Objective = self._confirmed
        if made is not FromScratch:  # equal objectives share their processes
            self._searched = made(self.splits.search, self._proxy)
        self.overlap = self.splits.final.overlap if self.splits.final.subsets else None
        self._final = FinalTraining(self.splits.final, self._proxy, config.metric)
        self._seconds_per_epoch: float | None = None

    def objective(self, rung: Rung, run: Path) -> Objective:
        """Scores the policies of a rung (see `Problem`)."""
        if rung == "verdict":
            return self._final
        if rung == "search" and isinstance(self._searched, InSegments):
            return self._searched.keeping_in(run)
        return self._searched if rung == "search" else self._confirmed

    def restricted(self, space: SearchSpace) -> SearchSpace:
        """Drops operations on channels or a depth that are not there (see `Problem`)."""
        if space.modality != self.modality:
            raise InvalidValueError(
                f"Space '{space.name}' is for {space.modality} data, but '{self._config.data}' "
                f"holds {self.modality} data. Leave --space out, or give one of: policysearch "
                "spaces"
            )
        train = self.splits.final.train
        left = space.restricted_to(train.n_channels, is_deep=train.is_deep)
        deep = [e.op for e in space.ops if e not in left.ops and space.spec(e.op).needs_depth]
        if deep:
            self._leave_out(deep, "these images are flat, and have no depth to move through.")
        return self._with_generator(left.for_classes(train.counts().tolist()))

    def _leave_out(self, ops: Sequence[str], reason: str) -> None:
        self.left_out |= dict.fromkeys(ops, reason)
        are = "is" if len(ops) == 1 else "are"
        text = f"{', '.join(ops)} {are} left out: {reason}"
        self._progress({"event": "left_out", "text": text})

    def _with_generator(self, space: SearchSpace) -> SearchSpace:
        """Drops operations that want more of the generator than it gives on the search data."""
        name, ops = self._config.generator, space.ops_with_generator
        if name == DEFAULT_GENERATOR or not ops:
            return space
        self._progress({"event": "generator", "text": f"fitting '{name}' for {', '.join(ops)}"})
        started = time.perf_counter()
        wrong: tuple[str, ...] = ()
        try:
            fitted = generator_for(self.splits.search.train, self._generator)
        except GeneratorError as error:
            wrong, reason = ops, str(error)
        else:
            seconds = time.perf_counter() - started
            told = f"fitted in {seconds:.1f} s; every process fits one for each fold"
            self._progress({"event": "generator", "text": told})
            if not fitted.has_latents:
                wrong, reason = tuple({"latent_mix"} & set(ops)), f"'{name}' has no latents."
        if not wrong:
            return space
        self._leave_out(wrong, reason)
        return space.without(wrong)

    @property
    def _generator(self) -> GeneratorChoice:
        return cast(TrainingConfig, self._proxy).generator

    def baselines(self, space: SearchSpace) -> dict[str, Policy]:
        """The search-free policies (see `Problem`)."""
        shape = self.splits.final.train.x.shape
        return baseline_policies(space, *([min(shape[2:])] if self.modality == "image" else []))

    def chance_score(self) -> float | None:
        """Entropy of the classes of the training data, natural log (see `Problem`)."""
        counts = self.splits.final.train.counts()
        if _weighs_classes(self._config):
            counts = np.minimum(counts, 1)
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    def training_seconds(self, policy: Policy) -> float:
        """Estimated seconds of a full training, measured once (see `Problem`)."""
        if self._seconds_per_epoch is None:
            self._seconds_per_epoch = seconds_per_epoch(
                self.splits.search.train, policy, self._proxy, self._config.threads
            )
        return self._seconds_per_epoch * self.epochs

    def op_costs(self, space: SearchSpace, policies: Iterable[Policy]) -> OpCosts:
        """Measured on the training data, to two digits (see `Problem`)."""
        calls = {entry.op: entry.full() for entry in space.ops}
        for policy in policies:
            for _, call in policy.calls():
                calls.setdefault(call.op, call)
        calls.pop("identity", None)
        train, none = self.splits.search.train, space.policy(())
        return measure_op_costs(train, self._proxy, calls.values(), none)

    def generator_source(self, policy: Policy, out: Path) -> GeneratorSource | None:
        """What a policy file says of its generator, which is written where asked for.

        Exported are `generator.safetensors`, `generator.json` and `generator-report.json`: how
        near to training samples its own samples lie, beside those of the test split.
        """
        if not any(spec.needs_fit for spec in company_ops(policy)):
            return None
        choice = self._generator
        if not self._config.export_generators:
            is_usual = choice.name == DEFAULT_GENERATOR
            return None if is_usual else GeneratorSource(choice.name)
        from policysearch.generators.files import save_generator
        from policysearch.generators.memorisation import memorisation_report

        final, path = self.splits.final, out / "generator.safetensors"
        fitted = generator_for(final.train, choice)
        save_generator(fitted, path)
        report = memorisation_report(fitted, samples_of(final.train), samples_of(final.test))
        write_json(out / "generator-report.json", report)
        told = f"written to {path}, and may give training samples away. {report['sentence']}"
        self._progress({"event": "generator", "text": told})
        return GeneratorSource(choice.name, path.name)

    def header(self) -> Mapping[str, Any]:
        """Fingerprints of the splits (see `Problem`)."""
        final = self.splits.final
        metric = self._config.metric
        return {
            "dataset": final.train.fingerprint,
            "test": final.test.fingerprint,
            # Runs that began before there was a choice have no such line.
            **({} if metric == "accuracy" else {"metric": metric}),
            **({"subsets": [s.fingerprint for s in final.subsets]} if final.subsets else {}),
            **_identity(self._config),
            **self._extras,
        }

    def provenance(self) -> Mapping[str, Any]:
        """Name, fingerprint and size of the data (see `Problem`)."""
        train = self.splits.final.train
        return {
            "data": self._config.data,
            "dataset_fingerprint": train.fingerprint,
            "n_train": len(train),
            **({"left_out": sorted(self.left_out)} if self.left_out else {}),
            **_identity(self._config),
            **self._extras,
        }


def _proxy_settings(
    config: SearchConfig, train: Dataset, choice: GeneratorChoice, progress: Progress
) -> tuple[ProxySettings, dict[str, str]]:
    """The proxy, and what identifies the user's files and wishes that it was made with."""
    extras, identity = proxy_extras(config, train)
    if config.network is None:
        settings = settings_for(train, config.device, **extras)
    else:
        from policysearch.proxies.own_network import own_network

        settings, notices = own_network(
            train,
            config.device,
            config.network,
            config.checkpoint,
            config.learning_rate,
            config.normalization,
        )
        told = {"event": "training", "text": f"the network {config.network}", "notices": notices}
        progress(told)
    if config.export_generators:
        from policysearch.generators.files import safetensors_library

        safetensors_library()  # said before a search, not after it
    changes: dict[str, Any] = {"generator": choice, "weighs_classes": _weighs_classes(config)}
    if config.class_weights == "balanced":
        changes["balanced"] = True
        identity |= {"classes": "balanced"}
    elif _weighs_classes(config):
        identity |= {"scored": "by class"}
    if choice.name != DEFAULT_GENERATOR:
        identity |= {"generator": choice.name}
        identity |= {"generator_code": choice.code} if choice.code else {}
    changed = dataclasses.replace(cast(TrainingConfig, settings), **changes)
    return cast(ProxySettings, changed), identity


def _weighs_classes(config: SearchConfig) -> bool:
    """Whether every class counts equally in validation: where rare ones are what is looked at.

    Else a policy for rare classes would be judged by the frequent ones.
    """
    is_metric_by_class = config.metric in ("balanced_accuracy", "macro_f1")
    return config.class_weights == "balanced" or config.rare_classes or is_metric_by_class


def _identity(config: SearchConfig) -> dict[str, Any]:
    """What identifies a network of the user's; nothing where there is none."""
    if config.network is None:
        return {}
    found: dict[str, Any] = {
        "network": config.network,
        "network_code": source_digest(find_function(config.network)),
        "learning_rate": config.learning_rate,
        "normalization": config.normalization,
    }
    if config.checkpoint is not None:
        found["checkpoint"] = file_digest(Path(config.checkpoint))
    return found


def load_splits(config: SearchConfig, progress: Progress) -> Splits:
    """Loads and splits the data of a run, and reports notices and near-duplicates."""
    with contextlib.redirect_stdout(sys.stderr):  # a user's function may print
        source = load_source(
            config.data,
            modality=config.modality,
            image_size=config.image_size,
            skip_bad=config.skip_bad,
            group_pattern=config.group_pattern,
            group_column=config.group_column,
            text_column=config.text_column,
            label_column=config.label_column,
            categorical_columns=config.categorical_columns,
        )
    of_strategy = STRATEGIES[config.strategy].n_folds
    splits = make_splits(
        source,
        seed=config.data_seed,
        train_size=config.train_size,
        val_share=config.val_share,
        n_folds=config.folds or (None if config.val_share else of_strategy),
        n_confirm=config.confirm_seeds,
        n_subsets=config.subsets,
    )
    notices = [*source.notices, *splits.notices, *split_duplicates(splits)]
    counts = splits.final.train.counts()
    ratio = counts.max() / max(1, counts[counts > 0].min())
    is_searched = not config.policies and not config.rare_classes
    if is_searched and ratio >= IMBALANCED:
        notices.append(
            f"The most frequent class has {ratio:.0f} times the samples of the rarest; "
            "--rare-classes searches how much more often rare ones are augmented"
        )
    progress({"event": "data", "text": splits.describe(), "notices": notices})
    return splits
