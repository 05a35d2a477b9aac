"""Statements of vaults and of the exchange."""
