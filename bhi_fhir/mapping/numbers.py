"""FHIR decimals: a number of 400 digits is legal JSON, and "NaN" a legal text."""

from __future__ import annotations

from decimal import Decimal

_LARGEST = 10**7


def between(lowest: int, value: Decimal | None, highest: int = _LARGEST) -> bool:
    """Is it a number in this range?"""
    return value is not None and value.is_finite() and lowest <= value <= highest


def whole(value: Decimal | int | None) -> int | None:
    """A whole number, also one written 12.0; None for everything else."""
    if type(value) is int:
        return value if -_LARGEST <= value <= _LARGEST else None
    number = None if value is None else Decimal(value)
    if number is None or not between(-_LARGEST, number):
        return None
    return int(number) if number == int(number) else None
