"""The record as billing sees it, and what was decided of it. Standard library only."""
