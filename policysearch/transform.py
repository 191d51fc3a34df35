"""Applying a policy: draw first, then apply.

`draw` turns (policy, seed, epoch, sample indices) into plain data: which op, with which signed
magnitude, each sample gets at each stage. `apply` computes it on a batch. The single-sample entry
is a batch of one, so both have one semantics; and because the draw is counter-based, the result
for a sample depends on (seed, epoch, index) only, never on batch size, order or worker count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.mixture import mix_weights, mixed, n_mix_draws, repeated
from policysearch.named import PolicySource, resolve_policy
from policysearch.ops.image_kernels import ImageSettings, StagesAhead, apply_stages, as_rows
from policysearch.ops.registry import check_policy, get_spec
from policysearch.policy import OpCall, Policy
from policysearch.samples import as_batch
from policysearch.seeding import uniforms

_DRAWS_PER_STAGE = 4  # apply?, which choice, magnitude, sign
_N_AHEAD = 64  # single images that are drawn for at a time

_Like = tuple[torch.Size, torch.dtype, torch.device]


@dataclass(frozen=True)
class Drawn:
    """What was drawn for a batch: plain data, enough to replay it exactly.

    Attributes:
      ops: Names that `op_index` refers to.
      op_index: Shape `(n, n_stages)`, int64; -1 means the stage leaves the sample alone.
      magnitude: Shape `(n, n_stages)`, float64; signed, in the unit of the op (see `is_pixels`).
      is_pixels: Shape `(n, n_stages)`, bool; the magnitude counts pixels instead.
      extra: Shape `(n, n_stages, k)`, float64 in [0, 1): further numbers for ops that need them.
      mix: Shape `(n, 1 + n_chains)`, float64: weights of the sample and of each of its chains,
        whose stages lie side by side, those of the first chain first. `None`: a single chain,
        which is not mixed.
    """

    ops: tuple[str, ...]
    op_index: NDArray[np.int64]
    magnitude: NDArray[np.float64]
    is_pixels: NDArray[np.bool_]
    extra: NDArray[np.float64]
    mix: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.op_index)

    @property
    def n_chains(self) -> int:
        """Chains per sample."""
        return 1 if self.mix is None else self.mix.shape[1] - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        data = {
            "ops": list(self.ops),
            "op_index": self.op_index.tolist(),
            "magnitude": self.magnitude.tolist(),
            "is_pixels": self.is_pixels.tolist(),
            "extra": self.extra.tolist(),
        }
        return data if self.mix is None else data | {"mix": self.mix.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Drawn:
        """Inverse of `to_dict`."""
        index = np.asarray(data["op_index"], dtype=np.int64)
        shape = index.shape if index.ndim == 2 else (0, 0)  # lists of no samples have no width
        extra = np.asarray(data["extra"], dtype=np.float64)
        mix = data.get("mix")
        return cls(
            tuple(data["ops"]),
            index.reshape(shape),
            np.asarray(data["magnitude"], dtype=np.float64).reshape(shape),
            np.asarray(data["is_pixels"], dtype=np.bool_).reshape(shape),
            extra if extra.ndim == 3 else np.zeros((*shape, 0)),
            None if mix is None else np.asarray(mix, dtype=np.float64),
        )

    def rows(self, first: int, last: int) -> Drawn:
        """The draws of samples `first` to `last`, the latter left out."""
        part = slice(first, last)
        index, magnitude = self.op_index[part], self.magnitude[part]
        mix = None if self.mix is None else self.mix[part]
        return Drawn(self.ops, index, magnitude, self.is_pixels[part], self.extra[part], mix)

    def in_rows(self, n: int) -> Drawn:
        """The same stages as those of `n` samples of one chain each, in the same order."""

        def rows(values: NDArray[Any]) -> NDArray[Any]:
            return values.reshape(n, values.shape[0] * values.shape[1] // n, *values.shape[2:])

        index, magnitude = rows(self.op_index), rows(self.magnitude)
        return Drawn(self.ops, index, magnitude, rows(self.is_pixels), rows(self.extra))

    def chains(self, sample: int) -> list[list[tuple[str, float]]]:
        """Ops and signed magnitudes of each chain of one sample, in order."""
        stages = np.arange(self.op_index.shape[1]).reshape(self.n_chains, -1)
        return [
            [
                (self.ops[op], float(self.magnitude[sample, stage]))
                for stage, op in zip(chain, self.op_index[sample, chain], strict=True)
                if op >= 0
            ]
            for chain in stages
        ]

    def names(self, sample: int) -> list[tuple[str, float]]:
        """Ops and signed magnitudes that one sample gets, in order; chain after chain."""
        return [call for chain in self.chains(sample) for call in chain]


class _Tables:
    """A policy as arrays indexed by [sub-policy, stage, choice], for drawing whole batches."""

    def __init__(self, policy: Policy) -> None:
        subs = policy.sub_policies
        n_stages = max((len(sub.stages) for sub in subs), default=0)
        n_choices = max((len(st.choices) for sub in subs for st in sub.stages), default=0)
        self.shape = (len(subs), n_stages, n_choices)
        weights = np.array([sub.weight for sub in subs], dtype=np.float64)
        self.sub_edges = np.cumsum(weights / weights.sum()) if len(subs) else weights
        self.probability = np.zeros((len(subs), n_stages))
        self.edges = np.full(self.shape, np.inf)
        self.op = np.full(self.shape, -1, dtype=np.int64)
        self.low = np.zeros(self.shape)
        self.high = np.zeros(self.shape)
        self.is_pixels = np.zeros(self.shape, dtype=np.bool_)
        names: dict[str, int] = {}
        for i, sub in enumerate(subs):
            for j, stage in enumerate(sub.stages):
                self.probability[i, j] = stage.probability
                self._fill(i, j, stage.choices, names)
        self.ops = tuple(names)
        specs = [get_spec(policy.modality, name) for name in names]
        self.is_signed = np.array([spec.is_signed for spec in specs], dtype=np.bool_)
        self.n_extra = max((spec.n_draws for spec in specs), default=0)

    def _fill(self, i: int, j: int, choices: tuple[OpCall, ...], names: dict[str, int]) -> None:
        weights = np.array([call.weight for call in choices])
        self.edges[i, j, : len(choices) - 1] = np.cumsum(weights / weights.sum())[:-1]
        for k, call in enumerate(choices):
            if call.op != "identity":
                self.op[i, j, k] = names.setdefault(call.op, len(names))
            self.low[i, j, k] = call.low or 0.0
            self.high[i, j, k] = call.high or 0.0
            self.is_pixels[i, j, k] = call.unit == "px" and call.op.startswith("translate")


class Drawer:
    """Draws from a policy: the random half of a transform, free of torch and of pixels."""

    def __init__(self, policy: Policy, seed: int) -> None:
        check_policy(policy)
        self.policy = policy
        self.seed = int(seed)
        self._tables = _Tables(policy)

    def draw(self, indices: ArrayLike, epochs: ArrayLike = 0) -> Drawn:
        """Draws for samples given by their index; see `policysearch.seeding.uniforms`."""
        tables, mix = self._tables, self.policy.mix
        index = np.atleast_1d(np.asarray(indices))
        n, (n_subs, n_stages, _) = len(index), tables.shape
        if n_subs == 0 or n == 0:
            return Drawn(
                tables.ops,
                np.full((n, n_stages), -1, dtype=np.int64),
                np.zeros((n, n_stages)),
                np.zeros((n, n_stages), dtype=np.bool_),
                np.zeros((n, n_stages, 0)),
            )
        per_chain = 1 + n_stages * (_DRAWS_PER_STAGE + tables.n_extra)
        if mix is None:
            return self._chains(uniforms(self.seed, epochs, index, per_chain))
        u = uniforms(self.seed, epochs, index, mix.width * per_chain + n_mix_draws(mix))
        of_chains, rest = np.split(u, [mix.width * per_chain], axis=1)
        chains = self._chains(of_chains.reshape(n * mix.width, per_chain))
        return dataclasses.replace(chains.in_rows(n), mix=mix_weights(mix, rest))

    def _chains(self, u: NDArray[np.float64]) -> Drawn:
        """One chain for every row of uniform numbers."""
        tables, n, (n_subs, n_stages, _) = self._tables, len(u), self._tables.shape
        sub = np.minimum(np.searchsorted(tables.sub_edges, u[:, 0], side="right"), n_subs - 1)
        block = u[:, 1:].reshape(n, n_stages, -1)
        stage = np.arange(n_stages)[None, :]
        rows = sub[:, None]
        choice = (block[:, :, 1, None] >= tables.edges[rows, stage]).sum(axis=2)
        op = tables.op[rows, stage, choice]
        low, high = tables.low[rows, stage, choice], tables.high[rows, stage, choice]
        magnitude = low + (high - low) * block[:, :, 2]
        if len(tables.ops):
            is_negative = tables.is_signed[op] & (block[:, :, 3] < 0.5)
            magnitude = np.where(is_negative, -magnitude, magnitude)
        is_applied = block[:, :, 0] < tables.probability[rows, stage]
        return Drawn(
            tables.ops,
            np.where(is_applied, op, -1),
            magnitude,
            tables.is_pixels[rows, stage, choice],
            block[:, :, _DRAWS_PER_STAGE:],
        )


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
        self._like: _Like | None = None
        self._stages: StagesAhead | None = None

    def apply(self, x: Tensor, row: int) -> Tensor:
        """Applies row `row` of the draws to `x`, shape `(1, C, H, W)`."""
        like = (x.shape, x.dtype, x.device)
        if like != self._like:
            self._like, self._stages = like, None
            return apply_drawn(x, self._drawn.rows(row, row + 1), self._policy)
        if self._stages is None:
            self._stages = self._compiled(x)
        stages, n_chains, mix = self._stages, self._drawn.n_chains, self._drawn.mix
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
    `eval()` mode it returns its input, so that a validation pass is never augmented.

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
        self._calls = 0
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
        n, first = len(batch), self._calls
        self._calls += n
        if n != 1:
            drawn = self._drawer.draw(np.arange(first, first + n), stream)
            return apply_drawn(batch, drawn, self.policy)
        ahead = self._ahead
        if ahead is None or ahead.stream != stream or first not in ahead.calls:
            calls = range(first, first + _N_AHEAD)
            drawn = self._drawer.draw(np.array(calls), stream)
            self._ahead = ahead = _Ahead(stream, calls, _OneByOne(drawn, self.policy))
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
        self.dataset = dataset
        self.transform = transform
        self._visits = torch.zeros(len(dataset), dtype=torch.int64)
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
        places = [index + len(self) if index < 0 else index for index in indices]
        items = [self.dataset[place] for place in places]
        for item in items:
            if not isinstance(item, (tuple, list)):
                raise InvalidValueError(
                    "`dataset` must yield tuples (x, *rest), such as (image, label), got "
                    f"{type(item).__name__}."
                )
        augmented = self.transform.each(
            [item[0] for item in items], places, [self._visit(place) for place in places]
        )
        return [(x, *item[1:]) for x, item in zip(augmented, items, strict=True)]

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
