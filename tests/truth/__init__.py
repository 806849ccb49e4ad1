"""Compares fastbg's times and verdicts with those of the kernel, in the same run.

* `kernel`: traces system calls: when tasks started and ended, wrote, and when the last byte of a response was sent
* `shapes`: the kinds of requests whose verdicts are compared
* `app`: the served app, with a route for each of them
* `servers`: the servers that serve it
* `client`: a client for what httpx cannot do
* `verdicts`: sends the requests and compares the verdicts with the kernel
* `orders`: the order that the kernel shows, and the verdicts that contradict it. Pure
* `packets`: captures the loopback interface: when the last byte of a response left
* `runs`: sends requests with fastbg, and with plain httpx as a baseline
* `compare`: compares fastbg's times with the kernel's. Pure
* ``python -m tests.truth``: runs everything and prints tables
"""
