"""Logs: a line of each request and of each error on standard error, in JSON or as text. No text of a request is ever in it."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from samebits.cli.terminal import printable

__all__ = ["LOGGER", "configure_log", "write_record"]

LOGGER = logging.getLogger("samebits.serve")
"""Where the server reports requests and errors."""


def configure_log(form: Literal["json", "text"]) -> None:
    """Write the records of the server, and the warnings of uvicorn, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for logger, level in ((LOGGER, logging.INFO), (logging.getLogger("uvicorn.error"), logging.WARNING)):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def write_record(message: str, **fields: Any) -> None:
    """Report what happened, with its details."""
    LOGGER.info(message, extra={"fields": fields})


class _Json(logging.Formatter):
    """A JSON object for each record: time, level, message, the fields, and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        found = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        found |= getattr(record, "fields", {})
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)


class _Text(logging.Formatter):
    """A line for each record: the time, the message, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        line = f"{datetime.fromtimestamp(record.created, UTC).astimezone():%H:%M:%S} {record.getMessage()} {fields}".rstrip()
        line = line.replace("\n", "\\n")  # a path must not look like another record
        error = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return printable(line + error)
