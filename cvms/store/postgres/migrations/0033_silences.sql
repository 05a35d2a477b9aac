-- alerts that send no webhook for a while
-- expansion

ALTER TABLE alerts
    ADD COLUMN IF NOT EXISTS silenced_until TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS silenced_by TEXT,
    ADD COLUMN IF NOT EXISTS silence_reason TEXT;
CREATE INDEX IF NOT EXISTS alerts_newest ON alerts (kind, subject, id DESC);
