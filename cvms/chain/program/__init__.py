"""The on-chain programs' interface: accounts, addresses, errors, instructions, events."""
