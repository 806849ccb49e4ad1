"""How far fastbg's times and verdicts can be trusted: compared with what the kernel says, in the same run.

* `kernel`: the kernel's trace: when a task began, and when the system call that writes began and ended
* `packets`: a capture on the loopback interface: when the last byte of a response left
* `app`: what is served: background tasks of both kinds, the control, big answers
* `compare`: what fastbg said beside what was so. Pure
* `runs`: fires requests with fastbg, and with as little as possible, under both
* ``python -m tests.truth``: all of it, as tables
"""
