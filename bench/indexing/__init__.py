"""How fast the program's transactions are indexed, and how soon an event reaches a WebSocket."""
