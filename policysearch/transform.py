"""Applying a policy: draw first (`policysearch.draws`), then apply.

The single-sample entry is a batch of one, so both have one semantics; and because draws are
counter-based, the result for a sample depends on (seed, epoch, index) only.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from policysearch.company import Company, apply_in_company, as_targets, check_alone, fit_data
from policysearch.draws import Drawer, Drawn, checked_progress
from policysearch.errors import InvalidValueError, shortened
from policysearch.generators.base import Generator
from policysearch.modalities import Batch, Modality, modality_of
from policysearch.modalities.base import OneByOne, Restore
from policysearch.named import PolicySource, resolve_policy
from policysearch.ops.registry import company_ops
from policysearch.policy import Policy

_N_AHEAD = 64  # single samples that are drawn for at a time
_N_CALLS = 2**62


def apply_drawn(
    x: Any,
    drawn: Drawn,
    policy: Policy,
    *,
    lengths: NDArray[np.int64] | None = None,
    y: NDArray[np.int64] | None = None,
    settings: Any = None,
    company: Company | None = None,
) -> Any:
    """Applies what was drawn to a batch, as the modality of the policy does.

    Args:
      x: One entry per sample along the first axis. Images: `(n, C, H, W)`; uint8, uint16, or
        floating in [0, 1]. Series: `(n, C, L)`, floating. Clips: `(n, C, T)`, floating. Rows:
        `(n, d)`, floating. Not modified.
      drawn: One row per sample.
      policy: Gives modality, interpolation and fill.
      lengths: Steps of each sample that are no padding, for series and clips; `None`: all.
      y: Class of each sample, for operations that need it.
      settings: For clips: `policysearch.ops.audio_clips.AudioSettings`; for rows:
        `policysearch.modalities.tabular.TabularSettings`.
      company: What operations need that do more than change a sample by itself; its targets are
        changed along with the samples.

    Returns:
      Samples of the same form; `x` itself when no stage applies.
    """
    if len(drawn) != len(x):
        raise InvalidValueError(f"`drawn` must hold {len(x)} samples, got {len(drawn)}.")
    modality, batch = modality_of(policy.modality), Batch(x, lengths, y, settings)
    if not company_ops(policy):
        return modality.apply(batch, drawn, policy)
    return apply_in_company(modality, batch, drawn, policy, company or Company()).x


@dataclass(frozen=True)
class _Ahead:
    """Draws for the calls to come; because draws are counter-based, they may be early."""

    stream: int
    progress: float | None
    calls: range
    samples: OneByOne


class PolicyTransform(torch.nn.Module):
    """A policy, ready to augment single samples and batches.

    Call it with one sample or a batch, on any device:

    * images: PIL image; numpy `(H, W)` or `(H, W, C)`; torch `(C, H, W)` or `(n, C, H, W)`;
    * series: numpy or torch, `(L,)`, `(C, L)` or `(n, C, L)`, floating; NaN is a missing value;
    * sound: likewise, full scale from -1 to 1;
    * text: a string, or a list, tuple or array of strings, before any tokenizer;
    * rows of a table: numpy or torch, `(d,)` or `(n, d)`, floating; NaN is a missing value.

    The result has the same type, shape and dtype. In `eval()` mode it returns its input, so that a
    validation pass is never augmented. An array or tensor that its draw leaves unchanged comes
    back as it is, not as a copy.

    Args:
      policy: What to apply.
      seed: Root of all draws.
      settings: What the modality needs to know of all samples; see `load_policy`.
      n_classes: Number of classes, for operations that share targets; see `load_policy`.

    Examples:
      >>> import torch, policysearch
      >>> transform = policysearch.load_policy("trivialaugment-wide", seed=0)
      >>> transform(torch.zeros(8, 3, 32, 32, dtype=torch.uint8)).shape
      torch.Size([8, 3, 32, 32])
    """

    def __init__(
        self, policy: Policy, seed: int = 0, settings: Any = None, n_classes: int | None = None
    ) -> None:
        super().__init__()
        self.policy = policy
        self.seed = int(seed)
        self.settings = settings
        if n_classes is not None and not (type(n_classes) is int and n_classes > 0):
            raise InvalidValueError(
                f"`n_classes` must be a whole number above 0, got {shortened(n_classes)}."
            )
        self.n_classes = n_classes
        self._in_company = company_ops(policy)
        self.generator: Generator | None = None
        self.generator_kind = "gaussian"
        self._drawer = Drawer(policy, seed)
        self._calls = iter(range(_N_CALLS))  # taken from in one step: threads never share a draw
        self._epoch = 0
        self._ahead: _Ahead | None = None
        self._progress: Tensor | None = None
        if policy.schedule is not None:
            self._progress = torch.full((1,), math.nan, dtype=torch.float64, device="cpu")
        self._share_progress()

    def _share_progress(self) -> None:
        """Lets loader workers hear of the progress, persistent ones too."""
        if self._progress is not None:
            self._progress.share_memory_()  # type: ignore[no-untyped-call]

    def set_progress(self, progress: float) -> None:
        """Says which share of the training is done, from 0 to 1, for a policy with a schedule.

        Call it before each epoch with `epoch / n_epochs`, so that the schedule stretches over a
        training of any length; without it such a policy refuses to draw. Other policies take no
        notice. Loader workers hear of it as well.
        """
        share = checked_progress(progress)
        if share.ndim:
            raise InvalidValueError(f"`progress` must be one number, got {shortened(progress)}.")
        if self._progress is not None:
            self._progress.fill_(float(share))

    def _said_progress(self) -> float | None:
        said = math.nan if self._progress is None else self._progress.item()
        return None if math.isnan(said) else said

    @property
    def _modality(self) -> Modality:
        return modality_of(self.policy.modality)

    def fit(self, x: Any, y: Any = None) -> PolicyTransform:
        """Lets operations learn what they need of the training samples; returns the transform.

        `synthesize` and `latent_mix` do, whose generator is fitted here; `tfidf_substitute` does,
        which draws from the words of the training texts, and all operations on tables, which
        measure by their columns; others take no notice. Give training samples only: what is
        learned from test samples leaks.

        Args:
          x: All training samples, see the class.
          y: Their classes.
        """
        self.settings = self._modality.fitted(self.settings, x, y)
        self._ahead = None
        if any(spec.needs_fit for spec in self._in_company):
            self._fit_generator(x, y)
        return self

    def _fit_generator(self, x: Any, y: Any) -> None:
        from policysearch.generators.fit import fit_generator

        if y is None:
            raise InvalidValueError("A generator is fitted to samples and classes: fit(x, y).")
        batch, _ = self._take_in(x)
        shares = as_targets(y, len(batch), self.n_classes)
        data = fit_data(self._modality, batch, shares.argmax(dim=1).numpy(), shares.shape[1])
        names = [str(i) for i in range(shares.shape[1])]
        self.generator = fit_generator(self.generator_kind, data, self.seed, names)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that draws with an explicit `index` belong to."""
        self._epoch = int(epoch)

    def draw(
        self,
        indices: ArrayLike,
        epoch: ArrayLike | None = None,
        progress: ArrayLike | None = None,
    ) -> Drawn:
        """Draws for samples given by their indices, as plain data (see `Drawn`).

        Epoch and progress are for each sample or one for all; by default what `set_epoch` and
        `set_progress` said.
        """
        epoch = self._epoch if epoch is None else epoch
        return self._drawer.draw(
            indices, epoch, self._said_progress() if progress is None else progress
        )

    def replay(
        self, x: Any, drawn: Drawn, *, lengths: Any = None, y: Any = None, model: Any = None
    ) -> Any:
        """Applies a recorded draw to a sample or batch: the same values again.

        The result is `(x, y)` where an operation shares targets.
        """
        batch, restore = self._take_in(x, lengths, y)
        company = self._company(y, len(batch), model)
        x = restore(self._augmented(batch, drawn, company))
        return (x, self._shared(y, company)) if self._shares_targets else x

    def forward(
        self,
        x: Any,
        y: Any = None,
        *,
        index: ArrayLike | None = None,
        epoch: int | None = None,
        lengths: Any = None,
        sample_rate: int | None = None,
        mask: Any = None,
        model: Any = None,
    ) -> Any:
        """Augments a sample or a batch.

        Args:
          x: Sample or batch, see the class.
          y: Targets; when given, the result is `(x, y)`. They are passed through, unless the
            policy has operations that mix samples: those need the classes `(n,)` here, or shares
            of classes `(n, n_classes)`, and give shares, float32, which cross-entropy takes.
            Operations that stay within a class or attack a model need the classes as well.
          index: Dataset index of the sample, or one per sample of a batch. The result is then a
            function of (seed, epoch, index), and of the progress where the policy has a schedule.
            Without it, every call draws afresh: reproducible
            for a fixed order of calls.
          epoch: Epoch for `index`; default is what `set_epoch` said.
          lengths: Steps of each series that are no padding, which is left as it is; whole numbers
            `(n,)`, or one for a single series. Default: all. Padding of a clip is silence, into
            which one that becomes longer goes on.
          sample_rate: Of these clips, in Hz; default is what `load_policy` was told.
          mask: Masks of these images, `(H, W)`, `(n, H, W)`, `(n, C, H, W)`, any dtype, numpy or
            torch: moved as their images are, with nearest interpolation and 0 from outside. The
            result is then `(x, mask)`, or `(x, y, mask)`.
          model: The model in training, for adversarial operations: called with a batch it gives
            logits `(n, n_classes)`. Images come as float32 in [0, 1], so put any normalisation
            into it. It answers in `eval()` mode, and is left as it was: modes, statistics of batch
            normalisation and gradients of its weights.
        """
        for value in (x, y):
            _check_kind(value)
        if torch.compiler.is_compiling():  # draws and machine code are not for graphs
            untraced = torch.compiler.disable(self._augment)  # type: ignore[no-untyped-call]
            return untraced(x, y, index, epoch, lengths, sample_rate, mask, model)
        return self._augment(x, y, index, epoch, lengths, sample_rate, mask, model)

    def _augment(
        self,
        x: Any,
        y: Any,
        index: ArrayLike | None,
        epoch: int | None,
        lengths: Any,
        sample_rate: int | None,
        mask: Any,
        model: Any,
    ) -> Any:
        if self.training and self.policy.sub_policies:
            batch, restore = self._take_in(x, lengths, y, sample_rate)
            if self._in_company:
                if mask is not None:
                    raise InvalidValueError(
                        "`mask` cannot be moved along where samples are mixed or attacked. Use a "
                        f"policy without '{self._in_company[0].name}'."
                    )
                company = self._company(y, len(batch), model)
                drawn = self._fresh(len(batch)) if index is None else self.draw(index, epoch)
                x, y = restore(self._augmented(batch, drawn, company)), self._shared(y, company)
            elif index is None and mask is None:
                x = restore(self._apply_fresh(batch))
            else:
                drawn = self._fresh(len(batch)) if index is None else self.draw(index, epoch)
                x = restore(self._augmented(batch, drawn))
                if mask is not None:
                    mask = self._modality.moved(mask, batch, drawn, self.policy)
        found = [x, *(value for value in (y, mask) if value is not None)]
        return found[0] if len(found) == 1 else tuple(found)

    def _fresh(self, n: int) -> Drawn:
        """Draws for the next `n` samples of this stream; loader workers have streams apart."""
        calls = list(itertools.islice(self._calls, n))
        return self._drawer.draw(np.array(calls, np.int64), self._stream(), self._said_progress())

    def _stream(self) -> int:
        worker = torch.utils.data.get_worker_info()
        return -1 if worker is None else worker.seed

    def _take_in(
        self, x: Any, lengths: Any = None, y: Any = None, sample_rate: int | None = None
    ) -> tuple[Batch, Restore]:
        batch, restore = self._modality.take_in(x, lengths, y)
        settings = self.settings
        if sample_rate is not None:
            settings = self._modality.settings(settings, sample_rate=sample_rate)
        return dataclasses.replace(batch, settings=settings), restore

    @property
    def _shares_targets(self) -> bool:
        return any(spec.changes_targets for spec in self._in_company)

    def _company(self, y: Any, n: int, model: Any) -> Company:
        """What operations need that do more than change a sample by itself."""
        if model is not None and not callable(model):
            raise InvalidValueError(
                f"`model` must be callable, such as a torch module, got {type(model).__name__}."
            )
        targets = None
        if y is not None and self._in_company:
            targets = as_targets(y, n, self.n_classes)
        module = model if isinstance(model, torch.nn.Module) else None
        return Company(targets, model=model, module=module, generator=self.generator)

    def _shared(self, y: Any, company: Company) -> Any:
        """Targets of the result: shares of classes where the policy mixes, else as they came."""
        if not self._shares_targets:
            return y
        shares = company.targets
        assert shares is not None
        single = np.ndim(y) == 0 if not isinstance(y, Tensor) else y.ndim == 0
        shares = shares[0] if single else shares
        return shares.numpy() if isinstance(y, np.ndarray) else shares

    def _augmented(self, batch: Batch, drawn: Drawn, company: Company | None = None) -> Any:
        return apply_drawn(
            batch.x,
            drawn,
            self.policy,
            lengths=batch.lengths,
            y=batch.y,
            settings=batch.settings,
            company=company,
        )

    def _apply_fresh(self, batch: Batch) -> Any:
        """Draws for the next samples (see `_fresh`), single ones ahead, and applies it."""
        stream = self._stream()
        progress = self._said_progress()
        calls = list(itertools.islice(self._calls, len(batch)))
        if len(calls) != 1:
            return self._augmented(batch, self._drawer.draw(np.array(calls), stream, progress))
        first = calls[0]
        ahead = self._ahead
        if (
            ahead is None
            or (ahead.stream, ahead.progress) != (stream, progress)
            or first not in ahead.calls
        ):
            coming = range(first, first + _N_AHEAD)
            drawn = self._drawer.draw(np.array(coming), stream, progress)
            one_by_one = self._modality.one_by_one(drawn, self.policy)
            self._ahead = ahead = _Ahead(stream, progress, coming, one_by_one)
        return ahead.samples.apply(batch, first - ahead.calls.start)

    def each(
        self,
        samples: Sequence[Any],
        index: ArrayLike,
        epoch: ArrayLike,
        progress: ArrayLike | None = None,
        y: Sequence[Any] | None = None,
    ) -> list[Any]:
        """Augments single samples of any shapes: `[transform(x, index=i, epoch=e), ...]`, faster.

        Args:
          samples: Single samples, see the class.
          index: Dataset index of each.
          epoch: Epoch of each, or one for all.
          progress: Likewise; default is what `set_progress` said.
          y: Target of each, for operations that stay within a class.
        """
        if not (self.training and self.policy.sub_policies):
            return list(samples)
        check_alone(
            self.policy,
            "Use DataLoader(..., collate_fn=policysearch.collate(policy)), or call the transform "
            "on each batch.",
        )
        targets = [None] * len(samples) if y is None else y
        pairs = zip(samples, targets, strict=True)
        taken = [self._take_in(sample, y=target) for sample, target in pairs]
        drawn = self.draw(index, epoch, progress)
        augmented = self._modality.each([batch for batch, _ in taken], drawn, self.policy)
        return [restore(x) for x, (_, restore) in zip(augmented, taken, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ahead": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._share_progress()  # copies are not shared

    def extra_repr(self) -> str:
        """Policy digest and seed, for printing a model."""
        return (
            f"policy={self.policy.digest()}, n_choices={self.policy.n_choices}, seed={self.seed}"
        )


def _check_kind(value: Any) -> None:
    """Refuses torchvision's tensors that are no image but would have to move with one."""
    kind = type(value).__name__
    if kind in ("Mask", "BoundingBoxes", "KeyPoints", "Video") and isinstance(value, Tensor):
        raise InvalidValueError(
            f"A {kind} is not moved along with its image, nor augmented by itself. Give the image "
            "as `x`, its mask as a plain tensor, `mask`, and class labels as `y`."
        )


class AugmentedDataset(torch.utils.data.Dataset[Any]):
    """A map-style dataset whose first item is augmented, the same for any number of workers.

    The draw of a sample is a function of (seed, visit, index), where visit counts how often the
    sample was read. The count lives in shared memory: loader workers need no `set_epoch`, whether
    they are forked, spawned, persistent or none. It counts reads, not epochs: after an epoch that
    was left early, with samples read ahead by workers, call `set_epoch` to be on the same count
    again whatever the number of workers.

    Args:
      dataset: Yields tuples or lists `(x, *rest)`; any sample that `transform` takes as `x`. What
        comes second is the class, for operations that stay within one.
      transform: Applied to `x`.
      n_epochs: Length of the training, over which a policy with a schedule stretches it: the
        progress of a sample is the middle of its epoch, `(visit + 0.5) / n_epochs`. Without it,
        `transform.set_progress` says the progress; other policies need neither.
    """

    def __init__(
        self, dataset: Any, transform: PolicyTransform, n_epochs: int | None = None
    ) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise InvalidValueError(
                "`dataset` must be map-style, with `len(dataset)` and `dataset[i]`, got "
                f"{type(dataset).__name__}."
            )
        if not isinstance(transform, PolicyTransform):
            raise InvalidValueError(
                "`transform` must be a PolicyTransform, such as `load_policy(...)` gives, got "
                f"{type(transform).__name__}."
            )
        if n_epochs is not None and not (type(n_epochs) is int and n_epochs > 0):
            raise InvalidValueError(
                f"`n_epochs` must be a whole number above 0, got {shortened(n_epochs)}."
            )
        self.dataset = dataset
        self.transform = transform
        self.n_epochs = n_epochs
        self._visits = torch.zeros(len(dataset), dtype=torch.int64, device="cpu")
        self._visits.share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Makes the next visit of every sample count as `epoch` (for resuming a training)."""
        self._visits.fill_(int(epoch))

    def __len__(self) -> int:
        return len(self.dataset)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._visits.share_memory_()  # type: ignore[no-untyped-call]  # copies are not shared

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Items of a batch: how a loader reads them, so that a batch is drawn for at once."""
        places = [self._place(index) for index in indices]
        read = getattr(self.dataset, "__getitems__", None)
        items = read(places) if callable(read) else [self.dataset[place] for place in places]
        for item in items:
            if not isinstance(item, (tuple, list)) or not item:
                raise InvalidValueError(
                    "`dataset` must yield tuples (x, *rest), such as (image, label), got "
                    f"{type(item).__name__}."
                )
        visits = [self._visit(place) for place in places]
        targets = [item[1] if len(item) > 1 else None for item in items]
        samples = [item[0] for item in items]
        augmented = self.transform.each(samples, places, visits, self._progress(visits), targets)
        return [(x, *item[1:]) for x, item in zip(augmented, items, strict=True)]

    def _place(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self._visits):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        return place

    def _progress(self, visits: list[int]) -> list[float] | None:
        n_epochs = self.n_epochs
        if n_epochs is None or self.transform.policy.schedule is None:
            return None
        if max(visits, default=0) >= n_epochs:
            raise InvalidValueError(
                f"A sample is read more often than `n_epochs` ({n_epochs}) says, so the strength "
                "of the policy is not known. Give the true number of epochs; where a sampler "
                "repeats samples, leave it out and call `transform.set_progress` before each "
                "epoch."
            )
        return [(visit + 0.5) / n_epochs for visit in visits]

    def _visit(self, place: int) -> int:
        visits = self._visits.numpy()
        visit = int(visits[place])
        visits[place] = visit + 1
        return visit


def load_policy(
    source: PolicySource,
    *,
    seed: int = 0,
    sample_rate: int | None = None,
    background: Any = None,
    representation: str | None = None,
    thesaurus: str | os.PathLike[str] | None = None,
    unknown: str | None = None,
    categorical: Sequence[int] | None = None,
    n_classes: int | None = None,
    generator: str | os.PathLike[str] = "gaussian",
) -> PolicyTransform:
    """Loads a policy as a transform for single samples and batches.

    Args:
      source: A policy file, a run directory, a shipped name such as `trivialaugment-wide`, parsed
        JSON, or a `Policy`.
      seed: Root of all draws.
      sample_rate: Of the clips, in Hz; audio policies need it, here or with every call.
      background: Recordings that `background_mix` adds, at that rate: a tensor or array
        `(m, C, T)`. `None`: other clips of the batch.
      representation: `spectrogram` where an audio policy is to mask spectrograms `(F, T)` or
        `(n, F, T)`, with their mean; `None` is `waveform`.
      thesaurus: File of synonyms for a text policy: a word a line with its synonyms, between
        tabs, or a JSON object of lists. `None`: the English one that ships.
      unknown: How `unk_dropout` writes an unknown word, such as the mask of a tokenizer.
        `None`: `[UNK]`.
      categorical: Places of the columns that hold categories as numbers, for a tabular policy,
        such as `[0, 3]`. `None`: all hold numbers. Such a policy learns from the training rows
        with `transform.fit(x, y)` before it is used.
      n_classes: Number of classes, for policies that mix samples or attack a model, unless targets
        come as shares of classes.
      generator: For policies that synthesize: `gaussian`, `vae`, `gan`, a folder of images by
        class, or `package.module:factory`, fitted with `transform.fit(x, y)` to the training
        samples; or a file `.safetensors` that `save_generator` wrote.

    Raises:
      PolicySearchError: Naming every problem of the file, or the nearest known name.
    """
    policy = resolve_policy(source).policy
    if not policy.sub_policies:  # `none` is for every kind of data
        return PolicyTransform(policy, seed, n_classes=n_classes)
    settings = modality_of(policy.modality).settings(
        None,
        sample_rate=sample_rate,
        background=background,
        representation=representation,
        thesaurus=thesaurus,
        unknown=unknown,
        categorical=categorical,
    )
    transform = PolicyTransform(policy, seed, settings, n_classes)
    transform.generator_kind = os.fspath(generator)
    if transform.generator_kind.endswith(".safetensors"):
        from policysearch.generators.files import load_generator

        transform.generator = load_generator(Path(generator))
    return transform


class collate:  # noqa: N801 -- used like a function: collate_fn=policysearch.collate(policy)
    """Makes augmented batches in a `DataLoader`, for policies that mix samples.

    Samples are joined as torch does by default, then the first two entries, samples and classes,
    go through the policy together. In loader workers every worker draws from a stream of its own.
    Adversarial operations need the model, which is not there: apply them in the training loop.

    Args:
      policy: As `load_policy` takes it, or a transform.
      n_classes: Number of classes.
      **options: Of `load_policy`.

    Examples:
      >>> import torch, policysearch
      >>> data = [(torch.zeros(3, 8, 8), 0), (torch.ones(3, 8, 8), 1)]
      >>> x, y = policysearch.collate("mixup", n_classes=2)(data)
      >>> x.shape, y.shape
      (torch.Size([2, 3, 8, 8]), torch.Size([2, 2]))
    """

    def __init__(self, policy: Any, n_classes: int | None = None, **options: Any) -> None:
        is_made = isinstance(policy, PolicyTransform)
        self.transform: PolicyTransform = (
            policy if is_made else load_policy(policy, n_classes=n_classes, **options)
        )
        asking = [s.name for s in company_ops(self.transform.policy) if s.needs_model]
        if asking:
            raise InvalidValueError(
                f"Op '{asking[0]}' asks the model in training, which a loader does not have. Call "
                "transform(x, y, model=model) in the training loop."
            )

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Joins samples `(x, y, *rest)` to an augmented batch, a tuple."""
        joined = torch.utils.data.default_collate(list(samples))
        if not isinstance(joined, (tuple, list)) or len(joined) < 2:
            raise InvalidValueError(
                "Samples must be tuples (x, y, *rest), such as (image, label), got "
                f"{type(samples[0]).__name__}."
            )
        return (*self.transform(joined[0], joined[1]), *joined[2:])
