-- The tables of CVMS. `cvms serve` applies this file at start-up under an advisory lock.
--
-- Each section below is a migration, from its "-- migration <number>: <name>" line to the next.
-- schema_migrations says which of them a database has; a new one goes at the end, with the next
-- number, and those before it are never edited after a release. Section 1 may be run again.
--
-- Money is BIGINT in the token's smallest unit. Times are timestamptz. Public keys and signatures
-- are base58 text. JSON holds amounts as integers.

-- migration 1: vaults, history, events, outbox, nonces, audit, submissions, reconciliation

CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The decoded account of each vault as it was at `slot`; a row only ever moves forward in slots.
CREATE TABLE IF NOT EXISTS vaults (
    owner TEXT PRIMARY KEY,
    vault TEXT NOT NULL UNIQUE,
    token_account TEXT NOT NULL,
    mint TEXT NOT NULL,
    total BIGINT NOT NULL CHECK (total >= 0),
    available BIGINT NOT NULL CHECK (available >= 0),
    locked BIGINT NOT NULL CHECK (locked >= 0),
    timelocked BIGINT NOT NULL CHECK (timelocked >= 0),
    yield_deposited BIGINT NOT NULL CHECK (yield_deposited >= 0),
    total_deposited BIGINT NOT NULL CHECK (total_deposited >= 0),
    total_withdrawn BIGINT NOT NULL CHECK (total_withdrawn >= 0),
    multisig_threshold SMALLINT NOT NULL CHECK (multisig_threshold >= 0),
    delegates TEXT[] NOT NULL,
    state JSONB NOT NULL,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT vault_balances CHECK (
        total::NUMERIC = available::NUMERIC + locked + timelocked + yield_deposited
    )
);

-- What moved in each vault, for its owner to read; one event may give two rows (a transfer).
-- `id` follows the order in which the indexer applied them, which is the chain's. Kept for good.
CREATE TABLE IF NOT EXISTS transactions (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner TEXT NOT NULL,
    vault TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN (
        'deposit', 'withdraw', 'emergency_withdraw', 'lock', 'unlock', 'transfer_in',
        'transfer_out', 'timelock', 'timelock_release', 'yield_deposit', 'yield_withdraw',
        'yield_compound'
    )),
    amount BIGINT NOT NULL CHECK (amount >= 0),
    balance_after BIGINT CHECK (balance_after >= 0),
    slot BIGINT NOT NULL CHECK (slot >= 0),
    block_time TIMESTAMPTZ,
    signature TEXT NOT NULL,
    instruction_index INTEGER NOT NULL CHECK (instruction_index >= 0),
    ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
    commitment TEXT NOT NULL CHECK (commitment IN ('processed', 'confirmed', 'finalized')),
    UNIQUE (signature, instruction_index, ordinal, owner, kind)
);
CREATE INDEX IF NOT EXISTS transactions_by_owner ON transactions (owner, id DESC);
CREATE INDEX IF NOT EXISTS transactions_by_owner_and_kind ON transactions (owner, kind, id DESC);

-- Every event of the program, once: the primary key makes a second delivery a no-op. Kept for good.
CREATE TABLE IF NOT EXISTS chain_events (
    signature TEXT NOT NULL,
    instruction_index INTEGER NOT NULL CHECK (instruction_index >= 0),
    ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
    slot BIGINT NOT NULL CHECK (slot >= 0),
    block_time TIMESTAMPTZ,
    name TEXT NOT NULL,
    vault TEXT,
    owner TEXT,
    commitment TEXT NOT NULL CHECK (commitment IN ('processed', 'confirmed', 'finalized')),
    data JSONB NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (signature, instruction_index, ordinal)
);
CREATE INDEX IF NOT EXISTS chain_events_not_final ON chain_events (slot)
    WHERE commitment <> 'finalized';

-- How many events of each kind there were and what they moved: the counters of /metrics, which
-- have to survive a restart. Written in the transaction that records the events.
CREATE TABLE IF NOT EXISTS event_totals (
    kind TEXT PRIMARY KEY,
    count BIGINT NOT NULL CHECK (count >= 0),
    amount BIGINT NOT NULL CHECK (amount >= 0)
);

-- How far the program's transactions are applied, without a gap before it.
CREATE TABLE IF NOT EXISTS indexer_cursor (
    program TEXT PRIMARY KEY,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT NOT NULL,
    previous_signature TEXT,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- What subscribers are told. Appending locks the one row of outbox_head until the commit, so that
-- positions are contiguous and appear in their order: whoever reads what follows the last position
-- seen misses nothing. Pruned by age (store/messaging/outbox.py); a subscriber too far behind starts over.
CREATE TABLE IF NOT EXISTS outbox_head (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    position BIGINT NOT NULL CHECK (position >= 0)
);
INSERT INTO outbox_head (position) VALUES (0) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS outbox_topics (
    topic TEXT PRIMARY KEY,
    seq BIGINT NOT NULL CHECK (seq >= 0)
);

CREATE TABLE IF NOT EXISTS outbox (
    position BIGINT PRIMARY KEY,
    topic TEXT NOT NULL,
    seq BIGINT NOT NULL,
    owner TEXT,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT,
    commitment TEXT NOT NULL CHECK (commitment IN ('processed', 'confirmed', 'finalized')),
    data JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (topic, seq)
);
-- Rows are written in the order of their times, so a block range index is enough for pruning.
CREATE INDEX IF NOT EXISTS outbox_by_age ON outbox USING brin (created_at)
    WITH (pages_per_range = 16);

-- Given out to be signed once. Pruned a day after expiry, until when a replay is told as one.
CREATE TABLE IF NOT EXISTS nonces (
    nonce TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    issued_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ
);
CREATE INDEX IF NOT EXISTS nonces_by_expiry ON nonces (expires_at);

-- Who did what. hash = sha256(previous hash and the row), see store/security/audit_log.py; the head holds the
-- last hash, so that cutting off the newest rows shows too. `details` is JSON, not JSONB, since
-- its text is what is hashed. Kept for good.
CREATE TABLE IF NOT EXISTS audit_logs (
    id BIGINT PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    owner TEXT,
    outcome TEXT NOT NULL,
    details JSON NOT NULL,
    hash BYTEA NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX IF NOT EXISTS audit_logs_by_owner ON audit_logs (owner, id DESC);
CREATE INDEX IF NOT EXISTS audit_logs_by_action ON audit_logs (action, id DESC);

CREATE TABLE IF NOT EXISTS audit_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    id BIGINT NOT NULL CHECK (id >= 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32)
);
INSERT INTO audit_head (id, hash) VALUES (0, decode(repeat('00', 32), 'hex'))
    ON CONFLICT DO NOTHING;

-- Each transaction the service built, found again by the hash of its message. Those that were
-- never signed are pruned after their block hash is long dead; the others are kept for good.
CREATE TABLE IF NOT EXISTS submissions (
    message_hash BYTEA PRIMARY KEY CHECK (length(message_hash) = 32),
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'built', 'pending', 'submitted', 'confirmed', 'finalized', 'failed', 'expired',
        'quarantined'
    )),
    signature TEXT UNIQUE,
    message BYTEA NOT NULL,
    wire BYTEA,
    last_valid_block_height BIGINT NOT NULL CHECK (last_valid_block_height >= 0),
    amount BIGINT CHECK (amount >= 0),
    error JSONB,
    slot BIGINT CHECK (slot >= 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT signed_once_pending CHECK (
        state = 'built' OR (signature IS NOT NULL AND wire IS NOT NULL)
    )
);
CREATE INDEX IF NOT EXISTS submissions_unfinished ON submissions (created_at)
    WHERE state IN ('pending', 'submitted', 'confirmed');
CREATE INDEX IF NOT EXISTS submissions_built ON submissions (created_at) WHERE state = 'built';

-- Where a vault's row and the chain were compared and differed. Pruned by age.
CREATE TABLE IF NOT EXISTS reconciliation_logs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vault TEXT NOT NULL,
    owner TEXT NOT NULL,
    field TEXT NOT NULL,
    expected BIGINT,
    actual BIGINT,
    difference BIGINT NOT NULL,
    chain_slot BIGINT NOT NULL CHECK (chain_slot >= 0),
    row_slot BIGINT CHECK (row_slot >= 0),
    healed BOOLEAN NOT NULL,
    cause TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS reconciliation_logs_by_age ON reconciliation_logs USING brin (created_at)
    WITH (pages_per_range = 16);

-- migration 2: which events count, and what the history holds beyond the accounts

-- By how much an owner's history exceeds what the vault's account counts as deposited and
-- withdrawn: an account begins anew when it was closed. Below zero, the account counts more, which
-- was of another mint. NUMERIC, since worthless tokens come in any amount. See store/vaults/account_offsets.py.
CREATE TABLE IF NOT EXISTS account_offsets (
    owner TEXT PRIMARY KEY,
    deposited NUMERIC NOT NULL,
    withdrawn NUMERIC NOT NULL
);

-- Whose each vault is that was ever opened, and whether it held our mint as of the cursor. Its
-- account may be ahead of the events that are applied, so it cannot tell which of them count.
CREATE TABLE IF NOT EXISTS vault_mints (
    vault TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    ours BOOLEAN NOT NULL
);

-- migration 3: answers to requests that may be sent again

-- The answer to the first request with a key, written with that request's effects. Pruned by age.
CREATE TABLE IF NOT EXISTS idempotency_keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    status SMALLINT NOT NULL,
    content_type TEXT NOT NULL,
    content BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key)
);
CREATE INDEX IF NOT EXISTS idempotency_keys_by_age ON idempotency_keys (created_at);

-- migration 4: withdrawals that several must sign, and how the signers are told

-- A withdrawal that an owner proposes to the signers of the vault's multisig, which is noted as it
-- was on chain in `slot`. Each change raises `version`. `message_hash` is the newest of
-- multisig_transactions. Pruned long after they expire; the audit trail keeps what was done.
CREATE TABLE IF NOT EXISTS multisig_proposals (
    id UUID PRIMARY KEY,
    owner TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    threshold SMALLINT NOT NULL CHECK (threshold > 0),
    signers TEXT[] NOT NULL CHECK (cardinality(signers) >= threshold),
    slot BIGINT NOT NULL CHECK (slot >= 0),
    version INTEGER NOT NULL DEFAULT 0,
    message_hash BYTEA,
    cancelled_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX IF NOT EXISTS multisig_proposals_by_owner ON multisig_proposals (owner, expires_at);
CREATE INDEX IF NOT EXISTS multisig_proposals_by_expiry ON multisig_proposals (expires_at);

CREATE TABLE IF NOT EXISTS multisig_approvals (
    proposal UUID NOT NULL REFERENCES multisig_proposals ON DELETE CASCADE,
    signer TEXT NOT NULL,
    approved_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (proposal, signer)
);

-- The transactions built for a proposal: another follows only once the one before cannot land any
-- more. The service's own signature, without which none lands, is added when all others are there.
CREATE TABLE IF NOT EXISTS multisig_transactions (
    message_hash BYTEA PRIMARY KEY CHECK (length(message_hash) = 32),
    proposal UUID NOT NULL REFERENCES multisig_proposals ON DELETE CASCADE,
    message BYTEA NOT NULL,
    last_valid_block_height BIGINT NOT NULL CHECK (last_valid_block_height >= 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS multisig_transactions_by_proposal ON multisig_transactions (proposal);

CREATE TABLE IF NOT EXISTS multisig_signatures (
    message_hash BYTEA NOT NULL REFERENCES multisig_transactions ON DELETE CASCADE,
    signer TEXT NOT NULL,
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (message_hash, signer)
);

-- Where a signer wants to be told. `secret` signs what is sent there, and is sealed.
CREATE TABLE IF NOT EXISTS signer_contacts (
    signer TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- What signers are to be told: a queue, written with what it tells of. Pruned by age.
CREATE TABLE IF NOT EXISTS webhook_deliveries (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    signer TEXT NOT NULL REFERENCES signer_contacts ON DELETE CASCADE,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'given_up')),
    tries INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    due_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS webhook_deliveries_due ON webhook_deliveries (due_at)
    WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_age ON webhook_deliveries (created_at);
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_signer ON webhook_deliveries (signer);

-- migration 5: second factors

-- An owner's secret, sealed (store/security/encryption.py), with what of its codes is used up and how often in a
-- row a code was wrong. One that was never enabled is pruned by age; the others stay until their
-- owner disables them.
CREATE TABLE IF NOT EXISTS twofa (
    owner TEXT PRIMARY KEY,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    enabled_at TIMESTAMPTZ,
    last_step BIGINT NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until TIMESTAMPTZ
);
CREATE INDEX IF NOT EXISTS twofa_waiting ON twofa (created_at) WHERE enabled_at IS NULL;

-- What is kept of the codes for a lost device: SHA-256 with the owner as salt (http/auth/totp.py).
CREATE TABLE IF NOT EXISTS twofa_recovery_codes (
    owner TEXT NOT NULL REFERENCES twofa ON DELETE CASCADE,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    used_at TIMESTAMPTZ,
    PRIMARY KEY (owner, hash)
);

-- migration 6: vaults in any order, and as they were

-- A closed vault keeps its row (see nursery/ledger/vault_rows.py) and is in no list.
ALTER TABLE vaults ADD COLUMN IF NOT EXISTS
    closed BOOLEAN NOT NULL GENERATED ALWAYS AS (state @> '{"closed": true}') STORED;
CREATE INDEX IF NOT EXISTS vaults_by_balance ON vaults (total, owner) WHERE NOT closed;
CREATE INDEX IF NOT EXISTS vaults_by_slot ON vaults (slot, owner) WHERE NOT closed;

-- Up to which slot nothing is missing, which is later than the last transaction where the program
-- is quiet; and the newest block time that was seen.
ALTER TABLE indexer_cursor ADD COLUMN IF NOT EXISTS through BIGINT CHECK (through >= 0);
ALTER TABLE indexer_cursor ADD COLUMN IF NOT EXISTS block_time TIMESTAMPTZ;

-- What each vault held from `slot` on, until the owner's next row: as its events say, or as its
-- account was (`observed`), see store/vaults/balance_history.py. No CHECK: a line that is missing from the
-- history must not stop the indexer; the next account sets it right. One row for each slot in
-- which an owner's vault moved, kept for good like the history itself.
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

-- What an older database has recorded already. Only an emergency's event tells what it leaves
-- locked: from there on, locks are counted anew.
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

-- migration 7: what analytics answer from, written in the transaction that applies the events

-- What moved in each hour and each day (UTC). NUMERIC, since sums may exceed what one vault holds.
-- A line without a block time counts in the newest hour before it. Kept for good.
CREATE TABLE IF NOT EXISTS flows (
    bucket TEXT NOT NULL CHECK (bucket IN ('hour', 'day')),
    start TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL,
    count BIGINT NOT NULL,
    amount NUMERIC NOT NULL,
    PRIMARY KEY (bucket, start, kind)
);

-- What all vaults held together at the end of each hour in which anything moved. Kept for good.
CREATE TABLE IF NOT EXISTS tvl_hours (
    hour TIMESTAMPTZ PRIMARY KEY,
    tvl NUMERIC NOT NULL
);

-- The open vaults by the number of decimal digits of what they hold, none for nothing.
CREATE TABLE IF NOT EXISTS vault_sizes (
    digits SMALLINT PRIMARY KEY,
    vaults BIGINT NOT NULL,
    total NUMERIC NOT NULL,
    available NUMERIC NOT NULL,
    locked NUMERIC NOT NULL,
    timelocked NUMERIC NOT NULL,
    yield_deposited NUMERIC NOT NULL
);

INSERT INTO flows (bucket, start, kind, count, amount)
SELECT bucket, date_trunc(bucket, at, 'UTC'), kind, count(*), sum(amount)
FROM (
    SELECT kind, amount, coalesce(max(block_time) OVER (ORDER BY id), now()) AS newest,
           block_time
    FROM transactions
) AS line
CROSS JOIN LATERAL (VALUES (coalesce(block_time, newest))) AS timed (at)
CROSS JOIN (VALUES ('hour'), ('day')) AS buckets (bucket)
GROUP BY 1, 2, 3
ON CONFLICT (bucket, start, kind) DO NOTHING;

INSERT INTO tvl_hours (hour, tvl)
SELECT start, sum(sum(CASE
           WHEN kind IN ('deposit', 'transfer_in', 'yield_compound') THEN amount
           WHEN kind IN ('withdraw', 'emergency_withdraw', 'transfer_out') THEN -amount
           ELSE 0
       END)) OVER (ORDER BY start)
FROM flows
WHERE bucket = 'hour'
GROUP BY start
ON CONFLICT (hour) DO NOTHING;

INSERT INTO vault_sizes (
    digits, vaults, total, available, locked, timelocked, yield_deposited
)
SELECT CASE total WHEN 0 THEN 0 ELSE length(total::TEXT) END, count(*), sum(total),
       sum(available), sum(locked), sum(timelocked), sum(yield_deposited)
FROM vaults
WHERE NOT closed
GROUP BY 1
ON CONFLICT (digits) DO NOTHING;

-- migration 8: what a fork takes back

-- The newest applied transactions, in the order in which they were: those that are not final, and
-- the two before them, to which the cursor may go back. One that fails or tells nothing counts too.
CREATE TABLE IF NOT EXISTS applied (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT NOT NULL UNIQUE,
    final BOOLEAN NOT NULL
);

-- What was there before an applied transaction changed it, where nothing else tells: a row of
-- vault_mints or account_offsets, or NULL where there was none, as of vaults too. Gone with it.
CREATE TABLE IF NOT EXISTS applied_before (
    place BIGINT NOT NULL REFERENCES applied ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('vault_mint', 'account_offset', 'vault')),
    key TEXT NOT NULL,
    row JSONB,
    PRIMARY KEY (place, kind, key)
);

INSERT INTO applied (slot, signature, final)
SELECT slot, signature, final
FROM (
    SELECT slot, signature, bool_and(commitment = 'finalized') AS final
    FROM chain_events
    WHERE commitment <> 'finalized'
       OR slot >= (SELECT max(slot) FROM chain_events WHERE commitment = 'finalized')
    GROUP BY slot, signature
    UNION ALL
    SELECT slot, signature, FALSE
    FROM indexer_cursor
    WHERE NOT EXISTS (
        SELECT FROM chain_events
        WHERE chain_events.signature = indexer_cursor.signature
    )
) AS transaction
WHERE NOT EXISTS (SELECT FROM applied)
ORDER BY slot, final DESC
ON CONFLICT (signature) DO NOTHING;

-- How many forks took something back: what was read from the chain before the last is stale.
ALTER TABLE indexer_cursor ADD COLUMN IF NOT EXISTS forks BIGINT NOT NULL DEFAULT 0;

-- Subscribers are told of what is taken back too.
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS type TEXT NOT NULL DEFAULT 'event'
    CHECK (type IN ('event', 'retracted'));

-- A row that was read in a slot is read again once that slot is final: no fork can have dropped it.
ALTER TABLE vaults ADD COLUMN IF NOT EXISTS settled_slot BIGINT NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS vaults_unsettled ON vaults (slot) WHERE slot > settled_slot;
CREATE INDEX IF NOT EXISTS vaults_closed_by_slot ON vaults (slot) WHERE closed;

-- An account's sums end with it: what was read of them last depends on when that was.
UPDATE vaults
SET total_deposited = 0,
    total_withdrawn = 0
WHERE closed;

-- A gap that is too long for memory, while it is closed: its final transactions, the newest first,
-- as the node lists them. They are applied from the last one on, and deleted.
CREATE TABLE IF NOT EXISTS backlog (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature TEXT NOT NULL UNIQUE,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    failed BOOLEAN NOT NULL,
    block_time BIGINT
);

-- The cursor that the backlog follows (NULL: the start), whether it reaches it yet, and how many
-- there are. No row while there is no backlog.
CREATE TABLE IF NOT EXISTS backlog_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    follows TEXT,
    complete BOOLEAN NOT NULL DEFAULT FALSE,
    listed BIGINT NOT NULL DEFAULT 0,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- migration 9: what a submission's end is decided by, and what the operator pays for others

-- `since_slot`: it can only be in blocks after this one. `seen_slot`: the last block it was seen in,
-- kept when a fork drops that block, while `slot` is where it is now. See nursery/submission/outcome.py.
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS signed_at TIMESTAMPTZ;
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS since_slot BIGINT CHECK (since_slot >= 0);
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS seen_slot BIGINT CHECK (seen_slot >= 0);
UPDATE submissions
SET seen_slot = slot
WHERE seen_slot IS NULL
  AND state IN ('pending', 'submitted', 'confirmed');

-- What the operator pays for it at most, on whose account (nobody's: everybody's), and in which
-- day's sums that is counted. NULL until the operator has signed as its fee payer.
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS sponsored_lamports BIGINT
    CHECK (sponsored_lamports >= 0);
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS sponsored_owner TEXT;
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS sponsored_day DATE;

-- What the operator has signed to pay on each day (UTC): for each owner, and in the row of owner ''
-- for everybody together. Pruned by age.
CREATE TABLE IF NOT EXISTS sponsored (
    day DATE NOT NULL,
    owner TEXT NOT NULL,
    lamports BIGINT NOT NULL CHECK (lamports >= 0),
    PRIMARY KEY (day, owner)
);

-- migration 10: alerts

-- What operators should look at: at most one that is not resolved for each kind and subject, see
-- store/alerts/alerts.py and docs/alerts.md. Resolved ones are pruned by age.
CREATE TABLE IF NOT EXISTS alerts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    owner TEXT,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    summary TEXT NOT NULL,
    details JSONB NOT NULL,
    count BIGINT NOT NULL DEFAULT 1 CHECK (count > 0),
    first_seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    last_seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    acknowledged_at TIMESTAMPTZ,
    acknowledged_by TEXT,
    resolved_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open ON alerts (kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alerts_by_subject ON alerts (kind, subject);
CREATE INDEX IF NOT EXISTS alerts_by_resolution ON alerts (resolved_at);

-- Up to which row of a table the monitor has looked, row by row. What was there before is history.
-- The row of 'alerts' is the lock under which alerts are raised and resolved.
CREATE TABLE IF NOT EXISTS alert_positions (
    source TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO alert_positions (source, position)
SELECT 'alerts', 0
UNION ALL
SELECT 'transactions', coalesce(max(id), 0) FROM transactions
UNION ALL
SELECT 'reconciliation_logs', coalesce(max(id), 0) FROM reconciliation_logs
ON CONFLICT (source) DO NOTHING;

-- The monitor asks for these, of which there should be none.
CREATE INDEX IF NOT EXISTS submissions_quarantined ON submissions (updated_at)
    WHERE state = 'quarantined';

-- Deliveries without a signer are for operators: where to and under which secret is configured.
ALTER TABLE webhook_deliveries ALTER COLUMN signer DROP NOT NULL;
CREATE INDEX IF NOT EXISTS webhook_deliveries_of_alerts_due ON webhook_deliveries (due_at)
    WHERE state = 'pending' AND signer IS NULL;

-- migration 11: balances on the hour, and what was told last

-- What each vault that holds anything held at `at`, which is on the hour (UTC). Written once, when
-- everything before is indexed; hours that were missed are filled from balance_history. Those of
-- midnight are kept for good, the others are pruned by age (store/vaults/balance_snapshots.py).
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

-- The same of all vaults together.
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

-- Up to which hour snapshots are written, none before the first. Its one row is their lock.
CREATE TABLE IF NOT EXISTS snapshot_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    at TIMESTAMPTZ
);
INSERT INTO snapshot_head (at) VALUES (NULL) ON CONFLICT DO NOTHING;

-- Which slot a time was in: the first movement from then on.
CREATE INDEX IF NOT EXISTS balance_history_by_time ON balance_history (block_time, slot)
    WHERE block_time IS NOT NULL;

-- The newest slot of all vaults goes with what they hold together.
CREATE INDEX IF NOT EXISTS vaults_by_any_slot ON vaults (slot);

-- What subscribers of a topic about everything were told last, whichever replica told them.
CREATE TABLE IF NOT EXISTS told (
    topic TEXT PRIMARY KEY,
    data JSONB NOT NULL,
    told_at TIMESTAMPTZ NOT NULL
);

-- migration 12: what falls due in vaults, and who was told of it

-- Each timelock and each pending withdrawal of the vaults' rows: the `place`th of those that fall
-- due in one second, which is what its owner is told of once. `due_at` is the chain's time in Unix
-- seconds. A withdrawal may ask for more than any vault holds, so `amount` is NUMERIC. One that is
-- in its vault no more stays until it is pruned, and comes back should a fork bring it back.
CREATE TABLE IF NOT EXISTS maturities (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('timelock', 'withdrawal')),
    due_at BIGINT NOT NULL,
    place INTEGER NOT NULL,
    vault TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    live BOOLEAN NOT NULL DEFAULT TRUE,
    soon_told_at TIMESTAMPTZ,
    told_at TIMESTAMPTZ,
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, kind, due_at, place)
);
CREATE INDEX IF NOT EXISTS maturities_soon ON maturities (due_at)
    WHERE live AND kind = 'timelock' AND soon_told_at IS NULL AND told_at IS NULL;
CREATE INDEX IF NOT EXISTS maturities_due ON maturities (due_at) WHERE live AND told_at IS NULL;
CREATE INDEX IF NOT EXISTS maturities_to_release ON maturities (due_at)
    WHERE live AND kind = 'timelock';
CREATE INDEX IF NOT EXISTS maturities_gone ON maturities (changed_at) WHERE NOT live;

-- A trigger, so that they follow the vault's row whoever writes it, forward or back.
CREATE OR REPLACE FUNCTION follow_maturities() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE maturities
        SET live = FALSE, changed_at = now()
        WHERE owner = OLD.owner AND live;
        RETURN NULL;
    END IF;
    WITH entry AS (
        SELECT 'timelock' AS kind, nth, item ->> 'unlock_time' AS due_at, item ->> 'amount' AS amount
        FROM jsonb_array_elements(NEW.state -> 'timelocks') WITH ORDINALITY AS each (item, nth)
        UNION ALL
        SELECT 'withdrawal', nth, item ->> 'executable_at', item ->> 'amount'
        FROM jsonb_array_elements(NEW.state -> 'pending_withdrawals')
            WITH ORDINALITY AS each (item, nth)
    ), placed AS (
        SELECT kind, due_at::BIGINT AS due_at, amount::NUMERIC AS amount,
               row_number() OVER (PARTITION BY kind, due_at ORDER BY nth) AS place
        FROM entry
    ), gone AS (
        UPDATE maturities
        SET live = FALSE, changed_at = now()
        WHERE owner = NEW.owner
          AND live
          AND (kind, due_at, place) NOT IN (SELECT kind, due_at, place FROM placed)
    )
    INSERT INTO maturities (owner, kind, due_at, place, vault, amount)
    SELECT NEW.owner, kind, due_at, place, NEW.vault, amount
    FROM placed
    ON CONFLICT (owner, kind, due_at, place) DO UPDATE SET
        vault = EXCLUDED.vault,
        amount = EXCLUDED.amount,
        live = TRUE,
        changed_at = now()
    WHERE (maturities.vault, maturities.amount, maturities.live)
        IS DISTINCT FROM (EXCLUDED.vault, EXCLUDED.amount, TRUE);
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS maturities_follow_new ON vaults;
CREATE TRIGGER maturities_follow_new AFTER INSERT OR DELETE ON vaults
    FOR EACH ROW EXECUTE FUNCTION follow_maturities();
DROP TRIGGER IF EXISTS maturities_follow ON vaults;
CREATE TRIGGER maturities_follow AFTER UPDATE ON vaults
    FOR EACH ROW
    WHEN (
        (OLD.state -> 'timelocks') IS DISTINCT FROM (NEW.state -> 'timelocks')
        OR (OLD.state -> 'pending_withdrawals') IS DISTINCT FROM (NEW.state -> 'pending_withdrawals')
    )
    EXECUTE FUNCTION follow_maturities();

-- What an older database holds already.
INSERT INTO maturities (owner, kind, due_at, place, vault, amount)
SELECT owner, kind, due_at, row_number() OVER (PARTITION BY owner, kind, due_at ORDER BY nth), vault,
       amount
FROM (
    SELECT owner, vault, 'timelock' AS kind, nth, (item ->> 'unlock_time')::BIGINT AS due_at,
           (item ->> 'amount')::NUMERIC AS amount
    FROM vaults
    CROSS JOIN jsonb_array_elements(state -> 'timelocks') WITH ORDINALITY AS each (item, nth)
    UNION ALL
    SELECT owner, vault, 'withdrawal', nth, (item ->> 'executable_at')::BIGINT,
           (item ->> 'amount')::NUMERIC
    FROM vaults
    CROSS JOIN jsonb_array_elements(state -> 'pending_withdrawals')
        WITH ORDINALITY AS each (item, nth)
) AS entry
ON CONFLICT (owner, kind, due_at, place) DO NOTHING;

-- The owners whose vaults a transaction for several is about; none where `owner` says it.
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS owners TEXT[] NOT NULL DEFAULT '{}';

-- migration 13: what yield protocols pay, and whose yield the service compounds

-- Each reading of a configured source: a rate, or why there is none (`reason`). Rates are fractions
-- of 1 a year; whatever an account may hold is NUMERIC. Pruned after a year.
CREATE TABLE IF NOT EXISTS protocol_apy (
    protocol TEXT NOT NULL,
    address TEXT NOT NULL,
    source_slot BIGINT NOT NULL,
    chain_time BIGINT NOT NULL,
    read_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    mint TEXT,
    supply_apr NUMERIC,
    supply_apy NUMERIC,
    borrow_apr NUMERIC,
    utilization NUMERIC,
    supplied NUMERIC,
    borrowed NUMERIC,
    updated_slot NUMERIC,
    updated_time NUMERIC,
    reason TEXT,
    detail TEXT,
    PRIMARY KEY (protocol, address, source_slot),
    CONSTRAINT rate_or_reason CHECK ((reason IS NULL) = (supply_apy IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS protocol_apy_newest ON protocol_apy (protocol, address, read_at DESC);
CREATE INDEX IF NOT EXISTS protocol_apy_by_age ON protocol_apy (read_at);

-- Whether an owner has the service compound, and from which amount on. One row for each program
-- that was ever named; off is a row too.
CREATE TABLE IF NOT EXISTS yield_policies (
    owner TEXT NOT NULL,
    yield_program TEXT NOT NULL,
    auto_compound BOOLEAN NOT NULL,
    min_amount BIGINT NOT NULL CHECK (min_amount > 0),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, yield_program)
);
CREATE INDEX IF NOT EXISTS yield_policies_on ON yield_policies (yield_program, owner)
    WHERE auto_compound;

-- migration 14: how far the books are held against the chain, and history in the chain's order

-- Where the pass over all vaults stands: every owner up to `after_owner` was compared since
-- `started_at`. The one row; a restart goes on from it.
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

-- The events of one vault, for whoever holds them against the chain's list of its transactions.
CREATE INDEX IF NOT EXISTS chain_events_by_vault ON chain_events (vault);

-- A line that was missing is put in later than those after it, so `id` alone no longer says which
-- came first: the slot does, and `id` within a slot.
CREATE INDEX IF NOT EXISTS transactions_in_order ON transactions (owner, slot DESC, id DESC);
CREATE INDEX IF NOT EXISTS transactions_of_kind_in_order
    ON transactions (owner, kind, slot DESC, id DESC);
DROP INDEX IF EXISTS transactions_by_owner_and_kind;

-- What last ended a round of the indexer, for `cvms index status`: the process that met it may be
-- another one, or gone.
CREATE TABLE IF NOT EXISTS indexer_problems (
    program TEXT PRIMARY KEY,
    problem TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- migration 15: which of several replicas leads

-- Until when the holder of the advisory lock may act (store/messaging/leader_lease.py), and how far its indexer
-- has come, for those replicas that have none.
CREATE TABLE IF NOT EXISTS leadership (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    holder TEXT NOT NULL,
    term BIGINT NOT NULL CHECK (term > 0),
    until TIMESTAMPTZ NOT NULL,
    indexed_slot BIGINT CHECK (indexed_slot >= 0),
    indexer_problem TEXT
);
