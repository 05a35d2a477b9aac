"""Delivery of events to WebSocket clients, replicas and webhooks."""
