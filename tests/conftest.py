"""Settings for all tests."""

from hypothesis import settings

settings.register_profile("fastbg", deadline=None)  # machines are noisy: no test fails for its time
settings.load_profile("fastbg")
