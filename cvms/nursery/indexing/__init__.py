"""Indexer: stores the chain's events and accounts in the database, each exactly once."""
