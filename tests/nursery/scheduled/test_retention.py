"""What is too old is deleted, however much it is."""

from __future__ import annotations

from cvms.nursery.scheduled.retention import Retention
from cvms.store.postgres.database import Database, open_database

SLOW = """
CREATE FUNCTION slow() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.1);
    RETURN OLD;
END
$$;
CREATE TRIGGER slow BEFORE DELETE ON nonces FOR EACH ROW EXECUTE FUNCTION slow();
INSERT INTO nonces (nonce, owner, expires_at)
SELECT n, 'alice', now() - INTERVAL '2 days'
FROM generate_series(1, 15) AS n
"""


async def test_a_table_may_take_longer_to_prune_than_other_statements(
    database: Database, database_url: str
) -> None:
    async with database.connection() as conn:
        await conn.execute(SLOW)
    async with open_database(database_url, query_timeout=1.0) as impatient:
        await impatient.prepare()
        await Retention(database=impatient).run_once()
    async with database.connection() as conn:
        left = await conn.execute("SELECT count(*) FROM nonces")
        assert await left.fetchall() == [(0,)]
