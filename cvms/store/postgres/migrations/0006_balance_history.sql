-- vaults in any order, and as they were

ALTER TABLE vaults ADD COLUMN IF NOT EXISTS
    closed BOOLEAN NOT NULL GENERATED ALWAYS AS (state @> '{"closed": true}') STORED;
CREATE INDEX IF NOT EXISTS vaults_by_balance ON vaults (total, owner) WHERE NOT closed;
CREATE INDEX IF NOT EXISTS vaults_by_slot ON vaults (slot, owner) WHERE NOT closed;

ALTER TABLE indexer_cursor ADD COLUMN IF NOT EXISTS through BIGINT CHECK (through >= 0);
ALTER TABLE indexer_cursor ADD COLUMN IF NOT EXISTS block_time TIMESTAMPTZ;

CREATE TABLE IF NOT EXISTS balance_history (
    owner TEXT NOT NULL,
    slot BIGINT NOT NULL,
    vault TEXT NOT NULL,
    total BIGINT NOT NULL,
    available BIGINT NOT NULL,
    locked BIGINT NOT NULL,
    timelocked BIGINT NOT NULL,
    yield_deposited BIGINT NOT NULL,
    block_time TIMESTAMPTZ,
    observed BOOLEAN NOT NULL,
    PRIMARY KEY (owner, slot)
);

-- Fill it from the recorded history. Only the event of an emergency withdrawal says how much it
-- leaves locked, so the locked balance starts over from there.
WITH steps AS (
    SELECT line.id, line.owner, line.vault, line.slot, line.block_time, line.kind, line.amount,
           (event.data ->> 'new_locked_balance')::NUMERIC AS left_locked,
           count(event.signature) OVER (PARTITION BY line.owner ORDER BY line.id) AS emergencies
    FROM transactions AS line
    LEFT JOIN chain_events AS event
      ON line.kind = 'emergency_withdraw'
     AND event.signature = line.signature
     AND event.instruction_index = line.instruction_index
     AND event.ordinal = line.ordinal
),
sums AS (
    SELECT id, owner, vault, slot, block_time,
           sum(CASE
               WHEN kind IN ('deposit', 'transfer_in', 'yield_compound') THEN amount
               WHEN kind IN ('withdraw', 'emergency_withdraw', 'transfer_out') THEN -amount
               ELSE 0
           END) OVER (PARTITION BY owner ORDER BY id) AS total,
           sum(CASE kind
               WHEN 'emergency_withdraw' THEN coalesce(left_locked, 0)
               WHEN 'lock' THEN amount
               WHEN 'unlock' THEN -amount
               ELSE 0
           END) OVER (PARTITION BY owner, emergencies ORDER BY id) AS locked,
           sum(CASE kind
               WHEN 'timelock' THEN amount
               WHEN 'timelock_release' THEN -amount
               ELSE 0
           END) OVER (PARTITION BY owner ORDER BY id) AS timelocked,
           sum(CASE
               WHEN kind IN ('yield_deposit', 'yield_compound') THEN amount
               WHEN kind = 'yield_withdraw' THEN -amount
               ELSE 0
           END) OVER (PARTITION BY owner ORDER BY id) AS yield_deposited
    FROM steps
)
INSERT INTO balance_history (
    owner, slot, vault, total, available, locked, timelocked, yield_deposited, block_time, observed
)
SELECT DISTINCT ON (owner, slot)
       owner, slot, vault, total, total - locked - timelocked - yield_deposited, locked,
       timelocked, yield_deposited, block_time, FALSE
FROM sums
ORDER BY owner, slot, id DESC
ON CONFLICT (owner, slot) DO NOTHING;

INSERT INTO balance_history (
    owner, slot, vault, total, available, locked, timelocked, yield_deposited, observed
)
SELECT owner, slot, vault, total, available, locked, timelocked, yield_deposited, TRUE
FROM vaults
ON CONFLICT (owner, slot) DO NOTHING;
