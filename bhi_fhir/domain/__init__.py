"""The record as billing sees it, and what was decided of it. Frozen values; no FHIR, no network."""
