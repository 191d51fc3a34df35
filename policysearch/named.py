"""From what a user writes (a file, a name, a mapping) to a policy document."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policysearch.errors import UnknownNameError, unknown_name
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument, policy_from_dict, read_policy_file
from policysearch.resources import policy_files

PolicySource = str | os.PathLike[str] | Mapping[str, Any] | Policy | PolicyDocument


def resolve_policy(source: PolicySource) -> PolicyDocument:
    """Finds a policy: a shipped name (`trivialaugment-wide`), a file, a run directory, a mapping.

    Raises:
      UnknownNameError: For a name that is neither shipped nor a file, with the nearest name.
      FormatError: Naming every problem of a file.
    """
    if isinstance(source, PolicyDocument):
        return source
    if isinstance(source, Policy):
        return PolicyDocument(source)
    if isinstance(source, Mapping):
        return policy_from_dict(dict(source))
    shipped = policy_files()
    text = os.fspath(source)
    if isinstance(source, str) and source in shipped:
        return read_policy_file(shipped[source])
    path = Path(text)
    if (path / "policy.json").is_file():
        return read_policy_file(path / "policy.json")
    looks_like_path = path.suffix == ".json" or os.sep in text or not isinstance(source, str)
    if looks_like_path or path.exists():
        return read_policy_file(path)
    raise UnknownNameError(
        unknown_name("policy", text, shipped) + " A file must end in .json or contain a slash."
    )
