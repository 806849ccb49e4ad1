"""Settings for all tests."""

import os

from hypothesis import settings

EXAMPLES = int(os.environ.get("FASTBG_EXAMPLES", "100"))  # of each property; `python -m tests.fuzz` asks for more

# Machines are noisy: no test fails for its time.
settings.register_profile("fastbg", deadline=None, max_examples=EXAMPLES)
settings.load_profile("fastbg")
