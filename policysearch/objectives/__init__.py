"""Objectives: from a policy to an outcome. They run in worker processes and are picklable."""
