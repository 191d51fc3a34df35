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
from policysearch.generators.fit import KINDS
from policysearch.modalities import Batch, Modality, modality_of
from policysearch.modalities.base import OneByOne, Restore
from policysearch.named import PolicySource, resolve_policy
from policysearch.ops.registry import company_ops
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument

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
      generator: What `fit` fits for operations that need one, by its name; see `load_policy`.

    Attributes:
      generator: That, fitted; `None` before.

    Examples:
      >>> import torch, policysearch
      >>> transform = policysearch.load_policy("trivialaugment-wide", seed=0)
      >>> transform(torch.zeros(8, 3, 32, 32, dtype=torch.uint8)).shape
      torch.Size([8, 3, 32, 32])
    """

    def __init__(
        self,
        policy: Policy,
        seed: int = 0,
        settings: Any = None,
        n_classes: int | None = None,
        generator: str = "gaussian",
    ) -> None:
        super().__init__()
        self.policy = policy
        self.seed = int(seed)
        self.settings = settings
        if n_classes is not None and not (type(n_classes) is int and n_classes > 0):
            raise InvalidValueError(
                f"`n_classes` must be a whole number above 0, got {shortened(n_classes)}."
            )
        by_class = policy.class_probability
        if by_class is not None and n_classes not in (None, len(by_class)):
            raise InvalidValueError(
                f"`n_classes` must be {len(by_class)}, for which the policy has a probability by "
                f"class, got {n_classes}."
            )
        self.n_classes = n_classes if by_class is None else len(by_class)
        self._in_company = company_ops(policy)
        self.generator: Generator | None = None
        self._generator_name = generator
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
        data = fit_data(self._modality, batch, shares.argmax(dim=1).cpu().numpy(), shares.shape[1])
        names = [str(i) for i in range(shares.shape[1])]
        self.generator = fit_generator(self._generator_name, data, self.seed, names)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that draws with an explicit `index` belong to."""
        self._epoch = int(epoch)

    def draw(
        self,
        indices: ArrayLike,
        epoch: ArrayLike | None = None,
        progress: ArrayLike | None = None,
        y: Any = None,
    ) -> Drawn:
        """Draws for samples given by their indices, as plain data (see `Drawn`).

        Epoch and progress are for each sample or one for all; by default what `set_epoch` and
        `set_progress` said. A policy with a probability by class needs targets `y` as well.
        """
        epoch = self._epoch if epoch is None else epoch
        progress = self._said_progress() if progress is None else progress
        return self._drawer.draw(indices, epoch, progress, self._shares(y, np.size(indices)))

    def _shares(self, y: Any, n: int) -> NDArray[np.float32] | None:
        """Shares of classes of samples, where the policy draws by them."""
        if self.policy.class_probability is None or y is None:
            return None
        shares: NDArray[np.float32] = as_targets(y, n, self.n_classes).cpu().numpy()
        return shares

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
            Operations that stay within a class or attack a model need the classes as well, and
            so does a policy with a probability by class.
          index: Dataset index of the sample, or one per sample of a batch. The result is then a
            function of (seed, epoch, index), and of the progress where the policy has a schedule.
            Without it, every call draws afresh: reproducible
            for a fixed order of calls.
          epoch: Epoch for `index`; default is what `set_epoch` said.
          lengths: Steps of each series that are no padding, which is left as it is; whole numbers
            `(n,)`, or one for a single series. Default: all. Padding of a clip is silence, into
            which one that becomes longer goes on.
          sample_rate: Of these clips, in Hz; default is what `load_policy` was told.
          mask: Masks of these images, `(H, W)`, `(n, H, W)`, `(n, C, H, W)`, of volumes with D
            before H, any dtype, numpy or torch: moved as their images are, with nearest
            interpolation and 0 from outside. The result is then `(x, mask)`, or `(x, y, mask)`.
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
                drawn = self._drawn(len(batch), index, epoch, y)
                x, y = restore(self._augmented(batch, drawn, company)), self._shared(y, company)
            elif index is None and mask is None and self.policy.class_probability is None:
                x = restore(self._apply_fresh(batch))
            else:
                drawn = self._drawn(len(batch), index, epoch, y)
                x = restore(self._augmented(batch, drawn))
                if mask is not None:
                    mask = self._modality.moved(mask, batch, drawn, self.policy)
        found = [x, *(value for value in (y, mask) if value is not None)]
        return found[0] if len(found) == 1 else tuple(found)

    def _drawn(self, n: int, index: ArrayLike | None, epoch: int | None, y: Any) -> Drawn:
        """Draws for these samples; without an index for the next ones of this stream.

        Loader workers have streams apart.
        """
        if index is not None:
            return self.draw(index, epoch, y=y)
        calls = list(itertools.islice(self._calls, n))
        progress, shares = self._said_progress(), self._shares(y, n)
        return self._drawer.draw(np.array(calls, np.int64), self._stream(), progress, shares)

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

    def _take_in_one(self, sample: Any, target: Any) -> tuple[Batch, Restore]:
        one, undo = self._modality.one(sample)
        batch, restore = self._take_in(one, y=target)
        return batch, lambda out: undo(restore(out))

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
          y: Target of each, for operations that stay within a class and for a probability by
            class.
        """
        if not (self.training and self.policy.sub_policies):
            return list(samples)
        check_alone(self.policy)
        targets = [None] * len(samples) if y is None else y
        pairs = zip(samples, targets, strict=True)
        taken = [self._take_in_one(sample, target) for sample, target in pairs]
        drawn = self.draw(index, epoch, progress, self._joined(targets))
        augmented = self._modality.each([batch for batch, _ in taken], drawn, self.policy)
        return [restore(x) for x, (_, restore) in zip(augmented, taken, strict=True)]

    def _joined(self, targets: Sequence[Any]) -> Any:
        """Targets of single samples as those of a batch, where the policy draws by them."""
        if self.policy.class_probability is None or any(t is None for t in targets):
            return None
        return np.stack([np.asarray(target) for target in targets])

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
    generator: str | os.PathLike[str] | None = None,
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
        come as shares of classes, or the policy says it.
      generator: For policies that synthesize: `gaussian`, `vae`, `gan`, a folder of images by
        class, or `package.module:factory`, fitted with `transform.fit(x, y)` to the training
        samples; or a file `.safetensors` that `save_generator` wrote. `None`: the file beside the
        policy file, if that names one; else the kind that it names, else `gaussian`.

    Raises:
      PolicySearchError: Naming every problem of the file, or the nearest known name.
    """
    document = resolve_policy(source)
    policy = document.policy
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
    name = _generator_name(document) if generator is None else os.fspath(generator)
    transform = PolicyTransform(policy, seed, settings, n_classes, name)
    if name.endswith(".safetensors"):
        from policysearch.generators.files import load_generator

        transform.generator = load_generator(Path(name))
    return transform


def _generator_name(document: PolicyDocument) -> str:
    """What a policy file says of its generator, as far as a file may say it.

    The file of a fitted one lies beside it. A kind of ours is fitted. Anything else is code or a
    folder of somebody's, which only the caller may name.
    """
    source = document.generator
    if source is None or not any(spec.needs_fit for spec in company_ops(document.policy)):
        return "gaussian"
    if source.file is not None:
        path = (document.folder or Path()) / source.file
        if document.folder is not None and path.is_file():
            return str(path)
        raise InvalidValueError(
            f"The generator of this policy, '{path}', is not there: it lies beside the policy "
            f"file, with {path.stem}.json. Copy both, or fit one: load_policy(..., "
            "generator='gaussian') and transform.fit(x, y)."
        )
    if source.name in KINDS:
        return source.name
    raise InvalidValueError(
        f"This policy was searched with the generator {shortened(source.name)}, which is not "
        "beside it. Say what it is to use: load_policy(..., generator=...)"
    )
