"""Drawing from a policy: the random half of a transform, free of torch and of pixels.

A draw turns (policy, seed, epoch, sample indices) into plain data: which op, with which signed
magnitude, each sample gets at each stage. It is counter-based, so what a sample gets depends on
(seed, epoch, index) only, never on batch size, order or worker count. A policy with a schedule
takes the progress of the training as well, which scales what is drawn and draws nothing; one with
a probability by class takes the classes, and is applied to some less often.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policysearch.errors import InvalidValueError, shortened
from policysearch.mixture import mix_weights, n_mix_draws
from policysearch.ops.registry import check_policy, get_spec
from policysearch.policy import OpCall, Policy
from policysearch.seeding import uniforms

_DRAWS_PER_STAGE = 4  # apply?, which choice, magnitude, sign


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
        return self.take(slice(first, last))

    def take(self, part: slice | NDArray[np.intp]) -> Drawn:
        """The draws of some samples."""
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
        self.weakest = np.array([spec.low for spec in specs])
        self.is_scaled = np.array(
            [spec.has_magnitude and spec.is_identity_at_low for spec in specs], dtype=np.bool_
        )
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


def _whole_numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if (array.dtype.kind not in "iu" and array.size) or array.ndim > 1:
        raise InvalidValueError(
            f"`{name}` must be a whole number below 2**63 or a list of them, got "
            f"{shortened(values)}."
        )
    return array


def checked_progress(progress: ArrayLike) -> NDArray[np.float64]:
    """Shares of a training that are done, one or a list of them, as an array."""
    try:
        array = np.asarray(progress, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(1, np.nan)
    if array.ndim > 1 or not ((array >= 0) & (array <= 1)).all():
        raise InvalidValueError(
            f"`progress` must be a number in [0, 1] or a list of them, got {shortened(progress)}."
        )
    return array


class Drawer:
    """Draws from a policy."""

    def __init__(self, policy: Policy, seed: int) -> None:
        check_policy(policy)
        self.policy = policy
        self.seed = int(seed)
        self._tables = _Tables(policy)

    def draw(
        self,
        indices: ArrayLike,
        epochs: ArrayLike = 0,
        progress: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Drawn:
        """Draws for samples given by their index; see `policysearch.seeding.uniforms`.

        Args:
          indices: Index of each sample.
          epochs: Epoch of each, or one for all.
          progress: Share of the training that is done, for each or one for all, in [0, 1]. Needed
            by a policy with a schedule; another one takes no notice.
          classes: Class of each sample, `(n,)`, or its shares of classes, `(n, n_classes)`. Needed
            by a policy with a probability by class; another one takes no notice.

        Raises:
          InvalidValueError: For numbers of another kind, and without progress or classes that are
            needed.
        """
        tables, mix = self._tables, self.policy.mix
        strength = self._strength(progress)
        index = np.atleast_1d(_whole_numbers("index", indices))
        epochs = _whole_numbers("epoch", epochs)
        n, (n_subs, n_stages, _) = len(index), tables.shape
        often = self._often(classes, n)
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
            return self._chains(uniforms(self.seed, epochs, index, per_chain), strength, often)
        u = uniforms(self.seed, epochs, index, mix.width * per_chain + n_mix_draws(mix))
        of_chains, rest = np.split(u, [mix.width * per_chain], axis=1)
        if strength is not None:
            strength = np.repeat(np.broadcast_to(strength, n), mix.width)
        if often is not None:
            often = np.repeat(often, mix.width)
        chains = self._chains(of_chains.reshape(n * mix.width, per_chain), strength, often)
        return dataclasses.replace(chains.in_rows(n), mix=mix_weights(mix, rest))

    def _strength(self, progress: ArrayLike | None) -> NDArray[np.float64] | None:
        """Strength of each sample, or one for all; `None` when it is full throughout."""
        schedule = self.policy.schedule
        if schedule is None:
            return None
        if progress is None:
            raise InvalidValueError(
                "The strength of this policy changes over the training, and the progress is not "
                "known. Call `transform.set_progress(epoch / n_epochs)` before each epoch, or use "
                "`AugmentedDataset(dataset, transform, n_epochs=...)`."
            )
        at, strengths = zip(*schedule.knots, strict=True)
        return np.atleast_1d(np.interp(checked_progress(progress), at, strengths))

    def _often(self, classes: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
        """Factor of the probabilities of each sample; `None` when classes make no difference."""
        if self.policy.class_probability is None:
            return None
        by_class = np.array(self.policy.class_probability)
        rule = f"whole numbers in [0, {len(by_class) - 1}], or their shares ({n}, {len(by_class)})"
        if classes is None:
            raise InvalidValueError(
                "The probability of this policy depends on the class of a sample, which is not "
                f"known. Call transform(x, y) with the classes: {rule}."
            )
        array = np.asarray(classes)
        if array.shape == (n, len(by_class)) and array.dtype.kind == "f":
            return np.asarray(array @ by_class)
        is_whole = array.shape == (n,) and (array.dtype.kind in "iu" or not n)
        if not is_whole or not ((array >= 0) & (array < len(by_class))).all():
            raise InvalidValueError(
                f"Classes must be {rule}: this policy is for {len(by_class)} classes. Got "
                f"{shortened(classes)}."
            )
        return by_class[array.astype(np.int64)]

    def _chains(
        self,
        u: NDArray[np.float64],
        strength: NDArray[np.float64] | None,
        often: NDArray[np.float64] | None,
    ) -> Drawn:
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
        chance = tables.probability[rows, stage]
        if strength is not None and len(tables.ops):
            factor, is_scaled = strength[:, None], tables.is_scaled[op]
            weakest = np.minimum(tables.weakest[op], magnitude)
            weaker = weakest + factor * (magnitude - weakest)
            magnitude = np.where(is_scaled, weaker, magnitude)
            chance = chance * np.where(is_scaled, factor > 0, factor)
        if len(tables.ops):
            is_negative = tables.is_signed[op] & (block[:, :, 3] < 0.5)
            magnitude = np.where(is_negative, -magnitude, magnitude)
        if often is not None:
            chance = chance * often[:, None]
        is_applied = block[:, :, 0] < chance
        return Drawn(
            tables.ops,
            np.where(is_applied, op, -1),
            magnitude,
            tables.is_pixels[rows, stage, choice],
            block[:, :, _DRAWS_PER_STAGE:],
        )
