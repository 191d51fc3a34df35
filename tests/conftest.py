"""What holds for every test: one thread and fixed examples, so that runs are repeatable."""

import signal
from pathlib import Path

import hypothesis
import pytest
import torch

#: The files that take longest, the longest first.
SLOW = (
    "test_company_proxies", "samplers/test_strategies", "test_study_objectives",
    "test_study", "test_example", "samplers/test_optuna_samplers", "faults/test_resume",
    "ops/test_op_contract", "test_trainer_problem", "exporters/test_optuna_study",
    "ops/test_image_native", "engines/test_local_engine", "test_example_text",
    "ops/test_text_contract",
)  # fmt: skip

pytest.register_assert_rewrite("contracts")
torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

# A shell ignores Ctrl-C for what it starts in the background, and so would what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Begins with the files that take long, so that workers end together, with short ones."""
    order = {Path(__file__).parent / f"{name}.py": i for i, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
