"""Kinds of data: how samples of each come in, are augmented, and go back.

One module per modality, named like it, holding an instance `MODALITY`; it is imported when the
first policy of that kind is applied. `CONTRIBUTING.md` lists what else a modality consists of.
"""

from __future__ import annotations

import importlib

from policysearch.errors import UnknownNameError, unknown_name
from policysearch.modalities.base import Batch, Modality
from policysearch.ops.registry import OPS_VERSIONS

__all__ = ["Batch", "Modality", "modality_of"]


def modality_of(name: str) -> Modality:
    """The modality of that name, such as `image`; raises `UnknownNameError` for another."""
    if name not in OPS_VERSIONS:
        raise UnknownNameError(unknown_name("modality", name, OPS_VERSIONS))
    found: Modality = importlib.import_module(f"policysearch.modalities.{name}").MODALITY
    return found
