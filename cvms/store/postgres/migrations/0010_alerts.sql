-- alerts

CREATE TABLE IF NOT EXISTS alerts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    owner TEXT,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    summary TEXT NOT NULL,
    details JSONB NOT NULL,
    count BIGINT NOT NULL DEFAULT 1 CHECK (count > 0),
    first_seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    last_seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    acknowledged_at TIMESTAMPTZ,
    acknowledged_by TEXT,
    resolved_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open ON alerts (kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alerts_by_subject ON alerts (kind, subject);
CREATE INDEX IF NOT EXISTS alerts_by_resolution ON alerts (resolved_at);

CREATE TABLE IF NOT EXISTS alert_positions (
    source TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO alert_positions (source, position)
SELECT 'alerts', 0
UNION ALL
SELECT 'transactions', coalesce(max(id), 0) FROM transactions
UNION ALL
SELECT 'reconciliation_logs', coalesce(max(id), 0) FROM reconciliation_logs
ON CONFLICT (source) DO NOTHING;

CREATE INDEX IF NOT EXISTS submissions_quarantined ON submissions (updated_at)
    WHERE state = 'quarantined';

ALTER TABLE webhook_deliveries ALTER COLUMN signer DROP NOT NULL;
CREATE INDEX IF NOT EXISTS webhook_deliveries_of_alerts_due ON webhook_deliveries (due_at)
    WHERE state = 'pending' AND signer IS NULL;
