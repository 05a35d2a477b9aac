"""Solana: RPC and PubSub of its nodes, and the interface of the collateral-vault program."""
