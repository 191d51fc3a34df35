"""Whole batches under a policy: its plain operations, and those that need company.

Stages are applied in order. Plain stages between two operations that need company go to the
kernels of the modality in one go. An operation that needs company sees the batch as the stages
before it have left it, the same for all samples of the stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError, shortened
from policysearch.generators.base import Generator
from policysearch.generators.samples import FitData
from policysearch.modalities.base import Batch, Modality, with_rows
from policysearch.ops import adversarial, mixing
from policysearch.ops.noise import uniform_places
from policysearch.ops.registry import all_ops, company_ops, op_table
from policysearch.ops.spec import OpSpec
from policysearch.ops.stages import StageGroup, batches_of, stage_groups
from policysearch.policy import Policy
from policysearch.synthesis import Synthesis


@dataclass
class Company:
    """What the samples of a batch have about them.

    Attributes:
      targets: Share of each class, `(n, n_classes)`, float32. After an application: those that
        belong to the result.
      sizes: Sizes of the batches that lie one after the other; mixing stays within each. Empty:
        one batch.
      model: Gives logits of samples, images as floats in [0, 1].
      module: The network behind it, which must come through unchanged.
      generator: Fitted to training samples.
    """

    targets: Tensor | None = None
    sizes: tuple[int, ...] = ()
    model: Callable[..., Tensor] | None = None
    module: nn.Module | None = field(default=None, repr=False)
    generator: Generator | None = None


def as_targets(y: Any, n: int, n_classes: int | None) -> Tensor:
    """Shares of classes `(n, n_classes)`, float32, of classes or of shares.

    Raises:
      InvalidValueError: For targets of another form, or classes whose number is not told.
    """
    try:
        found = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidValueError(
            f"`y` must be classes, whole numbers ({n},), or shares of classes ({n}, n_classes), "
            f"got {shortened(y)}."
        ) from error
    if found.ndim == 2 and found.is_floating_point():
        sums = found.sum(dim=1)
        are_shares = bool((found >= 0).all()) and bool(((sums - 1).abs() <= 1e-3).all())
        if len(found) != n or not are_shares:
            raise InvalidValueError(
                f"`y` must hold shares of classes for {n} samples, at least 0 with sum 1, got "
                f"shape {tuple(found.shape)}."
            )
        if n_classes is not None and found.shape[1] != n_classes:
            raise InvalidValueError(
                f"`y` must hold shares of {n_classes} classes, as `n_classes` or the policy says, "
                f"got {found.shape[1]} columns."
            )
        return found.to(torch.float32)
    found = found.reshape(-1)
    if found.is_floating_point() or found.is_complex() or len(found) != n:
        raise InvalidValueError(
            f"`y` must be classes, whole numbers ({n},), or shares of classes ({n}, n_classes), "
            f"got {found.dtype} of shape {tuple(torch.as_tensor(y).shape)}."
        )
    if n_classes is None:
        raise InvalidValueError(
            "This policy mixes samples and their targets, and classes alone do not tell how many "
            "there are. Say it: load_policy(..., n_classes=10), or give `y` one-hot."
        )
    if n and not 0 <= int(found.min()) <= int(found.max()) < n_classes:
        raise InvalidValueError(
            f"`y` must be classes in [0, {n_classes - 1}], got {int(found.min())} to "
            f"{int(found.max())}."
        )
    return torch.nn.functional.one_hot(found.long(), n_classes).to(torch.float32)


def fit_data(modality: Modality, batch: Batch, y: NDArray[np.int64], n_classes: int) -> FitData:
    """Training samples as generators are fitted to them."""
    x = modality.as_floats(batch.x).detach().cpu().numpy()
    categorical = modality.categorical(batch)
    flags = None if categorical is None else categorical.cpu().numpy()
    return FitData(x, y.astype(np.int64), n_classes, *modality.bounds, flags)


def check_alone(policy: Policy, advice: str = "") -> None:
    """Refuses a policy whose operations need whole batches where samples come one by one."""
    specs = company_ops(policy)
    if specs:
        usual = (
            "Call transform(x, y, model=model) on each batch of the training."
            if any(spec.needs_model for spec in specs)
            else "Call transform(x, y) on each batch of the training, or give its loader "
            "collate_fn=policysearch.collate(policy)."
        )
        raise InvalidValueError(
            f"Op '{specs[0].name}' works on whole batches in a training, and these samples come "
            f"one by one. {advice or usual}"
        )


def check_company(policy: Policy, company: Company) -> None:
    """Raises `InvalidValueError` naming everything that the policy needs and nobody has given."""
    specs = company_ops(policy)

    def named(has: Callable[[OpSpec], bool]) -> str:
        return ", ".join(f"'{spec.name}'" for spec in specs if has(spec))

    problems = []
    wants = named(lambda s: s.changes_targets or s.needs_labels)
    if wants and company.targets is None:
        problems.append(f"op {wants} needs the targets of the samples: transform(x, y)")
    wants = named(lambda s: s.needs_model)
    if wants and company.model is None:
        problems.append(f"op {wants} needs the model in training: transform(x, y, model=model)")
    wants = named(lambda s: s.needs_fit)
    if wants and company.generator is None:
        problems.append(
            f"op {wants} needs a generator: transform.fit(x, y) with the training samples, or "
            "load_policy(..., generator='FILE.safetensors')"
        )
    if problems:
        raise InvalidValueError("; ".join(problems) + ".")


def apply_in_company(
    modality: Modality, batch: Batch, drawn: Drawn, policy: Policy, company: Company
) -> Batch:
    """Applies what was drawn to a batch (see `apply_drawn`), and to `company.targets`."""
    check_company(policy, company)
    table, plain = all_ops(policy.modality), op_table(policy.modality)
    is_plain = np.array([name in plain for name in drawn.ops] + [True])[drawn.op_index]
    work = _Work(modality, policy, company, has_lengths=batch.lengths is not None)
    first = 0
    for stage in np.flatnonzero(~is_plain.all(axis=0)).tolist():
        before = _stages(drawn, slice(first, stage))
        earlier, batch = batch, work.plain(batch, before)
        column = _stages(drawn, slice(stage, stage + 1))
        idle = dataclasses.replace(
            column, op_index=np.where(is_plain[:, [stage]], -1, column.op_index)
        )
        groups = list(
            stage_groups(policy.modality, idle.ops, idle.op_index, idle.magnitude, idle.extra)
        )
        changed = batch
        for group in groups:
            if group.op == "hardest_of_k":
                x = work.hardest(earlier, before, batch, changed, group)
            else:
                x = work.changed(table[group.op], batch, changed, group)
            changed = dataclasses.replace(changed, x=x)
        company.targets = work.new_targets(company.targets)
        rest = dataclasses.replace(
            column, op_index=np.where(is_plain[:, [stage]], column.op_index, -1)
        )
        batch = work.plain(changed, rest)
        first = stage + 1
    return work.plain(batch, _stages(drawn, slice(first, None)))


def _stages(drawn: Drawn, part: slice) -> Drawn:
    return Drawn(
        drawn.ops,
        drawn.op_index[:, part],
        drawn.magnitude[:, part],
        drawn.is_pixels[:, part],
        drawn.extra[:, part],
    )


class _Work:
    """Applies operations to a batch; remembers how targets are shared at a stage."""

    def __init__(
        self, modality: Modality, policy: Policy, company: Company, *, has_lengths: bool
    ) -> None:
        self._has_lengths = has_lengths  # of the user's: operations give clips lengths as well
        self._modality = modality
        self._policy = policy
        self._company = company
        self._shared: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
        self._synthesis: Synthesis | None = None

    def plain(self, batch: Batch, drawn: Drawn) -> Batch:
        """The batch after stages of plain operations."""
        if not (drawn.op_index >= 0).any():
            return batch
        plain = op_table(self._policy.modality)
        ops = tuple(name if name in plain else "identity" for name in drawn.ops)
        drawn = dataclasses.replace(drawn, ops=ops)  # kernels know no others
        return self._modality.after(batch, drawn, self._policy)

    def new_targets(self, targets: Tensor | None) -> Tensor | None:
        """Targets after the mixing of a stage, whose partners are as they were before it."""
        shared, self._shared = self._shared, []
        if targets is None or not shared:
            return targets
        out = targets.clone()
        for rows, partners, share in shared:
            factor = torch.from_numpy(share).to(out)[:, None]
            out[rows] = torch.lerp(targets[rows], targets[partners], factor)
        return out

    def changed(self, spec: OpSpec, batch: Batch, so_far: Batch, group: StageGroup) -> Any:
        """Samples with one operation of a stage applied to those of a group."""
        if spec.family == "mixing":
            new = self._mixed(batch, group)
        elif spec.family == "adversarial":
            new = self._attacked(batch, group)
        else:
            new = self._made(batch, group)
        return with_rows(so_far.x, torch.from_numpy(group.rows), new)

    def _made(self, batch: Batch, group: StageGroup) -> Tensor:
        company = self._company
        assert company.generator is not None
        assert company.targets is not None
        if self._synthesis is None:
            sizes = company.sizes or (len(batch),)
            self._synthesis = Synthesis(self._modality, company.generator, sizes)
        apply = getattr(self._synthesis, group.op)
        made: Tensor = apply(batch, group, company.targets)
        return made

    def _partners(self, group: StageGroup, n: int) -> NDArray[np.intp]:
        """Another sample of the same batch for each; itself where it is alone."""
        first, size = batches_of(group, self._company.sizes or (n,))
        steps = np.floor(group.draws[:, 0] * np.maximum(size - 1, 1)).astype(np.int64) + 1
        return np.asarray(first + (group.rows - first + steps) % size)

    def _mixed(self, batch: Batch, group: StageGroup) -> Tensor:
        partners = self._partners(group, len(batch))
        lengths = None
        if batch.lengths is not None:
            lengths = (batch.lengths[group.rows], batch.lengths[partners])
        pairs = mixing.Pairs(
            batch.x[torch.from_numpy(group.rows).to(batch.x.device)],
            batch.x[torch.from_numpy(partners).to(batch.x.device)],
            group,
            lengths,
            self._modality.categorical(batch),
            self._modality.rounded,
        )
        out, share = mixing.KERNELS[group.op](pairs)
        self._shared.append((group.rows, partners, share))
        return out

    def _attacked(self, batch: Batch, group: StageGroup) -> Tensor:
        rows = torch.from_numpy(group.rows).to(batch.x.device)
        x = self._modality.as_floats(batch.x[rows])
        targets = self._targets(rows)
        shape = (-1, *[1] * (x.ndim - 1))
        bound = torch.from_numpy(group.magnitude).to(x).view(shape)
        lengths = None if batch.lengths is None else batch.lengths[group.rows]
        scale = self._modality.unit_of(x, lengths)
        with adversarial.left_as_it_is(self._company.module):
            model = self._model(batch, rows)
            if group.op == "fgsm":
                out = adversarial.fgsm(model, x, targets, bound, scale)
            else:
                uniform = uniform_places(torch.from_numpy(group.seeds()), x[0].numel())
                start = (2 * uniform - 1).to(x).reshape(x.shape)
                out = adversarial.pgd(model, x, targets, bound, scale, start)
        return self._modality.of_floats(out, batch.x.dtype)

    def _targets(self, rows: Tensor) -> Tensor:
        assert self._company.targets is not None
        return self._company.targets.to(rows.device)[rows]

    def _model(self, batch: Batch, rows: Tensor) -> Callable[[Tensor], Tensor]:
        ask = self._company.model
        assert ask is not None
        if batch.lengths is None or not self._has_lengths:
            return ask
        lengths = torch.from_numpy(batch.lengths).to(rows.device)[rows]
        return lambda x: ask(x, lengths)

    def hardest(
        self, earlier: Batch, before: Drawn, batch: Batch, so_far: Batch, group: StageGroup
    ) -> Any:
        """Of the version of a sample and those that the draws of others make, the hardest.

        Version c has what was drawn for the sample c places on in its batch: another draw of the
        same policy, and the same again when draws are replayed.
        """
        first, size = batches_of(group, self._company.sizes or (len(batch),))
        n_versions = np.minimum(np.floor(group.magnitude + 0.5).astype(np.int64), size)
        start = np.floor(group.draws[:, 0] * np.maximum(size - 1, 1)).astype(np.int64)
        rows = torch.from_numpy(group.rows).to(batch.x.device)
        versions, scores = [batch.x[rows]], []
        for c in range(1, int(n_versions.max(initial=1))):
            shift = 1 + (start + c - 1) % np.maximum(size - 1, 1)
            theirs = first + (group.rows - first + shift) % size
            drawn = before.take(np.asarray(theirs, dtype=np.intp))
            versions.append(self.plain(_take(earlier, group.rows), drawn).x)
        with adversarial.left_as_it_is(self._company.module), torch.no_grad():
            for x in versions:
                loss = adversarial.losses(
                    self._model(batch, rows), self._modality.as_floats(x), self._targets(rows)
                )
                scores.append(loss)
        loss = torch.stack(scores)
        index = torch.arange(len(versions))[:, None]
        is_there = (index < torch.from_numpy(n_versions)[None]).to(loss.device)
        bound = torch.quantile(loss[is_there].float(), adversarial.QUANTILE)
        loss = torch.where(is_there & (loss <= bound), loss, -1.0)
        best = torch.where(loss.max(dim=0).values >= 0, loss.argmax(dim=0), 0)
        stacked = torch.stack(versions)
        chosen = stacked[best.to(rows.device), torch.arange(len(rows), device=rows.device)]
        return with_rows(so_far.x, rows, chosen)


def _take(batch: Batch, rows: NDArray[np.intp]) -> Batch:
    x = batch.x[torch.from_numpy(rows).to(batch.x.device)]
    lengths, y = (None if v is None else v[rows] for v in (batch.lengths, batch.y))
    return Batch(x, lengths, y, batch.settings)
