"""PostgreSQL and Redis: a trio-native connection and pool, and raw SQL, one module an aggregate."""
