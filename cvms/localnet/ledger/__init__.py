"""Blocks, accounts and transactions of the local chain, and its clock."""
