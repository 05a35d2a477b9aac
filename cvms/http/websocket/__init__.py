"""WebSocket endpoint: sessions, topic and account subscriptions, catch-up."""
