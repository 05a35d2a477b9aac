"""Statements: balances at two times, and what changed them between."""
