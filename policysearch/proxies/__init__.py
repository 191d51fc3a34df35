"""Proxies: per modality a small model and its training, cheap enough to run hundreds of times."""
