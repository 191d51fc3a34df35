"""How much of an operation a network bears that never saw it: learned from forward passes.

A network trained without augmentation reads validation data under every operation at a few
levels. Where its accuracy falls far, the operation has left the data the network knows, or has
destroyed the label; at which share of the accuracy to stop is for the search to find out. A whole
curve costs less than one training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policysearch.policy import Policy, Stage, SubPolicy
from policysearch.space import SearchSpace
from policysearch.trial import Trial

#: Levels at which every operation with a magnitude is probed.
LEVELS = (0.25, 0.5, 0.75, 1.0)


def probes_of(space: SearchSpace) -> dict[str, Policy]:
    """Every operation of a space alone, at each level, by the name `op@level`."""
    return {
        f"{entry.op}@{level:g}": Policy(
            (SubPolicy((Stage((entry.call(level, is_range=False),)),)),),
            space.modality,
            space.ops_version,
            space.interpolation,
            space.fill,
        )
        for entry in space.ops
        for level in (LEVELS if entry.low is not None else LEVELS[-1:])
    }


@dataclass(frozen=True)
class Calibration:
    """Accuracy by operation and level.

    Attributes:
      kept: For each operation, levels in ascending order and the share of the clean accuracy
        that is left there.
    """

    kept: Mapping[str, tuple[tuple[float, float], ...]]

    def levels(self, share: float) -> dict[str, float]:
        """Highest level of each op up to which `share` of the accuracy is left, interpolated.

        Operations without a magnitude are there with level 1 or not at all; so is an operation
        whose range would be less than a twentieth of what the space allows.
        """
        found = {op: _crossing(curve, share) for op, curve in self.kept.items()}
        return {op: level for op, level in found.items() if level >= 0.05}


def _crossing(curve: tuple[tuple[float, float], ...], share: float) -> float:
    before, kept_before = 0.0, 1.0
    for level, kept in curve:
        if kept < share:
            if len(curve) == 1:
                return 0.0
            part = (kept_before - share) / max(kept_before - kept, 1e-9)
            return round(before + (level - before) * min(max(part, 0.0), 1.0), 3)
        before, kept_before = level, kept
    return before


def calibration(trial: Trial) -> Calibration | None:
    """Reads the probes of a trial; `None` where it has none."""
    replicates = trial.outcome.metrics
    names = [name for name in (replicates[0] if replicates else ()) if name.endswith(":accuracy")]
    if not names:
        return None
    clean = sum(metrics["accuracy"] for metrics in replicates)
    curves: dict[str, list[tuple[float, float]]] = {}
    for name in names:
        op, _, level = name.removesuffix(":accuracy").partition("@")
        seen = sum(metrics[name] for metrics in replicates)
        curves.setdefault(op, []).append((float(level), seen / max(clean, 1e-9)))
    return Calibration({op: tuple(sorted(curve)) for op, curve in curves.items()})
