"""What the benchmarks rest on: turns are fair, and what was not measured is said so."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.usefixtures("_importable")
def test_contestants_take_turns_and_begin_equally_often() -> None:
    from interleaved import interleaved

    called: list[str] = []
    calls = {name: (lambda name=name: called.append(name)) for name in "abc"}
    taken = interleaved(calls, 6, 0.0)
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 6, "b": 6, "c": 6}
    rounds = [called[i : i + 3] for i in range(6, len(called), 3)]  # six calls to warm up
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert Counter(order[0] for order in rounds) == {"a": 2, "b": 2, "c": 2}


@pytest.mark.usefixtures("_importable")
def test_short_calls_are_repeated_and_the_time_of_one_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import interleaved

    called: list[str] = []
    clock = SimpleNamespace(perf_counter=lambda: 0.01 * len(called))
    monkeypatch.setattr(interleaved, "time", clock)  # every call takes 10 ms
    taken = interleaved.interleaved({"a": lambda: called.append("a")}, 1, 0.2)
    assert len(called) == 2 + 20
    assert taken["a"] == [pytest.approx(0.01)]


def test_a_missing_gpu_is_named_and_measured_by_nothing() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_transform.py"), "--device", "cuda"]
    blind = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=blind, check=True)
    assert done.stdout.strip() == "not measured: no CUDA device"


@pytest.mark.usefixtures("_importable")
def test_a_simulated_search_reports_what_it_asked_of_the_driver() -> None:
    from bench_simulated import Case, simulate

    found = simulate(Case("random", 5, 60, lookback=15))
    assert (found["workers"], found["trials"], found["lookback"]) == (5, 60, 15)
    assert 0.5 < found["utilisation"] <= 1
    assert found["virtual_seconds"] > 60 * 20 / 5
    assert found["ledger_writes"] <= 60 + 1


def test_every_operation_on_text_is_measured_on_numbers_and_strings() -> None:
    from policysearch.ops.registry import op_table

    command = [sys.executable, str(BENCHMARKS / "modality_text.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = [line.split()[0] for line in done.stdout.splitlines()]
    assert measured == [name for name in op_table("text") if name != "identity"]
    assert all(" ids " in line and " strings " in line for line in done.stdout.splitlines())
