"""Engines: they run tasks somewhere and own processes, time-outs and retries."""
