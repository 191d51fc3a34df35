"""Structure before dimensions: the default search, in stages.

1. *Warm start*: no augmentation and the search-free policies, so that the search starts from what
   is known to work and every later score has something to be compared with.
2. One of two strategies that find out what an op does on this data, never assuming it (op-wise
   spaces). *Screened*: every op is trained with alone, at its full and at half its range; one that
   harms is cut to the level at which it does not, or left out. *Calibrated*: the networks trained
   without augmentation read augmented data (`calibration`), and all ops are combined up to the
   level where a given share of the accuracy is left, one to three per image.
3. *Combination*: the ops that are left, all of them or those that a linear model of all outcomes
   so far values most, in several numbers and strengths.
4. *Ramps*, in a space with a schedule: the best of these, weaker at the start or at the end
   (`ramps`).
5. *Refinement*: the inner sampler (TPE by default), which has seen all of the above.

Measured on five draws of 100 digits: one cross-validation cannot tell which single ops are best
(their noise is larger than their gains), but it can tell which ones harm; all others together, at
full strength, gave 95.4 % where TrivialAugment gave 93.8 and no augmentation 93.0.

Calibration costs about four trainings. With 100 digits (3 draws x 3 seeds) and 1,000 images of
Fashion-MNIST (2 seeds) the best of its combinations gave 95.6 % and 83.2 % where TrivialAugment
gave 93.9 and 81.3 and no augmentation 92.9 and 81.0. The share that is best differs, a half on
digits and nine tenths on clothes, so several are tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from policysearch.policy import Policy
from policysearch.samplers.base import Sampler
from policysearch.samplers.calibration import calibration, probes_of
from policysearch.samplers.op_values import OpValues
from policysearch.samplers.ramps import n_ramps, ramp
from policysearch.seeding import generator
from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

Strategy = Literal["screened", "calibrated"]

#: (share of the clean accuracy that an op must leave; ops per sample), in the order of trying.
CALIBRATED = (
    *((0.7, 2), (0.5, 3), (0.9, 2), (0.7, 3), (0.5, 2), (0.9, 3)),
    *((0.7, 1), (0.9, 1), (0.5, 1), (0.3, 2), (0.3, 1), (0.3, 3)),
)
#: Levels at which an op is screened, in this order.
SCREEN_LEVELS = (1.0, 0.5)
#: Largest share of the trials that screening may take, for one level and for two.
MAX_SCREEN_SHARES = (0.6, 0.4)
#: Share of the trials that combine what screening found.
COMBINE_SHARE = 0.3


class StagedSampler:
    """Warm start, screening or calibration, combination, ramps, then an inner sampler.

    Args:
      space: What is searched; all but the first and last stage need method `opwise`.
      warm_start: Policies by name, tried first.
      n_trials: Planned number of trials: decides how much screening is worth its cost.
      inner: Makes the suggestions after that.
      seed: Of the random exchanges in combinations.
      strategy: How the ops of an op-wise space are judged.
    """

    def __init__(
        self,
        space: SearchSpace,
        warm_start: Mapping[str, Policy],
        n_trials: int,
        inner: Sampler,
        seed: int = 0,
        strategy: Strategy = "screened",
    ) -> None:
        self._space = space
        self._seed = seed
        self._inner = inner
        self._op_values = OpValues(space)
        is_opwise = space.method == "opwise"
        is_calibrated = is_opwise and strategy == "calibrated"
        is_screened = is_opwise and strategy == "screened"
        probes = probes_of(space) if is_calibrated else {}
        self._warm = [
            Suggestion(policy, f"warm:{name}", probes=probes if name == "none" else {})
            for name, policy in warm_start.items()
        ]
        self._calibrated = _within(space.n_ops, CALIBRATED) if is_calibrated else []
        self._screen = _screening_plan(space, n_trials) if is_screened else []
        is_combined = self._calibrated or self._screen
        self._n_combine = round(n_trials * COMBINE_SHARE) if is_combined else 0

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the policy of trial `number` (see `Sampler`)."""
        if number < len(self._warm):
            return self._warm[number]
        index = number - len(self._warm)
        for n_trials, suggest in (
            (len(self._calibrated), self._calibration),
            (len(self._screen), self._screening),
            (self._n_combine, self._combination),
            (n_ramps(self._space), self._ramp),
        ):
            if index < n_trials:
                return suggest(index, history) or self._inner.suggest(number, history)
            index -= n_trials
        return self._inner.suggest(number, history)

    def _calibration(self, index: int, history: Sequence[Trial]) -> Suggestion | None:
        share, n_ops = self._calibrated[index]
        found = next(filter(None, map(calibration, history[: len(self._warm)])), None)
        if found is None:  # an objective that answers no probes, or a wide look-back window
            levels, kind = {entry.op: round(1 - share, 3) for entry in self._space.ops}, "equal"
        else:
            levels, kind = found.levels(share), "calibrated"
        if not levels:
            return None
        return self._opwise(levels, n_ops, 1.0, f"{kind}:{len(levels)} ops x {n_ops} @{share:g}")

    def _screening(self, index: int, _history: Sequence[Trial]) -> Suggestion:
        op, level = self._screen[index]
        return self._opwise({op: level}, 1, 1.0, f"screen:{op}@{level:g}")

    def _combination(self, index: int, history: Sequence[Trial]) -> Suggestion | None:
        self._op_values.take_in(history)
        caps = self._op_values.harmless_levels() or _best_calibrated(history)
        values = self._op_values.values()
        ranked = sorted(caps, key=lambda op: -values.get(op, 0.0))
        if not ranked:
            return None
        share, n_ops, strength = _PLAN[index % len(_PLAN)]
        chosen = ranked[: max(2, round(share * len(ranked)))]
        if index >= len(_PLAN):
            chosen = self._exchanged(chosen, ranked, index)
        levels = {op: max(0.1, caps[op] * strength) for op in chosen}
        return self._opwise(levels, n_ops, 1.0, f"combine:{len(chosen)} ops x {n_ops} @{strength}")

    def _ramp(self, index: int, history: Sequence[Trial]) -> Suggestion | None:
        return ramp(self._space, index, history)

    def _exchanged(self, chosen: list[str], all_ops: list[str], index: int) -> list[str]:
        """A third of the ops exchanged for random ones, to learn about others."""
        rng = generator(self._seed, "combine", index)
        others = [op for op in all_ops if op not in chosen]
        n = min(len(others), max(1, len(chosen) // 3)) or 1
        kept = [chosen[i] for i in sorted(rng.permutation(len(chosen))[n:])]
        return kept + [others[i] for i in sorted(rng.permutation(len(others))[:n])] or chosen

    def _opwise(
        self, levels: Mapping[str, float], n_ops: int, probability: float, origin: str
    ) -> Suggestion:
        low, high = self._space.n_ops
        params = self._space.encode_opwise(levels, min(max(n_ops, low), high), probability)
        return Suggestion(self._space.decode(params), origin, params)


def _within(bounds: tuple[int, int], plan: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """The plan with as many ops per sample as a space allows, each entry once."""
    return list(dict.fromkeys((share, min(max(n, bounds[0]), bounds[1])) for share, n in plan))


def _best_calibrated(history: Sequence[Trial]) -> dict[str, float]:
    """Ops and levels of the best calibrated combination."""
    scored = [
        (trial.score, trial.number, trial.suggestion.params)
        for trial in history
        if trial.suggestion.origin.startswith(("calibrated:", "equal:"))
        and trial.score is not None
    ]
    params = min(scored, default=(0.0, 0, None))[2]
    if params is None:
        return {}
    ops = [
        name.removesuffix(".weight")
        for name, v in params.items()
        if name.endswith(".weight") and v
    ]
    return {op: float(params.get(f"{op}.level", 1.0)) for op in ops}


def _screening_plan(space: SearchSpace, n_trials: int) -> list[tuple[str, float]]:
    """Ops and levels to screen: as many levels as the budget bears, or none at all."""
    for n_levels in (2, 1):
        plan = [
            (entry.op, level)
            for level in SCREEN_LEVELS[:n_levels]
            for entry in space.ops
            if entry.low is not None or level == SCREEN_LEVELS[0]
        ]
        if len(plan) <= n_trials * MAX_SCREEN_SHARES[n_levels - 1]:
            return plan
    return []


#: (share of the harmless ops, best first; ops per sample; strength), in the order of trying.
_PLAN = (
    *((share, n, 1.0) for share in (1.0, 0.5, 0.7, 0.3) for n in (2, 3)),
    *((share, n, 0.7) for share in (1.0, 0.5, 0.7, 0.3) for n in (2, 3)),
    *((share, 1, 1.0) for share in (1.0, 0.5)),
)
