"""Outbox, notifications between replicas, webhook deliveries and the leader lease."""
