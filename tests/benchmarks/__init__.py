"""Benchmarks, each compared with a baseline in the same run. ``python -m tests.benchmarks`` runs all of them."""
