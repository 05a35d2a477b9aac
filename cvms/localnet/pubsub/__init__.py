"""Solana's PubSub over WebSocket: subscriptions, and the notifications they cause."""
