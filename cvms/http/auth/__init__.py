"""Wallet signatures, Sign-In-With-Solana and second factors."""
