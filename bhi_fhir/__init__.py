"""Which Medicare Behavioral Health Integration services a month of a FHIR record supports, and why."""

__version__ = "0.1.0"
