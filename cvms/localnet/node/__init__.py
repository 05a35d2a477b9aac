"""A node over the chain, with faults for tests, and its HTTP connections."""
