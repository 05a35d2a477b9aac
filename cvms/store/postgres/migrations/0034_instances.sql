-- heartbeats of processes, the search for vaults by the beginning of an address, and times of confirmation
-- expansion

CREATE TABLE IF NOT EXISTS instances (
    instance TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    version TEXT NOT NULL,
    ready BOOLEAN NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS vaults_by_address ON vaults (closed, owner COLLATE "C");

ALTER TABLE submissions
    ADD COLUMN IF NOT EXISTS confirmed_at TIMESTAMPTZ;
CREATE INDEX IF NOT EXISTS submissions_by_confirmation ON submissions (confirmed_at)
    INCLUDE (signed_at) WHERE confirmed_at IS NOT NULL;
