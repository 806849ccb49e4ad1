"""Compares fastbg's times and verdicts with those of the kernel, in the same run.

* `kernel`: traces system calls: when a task started, and when the call that writes started and ended
* `packets`: captures the loopback interface: when the last byte of a response was sent
* `app`: the served app: background tasks of both kinds, the control, large responses
* `compare`: compares fastbg's results with the kernel's. Pure
* `runs`: sends requests with fastbg, and with plain httpx as a baseline
* ``python -m tests.truth``: runs everything and prints tables
"""
