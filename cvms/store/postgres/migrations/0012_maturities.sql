-- what falls due in vaults, and who was told of it

CREATE TABLE IF NOT EXISTS maturities (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('timelock', 'withdrawal')),
    due_at BIGINT NOT NULL,
    place INTEGER NOT NULL,
    vault TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    live BOOLEAN NOT NULL DEFAULT TRUE,
    soon_told_at TIMESTAMPTZ,
    told_at TIMESTAMPTZ,
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, kind, due_at, place)
);
CREATE INDEX IF NOT EXISTS maturities_soon ON maturities (due_at)
    WHERE live AND kind = 'timelock' AND soon_told_at IS NULL AND told_at IS NULL;
CREATE INDEX IF NOT EXISTS maturities_due ON maturities (due_at) WHERE live AND told_at IS NULL;
CREATE INDEX IF NOT EXISTS maturities_to_release ON maturities (due_at)
    WHERE live AND kind = 'timelock';
CREATE INDEX IF NOT EXISTS maturities_gone ON maturities (changed_at) WHERE NOT live;

CREATE OR REPLACE FUNCTION follow_maturities() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE maturities
        SET live = FALSE, changed_at = now()
        WHERE owner = OLD.owner AND live;
        RETURN NULL;
    END IF;
    WITH entry AS (
        SELECT 'timelock' AS kind, nth, item ->> 'unlock_time' AS due_at, item ->> 'amount' AS amount
        FROM jsonb_array_elements(NEW.state -> 'timelocks') WITH ORDINALITY AS each (item, nth)
        UNION ALL
        SELECT 'withdrawal', nth, item ->> 'executable_at', item ->> 'amount'
        FROM jsonb_array_elements(NEW.state -> 'pending_withdrawals')
            WITH ORDINALITY AS each (item, nth)
    ), placed AS (
        SELECT kind, due_at::BIGINT AS due_at, amount::NUMERIC AS amount,
               row_number() OVER (PARTITION BY kind, due_at ORDER BY nth) AS place
        FROM entry
    ), gone AS (
        UPDATE maturities
        SET live = FALSE, changed_at = now()
        WHERE owner = NEW.owner
          AND live
          AND (kind, due_at, place) NOT IN (SELECT kind, due_at, place FROM placed)
    )
    INSERT INTO maturities (owner, kind, due_at, place, vault, amount)
    SELECT NEW.owner, kind, due_at, place, NEW.vault, amount
    FROM placed
    ON CONFLICT (owner, kind, due_at, place) DO UPDATE SET
        vault = EXCLUDED.vault,
        amount = EXCLUDED.amount,
        live = TRUE,
        changed_at = now()
    WHERE (maturities.vault, maturities.amount, maturities.live)
        IS DISTINCT FROM (EXCLUDED.vault, EXCLUDED.amount, TRUE);
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS maturities_follow_new ON vaults;
CREATE TRIGGER maturities_follow_new AFTER INSERT OR DELETE ON vaults
    FOR EACH ROW EXECUTE FUNCTION follow_maturities();
DROP TRIGGER IF EXISTS maturities_follow ON vaults;
CREATE TRIGGER maturities_follow AFTER UPDATE ON vaults
    FOR EACH ROW
    WHEN (
        (OLD.state -> 'timelocks') IS DISTINCT FROM (NEW.state -> 'timelocks')
        OR (OLD.state -> 'pending_withdrawals') IS DISTINCT FROM (NEW.state -> 'pending_withdrawals')
    )
    EXECUTE FUNCTION follow_maturities();

-- Fill it from the existing vaults.
INSERT INTO maturities (owner, kind, due_at, place, vault, amount)
SELECT owner, kind, due_at, row_number() OVER (PARTITION BY owner, kind, due_at ORDER BY nth), vault,
       amount
FROM (
    SELECT owner, vault, 'timelock' AS kind, nth, (item ->> 'unlock_time')::BIGINT AS due_at,
           (item ->> 'amount')::NUMERIC AS amount
    FROM vaults
    CROSS JOIN jsonb_array_elements(state -> 'timelocks') WITH ORDINALITY AS each (item, nth)
    UNION ALL
    SELECT owner, vault, 'withdrawal', nth, (item ->> 'executable_at')::BIGINT,
           (item ->> 'amount')::NUMERIC
    FROM vaults
    CROSS JOIN jsonb_array_elements(state -> 'pending_withdrawals')
        WITH ORDINALITY AS each (item, nth)
) AS entry
ON CONFLICT (owner, kind, due_at, place) DO NOTHING;

ALTER TABLE submissions ADD COLUMN IF NOT EXISTS owners TEXT[] NOT NULL DEFAULT '{}';
