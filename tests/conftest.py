"""Settings of the whole suite."""

import os

import pytest
from hypothesis import settings

# property tests draw the same examples everywhere
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the matrix, what tries all variants of the machine runs in one cell of every Python."""
    if "SAMEBITS_CELL" in os.environ and "SAMEBITS_VARIANTS" not in os.environ:
        for item in items:
            if item.get_closest_marker("variants"):
                item.add_marker(pytest.mark.skip(reason="runs in one cell of every Python"))
