"""The Solana virtual machine (LiteSVM), its inputs and its results."""
