"""Reconciliation: comparison of the database with the chain, and its repair."""
