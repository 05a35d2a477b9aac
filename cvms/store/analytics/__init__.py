"""Aggregates over all vaults."""
