-- the keys of a chunk with their owners, from an index alone
-- expansion

-- Keys are random, so the rows of one chunk are on as many pages.
CREATE UNIQUE INDEX IF NOT EXISTS proof_keys_by_key ON proof_keys (key) INCLUDE (owner);
ALTER TABLE proof_keys DROP CONSTRAINT IF EXISTS proof_keys_key_key;
