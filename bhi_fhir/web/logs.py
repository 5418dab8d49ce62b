"""Log lines: one JSON object each, with an allow-list of fields. No names, ids, bodies, or URLs with queries.

What other libraries log is let through as its logger and level only, with the place of an exception: their
sentences may quote what was sent. What uvicorn says of its processes and addresses is kept as it is, and of requests
only its constant sentences.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_FIELDS = frozenset(
    {"request_id", "method", "route", "status", "ms", "bytes_in", "bytes_out", "caller"}
    | {"because", "fault", "at", "host", "port", "workers"}
)


def event(name: str, level: str = "info", **fields: str | int | float | None) -> None:
    """One line. A field that is not on the list is a mistake of ours and raises.

    Written past `logging`, which takes as long for a line as FastAPI for a request.
    """
    if not fields.keys() <= _FIELDS:
        raise ValueError(f"not on the list of fields that may be logged: {', '.join(fields.keys() - _FIELDS)}")
    sys.stderr.write(_line(datetime.now(UTC), level, name, fields) + "\n")


def place(error: BaseException) -> dict[str, str]:
    """The kind of an exception and the line that raised it, without its text."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    at = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
    return {"fault": type(error).__name__, "at": at}


def _line(when: datetime, level: str, name: str, fields: dict[str, str | int | float | None]) -> str:
    said = {name: value for name, value in fields.items() if value is not None}
    line = {
        "time": when.isoformat(timespec="milliseconds"),
        "level": level,
        "event": name,
        "worker": os.getpid(),
        **said,
    }
    return msgspec.json.encode(line).decode()


class JsonLines(logging.Formatter):
    """For what others log."""

    def format(self, record: logging.LogRecord) -> str:
        fault = place(record.exc_info[1]) if record.exc_info and record.exc_info[1] else {}
        return _line(datetime.fromtimestamp(record.created, UTC), record.levelname.lower(), _said(record), {**fault})


_OF_PROCESSES = frozenset({"server", "config", "multiprocess"})
"""Modules of uvicorn that know no request: "Started server process [7]", "Child process [8] died"."""

_OF_REQUESTS = frozenset(
    {"Invalid HTTP request received.", "Unsupported upgrade request.", "Exception in ASGI application"}
    | {"ASGI callable returned without starting response.", "ASGI callable returned without completing response."}
    | {f"Waiting for application {what}." for what in ("startup", "shutdown")}
    | {f"Application {what} complete." for what in ("startup", "shutdown")}
    | {f"Application {what} failed. Exiting." for what in ("startup", "shutdown")}
)


def _said(record: logging.LogRecord) -> str:
    if record.name != "uvicorn.error" or not isinstance(record.msg, str):
        return record.name
    given = record.args if isinstance(record.args, tuple) else ()
    if record.module in _OF_PROCESSES and all(isinstance(each, int | str) for each in given):
        return record.getMessage()
    return record.msg.strip() if record.msg.strip() in _OF_REQUESTS else record.name


def configure() -> None:
    """For this process: everything as JSON lines on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
