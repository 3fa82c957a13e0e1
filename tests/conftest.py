"""Settings of the whole suite: property tests draw the same examples everywhere, for the same program on every machine."""

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")
