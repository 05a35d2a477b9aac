"""Benchmark of the local chain's RPC: reads of accounts, and transactions that land."""
