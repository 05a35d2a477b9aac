"""Benchmarks of indexing: the rate from nothing, and the time from a block to a WebSocket."""
