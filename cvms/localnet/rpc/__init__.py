"""Solana's JSON-RPC, with the replies of an Agave node."""
