"""JSON-RPC client with typed responses."""
