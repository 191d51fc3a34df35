"""What holds for every test: one thread and fixed examples, so that runs are repeatable."""

import signal
from pathlib import Path

import hypothesis
import pytest
import torch

#: Files that take long, the longest first.
SLOW = (
    "test_company_proxies", "samplers/test_strategies", "test_study_objectives", "test_study",
    "test_example", "samplers/test_optuna_samplers", "faults/test_resume", "ops/test_op_contract",
    "test_trainer_problem", "exporters/test_optuna_study", "ops/test_image_native",
    "engines/test_local_engine", "test_example_text", "ops/test_text_contract", "test_packaging",
    "test_own_network", "test_examples_more", "test_api", "test_series_search",
    "test_augmented_dataset", "faults/test_programs", "test_mixture", "cli/test_search_audio",
    "test_class_probability", "exporters/test_dashboard", "cli/test_texts", "test_space_file",
    "test_schedule", "faults/test_full_disk", "samplers/test_variations",
    "samplers/test_calibrated_sampler", "samplers/test_staged_sampler", "test_policy_file",
    "ops/test_image_pillow", "test_search_loop", "engines/test_simulated_engine",
    "faults/test_workers", "test_benchmarks", "test_tabular_search", "exporters/test_tensorboard",
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
