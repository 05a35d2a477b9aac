-- what a submission's end is decided by, and what the operator pays for others

ALTER TABLE submissions ADD COLUMN IF NOT EXISTS signed_at TIMESTAMPTZ;
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS since_slot BIGINT CHECK (since_slot >= 0);
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS seen_slot BIGINT CHECK (seen_slot >= 0);
UPDATE submissions
SET seen_slot = slot
WHERE seen_slot IS NULL
  AND state IN ('pending', 'submitted', 'confirmed');

ALTER TABLE submissions ADD COLUMN IF NOT EXISTS sponsored_lamports BIGINT
    CHECK (sponsored_lamports >= 0);
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS sponsored_owner TEXT;
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS sponsored_day DATE;

CREATE TABLE IF NOT EXISTS sponsored (
    day DATE NOT NULL,
    owner TEXT NOT NULL,
    lamports BIGINT NOT NULL CHECK (lamports >= 0),
    PRIMARY KEY (day, owner)
);
