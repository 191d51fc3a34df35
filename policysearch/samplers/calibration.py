"""How much of an operation a network bears that never saw it: learned from forward passes.

Networks trained without augmentation read validation data under every operation at a few levels.
Where their accuracy falls far, the operation has left the data they know, or has destroyed the
label; at which share of the accuracy to stop is for the search to find out. The networks are those
of the first rung, so that all curves together cost a few trainings.

Where an operation takes a class much more than the others (a flip makes of some digits no digit),
the class is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from policysearch.metrics import HITS
from policysearch.policy import Policy, Stage, SubPolicy
from policysearch.space import SearchSpace

#: Levels at which every operation with a magnitude is probed.
LEVELS = (0.25, 0.5, 0.75, 1.0)
#: Chance of naming a class of an operation that harms all classes alike.
ALPHA = 0.05
#: A class is named when it loses so much more of its hits than the others do.
MIN_HARM = 0.1


def probes_of(space: SearchSpace) -> dict[str, Policy]:
    """Every operation of a space alone, at each level, by the name `op@level`."""
    return {
        f"{entry.op}@{level:g}": space.policy(
            (SubPolicy((Stage((entry.call(level, is_range=False),)),)),)
        )
        for entry in space.ops
        for level in (LEVELS if entry.low is not None else LEVELS[-1:])
    }


@dataclass(frozen=True, slots=True)
class Reading:
    """What networks made of data under an operation at a level.

    Attributes:
      level: In [0, 1], as in the search space.
      kept: Share of the clean accuracy that is left; may exceed 1.
      log_loss: Natural log.
      harmed: Share of the clean hits that is left, for each class (by its number) that loses more
        than the others do.
    """

    level: float
    kept: float
    log_loss: float
    harmed: Mapping[int, float]


@dataclass(frozen=True)
class Calibration:
    """Curves of accuracy and loss by operation.

    Attributes:
      curves: For each operation its readings, levels in ascending order.
      accuracy: Of the clean data.
      log_loss: Of the clean data.
    """

    curves: Mapping[str, tuple[Reading, ...]]
    accuracy: float
    log_loss: float

    def levels(self, share: float) -> dict[str, float]:
        """Highest level of each op up to which `share` of the accuracy is left, interpolated.

        Operations without a magnitude are there with level 1 or not at all; so is an operation
        whose range would be less than a twentieth of what the space allows.
        """
        found = {op: _crossing(curve, share) for op, curve in self.curves.items()}
        return {op: level for op, level in found.items() if level >= 0.05}

    def to_dict(self, space: SearchSpace, classes: Sequence[str]) -> dict[str, Any]:
        """As told in a verdict: magnitudes in natural units, classes by name."""
        entries = {entry.op: entry for entry in space.ops}

        def told(op: str, reading: Reading) -> dict[str, Any]:
            call = entries[op].call(reading.level, is_range=False)
            result: dict[str, Any] = {
                "level": reading.level,
                "kept": round(reading.kept, 4),
                "log_loss": round(reading.log_loss, 4),
            }
            if call.high is not None:
                result["magnitude"] = call.high if call.high != entries[op].low else call.low
            if reading.harmed:
                named = {classes[i]: round(share, 4) for i, share in reading.harmed.items()}
                result["harmed"] = named
            return result

        return {
            "accuracy": round(self.accuracy, 4),
            "log_loss": round(self.log_loss, 4),
            "ops": {
                op: {
                    **({"unit": entries[op].unit} if entries[op].unit else {}),
                    "readings": [told(op, reading) for reading in curve],
                }
                for op, curve in self.curves.items()
            },
        }


def _crossing(curve: Sequence[Reading], share: float) -> float:
    before, kept_before = 0.0, 1.0
    for reading in curve:
        if reading.kept < share:
            if len(curve) == 1:
                return 0.0
            part = (kept_before - share) / max(kept_before - reading.kept, 1e-9)
            return round(before + (reading.level - before) * min(max(part, 0.0), 1.0), 3)
        before, kept_before = reading.level, reading.kept
    return before


def calibration_of(readings: Sequence[Mapping[str, float]]) -> Calibration | None:
    """The curves of networks that answered probes; `None` where none did.

    Args:
      readings: Metrics of each network, those of a probe as `op@level:NAME`.
    """
    answered = [m for m in readings if any(name.endswith(":accuracy") for name in m)]
    if not answered:
        return None
    clean = _Counted(answered, "")
    curves: dict[str, list[Reading]] = {}
    for name in answered[0]:
        if not name.endswith(":accuracy") or "@" not in name:
            continue
        if any(name not in metrics for metrics in answered):
            continue  # a generator failed on some of the folds
        probe = name.removesuffix("accuracy")
        seen = _Counted(answered, probe)
        op, _, level = probe.removesuffix(":").partition("@")
        kept = seen.accuracy / max(clean.accuracy, 1e-9)
        harmed = _harmed(clean, seen)
        curves.setdefault(op, []).append(Reading(float(level), kept, seen.log_loss, harmed))
    ordered = {op: tuple(sorted(c, key=lambda r: r.level)) for op, c in curves.items()}
    return Calibration(ordered, clean.accuracy, clean.log_loss)


class _Counted:
    """Means over networks, and hits by class summed over them, under one probe or none."""

    def __init__(self, readings: Sequence[Mapping[str, float]], probe: str) -> None:
        self.accuracy = sum(m[f"{probe}accuracy"] for m in readings) / len(readings)
        self.log_loss = sum(m[f"{probe}log_loss"] for m in readings) / len(readings)
        self.hits: dict[int, float] = {}
        for metrics in readings:
            for name, hits in metrics.items():
                before, found, label = name.rpartition(HITS)
                if found and before == probe:
                    self.hits[int(label)] = self.hits.get(int(label), 0.0) + hits


def _harmed(clean: _Counted, seen: _Counted) -> dict[int, float]:
    """Classes that keep fewer of their hits than all others together do.

    Copies of one sample count as one. A one-sided binomial test, Bonferroni over classes.
    """
    harmed = {}
    for label, before in clean.hits.items():
        others = sum(clean.hits.values()) - before
        left = seen.hits.get(label, 0.0)
        if before < 1 or others <= 0:
            continue
        expected = min(0.98, (sum(seen.hits.values()) - left) / others)  # a slip is no harm
        if left / before > expected - MIN_HARM:
            continue
        n = round(before)
        p = float(stats.binom.cdf(min(n, round(left)), n, expected))
        if p < ALPHA / len(clean.hits):
            harmed[label] = left / before
    return harmed
