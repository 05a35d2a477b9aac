"""The Solana virtual machine (LiteSVM) and what it takes and returns."""
