"""Population based training of a schedule: whose strength pays off at which part of the training.

A population of trainings goes on together, a segment at a time. After each, the better half of
them goes on twice: at the strength it has, and at another one in place of the worse half. What is
searched is the strength at the knots of a schedule; the policy under it comes from the design of
the calibrated search and is chosen along with its strengths. A member is therefore a policy with
a schedule at every moment, and a training under that policy from the first epoch on is the
member's own, to the last bit: what is exported needs no other replay.

Members of a generation are trials. They are suggested when the generation before has ended, from
its outcomes alone, so that neither timing nor the number of workers shows.

References:
  Jaderberg et al., Population Based Training of Neural Networks, 2017 (arXiv:1711.09846).
  Ho et al., Population Based Augmentation, 2019 (arXiv:1905.05393): magnitudes and probabilities
    of each op may change; here one factor for all, which a few segments can tell apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from policysearch.policy import MAX_KNOTS, Policy, Schedule
from policysearch.samplers.base import Sampler
from policysearch.samplers.calibration import Calibration
from policysearch.samplers.layouts import Designer, first_designs
from policysearch.seeding import generator
from policysearch.space import SearchSpace
from policysearch.trial import FINAL, Suggestion, Trial

#: Members, and generations that a smaller population is preferred to having fewer of.
POPULATION, MIN_GENERATIONS = 8, 4
#: Weakest strength, and the weakest that a training begins with.
LOWEST, LOWEST_START = 0.1, 0.4
#: How a strength is changed: by this much, or drawn anew with this probability.
STEP, DRAWN_ANEW = 0.2, 0.25


class PopulationSampler:
    """Warm start, then generations; the last one is what the search has found.

    Args:
      space: Gives the policies under the schedules; in an op-wise one they are designed.
      calibration: How much of each op the data bear; `None`: equal levels for all.
      warm_start: Policies by name, tried first and in one go.
      n_trials: Planned number of trials. Those that do not fill a generation enlarge the first;
        further ones belong to the last.
      inner: Suggests the first policies in a space of another method.
      seed: Of all draws.
    """

    def __init__(
        self,
        space: SearchSpace,
        calibration: Calibration | None,
        warm_start: Mapping[str, Policy],
        n_trials: int,
        inner: Sampler,
        seed: int,
    ) -> None:
        self._inner = inner
        self._seed = seed
        self._warm = [Suggestion(policy, f"warm:{name}") for name, policy in warm_start.items()]
        self._designs: list[tuple[str, Policy]] = []
        if space.method == "opwise":
            designer = Designer(space, calibration)
            made = ((str(design), designer.policy(design)) for design in first_designs(designer))
            self._designs = [(name, policy) for name, policy in made if policy is not None]
        self._begins = generations(n_trials - len(self._warm), len(self._warm))

    def n_needed(self, number: int) -> int:
        """Trials that must have ended before this one is suggested (see `Generational`)."""
        return max([0, *(begin for begin in self._begins if begin <= number)])

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the policy of trial `number` (see `Sampler`)."""
        if number < len(self._warm):
            return self._warm[number]
        begin = self.n_needed(number)
        generation, member = self._begins.index(begin), number - begin
        parents = self._parents(generation, history)
        if not parents:
            return self._first(number, generation, member)
        parent = parents[member % len(parents)]
        strengths = list(parent.suggestion.state["strengths"])
        is_changed = member >= len(parents)
        strengths.append(self._changed(strengths[-1], number) if is_changed else strengths[-1])
        policy = parent.suggestion.policy.at_full_strength()
        return self._member(policy, generation, strengths, f"trial {parent.number}")

    def _parents(self, generation: int, history: Sequence[Trial]) -> list[Trial]:
        """The better half of the generation before, best first; empty where there is none."""
        if generation == 0:
            return []
        begin, end = self._begins[generation - 1 : generation + 1]
        scored = [t for t in history if begin <= t.number < end and t.score is not None]
        scored.sort(key=lambda t: (t.score or 0.0, t.number))
        return scored[: max(1, self._n_members // 2)]

    @property
    def _n_members(self) -> int:
        return self._begins[-1] - self._begins[-2] if len(self._begins) > 1 else POPULATION

    def _first(self, number: int, generation: int, member: int) -> Suggestion:
        """A member without a parent: of the first generation, or when all before it failed."""
        if self._designs:
            name, policy = self._designs[member % len(self._designs)]
        else:
            name, policy = "random", self._inner.suggest(number, ()).policy
        rng = generator(self._seed, "population", number)
        strength = 1.0 if member % 2 == 0 else round(rng.uniform(LOWEST_START, 1.0), 3)
        return self._member(policy, generation, [strength] * (generation + 2), name)

    def _changed(self, strength: float, number: int) -> float:
        rng = generator(self._seed, "population", number)
        if rng.random() < DRAWN_ANEW:
            return float(round(rng.uniform(LOWEST, 1.0), 3))
        step = STEP if rng.random() < 0.5 else -STEP
        if not LOWEST <= strength + step <= 1:
            step = -step
        return round(strength + step, 3)

    def _member(
        self, policy: Policy, generation: int, strengths: list[float], source: str
    ) -> Suggestion:
        n, is_last = len(self._begins), generation == len(self._begins) - 1
        knots = [(i / n, strength) for i, strength in enumerate(strengths)]
        if not is_last:
            knots.append((1.0, strengths[-1]))
        origin = f"{FINAL if is_last else ''}population:{generation + 1} of {n}, {source}"
        return Suggestion(
            dataclasses.replace(policy, schedule=Schedule(tuple(knots))),
            origin,
            state={"strengths": strengths},
            segments=tuple((i + 1) / n for i in range(generation + 1)),
        )


def generations(n_trials: int, first: int) -> list[int]:
    """Numbers of the trials with which the generations begin.

    Examples:
      >>> generations(40, 1), generations(23, 1)
      ([1, 9, 17, 25, 33], [1, 9, 14, 19])
    """
    most = MAX_KNOTS - 1
    members = max(min(POPULATION, n_trials // MIN_GENERATIONS), math.ceil(n_trials / most), 2)
    n = max(1, n_trials // members)
    n_first = max(members, n_trials - members * (n - 1))
    return [first, *(first + n_first + members * i for i in range(n - 1))]
