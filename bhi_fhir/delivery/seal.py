"""Patient data at rest: compressed and encrypted with Fernet (AES-128-CBC and HMAC, the `cryptography` library)."""

from __future__ import annotations

import os
import sys
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bhi_fhir.errors import SiteError

_HINT = "give the output of Fernet.generate_key(), several lines newest first to change it"


class Seal:
    """Closes and opens with the site's keys: the first closes, any opens."""

    def __init__(self, keys: str) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys.split()])
        except ValueError:
            raise SiteError(f"[delivery] the key that encrypts the ledger is no Fernet key: {_HINT}.") from None

    def close(self, data: object) -> bytes:
        return self._fernet.encrypt(zlib.compress(msgspec.json.encode(data), 1))

    def open(self, sealed: bytes, kind: Any = Any) -> Any:
        """What was closed, as this type."""
        try:
            return msgspec.json.decode(zlib.decompress(self._fernet.decrypt(sealed)), type=kind)
        except InvalidToken:
            raise SiteError(
                "[delivery] key_file or key_env: the ledger was encrypted with another key; give that one too."
            ) from None


def site_seal(key_env: str, key_file: Path) -> Seal:
    """The site's seal. A key file that does not exist is made, readable by its owner only, and said once."""
    if key_env:
        if key_env not in os.environ:
            raise SiteError(f"[delivery] key_env: the environment has no {key_env}: {_HINT}.")
        return Seal(os.environ[key_env])
    if not key_file.exists():
        _make_key(key_file)
    try:
        return Seal(key_file.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(f"[delivery] key_file: {key_file} cannot be read.") from error


def _make_key(key_file: Path) -> None:
    """Whole or not at all: two writers may come first at the same moment."""
    try:
        descriptor, name = tempfile.mkstemp(dir=key_file.parent, prefix=key_file.name)
        with os.fdopen(descriptor, "w") as made:
            made.write(Fernet.generate_key().decode() + "\n")
            made.flush()
            os.fsync(made.fileno())
        with suppress(FileExistsError):
            os.link(name, key_file)
            print(f"A key for the ledger was made: {key_file}. Back it up apart from the ledger.", file=sys.stderr)  # noqa: T201
        Path(name).unlink()
    except OSError as error:
        raise SiteError(f"[delivery] key_file: {key_file} cannot be made ({error.strerror}).") from error
