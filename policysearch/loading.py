"""What a `DataLoader` needs: samples augmented one by one, or joined to augmented batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from policysearch.errors import InvalidValueError, shortened
from policysearch.ops.registry import company_ops
from policysearch.transform import PolicyTransform, load_policy


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
