"""psycopg's protocol driven by trio."""
