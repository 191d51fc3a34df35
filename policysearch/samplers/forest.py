"""A random forest of all outcomes and the expected improvement that it sees: DeepAugment's search.

References:
  Hutter, Hoos & Leyton-Brown, Sequential Model-Based Optimization for General Algorithm
    Configuration, 2011: forests as models, their trees' spread as uncertainty.
  Ozmen, DeepAugment, 2019: that search over four (operation, magnitude) pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.ensemble import RandomForestRegressor

from policysearch.seeding import derive_seed, generator
from policysearch.space import Choice, Params, SearchSpace
from policysearch.trial import Suggestion, Trial

#: Random trials before the first that is guided, trees, and candidates of a suggestion.
N_STARTUP, N_TREES, N_CANDIDATES = 10, 100, 1000
#: Improvement that is not worth a trial, in shares of the range of the scores.
MARGIN = 0.01


class ForestSampler:
    """Takes the random candidate of most expected improvement.

    Args:
      space: Must have parameters.
      seed: Root seed.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the parameters of trial `number` (see `Sampler`)."""
        rng = generator(self._seed, "forest", number)
        told = [
            (trial.suggestion.params, trial.outcome.score)
            for trial in history
            if trial.suggestion.params is not None and trial.outcome.score is not None
        ]
        if len(told) < N_STARTUP:
            params = self._random(rng)
            return Suggestion(self._space.decode(params), "random", params)
        scores = _within_one(np.array([score for _, score in told]))
        candidates = [self._random(rng) for _ in range(N_CANDIDATES)]
        forest = RandomForestRegressor(
            N_TREES,
            min_samples_leaf=3,
            max_features=1 / 3,
            random_state=derive_seed(self._seed, "trees", number) % 2**32,
        )
        forest.fit(self._rows([params for params, _ in told]), scores)
        rows = self._rows(candidates)
        seen = np.stack([tree.predict(rows) for tree in forest.estimators_])
        gains = expected_improvement(seen.mean(axis=0), seen.std(axis=0), float(scores.min()))
        params = candidates[int(gains.argmax())]
        return Suggestion(self._space.decode(params), "forest", params)

    def _random(self, rng: np.random.Generator) -> dict[str, float | int | str]:
        params: dict[str, float | int | str] = {}
        for name, parameter in self._space.parameters().items():
            if isinstance(parameter, Choice):
                params[name] = parameter.options[rng.integers(len(parameter.options))]
            elif parameter.is_integer:
                params[name] = int(rng.integers(int(parameter.low), int(parameter.high) + 1))
            else:
                params[name] = float(rng.uniform(parameter.low, parameter.high))
        return params

    def _rows(self, many: Sequence[Params]) -> NDArray[np.float32]:
        """Numbers as they are, a choice as one column for each of its options."""
        columns: list[list[float]] = []
        for name, parameter in self._space.parameters().items():
            values = [params[name] for params in many]
            if isinstance(parameter, Choice):
                columns += [[float(v == option) for v in values] for option in parameter.options]
            else:
                columns.append([float(v) for v in values])
        rows: NDArray[np.float32] = np.array(columns, dtype=np.float32).T
        return rows


def expected_improvement(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], best: float
) -> NDArray[np.float64]:
    """How far below `best` a normal variable is expected to fall.

    References:
      Jones, Schonlau & Welch, Efficient Global Optimization of Expensive Black-Box Functions,
        1998, equation 15.
    """
    gain = best - MARGIN - mean
    z = gain / np.maximum(deviation, 1e-12)
    result: NDArray[np.float64] = gain * norm.cdf(z) + deviation * norm.pdf(z)
    return result


def _within_one(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores from 0 to 1, whatever their size: their squares must be finite."""
    scaled = scores / max(float(np.abs(scores).max()), 1e-300)
    lowest, highest = float(scaled.min()), float(scaled.max())
    result: NDArray[np.float64] = (scaled - lowest) / (highest - lowest or 1.0)
    return result
