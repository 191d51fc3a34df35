"""policysearch: learned data-augmentation policies, with an honest verdict on how much they help.

Importing the package loads neither torch nor optuna nor ray: public names are resolved when they
are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "AugmentedDataset": "policysearch.loading",
    "Mix": "policysearch.policy",
    "OpCall": "policysearch.policy",
    "Policy": "policysearch.policy",
    "PolicySearchError": "policysearch.errors",
    "PolicyTransform": "policysearch.transform",
    "Schedule": "policysearch.policy",
    "SearchResult": "policysearch.api",
    "Stage": "policysearch.policy",
    "SubPolicy": "policysearch.policy",
    "TrainingTrial": "policysearch.objectives.own",
    "TrialPruned": "policysearch.objectives.own",
    "collate": "policysearch.loading",
    "compare": "policysearch.api",
    "load_policy": "policysearch.transform",
    "search": "policysearch.api",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'policysearch' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
