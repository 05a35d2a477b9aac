"""The RPC methods, by what they are about."""
