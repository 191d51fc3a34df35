"""What holds for every test: one thread, so that runs are repeatable and share the cores."""

import pytest
import torch

pytest.register_assert_rewrite("contracts")
torch.set_num_threads(1)
