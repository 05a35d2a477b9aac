"""Redis: connection, subscription and rate limiter."""
