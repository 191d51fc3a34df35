"""The verdict: arms side by side on the test split, with intervals and a sentence.

It reports and chooses nothing: which policy is exported was decided before, on validation data.
Arms are paired: score i of every arm comes from the same seed and all from the same test samples,
so that differences are estimated with less noise than the arms (`estimates`). Their p-values are
corrected by Holm for the number of comparisons. The intervals hold for this training set, or for
new ones where every score has one of its own; for new training seeds; and for new test samples
where the outcomes say what these would have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from policysearch.errors import InvalidValueError
from policysearch.estimates import CONFIDENCE, Estimate, estimate, holm
from policysearch.measures import ACCURACY, Measure

Decision = Literal["better", "not distinguishable", "worse"]

FOUND = "found"
ARM_TITLES = {
    "none": "no augmentation",
    "default": "the default augmentation",
    "trivialaugment": "TrivialAugment",
    "randaugment": "RandAugment",
    "uniformaugment": "UniformAugment",
    "random": "a random policy",
    "found": "the found policy",
}


@dataclass(frozen=True)
class Arm:
    """One policy in the comparison.

    Attributes:
      scores: The metric, one value per seed.
      seconds: Training time of all its seeds.
      resampled: The metric on resamples of the test split, `(seeds, resamples)`: the same
        resamples for all arms and seeds. Empty when it is not known.
      axes: What else was measured, means over seeds by name.
      overlap: Share of its training set that a score has in common with another one, in
        expectation; `None` when all have the same training set.
      by_class: Accuracy on the test samples of each class by its name, one value per seed.
    """

    name: str
    scores: tuple[float, ...]
    seconds: float = 0.0
    resampled: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    axes: Mapping[str, float] = field(default_factory=dict)
    overlap: float | None = None
    by_class: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.scores))

    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean."""
        return estimate(self.scores, self.resampled, self.overlap or 0.0).interval()

    def to_dict(self) -> dict[str, Any]:
        """As written to `verdict.json`."""
        low, high = self.interval()
        return {
            "name": self.name,
            "mean": self.mean,
            "ci_low": low,
            "ci_high": high,
            "scores": list(self.scores),
            "seconds": round(self.seconds, 2),
            **({"axes": dict(self.axes)} if self.axes else {}),
        }


@dataclass(frozen=True)
class Comparison:
    """The chosen arm against another one, over paired replicates.

    Attributes:
      estimate: Of the difference, chosen minus other.
      sign: +1 when a higher score is better, else -1.
    """

    other: str
    estimate: Estimate
    p_holm: float
    sign: int = 1

    @property
    def decision(self) -> Decision:
        """What the Holm-corrected test says at the 5 % level."""
        if self.p_holm >= 1 - CONFIDENCE:
            return "not distinguishable"
        return "better" if self.sign * self.estimate.mean > 0 else "worse"

    def to_dict(self) -> dict[str, Any]:
        """As written to `verdict.json`."""
        low, high = self.estimate.interval()
        return {
            "other": self.other,
            "difference": self.estimate.mean,
            "ci_low": low,
            "ci_high": high,
            "p_value": self.estimate.p_value(),
            "p_holm": self.p_holm,
            "decision": self.decision,
            "standard_error": {
                "training": float(np.sqrt(self.estimate.training_variance)),
                "test": float(np.sqrt(self.estimate.test_variance)),
            },
            "df": self.estimate.df,
        }


def difference(a: Arm, b: Arm) -> Estimate:
    """Mean of `a` minus mean of `b`, paired."""
    scores = np.subtract(a.scores, b.scores).tolist()
    overlap = a.overlap or 0.0
    if not (a.resampled and b.resampled):
        return estimate(scores, overlap=overlap)
    return estimate(scores, np.subtract(a.resampled, b.resampled), overlap)


def compare_with(chosen: Arm, others: Sequence[Arm], sign: int = 1) -> list[Comparison]:
    """The chosen arm against every other, Holm-corrected over all of them."""
    estimates = [difference(chosen, other) for other in others]
    adjusted = holm([e.p_value() for e in estimates])
    return [
        Comparison(other.name, e, p_holm, sign)
        for other, e, p_holm in zip(others, estimates, adjusted, strict=True)
    ]


def make_verdict(
    arms: Sequence[Arm], chosen: str, seeds: Sequence[int], measure: Measure = ACCURACY
) -> dict[str, Any]:
    """Builds the content of `verdict.json`.

    Args:
      arms: All arms, paired over `seeds`.
      chosen: Name of the exported arm.
      seeds: Training seeds, in the order of the scores.
      measure: What the scores are.

    Raises:
      InvalidValueError: For arms that are not paired, scores that are not finite, fewer than two
        seeds, two arms of one name, or a chosen arm that is not there.
    """
    problems = [arm.name for arm in arms if len(arm.scores) != len(seeds)]
    if problems:
        raise InvalidValueError(f"Arms {problems} do not have one score per seed ({len(seeds)}).")
    problems = [arm.name for arm in arms if not np.isfinite(arm.scores).all()]
    if problems:
        raise InvalidValueError(f"Arms {problems} have scores that are not finite.")
    by_name = {arm.name: arm for arm in arms}
    if len(by_name) < len(arms) or chosen not in by_name:
        names = ", ".join(arm.name for arm in arms)
        raise InvalidValueError(f"Arms must differ in name and hold '{chosen}', got {names}.")
    others = [arm for arm in arms if arm.name != chosen]
    sign = measure.sign
    comparisons = compare_with(by_name[chosen], others, sign)
    best_other = max(others, key=lambda arm: sign * arm.mean) if others else None
    against = next((c for c in comparisons if best_other and c.other == best_other.name), None)
    told = {} if measure.is_ours else {"direction": "minimize" if measure.is_loss else "maximize"}
    return {
        "arms": [arm.to_dict() for arm in arms],
        "chosen": chosen,
        "decision": against.decision if against else "not distinguishable",
        "sentence": _sentence(by_name[chosen], comparisons, against, measure),
        "metric": measure.key,
        **told,
        "seeds": list(seeds),
        "holds_for": measure.holds_for or _holds_for(arms),
        "comparisons": [c.to_dict() for c in comparisons],
        **_by_class(by_name, chosen),
    }


def _by_class(arms: Mapping[str, Arm], chosen: str) -> dict[str, Any]:
    """What becomes of each class: the found policy, or the chosen one, against none."""
    arm = arms.get(FOUND, arms[chosen])
    none = arms.get("none")
    if none is None or arm is none:
        return {}
    rows = [
        {
            "class": name,
            "none": float(np.mean(none.by_class[name])),
            arm.name: float(np.mean(scores)),
            **_paired(scores, none.by_class[name], arm.overlap or 0.0),
        }
        for name, scores in arm.by_class.items()
        if name in none.by_class
    ]
    return {"classes": {"arm": arm.name, "rows": rows}} if rows else {}


def _paired(a: tuple[float, ...], b: tuple[float, ...], overlap: float) -> dict[str, float]:
    """Mean difference with its interval over seeds; test samples of one class are few."""
    found = estimate(np.subtract(a, b).tolist(), overlap=overlap)
    low, high = found.interval()
    return {"difference": found.mean, "ci_low": low, "ci_high": high}


def _sources(arms: Sequence[Arm]) -> list[str]:
    """What is drawn anew in the repetitions that the intervals are about."""
    sources = ["training sets"] if all(arm.overlap is not None for arm in arms) else []
    sources += ["seeds"]
    return [*sources, "test samples"] if all(arm.resampled for arm in arms) else sources


def _holds_for(arms: Sequence[Arm]) -> str:
    """What the intervals are about: what stays as it is, and what is drawn anew."""
    sources = _sources(arms)
    kept = [
        f"this {name}"
        for name, source in (("training set", "training sets"), ("test split", "test samples"))
        if source not in sources
    ]
    return "; ".join([" and ".join(kept)] * bool(kept) + [f"new {_listed(sources)}"])


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _sentence(
    chosen: Arm, comparisons: Sequence[Comparison], best: Comparison | None, measure: Measure
) -> str:
    """What was decided, what the chosen arm reaches, and how far it is from the others."""
    after_search = chosen.name == FOUND or any(c.other == FOUND for c in comparisons)
    chosen_on, here = measure.on_validation, measure.on_test
    reach = f"reaches {_reached(chosen.mean, measure)}"
    if not after_search:
        start = f"{here} {_title(chosen.name)} {reach}"
    elif chosen.name == FOUND:
        start = (
            f"The found policy is exported: {chosen_on} no search-free policy beat it. "
            f"{here} it {reach}"
        )
    elif chosen.name == "none":
        start = (
            "The search did not beat training without augmentation by more than noise "
            f"{chosen_on}, so the exported policy augments nothing. {here} it {reach}"
        )
    else:
        start = (
            f"The search did not beat {_title(chosen.name)} by more than noise {chosen_on}, so "
            f"this search-free policy is exported. {here} it {reach}"
        )
    against = [c for c in comparisons if c.other == "none"]
    parts = [f"{_points(c, measure)} against no augmentation" for c in against]
    if best is not None and best.other != "none":
        points = _points(best, measure)
        parts.append(f"{points} against the best other arm, {_title(best.other)}")
    sources = _sources([chosen])
    basis = f"{len(chosen.scores)} paired seeds"
    if len(sources) > 1:
        basis += f"; intervals over {_listed(sources)}"
    remark = f" {measure.remark}" if measure.remark else ""
    return f"{start}{': ' if parts else ''}{', and '.join(parts)} ({basis}).{remark}"


def _reached(mean: float, metric: Measure) -> str:
    if metric.is_share:
        return f"{mean:.1%} {metric.title}"
    return f"a {metric.title} of {mean:.4f}"


def _title(name: str) -> str:
    return ARM_TITLES.get(name, f"'{name}'")


def _points(comparison: Comparison, metric: Measure) -> str:
    """Such as `+1.2 points [+0.3, +2.1] (better)`."""
    figures = (comparison.estimate.mean, *comparison.estimate.interval())
    scale, digits, unit = (100, 1, " points") if metric.is_share else (1, 4, "")
    # no negative zero
    mean, low, high = (f"{round(scale * value, digits) + 0.0:+.{digits}f}" for value in figures)
    return f"{mean}{unit} [{low}, {high}] ({comparison.decision})"


def arms_of(verdict: Mapping[str, Any]) -> list[Arm]:
    """Arms of a verdict read back from JSON."""
    return [
        Arm(a["name"], tuple(a["scores"]), a["seconds"], axes=a.get("axes", {}))
        for a in verdict["arms"]
    ]
