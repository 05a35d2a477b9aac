-- what a fork takes back

CREATE TABLE IF NOT EXISTS applied (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT NOT NULL UNIQUE,
    final BOOLEAN NOT NULL
);

CREATE TABLE IF NOT EXISTS applied_before (
    place BIGINT NOT NULL REFERENCES applied ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('vault_mint', 'account_offset', 'vault')),
    key TEXT NOT NULL,
    row JSONB,
    PRIMARY KEY (place, kind, key)
);

-- Fill it from the recorded events.
INSERT INTO applied (slot, signature, final)
SELECT slot, signature, final
FROM (
    SELECT slot, signature, bool_and(commitment = 'finalized') AS final
    FROM chain_events
    WHERE commitment <> 'finalized'
       OR slot >= (SELECT max(slot) FROM chain_events WHERE commitment = 'finalized')
    GROUP BY slot, signature
    UNION ALL
    SELECT slot, signature, FALSE
    FROM indexer_cursor
    WHERE NOT EXISTS (
        SELECT FROM chain_events
        WHERE chain_events.signature = indexer_cursor.signature
    )
) AS transaction
WHERE NOT EXISTS (SELECT FROM applied)
ORDER BY slot, final DESC
ON CONFLICT (signature) DO NOTHING;

ALTER TABLE indexer_cursor ADD COLUMN IF NOT EXISTS forks BIGINT NOT NULL DEFAULT 0;

ALTER TABLE outbox ADD COLUMN IF NOT EXISTS type TEXT NOT NULL DEFAULT 'event'
    CHECK (type IN ('event', 'retracted'));

ALTER TABLE vaults ADD COLUMN IF NOT EXISTS settled_slot BIGINT NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS vaults_unsettled ON vaults (slot) WHERE slot > settled_slot;
CREATE INDEX IF NOT EXISTS vaults_closed_by_slot ON vaults (slot) WHERE closed;

-- A closed vault has no account, so it has no sums.
UPDATE vaults
SET total_deposited = 0,
    total_withdrawn = 0
WHERE closed;

CREATE TABLE IF NOT EXISTS backlog (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature TEXT NOT NULL UNIQUE,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    failed BOOLEAN NOT NULL,
    block_time BIGINT
);

CREATE TABLE IF NOT EXISTS backlog_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    follows TEXT,
    complete BOOLEAN NOT NULL DEFAULT FALSE,
    listed BIGINT NOT NULL DEFAULT 0,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
