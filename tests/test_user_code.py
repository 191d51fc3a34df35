"""Functions found by name in another process, and clear words where there is none."""

import subprocess
import sys
import textwrap

import pytest

from policysearch import user_code
from policysearch.errors import InvalidValueError
from policysearch.user_code import find_function, name_of, source_digest


def train(policy, trial):
    return 0.5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "sibling_of_mine.py").write_text("VALUE = 7\n")
    (tmp_path / "code_of_mine.py").write_text(
        "from sibling_of_mine import VALUE\n\n\ndef train(policy, trial):\n    return VALUE\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_function_is_found_by_module_and_by_file_with_its_neighbours(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    by_file = find_function(f"{folder.name}/code_of_mine.py:train")
    assert by_file(None, None) == 7
    assert find_function(str(folder / "code_of_mine.py") + ":train") is by_file
    monkeypatch.chdir(folder)
    assert find_function("code_of_mine:train")(None, None) == 7
    assert str(folder) not in sys.path


def test_a_file_may_have_the_name_of_a_module_of_the_standard_library(folder):
    (folder / "random.py").write_text("def train(policy, trial):\n    return 3\n")
    assert find_function("random.py:train")(None, None) == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train", "named as `package.module:function` or `file.py:function`, got 'train'"),
        ("no_such_module_x:train", "Module 'no_such_module_x' was not found"),
        ("gone.py:train", "File 'gone.py' does not exist"),
        ("code_of_mine.py:trian", "Unknown function 'trian' (code_of_mine.py). Did you mean 't"),
        ("sibling_of_mine:VALUE", "'sibling_of_mine:VALUE' must be a function, got int"),
        ("broken.py:train", "File 'broken.py' failed to import: ZeroDivisionError"),
        ("needy.py:train", "File 'needy.py' failed to import: ModuleNotFoundError"),
    ],
)
def test_what_is_no_function_is_told(folder, name, text):
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "needy.py").write_text("import no_such_module_y\n")
    with pytest.raises(InvalidValueError) as caught:
        find_function(name)
    assert text in str(caught.value)
    assert not user_code.is_importing()


def test_a_function_knows_the_name_it_is_found_under():
    assert find_function(name_of(train)) is train


def test_a_function_that_no_other_process_can_find_is_refused():
    def nested(policy, trial):
        return 1

    for function in (nested, lambda policy, trial: policy or trial, str.upper):
        with pytest.raises(InvalidValueError, match="must stand at the top level"):
            name_of(function)


def test_a_function_of_a_script_is_named_by_its_file_and_the_script_does_not_run_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        from policysearch.user_code import find_function, name_of
        print("runs")
        def train(policy, trial): return 1
        if __name__ == "__main__":
            name = name_of(train)
            assert name == __file__ + ":train", name
            assert find_function(name) is train
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "runs\n"), done.stderr
    found = find_function(f"{script}:train")  # as a worker finds it
    assert found(None, None) == 1


def test_the_digest_is_that_of_the_file(folder):
    before = source_digest(find_function("code_of_mine.py:train"))
    (folder / "other_of_mine.py").write_text((folder / "code_of_mine.py").read_text() + "# x\n")
    after = source_digest(find_function("other_of_mine.py:train"))
    assert len(before) == len(after) == 16
    assert before != after
    assert source_digest(len) == ""
