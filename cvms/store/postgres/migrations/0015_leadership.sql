-- which of several replicas leads

CREATE TABLE IF NOT EXISTS leadership (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    holder TEXT NOT NULL,
    term BIGINT NOT NULL CHECK (term > 0),
    until TIMESTAMPTZ NOT NULL,
    indexed_slot BIGINT CHECK (indexed_slot >= 0),
    indexer_problem TEXT
);
