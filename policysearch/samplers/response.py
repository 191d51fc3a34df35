"""What a design is worth, by all trials of designs together.

A score of one cross-validation is as noisy as neighbouring designs differ. A Gaussian process
(scikit-learn's) over the few dimensions of a design takes the noise out: it says what every
design, tried or not, most likely scores, and how sure that is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policysearch.samplers.layouts import Design, Layout
from policysearch.trial import Trial

#: Key of a design in the state of a suggestion.
DESIGN = "design"
#: What counts as far in each coordinate of a design.
SCALES = (0.15, 1.0, 1.0, 1.0, 1.0)
#: Fewer scored designs than this say nothing about others.
MIN_TRIALS = 5


def design_state(design: Design) -> dict[str, object]:
    """A design as plain data, kept with its trial."""
    x = design.layout
    return {DESIGN: [x.n_any, x.n_moving, x.n_changing, int(x.is_mirrored), design.share]}


def design_of(trial: Trial) -> Design | None:
    """The design that a trial tried; `None` for another policy."""
    fields = trial.suggestion.state.get(DESIGN)
    if fields is None:
        return None
    n_any, n_moving, n_changing, is_mirrored, share = fields
    return Design(Layout(n_any, n_moving, n_changing, bool(is_mirrored)), share)


@dataclass(frozen=True)
class Belief:
    """What is known of designs, `(n,)` each: standardised scores without the noise of a trial."""

    mean: NDArray[np.float64]
    error: NDArray[np.float64]


class Response:
    """Scores over designs, learned from trials.

    Args:
      trials: Any; those that tried no design, or have no score, say nothing. The score of a trial
        that was stopped early is what it would be if it went on as the others do.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        scored = _scores(trials)
        self.designs = [design for design, _ in scored]
        self._process = None
        if len(scored) < MIN_TRIALS:
            return
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        kernel = ConstantKernel(1.0, (0.1, 10.0)) * RBF(1.5, (0.7, 5.0)) + WhiteKernel(
            0.5, (0.05, 5.0)
        )
        self._process = GaussianProcessRegressor(kernel)
        self._scale = _Scale([score for _, score in scored])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hyper-parameter at the end of its range is fine
            self._process.fit(_coordinates(self.designs), self._scale.standard)

    @property
    def is_known(self) -> bool:
        """Whether there are trials enough to learn from."""
        return self._process is not None

    def belief(self, designs: Sequence[Design]) -> Belief:
        """What the designs most likely score."""
        if self._process is None:
            raise RuntimeError("too few trials")
        mean, error = self._process.predict(_coordinates(designs), return_std=True)
        noise = self._process.kernel_.k2.noise_level
        return Belief(mean, np.sqrt(np.maximum(error**2 - noise, 1e-12)))

    def score(self, mean: float) -> float:
        """A believed mean as a score."""
        return self._scale.score(mean)

    def score_alone(self, score: float) -> float:
        """What to believe of a policy with this score that no design says anything about.

        That of a design far from all others: as much nearer to the middle as trials are noisy.
        """
        if self._process is None:
            raise RuntimeError("too few trials")
        signal = self._process.kernel_.k1.k1.constant_value
        noise = self._process.kernel_.k2.noise_level
        return self.score(float(self._scale.standardised([score])[0]) * signal / (signal + noise))


class _Scale:
    """Scores as multiples of their spread about their median, so that no outlier rules.

    Attributes:
      standard: In [-3, 3], `(n,)`.
    """

    def __init__(self, scores: Sequence[float]) -> None:
        self._largest = max(map(abs, scores)) or 1.0  # scores may be of any size
        values = np.array(scores) / self._largest
        self._center = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - self._center)))
        self._spread = spread if spread > 1e-9 else 1.0
        self.standard = self.standardised(scores)

    def standardised(self, scores: Sequence[float]) -> NDArray[np.float64]:
        """These scores, or others, so."""
        values = np.array(scores) / self._largest
        return np.clip((values - self._center) / self._spread, -3.0, 3.0)

    def score(self, standard: float) -> float:
        return (self._center + self._spread * standard) * self._largest


def smoothed_scores(trials: Sequence[Trial]) -> Mapping[int, float]:
    """Score of each complete trial by its number, without the noise of one trial.

    As told, where too few designs were tried to know any better.
    """
    told = {t.number: t.score for t in trials if t.score is not None}
    response = Response(trials)
    if not response.is_known:
        return told
    believed = {number: response.score_alone(score) for number, score in told.items()}
    designed = [(t.number, d) for t in trials if t.number in told and (d := design_of(t))]
    if designed:
        means = response.belief([design for _, design in designed]).mean
        for (number, _), mean in zip(designed, means, strict=True):
            believed[number] = response.score(float(mean))
    return believed


def _coordinates(designs: Sequence[Design]) -> NDArray[np.float64]:
    return np.array([design.coordinates() for design in designs]) / SCALES


def _scores(trials: Sequence[Trial]) -> list[tuple[Design, float]]:
    complete = [t.running_means() for t in trials if t.score is not None]
    found = []
    for trial in trials:
        design = design_of(trial)
        if design is None:
            continue
        if trial.score is not None:
            found.append((design, trial.score))
        elif trial.outcome.state == "pruned" and (means := trial.running_means()):
            n = len(means)
            rest = [full[-1] - full[n - 1] for full in complete if len(full) > n]
            if rest:
                found.append((design, means[-1] + float(np.mean(rest))))
    return found
