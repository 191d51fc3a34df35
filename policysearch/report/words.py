"""A policy in words: what happens to a sample, how often, how strongly.

Nothing here draws or applies; the figures are exact, from the probabilities in the policy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from policysearch.errors import shortened
from policysearch.ops.company import MAX_SYNTHETIC
from policysearch.ops.registry import get_spec
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.policy_json import PolicyDocument
from policysearch.report.op_words import amount_text, call_text

_NOUNS = {
    "image": ("image", "images"),
    "text": ("text", "texts"),
    "audio": ("clip", "clips"),
    "series": ("series", "series"),
    "tabular": ("row", "rows"),
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True, slots=True)
class Summary:
    """A policy in figures.

    Attributes:
      n_sub_policies: How many there are to draw from.
      n_ops: Different operations, the identity not counted.
      ops_per_sample: Operations that change a sample, on average, in all of its chains.
      share_unchanged: Chance that a sample is left as it is.
      n_chains: Results that are averaged for a sample; 1 when nothing is mixed.
    """

    n_sub_policies: int
    n_ops: int
    ops_per_sample: float
    share_unchanged: float
    n_chains: int = 1


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """One op of a step that draws among several."""

    share: float
    op: str
    amount: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a sub-policy: a phrase and, when it draws among ops, the ops."""

    text: str
    choices: tuple[ChoiceRow, ...] = ()


@dataclass(frozen=True)
class Block:
    """A sub-policy in words."""

    title: str
    share: float
    steps: tuple[Step, ...] = field(default_factory=tuple)


def nouns(modality: str) -> tuple[str, str]:
    """What a sample of a modality is called: one, several."""
    return _NOUNS.get(modality, ("sample", "samples"))


def drawn_for(policy: Policy) -> tuple[str, str]:
    """What a sub-policy of a policy is drawn for: one, several."""
    is_one_chain = policy.mix is None or policy.mix.width == 1
    return nouns(policy.modality) if is_one_chain else ("chain", "chains")


def percent(share: float) -> str:
    """A probability as a percentage; never 0% or 100% for what is neither.

    Examples:
      >>> percent(0.07142857), percent(0.5), percent(0.00001)
      ('7.1%', '50%', 'below 0.1%')
    """
    if 0 < share < 0.0005:
        return "below 0.1%"
    if 0.9995 < share < 1 - 1e-12:
        return "above 99.9%"
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def summarize(policy: Policy) -> Summary:
    """The figures of a policy."""
    names = {c.op for _, c in policy.calls() if not does_nothing(c, policy.modality)}
    if not policy.sub_policies:
        return Summary(0, 0, 0.0, 1.0)
    total = sum(sub.weight for sub in policy.sub_policies)
    mean, unchanged = 0.0, 0.0
    for sub in policy.sub_policies:
        chances = [_chance_of_change(stage, policy.modality) for stage in sub.stages]
        mean += sub.weight / total * sum(chances)
        unchanged += sub.weight / total * math.prod(1 - chance for chance in chances)
    n = 1 if policy.mix is None else policy.mix.width
    return Summary(len(policy.sub_policies), len(names), n * mean, unchanged**n, n)


def summary_sentence(policy: Policy) -> str:
    """The figures of a policy as one or two sentences."""
    one, many = nouns(policy.modality)
    figures = summarize(policy)
    if figures.n_ops == 0:
        return f"No augmentation: every {one} is left as it is."
    subs = _count(figures.n_sub_policies, "sub-policy", "sub-policies")
    ops = _count(figures.n_ops, "operation", "different operations")
    text = (
        f"{subs}, {ops}. Each {one} gets {_mean_text(figures.ops_per_sample)} of them on average"
    )
    if figures.n_chains > 1:
        text += f", in {_NUMBERS[figures.n_chains]} chains"
    if figures.share_unchanged < 1e-12:
        return f"{text}; none is left as it is."
    return f"{text}; {percent(figures.share_unchanged)} of the {many} are left as they are."


def mix_sentence(policy: Policy) -> str:
    """How the chains of a sample are mixed; empty when they are not."""
    if policy.mix is None or not policy.sub_policies:
        return ""
    one, _ = nouns(policy.modality)
    width, alpha = policy.mix.width, f"{policy.mix.alpha:g}"
    if width == 1:
        return (
            f"Mixed: what the sub-policy makes of the {one} is blended with the {one} itself in "
            f"random shares, Beta({alpha}, {alpha})."
        )
    number = _NUMBERS[width]
    return (
        f"Mixed: {number} chains, each a sub-policy drawn for it alone, are applied to the {one} "
        f"side by side. Their {number} results are averaged with random weights, "
        f"Dirichlet({alpha}), and the average is blended with the {one} itself in random shares, "
        f"Beta({alpha}, {alpha})."
    )


def schedule_sentence(policy: Policy) -> str:
    """How the strength changes over a training; empty when it does not."""
    if policy.schedule is None or not policy.sub_policies:
        return ""
    *before, (_, last) = [(_progress_text(at), strength) for at, strength in policy.schedule.knots]
    knots = [f"{percent(strength)} {at}" for at, strength in before]
    return (
        f"Strength over the training: {', '.join(knots)} and {percent(last)} at its end, in "
        "straight lines between. Magnitudes shrink with it, and operations without one come less "
        "often; all figures here are for full strength."
    )


def class_sentence(policy: Policy) -> str:
    """How classes differ in how often they are augmented; empty when they do not."""
    factors = policy.class_probability
    if factors is None or not policy.sub_policies:
        return ""
    shown = ", ".join(f"{percent(factor)} in class {i}" for i, factor in enumerate(factors[:20]))
    if len(factors) > 20:
        shown += f", ... ({len(factors)} classes, {percent(min(factors))} at least)"
    return (
        f"By class: every probability is multiplied by a factor of the class, {shown}; figures "
        "here are without it."
    )


def generator_sentence(document: PolicyDocument) -> str:
    """What its operations draw from; empty where the file names nothing."""
    source = document.generator
    if source is None:
        return ""
    fitted = "" if source.file is None else f", fitted in {shortened(source.file)} beside the file"
    return f"Generator: {shortened(source.name)}{fitted}."


def _progress_text(progress: float) -> str:
    return "at the start" if progress == 0 else f"after {percent(progress)}"


def describe(policy: Policy) -> list[Block]:
    """Every sub-policy in words, in the order of the file."""
    total = sum(sub.weight for sub in policy.sub_policies)
    return [
        Block(
            title=_title(i, sub, policy, sub.weight / total),
            share=sub.weight / total,
            steps=tuple(_steps(sub.stages, policy.modality)),
        )
        for i, sub in enumerate(policy.sub_policies)
    ]


def _title(i: int, sub: SubPolicy, policy: Policy, share: float) -> str:
    one, many = drawn_for(policy)
    n_steps = _count(len(sub.stages), "step", "steps")
    n = len(policy.sub_policies)
    if n == 1:
        return f"Every {one} goes through {n_steps}:"
    return f"Sub-policy {i + 1} of {n}, for {percent(share)} of the {many}:"


def _steps(stages: Sequence[Stage], modality: str) -> list[Step]:
    """Steps in order; equal neighbours (RandAugment) are told once."""
    steps = []
    for stage, equal in itertools.groupby(stages):
        n, phrase = len(list(equal)), None
        if len(stage.choices) > 1:
            verb = "draw afresh and apply" if n > 1 else "draw and apply"
            phrase = f"{verb} one of these operations:"
        text = step_text(stage, n, modality, phrase)
        rows = () if phrase is None else _choice_rows(stage.choices, modality)
        steps.append(Step(text[:1].upper() + text[1:], rows))
    return steps


def step_text(stage: Stage, n: int, modality: str, phrase: str | None = None) -> str:
    """A stage that is applied `n` times: how often, how likely, and what.

    What is done is told by `phrase`, or is what its only operation does.
    """
    times = {1: "", 2: "twice, "}.get(n, f"{n} times, ")
    chance = _chance_text(stage.probability)
    if phrase is None:
        chance, phrase = chance or "always ", call_text(stage.choices[0], modality)
    return times + chance + phrase


def _chance_text(probability: float) -> str:
    if probability == 1:
        return ""
    if probability == 0:
        return "never "
    return f"in {percent(probability)} of the cases "


def _choice_rows(choices: Sequence[OpCall], modality: str) -> tuple[ChoiceRow, ...]:
    """The ops of a step, the likeliest first; ties stay in the order of the file.

    Ops at a magnitude that changes nothing are told together.
    """
    total = sum(call.weight for call in choices)
    idle = [call for call in choices if does_nothing(call, modality)]
    if idle:
        idle_weight = sum(call.weight for call in idle)
        choices = [c for c in choices if c not in idle]
        choices.append(OpCall("identity", weight=idle_weight))
    rows = [
        ChoiceRow(
            share=call.weight / total,
            op=call.op,
            amount=amount_text(call, get_spec(modality, call.op)),
            text=call_text(call, modality),
        )
        for call in choices
    ]
    return tuple(sorted(rows, key=lambda row: -row.share))


def does_nothing(call: OpCall, modality: str) -> bool:
    """Whether an op leaves every sample as it is, at the magnitude it is called with."""
    if call.op == "identity":
        return True
    spec = get_spec(modality, call.op)
    return spec.has_magnitude and spec.is_identity_at_low and call.low == call.high == spec.low


def _chance_of_change(stage: Stage, modality: str) -> float:
    total = sum(call.weight for call in stage.choices)
    acting = sum(
        call.weight * (MAX_SYNTHETIC if call.op == "synthesize" else 1.0)
        for call in stage.choices
        if not does_nothing(call, modality)
    )
    return stage.probability * acting / total


def _mean_text(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
