"""Transport under the JSON-RPC client: endpoints, failover, rates."""
