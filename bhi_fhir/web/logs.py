"""Log lines: one JSON object each, with an allow-list of fields. No names, ids, bodies, or URLs with queries.

What other libraries log is let through as its logger and level only, with the place of an exception: their
sentences may quote what was sent. uvicorn's own constant sentences are kept, without what they would fill in.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

_FIELDS = frozenset(
    {"request_id", "method", "route", "status", "ms", "bytes_in", "bytes_out", "caller"}
    | {"because", "fault", "at", "host", "port", "workers"}
)
_LOGGER = logging.getLogger("bhi_fhir.web")


def event(name: str, level: int = logging.INFO, **fields: str | int | float | None) -> None:
    """One line. A field that is not on the list is a mistake of ours and raises."""
    if unknown := fields.keys() - _FIELDS:
        raise ValueError(f"not on the list of fields that may be logged: {', '.join(sorted(unknown))}")
    _LOGGER.log(level, name, extra={"fields": fields})


def place(error: BaseException) -> dict[str, str]:
    """The kind of an exception and the line that raised it, without its text."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    at = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
    return {"fault": type(error).__name__, "at": at}


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _event(record),
            "worker": record.process,
            **{name: value for name, value in getattr(record, "fields", {}).items() if value is not None},
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= place(record.exc_info[1])
        return json.dumps(line)


def _event(record: logging.LogRecord) -> str:
    if record.name == _LOGGER.name:
        return str(record.msg)
    # The template, such as "Started server process [%d]": never what it is filled with.
    return str(record.msg) if record.name == "uvicorn.error" and record.args else record.name


def configure() -> None:
    """For this process: everything as JSON lines on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _LOGGER.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
