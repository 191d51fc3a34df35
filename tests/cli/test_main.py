"""The door: help, errors and exit codes of the command as a person and a script meet them."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
import time

import click
import pytest

from policysearch import cli
from policysearch.cli import commands
from policysearch.errors import DataError, FormatError, MissingDependencyError, RunError

HEAVY = {"torch", "optuna", "ray", "sklearn", "scipy"}
WRITTEN = [
    name for name, entry in commands.COMMANDS.items() if importlib.util.find_spec(entry.module)
]


def run_process(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "policysearch", *words],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.fixture
def failing(monkeypatch):
    """Makes `policysearch ops` raise what it is given."""

    def install(error):
        @click.command()
        def command():
            raise error

        monkeypatch.setattr("policysearch.cli.ops.command", command)

    return install


def test_help_loads_nothing_heavy_and_answers_at_once():
    code = (
        "import sys, policysearch.cli as c\n"
        "c.main(sys.argv[1:])\n"
        f"print('LOADED', sorted({HEAVY!r} & set(sys.modules)))"
    )
    for words in (["--help"], *([name, "--help"] for name in WRITTEN)):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60
        )
        seconds = time.perf_counter() - started
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip().endswith("LOADED []"), words
        assert "Examples:" in done.stdout, words
        assert max(len(line) for line in done.stdout.splitlines()) <= 80, words
        assert seconds < 1.0, (words, seconds)  # 0.1 s alone; generous for a busy machine


def test_importing_the_package_loads_nothing_but_itself():
    code = (
        "import sys, policysearch\n"
        f"print(sorted(({HEAVY!r} | {{'numpy', 'click', 'rich', 'pydantic'}}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_command_of_the_table_has_one_line_and_a_module():
    for name, entry in commands.COMMANDS.items():
        assert entry.module == f"policysearch.cli.{name.replace('-', '_')}"
        assert len(entry.summary) <= 60
        assert entry.summary.endswith(".")


def test_version_is_told(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("policysearch 0.")


def test_no_command_shows_help_and_is_wrong_input(capsys):
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Find a policy:" in captured.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["serch"], "Did you mean 'search'?"),
        (["xyzzy"], "Known: search, resume"),
        (["ops", "--jsno"], "--json"),
        (["ops", "rotat"], "Did you mean 'rotate'?"),
        (["spaces", "opwis"], "Did you mean"),
        (["ops", "a", "b"], "policysearch ops --help"),
    ],
)
def test_a_slip_is_answered_with_a_hint_and_exit_code_2(words, hint, capsys):
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert hint in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("no images"), 2, "Error: no images"),
        (FormatError("policy", ["a", "b"]), 2, "2 problems"),
        (RunError("it failed"), 1, "Error: it failed"),
        (MissingDependencyError("pip install it"), 1, "pip install it"),
        (OSError(errno.ENOSPC, "No space left on device", "out/p.json"), 1, "Free some space"),
        (OSError(errno.EROFS, "Read-only file system", "out"), 1, "Write to another place"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (MemoryError(), 1, "not enough free memory"),
        (ValueError("odd"), 1, "internal error: ValueError: odd"),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_no_traceback(failing, error, code, text, capsys):
    failing(error)
    assert cli.main(["ops"]) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert "Traceback" not in captured.err
    assert captured.out.strip() == ""


@pytest.mark.parametrize("words", [["--debug", "ops"], ["ops", "--debug"]])
def test_debug_shows_the_traceback_before_and_after_the_command(failing, words, capsys):
    failing(ValueError("odd"))
    assert cli.main(words) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_cannot_move_the_cursor(failing, capsys):
    failing(DataError("bad name '\x1b[2J\u202egnp.exe'"))
    cli.main(["ops"])
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert "\u202e" not in error
    assert "\\x1b[2J" in error


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m policysearch ops --json | head -n 1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[\n"
    assert done.stderr == ""
    assert done.returncode in {0, 141}  # 0 when everything was written before head went away


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_said():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "policysearch", "ops"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_narrow_encoding_gets_question_marks():
    done = run_process("ops", env={**os.environ, "PYTHONIOENCODING": "koi8-r", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "? 0 to 30 deg" in done.stdout
    assert json.loads(run_process("ops", "--json").stdout)


def test_wrong_settings_are_named_as_options(capsys):
    assert cli.main(["search", "digits", "--verdict-seeds", "1", "--trials", "0"]) == 2
    told = capsys.readouterr().err
    assert "--verdict-seeds must be" in told
    assert "--trials must be" in told
    assert "`" not in told
    assert cli.main(["search", "digits", "--score-key", "x"]) == 2
    assert "--score-key needs --objective 'command'" in capsys.readouterr().err
