-- proofs of reserves
-- expansion

CREATE TABLE IF NOT EXISTS proof_keys (
    owner TEXT COLLATE "C" PRIMARY KEY,
    key BYTEA NOT NULL UNIQUE CHECK (length(key) = 32)
);

CREATE TABLE IF NOT EXISTS proof_entries (
    number BIGINT PRIMARY KEY CHECK (number > 0),
    slot BIGINT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    key BYTEA NOT NULL CHECK (length(key) = 32),
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    memo TEXT,
    vaults BIGINT NOT NULL,
    first_keys BYTEA NOT NULL,
    nodes BYTEA NOT NULL,
    file UUID NOT NULL
);
ALTER TABLE proof_entries
    ALTER COLUMN first_keys SET STORAGE EXTERNAL,
    ALTER COLUMN nodes SET STORAGE EXTERNAL;

CREATE TABLE IF NOT EXISTS proof_reserves (
    file UUID NOT NULL,
    part INTEGER NOT NULL,
    lines BYTEA NOT NULL,
    written_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (file, part)
);
ALTER TABLE proof_reserves ALTER COLUMN lines SET STORAGE EXTERNAL;

CREATE TABLE IF NOT EXISTS proof_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    requested BOOLEAN NOT NULL DEFAULT FALSE
);
INSERT INTO proof_head DEFAULT VALUES ON CONFLICT DO NOTHING;
