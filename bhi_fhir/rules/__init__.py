"""Pure functions: count the time, check each requirement, decide each code, choose the lines.

Nothing here reads a clock, a file or FHIR, and nothing raises for patient data.
"""
