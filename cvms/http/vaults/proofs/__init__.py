"""Routes of the proofs of reserves."""
