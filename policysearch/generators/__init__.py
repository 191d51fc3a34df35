"""Class-conditional generators: made from training samples alone, asked for samples like them.

A generator leaks what it was fitted to; `docs/privacy.md` says what that means.
"""
