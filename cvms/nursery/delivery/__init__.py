"""Delivery of events to WebSocket clients, other replicas and webhooks."""
