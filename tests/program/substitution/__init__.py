"""The table of account substitution: for each account of each instruction, every wrong account."""
