"""Every transaction that writes a vault's row appends a message that says so."""

from __future__ import annotations

from cvms.store.postgres.database import Database

# Messages of the transaction are those with its time. Only `settled_slot` may change unannounced.
TRIGGER = """
CREATE FUNCTION require_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    written CONSTANT TEXT := coalesce(NEW.owner, OLD.owner);
BEGIN
    IF current_setting('cvms.vandal', TRUE) = 'on' OR EXISTS (
        SELECT FROM outbox
        WHERE created_at = now()
          AND (owner = written OR (owner IS NULL AND topic = 'vault_row_written'))
    ) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of the vault of % without a message', TG_OP, written;
END
$$;
CREATE CONSTRAINT TRIGGER require_message
AFTER INSERT OR DELETE OR UPDATE OF owner, vault, total, available, locked, timelocked,
    yield_deposited, state, slot, updated_at
ON vaults DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION require_message();
"""


async def require_messages(database: Database) -> None:
    """Make PostgreSQL refuse to commit a change of a vault's row without such a message."""
    async with database.connection() as conn:
        await conn.execute(TRIGGER)
