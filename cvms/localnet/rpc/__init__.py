"""Solana's JSON-RPC methods, by what they are about; each answers as Agave's node does."""
