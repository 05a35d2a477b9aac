"""Entries of the log of proofs, what they are proven from, and their reserves."""
