"""Samplers: which policy to try next, as a function of (seed, trial number, visible history)."""
