"""The contract of all text operations."""

from contracts.text_op_contract import TextOpContract, kernels

__all__ = ["kernels"]


class TestTextOps(TextOpContract):
    pass
