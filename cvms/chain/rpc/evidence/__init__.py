"""Evidence of what the chain holds: lists, statuses and tips of nodes, and proofs of absence."""
