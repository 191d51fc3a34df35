"""What is known before the first trial of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policysearch.policy import Policy

if TYPE_CHECKING:
    from policysearch.costs import PolicyCost
    from policysearch.samplers.calibration import Calibration


@dataclass(frozen=True)
class Known:
    """What is known before the first trial.

    Attributes:
      calibration: What networks without augmentation say of single ops; `None`: not known.
      cost: Tells what a policy costs, where that is an objective beside the score.
      best: Name and policy of the best search-free one; `None`: not known.
    """

    calibration: Calibration | None = None
    cost: PolicyCost | None = None
    best: tuple[str, Policy] | None = None


NOTHING_KNOWN = Known()
