"""Proofs of reserves: what vaults hold, and the tokens that cover it, checkable by anybody.

docs/proofs.md specifies every byte.
"""
