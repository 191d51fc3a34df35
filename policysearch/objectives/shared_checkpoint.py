"""Fine-tuning of one half-trained model per policy: a policy's effect at a part of its cost.

All policies of a fold and seed start from the same weights, so that what differs between them
afterwards is the policy's doing and not that of other first epochs.

References:
  Tian et al., Improving Auto-Augment via Augmentation-Wise Weight Sharing, 2020
    (arXiv:2009.14737), section 3: fine-tuning from shared weights ranks policies as full
    trainings do.
"""

from __future__ import annotations

from collections.abc import Mapping

from policysearch.data.splits import SearchData
from policysearch.objectives.base import evaluate_replicates
from policysearch.objectives.folds import Folds
from policysearch.proxies.base import ProxySettings, State
from policysearch.seeding import derive_seed
from policysearch.trial import Outcome, Replicate, Task

#: Length of the training that all share and of the fine-tuning, as shares of a full training. Rank
#: correlation with the test log-loss of full trainings, two draws of 100 digits, 40 policies: 0.72
#: and 0.77 (0.57 on the first draw with 0.1 of fine-tuning); trainings from scratch of a third of
#: the length 0.69 and 0.50, of full length 0.76 on the first draw. A training in common under
#: UniformAugment instead of none: 0.52 on the second draw, where none gives 0.77.
SHARED, FINE_TUNED = 0.5, 0.2


class SharedCheckpoint:
    """Mean log-loss after fine-tuning under the policy, on the folds of the search data.

    The shared training is a function of (data, fold, seed, length). Every worker process makes it
    when it is first asked for, which costs it half a trial from scratch, once: less than moving
    files between machines would have to be trusted for.
    """

    cost = FINE_TUNED

    def __init__(self, data: SearchData, proxy: ProxySettings) -> None:
        self._folds = Folds(data, proxy)
        self._checkpoints: dict[tuple[Replicate, int], State] = {}

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`)."""
        return evaluate_replicates(task, self._run)

    def _run(self, task: Task, replicate: Replicate) -> Mapping[str, float]:
        n_epochs = max(1, round(FINE_TUNED * task.n_epochs))
        proxy = self._folds.proxy(replicate.fold, task.policy, n_epochs, replicate.seed)
        proxy.fit(self._checkpoint(task, replicate))
        metrics = self._folds.read(replicate.fold, proxy, task.probes)
        return metrics | {"score": metrics["log_loss"]}

    def _checkpoint(self, task: Task, replicate: Replicate) -> State:
        """What the policies of a replicate have in common; made when it is first asked for."""
        n_epochs = max(1, round(SHARED * task.n_epochs))
        key = (replicate, n_epochs)
        if key not in self._checkpoints:
            seed = derive_seed(replicate.seed, "shared") % 2**31  # its order of samples is another
            none = task.policy.without_ops()
            proxy = self._folds.proxy(replicate.fold, none, n_epochs, seed)
            proxy.fit()
            self._checkpoints[key] = proxy.state()
        return self._checkpoints[key]
