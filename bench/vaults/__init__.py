"""A database of any number of vaults and history lines, and what it costs to read and to keep."""
