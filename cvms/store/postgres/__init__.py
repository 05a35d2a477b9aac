"""PostgreSQL on trio: database, pool, sessions, migrations."""
