"""Indexer: events and accounts of the chain into the database, exactly once."""
