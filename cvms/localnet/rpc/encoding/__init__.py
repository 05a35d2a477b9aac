"""Accounts, instructions and transactions in JSON-RPC's encodings."""
