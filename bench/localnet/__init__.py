"""What the local chain's RPC serves: reads of accounts, and transactions that land."""
