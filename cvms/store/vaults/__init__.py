"""Vaults, their history, balances, timelocks and yield."""
