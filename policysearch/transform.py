"""Applying a policy: draw first (`policysearch.draws`), then apply.

The single-sample entry is a batch of one, so both have one semantics; and because draws are
counter-based, the result for a sample depends on (seed, epoch, index) only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from policysearch.draws import Drawer, Drawn
from policysearch.errors import InvalidValueError
from policysearch.mixture import mixed, repeated
from policysearch.named import PolicySource, resolve_policy
from policysearch.ops.image_kernels import ImageSettings, StagesAhead, apply_stages, as_rows
from policysearch.policy import Policy
from policysearch.samples import as_batch

_N_AHEAD = 64  # single images that are drawn for at a time
_N_CALLS = 2**62

_Like = tuple[torch.Size, torch.dtype, torch.device]


def apply_drawn(x: Tensor, drawn: Drawn, policy: Policy) -> Tensor:
    """Applies what was drawn to a batch of images.

    Args:
      x: `(n, C, H, W)`; uint8, uint16, or floating in [0, 1]. Not modified.
      drawn: One row per sample.
      policy: Gives interpolation and fill.

    Returns:
      A tensor of the same shape, dtype and device; `x` itself when no stage applies.
    """
    if len(drawn) != len(x):
        raise InvalidValueError(f"`drawn` must hold {len(x)} samples, got {len(drawn)}.")
    if drawn.mix is not None:

        def chains_of(part: slice) -> Tensor:
            copies = repeated(x[part], drawn.n_chains)
            chains = drawn.rows(part.start, part.stop).in_rows(len(copies))
            return apply_drawn(copies, chains, policy)

        return _mixed(x, drawn, drawn.mix, chains_of)
    return apply_stages(
        x,
        drawn.ops,
        drawn.op_index,
        _magnitudes(drawn, x),
        drawn.extra,
        ImageSettings(policy.interpolation, policy.fill),
    )


def _mixed(
    x: Tensor, drawn: Drawn, mix: NDArray[np.float64], chains_of: Callable[[slice], Tensor]
) -> Tensor:
    is_changed = (drawn.op_index >= 0).any(axis=1, keepdims=True)
    if not is_changed.any():
        return x
    alone = np.eye(1, mix.shape[1])  # averaging a sample with itself could cost it a level
    return mixed(x, np.where(is_changed, mix, alone), chains_of)


def _magnitudes(drawn: Drawn, x: Tensor) -> NDArray[np.float64]:
    """Magnitudes in default units: shifts by pixels as fractions of the side they move along."""
    if not drawn.is_pixels.any():
        return drawn.magnitude
    along_y = np.array([name == "translate_y" for name in drawn.ops])
    side = np.where(along_y[drawn.op_index], x.shape[2], x.shape[3])
    fraction = np.clip(drawn.magnitude / side, -1.0, 1.0)
    return np.where(drawn.is_pixels, fraction, drawn.magnitude)


class _OneByOne:
    """Draws for several samples that come one by one, as single images.

    They are compiled together, which costs about as much as compiling one, as soon as two
    neighbours have the same shape.
    """

    def __init__(self, drawn: Drawn, policy: Policy) -> None:
        self._drawn = drawn
        self._policy = policy
        # One value, so that threads see a shape with its own stages or not at all.
        self._compiled_for: tuple[_Like, StagesAhead | None] | None = None

    def apply(self, x: Tensor, row: int) -> Tensor:
        """Applies row `row` of the draws to `x`, shape `(1, C, H, W)`."""
        like = (x.shape, x.dtype, x.device)
        known = self._compiled_for
        if known is None or known[0] != like:
            self._compiled_for = like, None
            return apply_drawn(x, self._drawn.rows(row, row + 1), self._policy)
        stages = known[1]
        if stages is None:
            stages = self._compiled(x)
            self._compiled_for = like, stages
        n_chains, mix = self._drawn.n_chains, self._drawn.mix
        if mix is None:
            return stages.apply(x, row)

        def chains_of(_: slice) -> Tensor:
            return torch.cat([stages.apply(x, row * n_chains + i) for i in range(n_chains)])

        return _mixed(x, self._drawn.rows(row, row + 1), mix[row : row + 1], chains_of)

    def _compiled(self, x: Tensor) -> StagesAhead:
        drawn, policy = self._drawn, self._policy
        chains = drawn.in_rows(len(drawn) * drawn.n_chains)
        return StagesAhead(
            as_rows(chains.ops, chains.op_index, _magnitudes(chains, x), chains.extra),
            x,
            ImageSettings(policy.interpolation, policy.fill),
        )


@dataclass(frozen=True)
class _Ahead:
    """Draws for the calls to come; because draws are counter-based, they may be early."""

    stream: int
    calls: range
    samples: _OneByOne


class PolicyTransform(torch.nn.Module):
    """A policy, ready to augment single samples and batches.

    Call it with one image (PIL image; numpy `(H, W)` or `(H, W, C)`; torch `(C, H, W)`) or with a
    batch (torch `(n, C, H, W)`, any device); the result has the same type, shape and dtype. In
    `eval()` mode it returns its input, so that a validation pass is never augmented. An array or
    tensor that its draw leaves unchanged comes back as it is, not as a copy.

    Args:
      policy: What to apply.
      seed: Root of all draws.

    Examples:
      >>> import torch, policysearch
      >>> transform = policysearch.load_policy("trivialaugment-wide", seed=0)
      >>> transform(torch.zeros(8, 3, 32, 32, dtype=torch.uint8)).shape
      torch.Size([8, 3, 32, 32])
    """

    def __init__(self, policy: Policy, seed: int = 0) -> None:
        super().__init__()
        self.policy = policy
        self.seed = int(seed)
        self._drawer = Drawer(policy, seed)
        self._calls = iter(range(_N_CALLS))  # taken from in one step: threads never share a draw
        self._epoch = 0
        self._ahead: _Ahead | None = None

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that draws with an explicit `index` belong to."""
        self._epoch = int(epoch)

    def draw(self, indices: ArrayLike, epoch: ArrayLike | None = None) -> Drawn:
        """Draws for samples given by their indices, as plain data (see `Drawn`)."""
        return self._drawer.draw(indices, self._epoch if epoch is None else epoch)

    def replay(self, x: Any, drawn: Drawn) -> Any:
        """Applies a recorded draw to a sample or batch: the same pixels again."""
        batch, restore = as_batch(x)
        return restore(apply_drawn(batch, drawn, self.policy))

    def forward(
        self, x: Any, y: Any = None, *, index: ArrayLike | None = None, epoch: int | None = None
    ) -> Any:
        """Augments a sample or a batch.

        Args:
          x: Sample or batch, see the class.
          y: Targets, passed through; when given, the result is `(x, y)`.
          index: Dataset index of the sample, or one per sample of a batch. The result is then a
            function of (seed, epoch, index). Without it, every call draws afresh: reproducible
            for a fixed order of calls.
          epoch: Epoch for `index`; default is what `set_epoch` said.
        """
        for value in (x, y):
            _check_kind(value)
        if torch.compiler.is_compiling():  # draws and machine code are not for graphs
            untraced = torch.compiler.disable(self._augment)  # type: ignore[no-untyped-call]
            return untraced(x, y, index, epoch)
        return self._augment(x, y, index, epoch)

    def _augment(self, x: Any, y: Any, index: ArrayLike | None, epoch: int | None) -> Any:
        if self.training and self.policy.sub_policies:
            batch, restore = as_batch(x)
            if index is None:
                x = restore(self._apply_fresh(batch))
            else:
                x = restore(apply_drawn(batch, self.draw(index, epoch), self.policy))
        return x if y is None else (x, y)

    def _apply_fresh(self, batch: Tensor) -> Tensor:
        """Draws for the next samples of this stream; loader workers have streams apart."""
        worker = torch.utils.data.get_worker_info()
        stream = -1 if worker is None else worker.seed
        calls = list(itertools.islice(self._calls, len(batch)))
        if len(calls) != 1:
            return apply_drawn(batch, self._drawer.draw(np.array(calls), stream), self.policy)
        first = calls[0]
        ahead = self._ahead
        if ahead is None or ahead.stream != stream or first not in ahead.calls:
            coming = range(first, first + _N_AHEAD)
            drawn = self._drawer.draw(np.array(coming), stream)
            self._ahead = ahead = _Ahead(stream, coming, _OneByOne(drawn, self.policy))
        return ahead.samples.apply(batch, first - ahead.calls.start)

    def each(self, samples: Sequence[Any], index: ArrayLike, epoch: ArrayLike) -> list[Any]:
        """Augments single samples of any shapes: `[transform(x, index=i, epoch=e), ...]`, faster.

        Args:
          samples: Single images, see the class.
          index: Dataset index of each.
          epoch: Epoch of each, or one for all.
        """
        if not (self.training and self.policy.sub_policies):
            return list(samples)
        one_by_one = _OneByOne(self.draw(index, epoch), self.policy)
        results = []
        for row, sample in enumerate(samples):
            x, restore = as_batch(sample)
            results.append(restore(one_by_one.apply(x, row)))
        return results

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ahead": None}

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
            "alone, and class labels as `y`."
        )


class AugmentedDataset(torch.utils.data.Dataset[Any]):
    """A map-style dataset whose first item is augmented, the same for any number of workers.

    The draw of a sample is a function of (seed, visit, index), where visit counts how often the
    sample was read. The count lives in shared memory: loader workers need no `set_epoch`, whether
    they are forked, spawned, persistent or none. It counts reads, not epochs: after an epoch that
    was left early, with samples read ahead by workers, call `set_epoch` to be on the same count
    again whatever the number of workers.

    Args:
      dataset: Yields tuples or lists `(x, *rest)`; any image that `transform` takes as `x`.
      transform: Applied to `x`.
    """

    def __init__(self, dataset: Any, transform: PolicyTransform) -> None:
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
        self.dataset = dataset
        self.transform = transform
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
        augmented = self.transform.each(
            [item[0] for item in items], places, [self._visit(place) for place in places]
        )
        return [(x, *item[1:]) for x, item in zip(augmented, items, strict=True)]

    def _place(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self._visits):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        return place

    def _visit(self, place: int) -> int:
        visits = self._visits.numpy()
        visit = int(visits[place])
        visits[place] = visit + 1
        return visit


def load_policy(source: PolicySource, *, seed: int = 0) -> PolicyTransform:
    """Loads a policy as a transform for single samples and batches.

    Args:
      source: A policy file, a run directory, a shipped name such as `trivialaugment-wide`, parsed
        JSON, or a `Policy`.
      seed: Root of all draws.

    Raises:
      PolicySearchError: Naming every problem of the file, or the nearest known name.
    """
    return PolicyTransform(resolve_policy(source).policy, seed)
