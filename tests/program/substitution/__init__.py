"""The table of account substitution: each instruction, each account of it, each wrong stand-in."""
