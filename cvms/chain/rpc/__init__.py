"""JSON-RPC client and its typed responses."""
