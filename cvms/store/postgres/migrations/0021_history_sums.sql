-- sums of each owner's history, and indexes for filters that match little

CREATE TABLE IF NOT EXISTS history_sums (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    count BIGINT NOT NULL,
    amount NUMERIC NOT NULL,
    PRIMARY KEY (owner, kind)
);
ALTER TABLE history_sums SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);

-- Triggers, so that the sums follow the history whatever writes it.
CREATE OR REPLACE FUNCTION move_history_sums() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    sign CONSTANT INTEGER := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    INSERT INTO history_sums (owner, kind, count, amount)
    SELECT owner, kind, sign * count(*), sign * sum(amount)
    FROM lines
    GROUP BY owner, kind
    ORDER BY owner, kind
    ON CONFLICT (owner, kind) DO UPDATE SET
        count = history_sums.count + EXCLUDED.count,
        amount = history_sums.amount + EXCLUDED.amount;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION change_history_sums() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO history_sums (owner, kind, count, amount)
    SELECT owner, kind, sum(line.count), sum(line.count * line.amount)
    FROM (
        VALUES (OLD.owner, OLD.kind, -1, OLD.amount::NUMERIC), (NEW.owner, NEW.kind, 1, NEW.amount)
    ) AS line (owner, kind, count, amount)
    GROUP BY owner, kind
    ORDER BY owner, kind
    ON CONFLICT (owner, kind) DO UPDATE SET
        count = history_sums.count + EXCLUDED.count,
        amount = history_sums.amount + EXCLUDED.amount;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION clear_history_sums() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM history_sums;
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS history_sums_follow_insert ON transactions;
CREATE TRIGGER history_sums_follow_insert AFTER INSERT ON transactions
    REFERENCING NEW TABLE AS lines
    FOR EACH STATEMENT EXECUTE FUNCTION move_history_sums();
DROP TRIGGER IF EXISTS history_sums_follow_delete ON transactions;
CREATE TRIGGER history_sums_follow_delete AFTER DELETE ON transactions
    REFERENCING OLD TABLE AS lines
    FOR EACH STATEMENT EXECUTE FUNCTION move_history_sums();
-- Not for changes of the commitment, of which there is one for each line.
DROP TRIGGER IF EXISTS history_sums_follow_update ON transactions;
CREATE TRIGGER history_sums_follow_update AFTER UPDATE ON transactions
    FOR EACH ROW
    WHEN ((OLD.owner, OLD.kind, OLD.amount) IS DISTINCT FROM (NEW.owner, NEW.kind, NEW.amount))
    EXECUTE FUNCTION change_history_sums();
DROP TRIGGER IF EXISTS history_sums_follow_truncate ON transactions;
CREATE TRIGGER history_sums_follow_truncate AFTER TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION clear_history_sums();

INSERT INTO history_sums (owner, kind, count, amount)
SELECT owner, kind, count(*), sum(amount)
FROM transactions
GROUP BY owner, kind
ON CONFLICT (owner, kind) DO UPDATE SET
    count = EXCLUDED.count,
    amount = EXCLUDED.amount;

-- Rows are written nearly in the order of their slots.
CREATE INDEX IF NOT EXISTS transactions_by_slot ON transactions
    USING brin (slot) WITH (pages_per_range = 16);

CREATE INDEX IF NOT EXISTS vaults_compoundable ON vaults (owner)
    WHERE NOT closed AND yield_deposited > 0 AND multisig_threshold = 0 AND cardinality(delegates) > 0;

CREATE INDEX IF NOT EXISTS outbox_by_signature ON outbox USING hash (signature);

DROP INDEX IF EXISTS webhook_deliveries_by_age;
DROP INDEX IF EXISTS webhook_deliveries_by_signer;
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at, id);
CREATE INDEX webhook_deliveries_by_signer ON webhook_deliveries (signer, created_at, id);
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_state
    ON webhook_deliveries (state, created_at, id);
CREATE INDEX IF NOT EXISTS webhook_deliveries_of_alerts ON webhook_deliveries (created_at, id)
    WHERE signer IS NULL;

CREATE INDEX IF NOT EXISTS alerts_by_severity ON alerts (severity, id);
CREATE INDEX IF NOT EXISTS alerts_unresolved ON alerts (id) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alerts_acknowledged ON alerts (id)
    WHERE resolved_at IS NULL AND acknowledged_at IS NOT NULL;
