"""Clients are tested where they are installed, as the session `clients` does: an editor's discovery goes on without."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.clients.small_server import Alone, SmallServer, write_model

CLIENTS = ("langchain_openai", "llm", "openai", "playwright", "uvicorn")
collect_ignore_glob = [] if all(map(find_spec, CLIENTS)) else ["test_*.py"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model."""
    return write_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def alone(folder: Path) -> Alone:
    """The same model, without a server."""
    return Alone(folder)


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[SmallServer]:
    """A server of the small model."""
    with SmallServer(folder) as started:
        yield started
