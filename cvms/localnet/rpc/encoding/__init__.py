"""JSON-RPC encodings of accounts, instructions and transactions."""
