"""A server under load for a long time: does it grow, does it lose anything? ``python -m tests.soak`` runs it.

* `ledger`: what was sent, and what has to be found of it in the files and in the journal
* `growth`: memory, descriptors and threads of processes over time
* `run`: the server, the load, ``fastbg tail`` and ``fastbg demo`` beside it
"""
