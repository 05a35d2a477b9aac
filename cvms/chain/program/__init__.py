"""Interface of the on-chain programs: accounts, addresses, errors, instructions, events."""
