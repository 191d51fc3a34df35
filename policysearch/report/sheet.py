"""A policy in pictures: what it does to a few samples, op by op or sub-policy by sub-policy.

Policies that draw among ops get two rows as a training would see them, then a row per op, at the
low end, the middle and the high end of its range; others get a row per sub-policy with all its
steps applied. Chances are told in the labels and not drawn: those rows show what an op looks like
when it acts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from policysearch.company import check_alone
from policysearch.draws import Drawer, Drawn
from policysearch.errors import InvalidValueError
from policysearch.ops.registry import get_spec
from policysearch.policy import OpCall, Policy, SubPolicy
from policysearch.report.op_words import amount_text, call_text
from policysearch.report.sheet_layout import Group, Row, draw_sheet
from policysearch.report.words import (
    class_sentence,
    does_nothing,
    drawn_for,
    mix_sentence,
    percent,
    schedule_sentence,
    summary_sentence,
)
from policysearch.seeding import uniforms
from policysearch.transform import apply_drawn

if TYPE_CHECKING:
    from PIL import Image

MAX_ROWS = 40
#: Images in a row: per level of an op, and of a sub-policy.
N_PER_LEVEL, N_PER_SUB_POLICY = 4, 10
_N_EXTRA = 16
_LEVELS = (("low end", 0.0), ("middle", 0.5), ("high end", 1.0))
_FIXED = (("", 0.5),)
N_TRAINING_ROWS = 2


@dataclass(frozen=True, slots=True)
class _Act:
    """An op with the magnitude that a row shows."""

    call: OpCall
    magnitude: float


def shows_ops(policy: Policy) -> bool:
    """Whether the sheet of a policy has a row per op (else: a row per sub-policy)."""
    return any(len(stage.choices) > 1 for sub in policy.sub_policies for stage in sub.stages)


def n_images(policy: Policy) -> int:
    """How many different samples the sheet of a policy shows."""
    return N_PER_LEVEL if shows_ops(policy) and _has_ranges(policy) else N_PER_SUB_POLICY


def _has_ranges(policy: Policy) -> bool:
    return any(call.low != call.high for _, call in policy.calls())


def contact_sheet(
    policy: Policy,
    images: NDArray[Any],
    labels: Sequence[str],
    *,
    title: str,
    seed: int = 0,
) -> Image.Image:
    """Draws the sheet of an image policy, at full strength where that changes over a training.

    Args:
      policy: What to show.
      images: Samples `(n, C, H, W)`: uint8, uint16 or floating in [0, 1].
      labels: One per sample, such as its class.
      title: First line.
      seed: Root of the draws: signs, places, and magnitudes of sub-policies.

    Returns:
      An RGB image, at most about 1,600 pixels wide.
    """
    if policy.modality != "image":
        raise InvalidValueError(f"A sheet shows image policies, got modality {policy.modality!r}.")
    check_alone(policy, "Leave --sheet out.")
    if len(images) == 0 or len(images) != len(labels):
        raise InvalidValueError("A sheet needs at least one image and a label for each.")
    x = torch.from_numpy(np.ascontiguousarray(images[: n_images(policy)]))
    names = list(labels[: len(x)])
    told = (summary_sentence, mix_sentence, schedule_sentence, class_sentence)
    sentences = [sentence(policy) for sentence in told]
    policy = policy.at_full_strength().for_all_classes()
    if shows_ops(policy):
        levels = _LEVELS if _has_ranges(policy) else _FIXED
        groups = [Group(text, names) for text, _ in levels]
        rows, n_left_out = _op_rows(policy, x, seed, levels)
        rows = training_rows(policy, x, seed, len(levels)) + rows
    else:
        groups = [Group("", names)]
        rows, n_left_out = _sub_policy_rows(policy, x, seed)
    first = [as_pictures(x)] * len(groups)
    notes = [*sentences, _note(policy, n_left_out)]
    return draw_sheet(title, notes, groups, [Row("original", [], first), *rows])


def _note(policy: Policy, n_left_out: int) -> str:
    if not policy.sub_policies:
        return ""
    if shows_ops(policy):
        places = ", at the ends and the middle of its range" if _has_ranges(policy) else ""
        text = f"First as training draws them, then each operation alone{places}."
    else:
        text = "Every step of a sub-policy applied, whatever its chance."
    return f"{text} {n_left_out} more are not shown." if n_left_out else text


def training_rows(policy: Policy, x: torch.Tensor, seed: int, n_groups: int) -> list[Row]:
    """The samples as a training draws them, chances included; every block another epoch."""
    drawer = Drawer(policy, seed)
    rows = []
    for row in range(N_TRAINING_ROWS):
        epochs = range(row * n_groups, (row + 1) * n_groups)
        drawn = [drawer.draw(np.arange(len(x)), epoch) for epoch in epochs]
        blocks = [as_pictures(apply_drawn(x, one, policy)) for one in drawn]
        rows.append(Row("in training", ["drawn anew in every place"], blocks))
    return rows


def _op_rows(
    policy: Policy, x: torch.Tensor, seed: int, levels: Sequence[tuple[str, float]]
) -> tuple[list[Row], int]:
    """A row per different op call; those that change nothing are left out."""
    calls: dict[tuple[Any, ...], OpCall] = {}
    for _, call in policy.calls():
        if not does_nothing(call, policy.modality):
            calls.setdefault((call.op, call.low, call.high, call.unit), call)
    rows = []
    for number, call in enumerate(list(calls.values())[:MAX_ROWS]):
        fixed = call.low == call.high  # also true for ops without a magnitude
        blocks: list[list[NDArray[np.uint8]] | None] = []
        for _, level in levels:
            if fixed and level != 0.5:
                blocks.append(None)
                continue
            act = _Act(call, _between(call, level))
            blocks.append(_applied(policy, x, [act], seed, number))
        rows.append(Row(call.op, [_range_label(call, policy.modality)], blocks))
    return rows, max(0, len(calls) - MAX_ROWS)


def _between(call: OpCall, part: float) -> float:
    low, high = call.low or 0.0, call.high or 0.0
    return low + (high - low) * part


def _range_label(call: OpCall, modality: str) -> str:
    spec = get_spec(modality, call.op)
    if not spec.has_magnitude:
        return "no magnitude"
    return amount_text(call, spec) + (", either way" if spec.is_signed else "")


def _sub_policy_rows(policy: Policy, x: torch.Tensor, seed: int) -> tuple[list[Row], int]:
    total = sum(sub.weight for sub in policy.sub_policies)
    rows = []
    one, many = drawn_for(policy)
    for number, sub in enumerate(policy.sub_policies[:MAX_ROWS]):
        draws = uniforms(seed, number, np.arange(len(sub.stages)), 1)[:, 0]
        acts = [
            _Act(stage.choices[0], _between(stage.choices[0], u))
            for stage, u in zip(sub.stages, draws, strict=True)
            if stage.probability > 0
        ]
        title = f"{number + 1}   {percent(sub.weight / total)} of the {many}"
        if len(policy.sub_policies) == 1:
            title = f"every {one}"
        pictures = _applied(policy, x, acts, seed, number)
        rows.append(Row(title, _step_labels(sub, policy.modality), [pictures]))
    return rows, max(0, len(policy.sub_policies) - MAX_ROWS)


def _step_labels(sub: SubPolicy, modality: str) -> list[str]:
    return [
        f"{percent(stage.probability)}: {call_text(stage.choices[0], modality)}"
        for stage in sub.stages
    ]


def _applied(
    policy: Policy, x: torch.Tensor, acts: Sequence[_Act], seed: int, number: int
) -> list[NDArray[np.uint8]]:
    """The samples after all `acts`; signs alternate from sample to sample."""
    n, n_acts = len(x), len(acts)
    if not acts:
        return as_pictures(x)
    names = tuple(dict.fromkeys(act.call.op for act in acts))
    signed = [get_spec(policy.modality, act.call.op).is_signed for act in acts]
    signs = np.where(np.arange(n)[:, None] % 2 == 0, 1.0, -1.0)
    magnitude = np.array([[act.magnitude for act in acts]]) * np.where(signed, signs, 1.0)
    is_pixels = [a.call.unit == "px" and a.call.op.startswith("translate") for a in acts]
    draws = uniforms(seed, number, np.arange(n), n_acts * _N_EXTRA)
    index = [-1 if act.call.op == "identity" else names.index(act.call.op) for act in acts]
    drawn = Drawn(
        names,
        np.tile(np.array(index, dtype=np.int64), (n, 1)),
        magnitude,
        np.tile(np.array(is_pixels, dtype=np.bool_), (n, 1)),
        draws.reshape(n, n_acts, _N_EXTRA),
    )
    return as_pictures(apply_drawn(x, drawn, policy))


def as_pictures(x: torch.Tensor) -> list[NDArray[np.uint8]]:
    """Samples as `(H, W, 3)` uint8; of other channel counts than 3, the first stands for gray."""
    values = x.detach().cpu().numpy()
    if values.dtype == np.uint16:
        values = (values >> 8).astype(np.uint8)
    elif values.dtype != np.uint8:
        values = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    planes = values[:, :3] if values.shape[1] >= 3 else np.repeat(values[:, :1], 3, axis=1)
    return list(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
