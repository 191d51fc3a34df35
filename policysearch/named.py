"""From what a user writes (a file, a name, a mapping) to a policy document."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policysearch.errors import InvalidValueError, UnknownNameError, unknown_name
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument, policy_from_dict, read_policy_file
from policysearch.resources import policy_files

PolicySource = str | os.PathLike[str] | Mapping[str, Any] | Policy | PolicyDocument


#: Arms of a verdict by the names they have there.
_ARM_NAMES = {"default": "default-image", "trivialaugment": "trivialaugment-wide"}


def resolve_policy(source: PolicySource) -> PolicyDocument:
    """Finds a policy: a shipped name (`trivialaugment-wide`), a file, a run directory, a mapping.

    Raises:
      UnknownNameError: For a name that is neither shipped nor a file, with the nearest name.
      FormatError: Naming every problem of a file.
      InvalidValueError: For something else than these, or a path without a policy.
    """
    if isinstance(source, PolicyDocument):
        return source
    if isinstance(source, Policy):
        return PolicyDocument(source)
    if isinstance(source, Mapping):
        return policy_from_dict(dict(source))
    text = os.fspath(source) if isinstance(source, (str, os.PathLike)) else source
    if not isinstance(text, str):
        raise InvalidValueError(
            "A policy must be a name, a path, a mapping or a `Policy`, "
            f"got {type(source).__name__}."
        )
    shipped = policy_files()
    if isinstance(source, str):
        source = _ARM_NAMES.get(source, source)
    if isinstance(source, str) and source in shipped:
        return read_policy_file(shipped[source])
    path = Path(text)
    if text and os.path.isdir(path):
        if not os.path.isfile(path / "policy.json"):
            raise InvalidValueError(
                f"Directory '{path}' holds no policy.json. A run has one when it is finished: "
                f"policysearch resume {path}"
            )
        return read_policy_file(path / "policy.json")
    looks_like_path = path.suffix == ".json" or os.sep in text or not isinstance(source, str)
    if looks_like_path or os.path.exists(path):
        return read_policy_file(path)
    raise UnknownNameError(
        unknown_name("policy", text, shipped) + " A file must end in .json or contain a slash."
    )
