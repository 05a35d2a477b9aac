"""Ledger entries, running balances and vault rows that follow from events and accounts."""
