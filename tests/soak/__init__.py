"""A server under load for a long time: checks for growth and for lost events. ``python -m tests.soak`` runs it.

* `ledger`: the requests that were sent, and the events and writes that they must cause
* `growth`: memory, descriptors and threads of processes over time
* `run`: the server, the load, ``fastbg tail`` and ``fastbg demo`` in parallel
"""
