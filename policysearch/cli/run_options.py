"""Options that `search` and `compare` share, and how their words become settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from policysearch.errors import FormatError

if TYPE_CHECKING:
    from policysearch.config import SearchConfig

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


#: Those of `policysearch.metrics`, which would load numpy for `--help`.
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A duration such as `90`, `90s`, `10m`, `1.5h`; value in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parses a duration."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?", str(value).strip())
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a duration. Examples: 90s, 10m, 1.5h.", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


TENSORBOARD = click.option(
    "--tensorboard",
    "has_scalars",
    is_flag=True,
    help="Write scalars for TensorBoard to OUT/tensorboard.",
)


def data_options(command: Command) -> Command:
    """Options that say how the data are read and split."""
    options = [
        click.option("--train-size", type=int, help="Train on a stratified subset of this size."),
        click.option("--modality", help="Kind of data: image, text, ...  [default: by file]"),
        click.option("--image-size", type=int, help="Resize images to this side in pixels."),
        click.option("--val-share", type=float, help="Share held out for validation, once."),
        click.option("--folds", type=int, help="Folds of cross-validation instead."),
        click.option(
            "--group-pattern",
            metavar="REGEX",
            help="Part of the path that names what must not straddle a split.",
        ),
        click.option("--text-column", help="Column of a table that holds the texts."),
        click.option("--label-column", help="Column of a table that holds the classes."),
        click.option(
            "--categorical-column",
            "categorical_columns",
            multiple=True,
            help="Column of a table that holds categories though they are numbers. Repeatable.",
        ),
        click.option("--group-column", help="Column that names what must not straddle a split."),
        click.option("--thesaurus", metavar="FILE", help="Synonyms for operations on texts."),
        click.option(
            "--background", metavar="FOLDER", help="Recordings that background_mix adds to clips."
        ),
        click.option(
            "--generator",
            metavar="NAME",
            help="What synthesize and latent_mix draw from: gaussian, vae, gan, a folder of "
            "synthetic images by class, or your package.module:factory.  [default: gaussian]",
        ),
        click.option(
            "--class-weights",
            type=click.Choice(["none", "balanced"]),
            default="none",
            show_default=True,
            help="Train on every class equally often, and weigh them so in validation.",
        ),
        click.option("--skip-bad", is_flag=True, help="Leave damaged images out and list them."),
        click.option("--split-seed", type=int, help="Seed of the splits.  [default: --seed]"),
    ]
    return with_options(command, options)


def engine_options(
    engine: str | None, n_cpus: float | None, n_gpus: float | None
) -> list[Callable[[Any], Any]]:
    """Options that say where trials run; a default of `None` keeps what a run has."""
    shown = engine is not None
    return [
        click.option(
            "--engine",
            type=click.Choice(["optuna", "ray"]),
            default=engine,
            show_default=shown,
            help="Processes on this machine (optuna), or Ray Tune on a cluster (ray).",
        ),
        click.option(
            "--ray-address",
            metavar="HOST:PORT",
            help="A running Ray cluster, or auto.  [default: a private one on this machine]",
        ),
        click.option(
            "--cpus-per-trial",
            type=float,
            default=n_cpus,
            show_default=shown,
            help="Processors that Ray sets aside for a trial.",
        ),
        click.option(
            "--gpus-per-trial",
            type=float,
            default=n_gpus,
            show_default=shown,
            help="GPUs, or a part of one that trials share, such as 0.25.",
        ),
    ]


def network_options(command: Command) -> Command:
    """Options of a network of the user's own."""
    options = [
        click.option(
            "--network",
            metavar="NAME",
            help="Train your network: file.py:factory or package.module:factory, called with "
            "n_classes and n_channels.",
        ),
        click.option(
            "--checkpoint",
            metavar="FILE",
            help="Fine-tune it from these weights (torch.save of a state_dict, or .safetensors).",
        ),
        click.option(
            "--learning-rate",
            type=float,
            help="Peak for your network.  [default: 0.01 with --checkpoint, else 0.1]",
        ),
        click.option(
            "--normalization",
            type=click.Choice(["dataset", "imagenet", "none"]),
            help="What your network's images are normalised with.  [default: dataset]",
        ),
    ]
    return with_options(command, options)


def training_options(command: Command) -> Command:
    """Options that say what is trained: a network of ours, or a training of the user's own."""
    options = [
        click.option(
            "--objective",
            type=click.Choice(
                ["auto", "from_scratch", "shared_checkpoint", "density", "function", "command"]
            ),
            default="auto",
            show_default=True,
            help="How a policy is scored: by trainings of a small network (from_scratch), by "
            "fine-tuning one half-trained (shared_checkpoint), by forward passes (density), by "
            "your function train(policy, trial), which DATA names, or by your program.",
        ),
        click.option(
            "--command",
            metavar="LINE",
            help="Your program: 'python train.py --policy {policy} --seed {seed}'. Also {rung}, "
            "{out}. No shell.",
        ),
        click.option(
            "--score-file",
            metavar="FILE",
            help="Where it writes its score.  [default: {out}/score.json, or its last JSON line]",
        ),
        click.option("--score-key", metavar="KEY", help="Key of the score.  [default: score]"),
        click.option(
            "--direction",
            type=click.Choice(["maximize", "minimize"]),
            help="Of the score of your training.  [default: maximize]",
        ),
        click.option(
            "--best-score",
            type=float,
            help="The best one possible.  [default: 1 to maximize, 0 to minimize]",
        ),
    ]
    return with_options(command, options)


def run_options(command: Command) -> Command:
    """Options that say how trainings run and how a run talks."""
    options = [
        click.option("--seed", type=int, default=0, show_default=True, help="Root seed."),
        click.option("--epochs", type=int, help="Epochs of a full training.  [default: by size]"),
        click.option(
            "--verdict-seeds",
            type=int,
            default=10,
            show_default=True,
            help="Paired seeds of the final comparison.",
        ),
        click.option(
            "--metric",
            type=click.Choice(METRICS),
            default="accuracy",
            show_default=True,
            help="What the final comparison measures.",
        ),
        click.option("--workers", type=int, help="Processes.  [default: all cores]"),
        click.option("--threads", type=int, default=1, show_default=True, help="Threads of each."),
        click.option("--timeout", type=Duration(), help="Kill and retry what takes longer."),
        *engine_options("optuna", 1.0, 0.0),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ..."),
        TENSORBOARD,
        click.option("--out", type=click.Path(path_type=Path), help="Directory of the results."),
        click.option("--json", "is_json", is_flag=True, help="Write events as JSON lines."),
        click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Only the result."),
    ]
    return with_options(command, options)


def with_options(command: Command, options: Sequence[Callable[[Any], Any]]) -> Command:
    """The command with options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command


#: Options whose setting has another name.
_RENAMED = {"timeout": "timeout_seconds", "budget": "budget_seconds", "no_prune": "prune"}


def config_from(words: Mapping[str, Any], **more: Any) -> SearchConfig:
    """Settings from the options that were given, and some more.

    Raises:
      FormatError: Naming every problem, by option.
    """
    from policysearch.config import make_config

    given = {_RENAMED.get(k, k): v for k, v in words.items() if v is not None}
    try:
        return make_config(given | more)
    except FormatError as error:
        found = click.get_current_context().command.params
        options = {f"`{_RENAMED.get(p.name or '', p.name)}`": _shown(p) for p in found}
        told = re.compile("|".join(map(re.escape, options)))
        problems = [told.sub(lambda m: options[m[0]], text) for text in error.problems]
        raise FormatError(error.what, problems) from None


def _shown(option: click.Parameter) -> str:
    return option.opts[0] if isinstance(option, click.Option) else option.human_readable_name
