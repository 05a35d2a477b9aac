"""Ledger entries, running balances and vault rows, derived from events and accounts."""
