-- which server's database this is
-- expansion

-- One row, written by the first start. Restored from a backup, or on a server that was promoted, the
-- database has another identity: some of what was told to clients may not be in it.
CREATE TABLE IF NOT EXISTS database_identity (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    identity TEXT NOT NULL,
    noticed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
