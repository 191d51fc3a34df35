"""The wheel is complete: it works from another folder, with its spaces, policies and schema."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from kept_code import keep_code

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    keep_code(target / "policysearch")
    return target


def run(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_wheel_holds_spaces_policies_schema_and_type_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for space in (ROOT / "search_spaces").rglob("*.yaml"):
        assert f"policysearch/search_spaces/{space.relative_to(ROOT / 'search_spaces')}" in names
    for policy in (ROOT / "policysearch" / "policies").glob("*.json"):
        assert f"policysearch/policies/{policy.name}" in names
    for schema in (ROOT / "policysearch" / "schemas").glob("*.json"):
        assert f"policysearch/schemas/{schema.name}" in names
    assert "policysearch/ops/data/synonyms.tsv.gz" in names
    assert "policysearch/py.typed" in names


def test_wheel_carries_its_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(n.endswith("/LICENSE") for n in names)
    assert any(n.endswith("WORDNET-LICENSE") and ".dist-info/" in n for n in names)


def test_installed_package_lists_its_spaces_from_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    done = run(installed, tmp_path, "-m", "policysearch", "spaces", "--json")
    assert done.returncode == 0, done.stderr
    assert "image/opwise" in {space["name"] for space in json.loads(done.stdout)}


def test_installed_package_is_the_one_that_answers(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "-c", "import policysearch; print(policysearch.__file__)")
    assert done.stdout.strip().startswith(str(installed))


def test_installed_package_searches_from_another_folder(installed: Path, tmp_path: Path) -> None:
    options = {"train-size": 40, "folds": 2, "trials": 6, "epochs": 1, "candidates": 1}
    options |= {"confirm-seeds": 1, "verdict-seeds": 2, "workers": 1, "out": "found"}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    done = run(installed, tmp_path, "-m", "policysearch", "search", "digits", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "found" / "policy.json").read_text())["version"] == 1
