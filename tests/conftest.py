"""What holds for every test: one thread and fixed examples, so that runs are repeatable."""

import hypothesis
import pytest
import torch

pytest.register_assert_rewrite("contracts")
torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")
