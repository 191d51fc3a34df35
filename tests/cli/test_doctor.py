"""`policysearch doctor`."""

import importlib
import importlib.metadata
import json

import pytest

from policysearch import cli
from policysearch.cli import checks, machine
from policysearch.cli.checks import Finding, satisfies


@pytest.fixture
def quick(monkeypatch):
    """Spares the measurements."""
    monkeypatch.setattr(machine, "augmented_per_second", lambda: 1000.0)
    monkeypatch.setattr(machine, "proxy_step_seconds", lambda: 0.01)


def test_the_speed_is_really_measured():
    assert machine.augmented_per_second(seconds=0.01) > 0
    assert machine.proxy_step_seconds(n_epochs=1) > 0


def test_a_sound_machine_is_told_so(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "Everything that is needed works." in text
    for name in ("torch", "ray", "cpu cores", "memory", "gpu", "search spaces", "writing"):
        assert name in text
    assert max(map(len, text.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_json_holds_every_finding(quick, capsys):
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    values = {finding["name"]: finding["value"] for finding in report["findings"]}
    assert values["torch"] == importlib.metadata.version("torch")
    assert values["cpu cores"] >= 1
    assert values["augmentation"] == 1000


def test_a_missing_package_is_a_problem_with_its_mend(quick, monkeypatch, capsys):
    version = importlib.metadata.version

    def without_optuna(name):
        if name == "optuna":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_optuna)
    assert cli.main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "1 problem. To mend:" in text
    assert "  optuna: pip install 'optuna" in text


def test_a_package_that_does_not_import_is_a_problem(quick, monkeypatch, capsys):
    real = importlib.import_module

    def broken(name, package=None):
        if name == "scipy":
            raise OSError("libopenblas.so: cannot open shared object file")
        return real(name, package)

    monkeypatch.setattr(checks.importlib, "import_module", broken)
    assert cli.main(["doctor"]) == 1
    assert "scipy: pip install --force-reinstall 'scipy" in capsys.readouterr().out


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def _speed():
        yield Finding("t", "first", 1, "fine")
        raise RuntimeError("boom")

    first, second = checks._safely(_speed)
    assert not first.is_problem
    assert second.is_problem
    assert "boom" in second.text


def test_a_folder_without_write_access_is_a_problem(monkeypatch):
    def refuse(**_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)
    (finding,) = checks._folder()
    assert finding.is_problem
    assert "--out" in finding.mend


def test_required_packages_come_from_the_installed_package():
    names = {name: is_optional for name, _, is_optional in checks.required_packages()}
    assert names["torch"] is False
    assert names["ray"] is True
    assert "pytest" not in names


@pytest.mark.parametrize(
    ("version", "wanted", "is_met"),
    [
        ("2.13.0+cpu", ">=2.5", True),
        ("2.4.9", ">=2.5", False),
        ("6.0", ">=5.0,<6", False),
        ("5.9.9rc1", ">=5.0,<6", True),
        ("1.0", "", True),
        ("1.0", "~=9.9", True),
    ],
)
def test_version_rules(version, wanted, is_met):
    assert satisfies(version, wanted) is is_met


def test_the_quota_of_a_container_is_seen(tmp_path):
    assert machine._cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine._cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert machine._cpu_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert machine._cpu_quota(tmp_path) is None
