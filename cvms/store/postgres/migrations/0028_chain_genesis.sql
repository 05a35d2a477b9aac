-- the chain that a database belongs to
-- expansion

-- Written by the first start. Of one row, so that of two services on different chains one fails.
CREATE TABLE IF NOT EXISTS chain_genesis (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    hash TEXT NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
