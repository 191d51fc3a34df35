"""Structure before dimensions: the default search in four stages.

1. *Warm start*: no augmentation and the search-free policies, so that the search starts from what
   is known to work and every later score has something to be compared with.
2. *Screening* (op-wise spaces): every op alone at a few levels. What an op does on this data is
   found out, never assumed.
3. *Combination*: the ops that a linear model of all outcomes so far values most, together in
   several numbers, with a random exchange now and then to learn about the others.
4. *Refinement*: the inner sampler (TPE by default), which has seen all of the above.

On 100 digits, screening and combining gave 96.0 % where TPE over 38 dimensions gave 95.0 % at the
same cost; 200 trials in 30 dimensions are close to random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from policysearch.policy import Policy
from policysearch.samplers.base import Sampler
from policysearch.seeding import generator
from policysearch.space import MIN_WEIGHT, Params, SearchSpace
from policysearch.trial import Suggestion, Trial

#: Levels at which an op is screened, most telling first.
SCREEN_LEVELS = (0.6, 0.25, 1.0)
#: Largest share of the trials that screening may take.
MAX_SCREEN_SHARE = 0.4
#: Share of the trials that combine what screening found.
COMBINE_SHARE = 0.3
#: Ridge penalty of the linear model: a single observation of an op counts two thirds.
RIDGE = 0.5
#: A loss this much above no augmentation (as a share of it) counts no worse: it is bad enough.
WORST_GAIN = 0.5
#: Ops valued below this share of the loss without augmentation are left out of all combinations.
HARMFUL = -0.1


class StagedSampler:
    """Warm start, screening, combination, then an inner sampler.

    Args:
      space: What is searched; screening needs method `opwise`.
      warm_start: Policies by name, tried first.
      n_trials: Planned number of trials: decides how much screening is worth its cost.
      inner: Makes the suggestions after that.
      seed: Of the random exchanges in combinations.
    """

    def __init__(
        self,
        space: SearchSpace,
        warm_start: Mapping[str, Policy],
        n_trials: int,
        inner: Sampler,
        seed: int = 0,
    ) -> None:
        self._space = space
        self._seed = seed
        self._inner = inner
        self._warm = [Suggestion(policy, f"warm:{name}") for name, policy in warm_start.items()]
        self._screen = _screening_plan(space, n_trials) if space.method == "opwise" else []
        self._n_combine = round(n_trials * COMBINE_SHARE) if self._screen else 0

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the policy of trial `number` (see `Sampler`)."""
        if number < len(self._warm):
            return self._warm[number]
        number_in_screen = number - len(self._warm)
        if number_in_screen < len(self._screen):
            op, level = self._screen[number_in_screen]
            return self._opwise({op: level}, 1, 1.0, f"screen:{op}@{level:g}")
        index = number_in_screen - len(self._screen)
        if index < self._n_combine:
            combination = self._combination(index, history)
            if combination is not None:
                return combination
        return self._inner.suggest(number, history)

    def _combination(self, index: int, history: Sequence[Trial]) -> Suggestion | None:
        values = value_ops(self._space, history)
        if not values:
            return None
        ranked = sorted(values, key=lambda op: -values[op].gain)
        helpful = [op for op in ranked if values[op].gain > 0] or ranked[:2]
        harmless = [op for op in ranked if values[op].gain > HARMFUL]
        n_best, n_ops, strength = _combination_plan(index, len(helpful), len(harmless))
        chosen = harmless[:n_best] or helpful
        if index % 2:
            chosen = self._exchanged(chosen, harmless, index)
        levels = {op: min(1.0, max(0.1, values[op].level * strength)) for op in chosen}
        origin = f"combine:{len(chosen)} ops x {n_ops}"
        return self._opwise(levels, n_ops, 1.0, origin)

    def _exchanged(self, chosen: list[str], harmless: list[str], index: int) -> list[str]:
        """One op exchanged for a random one that was not chosen."""
        others = [op for op in harmless if op not in chosen]
        if not others:
            return chosen
        rng = generator(self._seed, "combine", index)
        gone = int(rng.integers(len(chosen)))
        return [*chosen[:gone], *chosen[gone + 1 :], others[int(rng.integers(len(others)))]]

    def _opwise(
        self, levels: Mapping[str, float], n_ops: int, probability: float, origin: str
    ) -> Suggestion:
        low, high = self._space.n_ops
        params = self._space.encode_opwise(levels, min(max(n_ops, low), high), probability)
        return Suggestion(self._space.decode(params), origin, params)


@dataclass(frozen=True, slots=True)
class OpValue:
    """What the trials so far say of an op.

    Attributes:
      gain: Fall of the score that one application per sample is worth, as a share of the score
        without augmentation.
      level: Level at which it did well.
    """

    gain: float
    level: float


def value_ops(space: SearchSpace, history: Sequence[Trial]) -> dict[str, OpValue]:
    """Values every op by a ridge regression over all op-wise trials.

    A trial is described by the expected number of applications of each op per sample; its gain is
    its fall of the score against no augmentation, over the replicates that both finished, so that
    a pruned trial is compared fairly. Empty until the trial without augmentation is there.
    """
    none = next((t for t in history if t.suggestion.origin == "warm:none" and t.score), None)
    if none is None:
        return {}
    base = none.running_means()
    rows, gains, levels = [], [], []
    for trial in history:
        params, means = trial.suggestion.params, trial.running_means()
        if params is None or not means:
            continue
        gain = 1.0 - means[-1] / base[len(means) - 1]
        rows.append(_applications(space, params))
        gains.append(max(gain, -WORST_GAIN))
        levels.append([float(params.get(f"{entry.op}.level", 1.0)) for entry in space.ops])
    if not rows:
        return {}
    x, y, level = np.array(rows), np.array(gains), np.array(levels)
    value = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    merit = x * np.maximum(y, 0.0)[:, None] + 1e-3 * (x > 0)
    typical = (merit * level).sum(axis=0) / np.maximum(merit.sum(axis=0), 1e-12)
    return {
        entry.op: OpValue(float(value[i]), float(typical[i]))
        for i, entry in enumerate(space.ops)
        if x[:, i].any()
    }


def _applications(space: SearchSpace, params: Params) -> list[float]:
    """Expected applications of each op of the space per sample."""
    weights = [float(params[f"{entry.op}.weight"]) for entry in space.ops]
    kept = [w if w >= MIN_WEIGHT else 0.0 for w in weights]
    n = float(params["n_ops"]) * float(params["probability"]) / (sum(kept) or 1.0)
    return [w * n for w in kept]


def _screening_plan(space: SearchSpace, n_trials: int) -> list[tuple[str, float]]:
    """Ops and levels to screen: as many levels as the budget bears, or none at all."""
    for n_levels in range(len(SCREEN_LEVELS), 0, -1):
        plan = [
            (entry.op, level)
            for level in SCREEN_LEVELS[:n_levels]
            for entry in space.ops
            if entry.low is not None or level == SCREEN_LEVELS[0]
        ]
        if len(plan) <= n_trials * MAX_SCREEN_SHARE:
            return plan
    return []


def _combination_plan(index: int, n_helpful: int, n_harmless: int) -> tuple[int, int, float]:
    """Number of best ops, ops per sample and strength of the combination with this index."""
    counts = [k for k in (5, 3, 8, 4, 6, 2, 12) if k <= n_helpful] or [n_helpful]
    counts.insert(2, n_harmless)  # many mild ops: what RandAugment does
    k = counts[index % len(counts)]
    n_ops = (2, 1, 3)[index // len(counts) % 3]
    strength = (1.0, 0.7, 1.4)[index // (3 * len(counts)) % 3]
    return k, n_ops, 0.6 * strength if k == n_harmless else strength
