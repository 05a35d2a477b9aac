-- snapshots of what has changed

-- The first snapshot after this compares all vaults with their last rows.
ALTER TABLE snapshot_head ADD COLUMN IF NOT EXISTS changes_since TIMESTAMPTZ;

CREATE INDEX IF NOT EXISTS balance_history_by_slot ON balance_history (slot);
