"""Solana: the nodes' RPC and PubSub, and the bytes of the collateral-vault program."""
