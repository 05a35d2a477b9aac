"""Log and account subscriptions over WebSocket."""
