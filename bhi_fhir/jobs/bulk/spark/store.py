"""Files wherever Spark's file systems have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from bhi_fhir.errors import BhiError


class Store:
    """A folder wherever Spark's file systems have it; Python knows nothing of them."""

    def __init__(self, session: SparkSession, url: str) -> None:
        jvm: Any = session._jvm
        self._hadoop, self._bytes = jvm.org.apache.hadoop.fs, jvm.org.apache.commons.io.IOUtils
        self.url, self._session = url, session
        self._path = self._hadoop.Path(url)
        found = self._path.getFileSystem(session._jsparkSession.sessionState().newHadoopConf())
        self._path = found.makeQualified(self._path)
        self.is_local = found.getScheme() == "file"
        self._files = found.getRawFileSystem() if self.is_local else found  # else with hidden checksums beside

    @property
    def local(self) -> Path:
        return Path(self._path.toUri().getPath())

    def at(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}"

    def _in(self, name: str) -> Any:
        return self._hadoop.Path(self._path, name) if name else self._path

    def exists(self, name: str = "") -> bool:
        return bool(self._files.exists(self._in(name)))

    def statuses(self, name: str = "") -> Iterator[Any]:
        """Hadoop's FileStatus of every file below."""
        found = self._files.listFiles(self._in(name), True)
        while found.hasNext():
            yield found.next()

    def name_of(self, status: Any) -> str:
        full: str = status.getPath().toUri().getPath()
        return full.removeprefix(self._path.toUri().getPath()).lstrip("/")

    def read(self, name: str) -> bytes:
        """b"" if it is not there."""
        if not self.exists(name):
            return b""
        stream = self._files.open(self._in(name))
        try:
            return bytes(self._bytes.toByteArray(stream))
        finally:
            stream.close()

    def write(self, name: str, data: bytes) -> None:
        stream = self._files.create(self._in(name), True)
        try:
            stream.write(data)
        finally:
            stream.close()

    def make(self) -> None:
        """A folder for its owner only, as far as the file system knows owners."""
        self._files.mkdirs(self._path)
        self._files.setPermission(self._path, self._hadoop.permission.FsPermission("700"))

    def close_to_others(self) -> None:
        for status in list(self.statuses()):
            self._files.setPermission(status.getPath(), self._hadoop.permission.FsPermission("600"))

    def rename(self, name: str, to: str) -> None:
        if not self._files.rename(self._in(name), self._in(to)):
            raise BhiError(f"{self.at(name)} cannot be renamed to {to}")

    def rename_to(self, other: Store) -> None:
        if not self._files.rename(self._path, other._path):
            raise BhiError(f"{self.url} is whole, but cannot be renamed to {other.url}: rename it")

    def remove(self, name: str) -> None:
        self._files.delete(self._in(name), True)
