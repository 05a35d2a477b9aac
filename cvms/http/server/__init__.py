"""Hypercorn on trio: listeners, connections, send queues and WebSocket streams."""
