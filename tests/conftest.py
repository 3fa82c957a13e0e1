"""Settings of the whole suite."""

import os

import pytest
from hypothesis import settings

# property tests draw the same examples everywhere
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


REASONS = {
    "variants": "runs in the first and the last cell",
    "once": "runs in one cell of every Python",
    "levels": "runs in the last cell",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what other cells of the matrix run; SAMEBITS_SKIP lists the markers."""
    for marker in os.environ.get("SAMEBITS_SKIP", "").split():
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=REASONS[marker]))
