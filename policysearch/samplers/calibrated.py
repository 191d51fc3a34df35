"""The default search: designs from a calibration, led by a model of all of them.

1. *Warm start*: the policies that every later score is compared with.
2. *Capped*: the best search-free policy, its ops cut to what these data bear.
3. *Designs* spread over shares of the accuracy and layouts (`layouts`).
4. *Variations* of the best of these, in a space with a schedule or rare classes (`variations`).
5. *Model*: a Gaussian process over the designs (`response`) says which one promises the largest
   improvement on what is believed of the best.
6. *Refinement* of a longer search: the inner sampler, at first every other time beside the model.
   A very long one is refined alone: there are some hundred designs, and what the model costs grows
   with the cube of those tried.

What is not known yet, because it still runs, is never suggested twice: trial n chooses among the
designs of its turn only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from policysearch.policy import Policy
from policysearch.samplers.base import Sampler
from policysearch.samplers.known import Known
from policysearch.samplers.layouts import Design, Designer, all_designs, first_designs
from policysearch.samplers.response import MIN_TRIALS, Response, design_of, design_state
from policysearch.samplers.variations import variation, variations_of
from policysearch.seeding import generator
from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

#: Trials that the model leads before the inner sampler takes turns with it, and trials after
#: which that does all.
N_LED, MAX_LED = 24, 200
#: Shares of the accuracy that every op of a capped policy must leave.
CAPPED_SHARES = (0.9, 0.65)
#: Turns of trials: so many that follow one another never choose the same design.
MAX_TURNS = 16


class CalibratedSampler:
    """Suggests designs of an op-wise space (see the module).

    Args:
      space: Gives ops, ranges and the largest number of ops per sample.
      known: Before the first trial. Without a calibration all ops have equal levels, and nobody
        knows where to cut the best search-free policy. With a cost a design promises what it
        improves on the best that is no dearer.
      warm_start: Policies by name, tried first.
      inner: Refines.
      seed: Of the order of designs.
      n_trials: Planned number of trials: the first designs leave room for the variations and one
        trial that the model leads. `None`: there is room for all.
    """

    def __init__(
        self,
        space: SearchSpace,
        known: Known,
        warm_start: Mapping[str, Policy],
        inner: Sampler,
        seed: int = 0,
        n_trials: int | None = None,
    ) -> None:
        self._space = space
        self._inner = inner
        self._cost = known.cost
        self._designer = Designer(space, known.calibration)
        self._given = [Suggestion(policy, f"warm:{name}") for name, policy in warm_start.items()]
        if known.best is not None and known.calibration is not None:
            self._given += self._capped(*known.best)
        self._n_varied = len(variations_of(space))
        self._first = self._distinct(first_designs(self._designer))
        if n_trials is not None:
            n_others = len(self._given) + self._n_varied + 1
            self._first = self._first[: max(MIN_TRIALS, n_trials - n_others)]
        first = set(self._first)
        others = [d for d in all_designs(self._designer) if d not in first]
        others = self._distinct([*self._first, *others])[len(self._first) :]
        order = generator(seed, "designs").permutation(len(others))
        self._others = [others[i] for i in order]

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the policy of trial `number` (see `Sampler`)."""
        index = number - len(self._given)
        if index < 0:
            return self._given[number]
        if index < len(self._first):
            return self._suggestion(self._first[index], "design") or self._refined(number, history)
        index -= len(self._first)
        if index < self._n_varied:
            found = variation(self._space, index, history)
            return found or self._refined(number, history)
        index -= self._n_varied
        if index < N_LED or (index % 2 == 0 and index < MAX_LED):
            return self._led(number, history) or self._refined(number, history)
        return self._refined(number, history)

    def _distinct(self, designs: Sequence[Design]) -> list[Design]:
        """One design for each policy: where ops are borne to the full, shares do not matter."""
        seen: set[Policy] = set()
        found = []
        for design in designs:
            policy = self._designer.policy(design)
            if policy is None or policy not in seen:
                found.append(design)
            if policy is not None:
                seen.add(policy)
        return found

    def _capped(self, name: str, policy: Policy) -> list[Suggestion]:
        """The policy with its ops cut, where that changes anything, each result once."""
        found: dict[Policy, Suggestion] = {}
        for share in CAPPED_SHARES:
            capped = self._designer.capped(policy, share)
            if capped is not None and capped not in (policy, *found):
                found[capped] = Suggestion(capped, f"capped:{name} @{share:g}")
        return list(found.values())

    def _led(self, number: int, history: Sequence[Trial]) -> Suggestion | None:
        """The design of this turn that promises most; `None` when there is none."""
        response = Response(history)
        if not response.is_known:
            return None
        tried = {design_of(trial) for trial in history}
        n_turns = min(MAX_TURNS, len(self._others)) or 1
        mine = [d for d in self._others[number % n_turns :: n_turns] if d not in tried]
        if not mine:
            return None
        belief = response.belief(mine)
        z = (self._to_beat(response, mine) - belief.mean) / belief.error
        gain = belief.error * (z * stats.norm.cdf(z) + stats.norm.pdf(z))
        for i in np.argsort(-gain, kind="stable"):
            found = self._suggestion(mine[i], "model")
            if found is not None:
                return found
        return None

    def _to_beat(self, response: Response, designs: Sequence[Design]) -> NDArray[np.float64]:
        """What is believed of the best tried design, for each of some the best that is as cheap.

        Where none is as cheap, the worst: whatever is found there is new.
        """
        tried = response.belief(response.designs).mean
        if self._cost is None:
            return np.full(len(designs), tried.min())
        costs = np.array([self._cost_of(design) for design in response.designs])
        return np.array(
            [min(tried[costs <= self._cost_of(design)], default=tried.max()) for design in designs]
        )

    def _cost_of(self, design: Design) -> float:
        policy = self._designer.policy(design)
        return 0.0 if policy is None or self._cost is None else self._cost(policy)

    def _refined(self, number: int, history: Sequence[Trial]) -> Suggestion:
        return self._inner.suggest(number, history)

    def _suggestion(self, design: Design, kind: str) -> Suggestion | None:
        policy = self._designer.policy(design)
        if policy is None:
            return None
        n_ops = len({c.op for s in policy.sub_policies[0].stages for c in s.choices})
        return Suggestion(policy, f"{kind}:{n_ops} ops, {design}", state=design_state(design))
