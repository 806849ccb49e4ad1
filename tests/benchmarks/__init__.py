"""Measurements against floors; `python -m tests.benchmarks` runs them all."""
