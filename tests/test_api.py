"""The Python entry: as easy as the command line."""

import subprocess
import sys

SCRIPT = """
import policysearch
tiny = dict(train_size=40, folds=2, trials=7, epochs=1, candidates=1, confirm_seeds=1,
            verdict_seeds=2, workers=1)
result = policysearch.search("digits", **tiny)
print(repr(result)[:40])
print(result.policy.modality, sorted(p.name for p in result.path.iterdir()))
again = policysearch.search("digits", out=result.path, **tiny)
print(again.verdict == result.verdict)
verdict = policysearch.compare("digits", ["default", "none"], train_size=40, folds=2, epochs=1,
                               verdict_seeds=2, workers=1)
print(verdict["chosen"])
"""


def test_search_and_compare_work_from_a_script_without_a_main_guard(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("SearchResult('runs/digits-1':")
    assert "policy.json" in lines[1]
    assert "verdict.json" in lines[1]
    assert lines[2:] == ["True", "default"]
    assert (tmp_path / "runs" / "digits-compare-1" / "verdict.json").exists()
