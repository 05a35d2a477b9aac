-- how far the books are held against the chain, and history in the chain's order

CREATE TABLE IF NOT EXISTS reconciliation_pass (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    after_owner TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    listed_at TIMESTAMPTZ
);
INSERT INTO reconciliation_pass (after_owner, started_at, finished_at)
    VALUES ('', 'epoch', 'epoch') ON CONFLICT DO NOTHING;
CREATE INDEX IF NOT EXISTS reconciliation_logs_by_owner
    ON reconciliation_logs (owner, field, id DESC);

CREATE INDEX IF NOT EXISTS chain_events_by_vault ON chain_events (vault);

CREATE INDEX IF NOT EXISTS transactions_in_order ON transactions (owner, slot DESC, id DESC);
CREATE INDEX IF NOT EXISTS transactions_of_kind_in_order
    ON transactions (owner, kind, slot DESC, id DESC);
DROP INDEX IF EXISTS transactions_by_owner_and_kind;

CREATE TABLE IF NOT EXISTS indexer_problems (
    program TEXT PRIMARY KEY,
    problem TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now()
);
