"""The front end with administrators, and its chain: those of the statements."""

from tests.http.vaults.statements.conftest import front, world

__all__ = ["front", "world"]
