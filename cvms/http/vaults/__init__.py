"""Routes of vaults: commands, queries, balances, positions and analytics."""
