"""The order of the house: a module imports from its own floor or below, never from above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "policysearch"

#: Floors from the ground up; a folder stands for everything in it.
FLOORS = (
    ("errors", "seeding", "resources", "files", "policy", "trial", "user_code", "costs"),
    ("ops", "validation"),
    ("space", "space_yaml", "policy_json", "named"),
    ("mixture", "draws", "modalities", "company", "synthesis", "generators", "data"),
    ("transform", "loading", "baselines"),
    ("metrics", "measures", "resampling", "estimates", "corruptions"),
    ("proxies",),
    ("objectives",),
    ("samplers", "ledger_lines", "ledger", "config", "pruning"),
    ("engines",),
    ("remembered", "run", "search_loop", "selection", "simplify", "headroom", "verdict"),
    ("problems",),
    ("confirmation", "budget", "ladder", "front"),
    ("comparison",),
    ("study",),
    ("api",),
    ("report", "exporters"),
    ("cli",),
    ("__init__", "__main__"),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

#: Foreign libraries that only their adapter may name.
ADAPTERS = {
    "optuna": {"samplers", "exporters"},
    "optuna_dashboard": {"exporters"},
    "sqlalchemy": {"exporters"},
    "tensorboard": {"exporters"},
    "soundfile": {"data"},
    "pyarrow": {"data"},
    "nibabel": {"data"},
    "sklearn": {"data", "generators", "samplers"},
    "ray": {"engines"},
}


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "policysearch":
                found |= {f"policysearch.{alias.name}" for alias in node.names}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_imports_from_its_own_floor_or_below(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "policysearch" or len(parts) == 1 or parts[1] in {"__version__"}:
            continue
        assert FLOOR_OF[parts[1]] <= FLOOR_OF[room], f"{room} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_foreign_library_stays_in_its_adapter(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        allowed = ADAPTERS.get(name.split(".")[0])
        assert allowed is None or room in allowed, f"{room} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_says_why_it_exists(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_assertion_of_the_tests_is_a_conditional_expression() -> None:
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_vacuous = isinstance(node, ast.Assert) and isinstance(node.test, ast.IfExp)
            assert not is_vacuous, f"{path}:{node.lineno}"


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, policysearch; dir(policysearch); "
        "print([n for n in ('torch', 'optuna', 'ray', 'sklearn', 'scipy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
