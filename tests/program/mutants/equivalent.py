"""Mutants that no test can kill, because they behave like the original. Each was reviewed."""

EQUIVALENT: dict[str, str] = {}
"""The reason why, by `Mutant.key`."""
