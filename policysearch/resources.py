"""Where the data files that ship with the package lie: search spaces and named policies."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def space_files() -> dict[str, Path]:
    """Shipped search spaces by name, such as `image/opwise`."""
    # In a wheel the folder lies inside the package; in a checkout it is the package's neighbour.
    inside = _HERE / "search_spaces"
    root = inside if inside.is_dir() else _HERE.parent / "search_spaces"
    return {
        str(path.relative_to(root).with_suffix("")): path for path in sorted(root.rglob("*.yaml"))
    }


def policy_files() -> dict[str, Path]:
    """Shipped policies by name, such as `trivialaugment-wide`."""
    return {path.stem: path for path in sorted((_HERE / "policies").glob("*.json"))}


def schema_file(version: int) -> Path:
    """The JSON Schema of policy files of a version."""
    return _HERE / "schemas" / f"policy-{version}.schema.json"
