"""Frozen classes that are cheap to make: one patient's month makes hundreds of them."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["Value", "replace"]


class Value(Struct, frozen=True, gc=False):
    """A record that nobody changes; equal to another of the same class with the same fields.

    msgspec makes, compares, hashes and writes one four times as fast as a frozen dataclass, and defines the class
    without compiling code at every start. `gc=False`: a fact never holds what holds it.
    """
