-- A transaction that a wallet has changed is compared with the owner's recent ones.
CREATE INDEX IF NOT EXISTS submissions_by_owner ON submissions (owner, created_at);
