-- balances on the hour, and what was told last

CREATE TABLE IF NOT EXISTS balance_snapshots (
    owner TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    vault TEXT NOT NULL,
    total BIGINT NOT NULL,
    available BIGINT NOT NULL,
    locked BIGINT NOT NULL,
    timelocked BIGINT NOT NULL,
    yield_deposited BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    PRIMARY KEY (owner, at)
);
CREATE INDEX IF NOT EXISTS balance_snapshots_by_time ON balance_snapshots USING brin (at)
    WITH (pages_per_range = 16);

CREATE TABLE IF NOT EXISTS tvl_snapshots (
    at TIMESTAMPTZ PRIMARY KEY,
    vaults BIGINT NOT NULL,
    total NUMERIC NOT NULL,
    available NUMERIC NOT NULL,
    locked NUMERIC NOT NULL,
    timelocked NUMERIC NOT NULL,
    yield_deposited NUMERIC NOT NULL,
    slot BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS snapshot_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    at TIMESTAMPTZ
);
INSERT INTO snapshot_head (at) VALUES (NULL) ON CONFLICT DO NOTHING;

CREATE INDEX IF NOT EXISTS balance_history_by_time ON balance_history (block_time, slot)
    WHERE block_time IS NOT NULL;

CREATE INDEX IF NOT EXISTS vaults_by_any_slot ON vaults (slot);

CREATE TABLE IF NOT EXISTS told (
    topic TEXT PRIMARY KEY,
    data JSONB NOT NULL,
    told_at TIMESTAMPTZ NOT NULL
);
