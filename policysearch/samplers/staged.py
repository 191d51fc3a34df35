"""Structure before dimensions: the default search in four stages.

1. *Warm start*: no augmentation and the search-free policies, so that the search starts from what
   is known to work and every later score has something to be compared with.
2. *Screening* (op-wise spaces): every op alone at a few levels. What an op does on this data is
   found out, never assumed.
3. *Combination*: the ops that beat no augmentation, the best few together, in several numbers.
4. *Refinement*: the inner sampler (TPE by default), which has seen all of the above.

On 100 digits, screening and combining gave 96.0 % where TPE over 38 dimensions gave 95.0 % at the
same cost; 200 trials in 30 dimensions are close to random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policysearch.policy import Policy
from policysearch.samplers.base import Sampler
from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

#: Levels at which an op is screened, most telling first.
SCREEN_LEVELS = (0.6, 0.25, 1.0)
#: Largest share of the trials that screening may take.
MAX_SCREEN_SHARE = 0.55
#: Share of the trials that combine what screening found.
COMBINE_SHARE = 0.2


class StagedSampler:
    """Warm start, screening, combination, then an inner sampler.

    Args:
      space: What is searched; screening needs method `opwise`.
      warm_start: Policies by name, tried first.
      n_trials: Planned number of trials: decides how much screening is worth its cost.
      inner: Makes the suggestions after that.
    """

    def __init__(
        self, space: SearchSpace, warm_start: Mapping[str, Policy], n_trials: int, inner: Sampler
    ) -> None:
        self._space = space
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
        ranked = rank_ops(history)
        if not ranked:
            return None
        helpful = [op for op, (_, gain) in ranked.items() if gain > 0] or list(ranked)[:2]
        plans = _combination_plans(len(helpful))
        if index >= len(plans):
            return None
        n_best, n_ops, strength = plans[index]
        levels = {op: min(1.0, ranked[op][0] * strength) for op in helpful[:n_best]}
        origin = f"combine:best {n_best} x {n_ops}"
        return self._opwise(levels, n_ops, 1.0, origin + (f" @{strength:g}" * (strength != 1)))

    def _opwise(
        self, levels: Mapping[str, float], n_ops: int, probability: float, origin: str
    ) -> Suggestion:
        low, high = self._space.n_ops
        params = self._space.encode_opwise(levels, min(max(n_ops, low), high), probability)
        return Suggestion(self._space.decode(params), origin, params)


def rank_ops(history: Sequence[Trial]) -> dict[str, tuple[float, float]]:
    """What screening found: op -> (best level, gain over no augmentation), best op first.

    The gain is the fall of the score, over the replicates that both trials finished, so that an
    op whose trial was pruned is compared fairly.
    """
    none = next((t for t in history if t.suggestion.origin == "warm:none" and t.score), None)
    if none is None:
        return {}
    base = none.running_means()
    found: dict[str, tuple[float, float]] = {}
    for trial in history:
        kind, _, rest = trial.suggestion.origin.partition(":")
        means = trial.running_means()
        if kind != "screen" or not means:
            continue
        op, _, level = rest.partition("@")
        gain = base[len(means) - 1] - means[-1]
        if op not in found or gain > found[op][1]:
            found[op] = (float(level), gain)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


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


def _combination_plans(n_helpful: int) -> list[tuple[int, int, float]]:
    """(number of best ops, ops per sample, strength) in the order in which they are tried."""
    counts = [k for k in (4, 3, 6, 2, 5, 8, 10, 14) if k <= n_helpful] or [n_helpful]
    plans = [(k, n, 1.0) for n in (2, 1, 3) for k in counts]
    return plans + [(k, n, s) for s in (0.7, 1.4) for n in (2, 3) for k in counts]
