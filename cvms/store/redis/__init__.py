"""Redis: connection, balance cache and rate limiter."""
