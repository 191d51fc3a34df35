"""What holds for every test: one thread and fixed examples, so that runs are repeatable."""

import signal

import hypothesis
import pytest
import torch

pytest.register_assert_rewrite("contracts")
torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

# A shell ignores Ctrl-C for what it starts in the background, and so would what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
