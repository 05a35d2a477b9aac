-- second factors

CREATE TABLE IF NOT EXISTS twofa (
    owner TEXT PRIMARY KEY,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    enabled_at TIMESTAMPTZ,
    last_step BIGINT NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until TIMESTAMPTZ
);
CREATE INDEX IF NOT EXISTS twofa_waiting ON twofa (created_at) WHERE enabled_at IS NULL;

CREATE TABLE IF NOT EXISTS twofa_recovery_codes (
    owner TEXT NOT NULL REFERENCES twofa ON DELETE CASCADE,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    used_at TIMESTAMPTZ,
    PRIMARY KEY (owner, hash)
);
