"""What a test needs from the machine: a developer's may lack it, CI's may not."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

# Debian's postgres is on nobody's PATH; the newest version counts.
_ELSEWHERE = {"postgres": ("/usr/lib/postgresql", "*/bin/postgres")}
_ALSO_CALLED = {"chromium": ("chromium-browser", "google-chrome")}


def needs(*tools: str) -> tuple[str, ...]:
    """The path of each tool. Without one of them the test is skipped; where CI is set, it fails."""
    found = {tool: _find(tool) for tool in tools}
    if missing := [tool for tool, path in found.items() if path is None]:
        unavailable(f"not on this machine: {', '.join(missing)}")
    return tuple(path for path in found.values() if path)


def unavailable(reason: str) -> NoReturn:
    """Skips the test with that reason; where CI is set, fails it: nothing is left untested unnoticed."""
    give_up: Callable[[str], NoReturn] = pytest.fail if os.environ.get("CI") else pytest.skip
    give_up(reason)


def _find(tool: str) -> str | None:
    for name in (tool, *_ALSO_CALLED.get(tool, ())):
        if path := shutil.which(name):
            return path
    if tool in _ELSEWHERE:
        folder, pattern = _ELSEWHERE[tool]
        versions = sorted(Path(folder).glob(pattern), key=lambda path: float(path.parts[-3]))
        return str(versions[-1]) if versions else None
    return None
