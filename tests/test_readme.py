"""The README says what is true: its tables come from results, its names and commands exist."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from policysearch.cli.commands import COMMANDS
from policysearch.named import resolve_policy

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def readme_tables() -> ModuleType:
    path = ROOT / "benchmarks" / "readme_tables.py"
    spec = importlib.util.spec_from_file_location("readme_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


def test_tables_are_generated_from_the_results(readme_tables: ModuleType) -> None:
    between = README.split(readme_tables.BEGIN)[1].split(readme_tables.END)[0]
    assert between.strip() == readme_tables.tables().strip()


def test_the_page_of_speeds_is_generated_from_the_results(readme_tables: ModuleType) -> None:
    results = ROOT / "benchmarks" / "results"
    assert readme_tables.SPEED.read_text() == readme_tables.speed(results)


def test_commands_in_the_readme_exist() -> None:
    used = set(re.findall(r"policysearch ([a-z]+)", README)) - {"takes", "needs", "is"}
    assert used <= set(COMMANDS)
    assert "search" in used


def test_policy_names_in_the_readme_exist() -> None:
    for name in re.findall(r'"((?:trivial|rand|auto|uniform)augment[a-z0-9-]*|augmix)"', README):
        assert resolve_policy(name).policy.sub_policies


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
