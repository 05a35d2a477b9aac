"""PubSub: log and account subscriptions over WebSocket."""
