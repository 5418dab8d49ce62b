"""Data that travels with the package: base code maps and the example patients.

In a wheel they lie in `bhi_fhir/shipped/`; in a checkout at the top of the repository.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The folder `mappings` or `examples/patients`, wherever this installation keeps it."""
    inside = _PACKAGE / "shipped" / name
    return inside if inside.exists() else _PACKAGE.parent / name
