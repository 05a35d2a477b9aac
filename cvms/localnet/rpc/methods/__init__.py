"""The RPC methods, by subject."""
