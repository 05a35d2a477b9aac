"""Cursor, applied transactions, chain events and the backfill queue."""
