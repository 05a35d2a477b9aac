-- The whole schema, for reading. The service does not apply this file: it applies the numbered
-- migrations in cvms/store/postgres/migrations, and tests/store/postgres/test_schema.py checks
-- that both give the same database. To change the schema, add a migration and edit this file.
--
-- Money is BIGINT in the token's smallest unit, sums of several vaults are NUMERIC. Times are
-- TIMESTAMPTZ. Public keys and signatures are base58 TEXT. JSON holds amounts as integers.
-- Columns stand in the order in which the migrations add them.

-- The migrations that this database has: the checksum of each one's text, and after a contraction
-- the newest migration that code must know to work with the rest.
CREATE TABLE schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    checksum TEXT,
    oldest_code INTEGER
);

-- ---------------------------------------------------------------------------------------------
-- Vaults and their history

-- The decoded account of each vault as of `slot`. A row only moves forward in slots, except when a
-- fork is rolled back. A closed vault keeps its row (nursery/ledger/vault_rows.py) but appears in
-- no list. A row with `slot` above `settled_slot` is read again once its slot is finalized, since
-- a fork may have dropped it.
CREATE TABLE vaults (
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
    closed BOOLEAN NOT NULL GENERATED ALWAYS AS (state @> '{"closed": true}') STORED,
    settled_slot BIGINT NOT NULL DEFAULT 0,
    CONSTRAINT vault_balances CHECK (
        total::NUMERIC = available::NUMERIC + locked + timelocked + yield_deposited
    )
);
-- Sums over all vaults read this index alone, which is a tenth of the table.
CREATE INDEX vaults_by_balance ON vaults (total, owner)
    INCLUDE (available, locked, timelocked, yield_deposited) WHERE NOT closed;
CREATE INDEX vaults_by_slot ON vaults (slot, owner) WHERE NOT closed;
CREATE INDEX vaults_by_any_slot ON vaults (slot);
CREATE INDEX vaults_closed_by_slot ON vaults (slot) WHERE closed;
CREATE INDEX vaults_exits ON vaults (owner) WHERE NOT closed AND state ->> 'exit_at' <> '0';
CREATE INDEX vaults_unsettled ON vaults (slot) WHERE slot > settled_slot;
CREATE INDEX vaults_compoundable ON vaults (owner)
    WHERE NOT closed AND yield_deposited > 0 AND multisig_threshold = 0 AND cardinality(delegates) > 0;
-- For the beginning of an address, whatever the collation of the database.
CREATE INDEX vaults_by_address ON vaults (closed, owner COLLATE "C");
-- By default a fifth of a table changes before it is vacuumed and analyzed.
ALTER TABLE vaults SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);

-- The owner of every vault that was ever opened, and whether it held our mint as of the cursor.
-- The vault's account may be ahead of the applied events, so it cannot tell which events count.
CREATE TABLE vault_mints (
    vault TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    ours BOOLEAN NOT NULL
);

-- What moved in each vault. One event may give two rows (a transfer). The order is (slot, id): a
-- missing row is inserted after later ones. Kept forever.
CREATE TABLE transactions (
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
CREATE INDEX transactions_by_owner ON transactions (owner, id DESC);
CREATE INDEX transactions_in_order ON transactions (owner, slot DESC, id DESC);
CREATE INDEX transactions_of_kind_in_order ON transactions (owner, kind, slot DESC, id DESC)
    INCLUDE (amount);
-- Rows are written nearly in the order of their slots.
CREATE INDEX transactions_by_slot ON transactions USING brin (slot) WITH (pages_per_range = 16);
CREATE INDEX transactions_emergencies ON transactions (slot) WHERE kind = 'emergency_withdraw';
ALTER TABLE transactions SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

-- The number and sum of an owner's lines of each kind, so that a long history costs no more to
-- check than a short one. A kind whose lines were all removed keeps a row of zeros.
CREATE TABLE history_sums (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    count BIGINT NOT NULL,
    amount NUMERIC NOT NULL,
    PRIMARY KEY (owner, kind)
);
ALTER TABLE history_sums SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);

-- Triggers, so that the sums follow the history whatever writes it.
CREATE FUNCTION move_history_sums() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    sign CONSTANT INTEGER := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    INSERT INTO history_sums (owner, kind, count, amount)
    SELECT owner, kind, sign * count(*), sign * sum(amount)
    FROM lines
    GROUP BY owner, kind
    ORDER BY owner, kind
    ON CONFLICT (owner, kind) DO UPDATE SET
        count = history_sums.count + EXCLUDED.count,
        amount = history_sums.amount + EXCLUDED.amount;
    RETURN NULL;
END
$$;
CREATE FUNCTION change_history_sums() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO history_sums (owner, kind, count, amount)
    SELECT owner, kind, sum(line.count), sum(line.count * line.amount)
    FROM (
        VALUES (OLD.owner, OLD.kind, -1, OLD.amount::NUMERIC), (NEW.owner, NEW.kind, 1, NEW.amount)
    ) AS line (owner, kind, count, amount)
    GROUP BY owner, kind
    ORDER BY owner, kind
    ON CONFLICT (owner, kind) DO UPDATE SET
        count = history_sums.count + EXCLUDED.count,
        amount = history_sums.amount + EXCLUDED.amount;
    RETURN NULL;
END
$$;
CREATE FUNCTION clear_history_sums() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM history_sums;
    RETURN NULL;
END
$$;
CREATE TRIGGER history_sums_follow_insert AFTER INSERT ON transactions
    REFERENCING NEW TABLE AS lines
    FOR EACH STATEMENT EXECUTE FUNCTION move_history_sums();
CREATE TRIGGER history_sums_follow_delete AFTER DELETE ON transactions
    REFERENCING OLD TABLE AS lines
    FOR EACH STATEMENT EXECUTE FUNCTION move_history_sums();
-- Not for changes of the commitment, of which there is one for each line.
CREATE TRIGGER history_sums_follow_update AFTER UPDATE ON transactions
    FOR EACH ROW
    WHEN ((OLD.owner, OLD.kind, OLD.amount) IS DISTINCT FROM (NEW.owner, NEW.kind, NEW.amount))
    EXECUTE FUNCTION change_history_sums();
CREATE TRIGGER history_sums_follow_truncate AFTER TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION clear_history_sums();

-- The balance of each vault from `slot` until the owner's next row: computed from its events, or
-- read from its account (`observed`), see store/vaults/balance_history.py. There is no CHECK, since
-- a row missing from the history must not stop the indexer; the next account read corrects it. One
-- row for each slot in which an owner's vault moved. Kept forever.
CREATE TABLE balance_history (
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
-- Finds the slot of a time: the first movement from then on.
CREATE INDEX balance_history_by_time ON balance_history (block_time, slot)
    WHERE block_time IS NOT NULL;
CREATE INDEX balance_history_by_slot ON balance_history (slot);
ALTER TABLE balance_history SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

-- By how much an owner's history exceeds what the vault's account counts as deposited and
-- withdrawn, since an account starts over after it was closed. Negative if the account counts
-- more, which was of another mint. NUMERIC, since worthless tokens come in any amount. See
-- store/vaults/account_offsets.py.
CREATE TABLE account_offsets (
    owner TEXT PRIMARY KEY,
    deposited NUMERIC NOT NULL,
    withdrawn NUMERIC NOT NULL
);

-- The balance of each vault at `at`, a full hour (UTC), if it has changed since its last row, and at
-- midnight if it has changed in the day. In other hours it is as in its last row, and empty before
-- the first. Written once, when everything before is indexed; missed hours are filled from
-- balance_history. Those of midnight are kept forever, the others are pruned by age
-- (store/vaults/balance_snapshots.py). Up to `changes_since` of snapshot_head, each vault has a row
-- for each hour in which it was not empty.
CREATE TABLE balance_snapshots (
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
CREATE INDEX balance_snapshots_by_time ON balance_snapshots USING brin (at)
    WITH (pages_per_range = 16);

-- The same for all vaults together.
CREATE TABLE tvl_snapshots (
    at TIMESTAMPTZ PRIMARY KEY,
    vaults BIGINT NOT NULL,
    total NUMERIC NOT NULL,
    available NUMERIC NOT NULL,
    locked NUMERIC NOT NULL,
    timelocked NUMERIC NOT NULL,
    yield_deposited NUMERIC NOT NULL,
    slot BIGINT NOT NULL
);

-- The hour of the last snapshot, NULL before the first. This row is also the lock of the snapshots.
CREATE TABLE snapshot_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    at TIMESTAMPTZ,
    changes_since TIMESTAMPTZ
);
INSERT INTO snapshot_head (at) VALUES (NULL);

-- ---------------------------------------------------------------------------------------------
-- Timelocks and pending withdrawals

-- Every timelock and pending withdrawal in the vaults' rows. `place` numbers those that fall due in
-- the same second, and the owner is notified of each once. `due_at` is the chain's time in Unix
-- seconds. A withdrawal may ask for more than any vault holds, so `amount` is NUMERIC. A row that
-- left its vault (not `live`) stays until it is pruned, and returns if a fork brings it back.
CREATE TABLE maturities (
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
CREATE INDEX maturities_soon ON maturities (due_at)
    WHERE live AND kind = 'timelock' AND soon_told_at IS NULL AND told_at IS NULL;
CREATE INDEX maturities_due ON maturities (due_at) WHERE live AND told_at IS NULL;
CREATE INDEX maturities_to_release ON maturities (due_at) WHERE live AND kind = 'timelock';
CREATE INDEX maturities_gone ON maturities (changed_at) WHERE NOT live;

-- A trigger, so that they follow the vault's row whatever writes it, forward or back.
CREATE FUNCTION follow_maturities() RETURNS TRIGGER LANGUAGE plpgsql AS $$
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
CREATE TRIGGER maturities_follow_new AFTER INSERT OR DELETE ON vaults
    FOR EACH ROW EXECUTE FUNCTION follow_maturities();
CREATE TRIGGER maturities_follow AFTER UPDATE ON vaults
    FOR EACH ROW
    WHEN (
        (OLD.state -> 'timelocks') IS DISTINCT FROM (NEW.state -> 'timelocks')
        OR (OLD.state -> 'pending_withdrawals') IS DISTINCT FROM (NEW.state -> 'pending_withdrawals')
    )
    EXECUTE FUNCTION follow_maturities();

-- ---------------------------------------------------------------------------------------------
-- Yield

-- Each reading of a configured yield source: a rate, or why there is none (`reason`). Rates are
-- yearly fractions of 1; whatever an account may hold is NUMERIC. Pruned after a year.
CREATE TABLE protocol_apy (
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
CREATE INDEX protocol_apy_newest ON protocol_apy (protocol, address, read_at DESC);
CREATE INDEX protocol_apy_by_age ON protocol_apy (read_at);

-- Whether the service compounds an owner's yield, and from which amount. One row for each program
-- the owner has set; switching it off keeps the row.
CREATE TABLE yield_policies (
    owner TEXT NOT NULL,
    yield_program TEXT NOT NULL,
    auto_compound BOOLEAN NOT NULL,
    min_amount BIGINT NOT NULL CHECK (min_amount > 0),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, yield_program)
);
CREATE INDEX yield_policies_on ON yield_policies (yield_program, owner) WHERE auto_compound;

-- ---------------------------------------------------------------------------------------------
-- The indexer

-- Every event of the program, once: the primary key makes a second delivery a no-op. Kept forever.
CREATE TABLE chain_events (
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
CREATE INDEX chain_events_not_final ON chain_events (slot) WHERE commitment <> 'finalized';
CREATE INDEX chain_events_by_vault ON chain_events (vault);
CREATE INDEX chain_events_of_alerts ON chain_events (name, slot)
    WHERE name IN (
        'GovernanceProposedEvent', 'GovernanceAcceptedEvent', 'WithdrawalsPausedEvent',
        'TransferLimitsSetEvent', 'GuardChangeRequestedEvent'
    );
CREATE INDEX chain_events_of_rules ON chain_events (name, slot)
    WHERE name IN (
        'AuthorizedProgramAddedEvent', 'AuthorizedProgramRemovedEvent', 'YieldProgramAddedEvent',
        'YieldProgramRemovedEvent', 'FreezeFlagSetEvent', 'CpiEnforcedSetEvent',
        'RiskLevelSetEvent', 'UpdateUsdtMintEvent'
    );
ALTER TABLE chain_events SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

-- The last transaction of the program up to which all are applied without a gap. Nothing is missing
-- up to the slot `through`, which is later than `slot` while the program is quiet. `block_time` is
-- the newest one seen. `forks` counts the rollbacks: what was read from the chain before the last
-- one is stale.
CREATE TABLE indexer_cursor (
    program TEXT PRIMARY KEY,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT NOT NULL,
    previous_signature TEXT,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    through BIGINT CHECK (through >= 0),
    block_time TIMESTAMPTZ,
    forks BIGINT NOT NULL DEFAULT 0
);

-- The newest applied transactions in the order in which they were applied: those that are not
-- final, and the two before them, to which the cursor may be rewound. Failed transactions and those
-- without events count too.
CREATE TABLE applied (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT NOT NULL UNIQUE,
    final BOOLEAN NOT NULL
);

-- The rows that an applied transaction overwrote and that cannot be derived otherwise, of vaults,
-- vault_mints and account_offsets. NULL where there was no row. Deleted with the transaction.
CREATE TABLE applied_before (
    place BIGINT NOT NULL REFERENCES applied ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('vault_mint', 'account_offset', 'vault')),
    key TEXT NOT NULL,
    row JSONB,
    PRIMARY KEY (place, kind, key)
);

-- The final transactions of a gap too long for memory, newest first, as the node lists them. They
-- are applied from the last one on, and deleted.
CREATE TABLE backlog (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature TEXT NOT NULL UNIQUE,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    failed BOOLEAN NOT NULL,
    block_time BIGINT
);

-- The cursor that the backlog follows (NULL: the start), whether the list reaches it yet, and the
-- number of transactions listed. No row while there is no backlog.
CREATE TABLE backlog_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    follows TEXT,
    complete BOOLEAN NOT NULL DEFAULT FALSE,
    listed BIGINT NOT NULL DEFAULT 0,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- What last ended a run of the indexer, for `cvms index status`, which is another process.
CREATE TABLE indexer_problems (
    program TEXT PRIMARY KEY,
    problem TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------------------------------------
-- Aggregates, written in the transaction that applies the events

-- The number of events of each kind and the amount they moved: the counters of /metrics, which
-- have to survive a restart.
CREATE TABLE event_totals (
    kind TEXT PRIMARY KEY,
    count BIGINT NOT NULL CHECK (count >= 0),
    amount BIGINT NOT NULL CHECK (amount >= 0)
);

-- What moved in each hour and each day (UTC). A transaction without a block time counts in the
-- newest hour before it. Kept forever.
CREATE TABLE flows (
    bucket TEXT NOT NULL CHECK (bucket IN ('hour', 'day')),
    start TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL,
    count BIGINT NOT NULL,
    amount NUMERIC NOT NULL,
    PRIMARY KEY (bucket, start, kind)
);

-- The total value locked at the end of each hour in which anything moved. Kept forever.
CREATE TABLE tvl_hours (
    hour TIMESTAMPTZ PRIMARY KEY,
    tvl NUMERIC NOT NULL
);

-- The open vaults by the number of decimal digits of their total; 0 digits for an empty vault.
CREATE TABLE vault_sizes (
    digits SMALLINT PRIMARY KEY,
    vaults BIGINT NOT NULL,
    total NUMERIC NOT NULL,
    available NUMERIC NOT NULL,
    locked NUMERIC NOT NULL,
    timelocked NUMERIC NOT NULL,
    yield_deposited NUMERIC NOT NULL
);

-- The last published value of each global topic, shared by all replicas.
CREATE TABLE told (
    topic TEXT PRIMARY KEY,
    data JSONB NOT NULL,
    told_at TIMESTAMPTZ NOT NULL
);

-- ---------------------------------------------------------------------------------------------
-- Submissions

-- Each transaction the service built, found by the hash of its message. Unsigned ones are pruned
-- long after their blockhash expired; the others are kept forever. Its block can only be after
-- `since_slot`. `seen_slot` is the last block it was seen in and survives a fork, while `slot` is
-- the block it is in now, see nursery/submission/outcome.py. `confirmed_at` is when it was first seen in a
-- confirmed block, without an error. `owners` is set where a transaction
-- concerns several vaults. `sponsored_lamports` is the most the operator pays for it, NULL until
-- the operator has signed as its fee payer; `sponsored_owner` (NULL: the sum of all owners only) and
-- `sponsored_day` name the rows of `sponsored` that include it. `request_id` and `traceparent` (W3C
-- Trace Context) are those of the request that it came from.
CREATE TABLE submissions (
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
    signed_at TIMESTAMPTZ,
    since_slot BIGINT CHECK (since_slot >= 0),
    seen_slot BIGINT CHECK (seen_slot >= 0),
    sponsored_lamports BIGINT CHECK (sponsored_lamports >= 0),
    sponsored_owner TEXT,
    sponsored_day DATE,
    owners TEXT[] NOT NULL DEFAULT '{}',
    landed_signature TEXT,
    request_id TEXT,
    traceparent TEXT,
    confirmed_at TIMESTAMPTZ,
    CONSTRAINT signed_once_pending CHECK (
        state = 'built' OR (signature IS NOT NULL AND wire IS NOT NULL)
    )
);
CREATE INDEX submissions_unfinished ON submissions (created_at)
    WHERE state IN ('pending', 'submitted', 'confirmed');
CREATE INDEX submissions_built ON submissions (created_at) WHERE state = 'built';
CREATE INDEX submissions_quarantined ON submissions (updated_at) WHERE state = 'quarantined';
CREATE INDEX submissions_by_owner ON submissions (owner, created_at);
CREATE INDEX submissions_transfers ON submissions (created_at)
    WHERE kind = 'transfer_collateral';
CREATE INDEX submissions_by_submitted_message
    ON submissions (sha256(substr(wire, 2 + 64 * get_byte(wire, 0))))
    WHERE length(wire) > 0;
CREATE INDEX submissions_landed ON submissions (landed_signature)
    WHERE landed_signature IS NOT NULL;
CREATE INDEX submissions_by_confirmation ON submissions (confirmed_at)
    INCLUDE (signed_at) WHERE confirmed_at IS NOT NULL;

-- What the operator has signed to pay on each day (UTC): by owner, and in the row of owner '' for
-- everybody together. Pruned by age.
CREATE TABLE sponsored (
    day DATE NOT NULL,
    owner TEXT NOT NULL,
    lamports BIGINT NOT NULL CHECK (lamports >= 0),
    PRIMARY KEY (day, owner)
);

-- A withdrawal that an owner proposes to the signers of the vault's multisig, as it was on chain
-- in `slot`. Each change raises `version`. `message_hash` is the newest of multisig_transactions.
-- Pruned long after it expires; the audit trail keeps what was done.
CREATE TABLE multisig_proposals (
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
CREATE INDEX multisig_proposals_by_owner ON multisig_proposals (owner, expires_at);
CREATE INDEX multisig_proposals_by_expiry ON multisig_proposals (expires_at);

CREATE TABLE multisig_approvals (
    proposal UUID NOT NULL REFERENCES multisig_proposals ON DELETE CASCADE,
    signer TEXT NOT NULL,
    approved_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (proposal, signer)
);

-- The transactions built for a proposal. The next one is built only once the one before can no
-- longer land. The service signs last, and none lands without its signature.
CREATE TABLE multisig_transactions (
    message_hash BYTEA PRIMARY KEY CHECK (length(message_hash) = 32),
    proposal UUID NOT NULL REFERENCES multisig_proposals ON DELETE CASCADE,
    message BYTEA NOT NULL,
    last_valid_block_height BIGINT NOT NULL CHECK (last_valid_block_height >= 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX multisig_transactions_by_proposal ON multisig_transactions (proposal);

CREATE TABLE multisig_signatures (
    message_hash BYTEA NOT NULL REFERENCES multisig_transactions ON DELETE CASCADE,
    signer TEXT NOT NULL,
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (message_hash, signer)
);

-- ---------------------------------------------------------------------------------------------
-- Messages

-- The messages to subscribers. Appending locks the one row of outbox_head until the commit, so
-- positions are contiguous and appear in order: a reader that goes on from the last position it
-- saw misses nothing. Pruned by age (store/messaging/outbox.py); a subscriber that is too far
-- behind starts over.
CREATE TABLE outbox_head (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    position BIGINT NOT NULL CHECK (position >= 0)
);
INSERT INTO outbox_head (position) VALUES (0);

CREATE TABLE outbox_topics (
    topic TEXT PRIMARY KEY,
    seq BIGINT NOT NULL CHECK (seq >= 0)
);

CREATE TABLE outbox (
    position BIGINT PRIMARY KEY,
    topic TEXT NOT NULL,
    seq BIGINT NOT NULL,
    owner TEXT,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT,
    commitment TEXT NOT NULL CHECK (commitment IN ('processed', 'confirmed', 'finalized')),
    data JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    type TEXT NOT NULL DEFAULT 'event' CHECK (type IN ('event', 'retracted')),
    UNIQUE (topic, seq)
);
-- Rows are written in the order of their times, so a block range index is enough for pruning.
CREATE INDEX outbox_by_age ON outbox USING brin (created_at) WITH (pages_per_range = 16);
CREATE INDEX outbox_by_signature ON outbox USING hash (signature);
-- A vault's events, without the messages that no endpoint of a webhook gets. `position > 0` is true
-- for all: it keeps this index from queries that do not name it, which have better ones.
CREATE INDEX outbox_by_owner ON outbox (owner, position)
    WHERE position > 0 AND topic NOT IN ('vault_balance_update', 'vault_row_written');

-- The webhook of each signer. `secret`, which signs the requests, is encrypted.
CREATE TABLE signer_contacts (
    signer TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Webhooks of integrators. `position` is that in the outbox up to which everything is delivered or, for some vaults, held
-- (webhook_held_vaults). `failing_since`: since when nothing was delivered although it was tried.
CREATE TABLE webhook_endpoints (
    id TEXT PRIMARY KEY DEFAULT gen_random_uuid()::TEXT,
    owner TEXT,
    url TEXT NOT NULL,
    topics TEXT[] NOT NULL CHECK (cardinality(topics) > 0),
    state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'deactivated')),
    reason TEXT,
    position BIGINT NOT NULL CHECK (position >= 0),
    tries INTEGER NOT NULL DEFAULT 0,
    due_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    failing_since TIMESTAMPTZ,
    last_error TEXT,
    delivered_at TIMESTAMPTZ,
    created_by TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX webhook_endpoints_by_owner ON webhook_endpoints (owner);

-- The secrets that sign an endpoint's messages, encrypted. An older one also signs until it expires.
CREATE TABLE webhook_secrets (
    id TEXT PRIMARY KEY DEFAULT gen_random_uuid()::TEXT,
    endpoint TEXT NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    expires_at TIMESTAMPTZ
);
CREATE INDEX webhook_secrets_by_endpoint ON webhook_secrets (endpoint);

-- The vaults whose events an endpoint gets later, from `position` on, in order.
CREATE TABLE webhook_held_vaults (
    endpoint TEXT NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    owner TEXT NOT NULL,
    position BIGINT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    due_at TIMESTAMPTZ NOT NULL,
    last_error TEXT,
    PRIMARY KEY (endpoint, owner)
);
CREATE INDEX webhook_held_vaults_due ON webhook_held_vaults (endpoint, due_at);

-- The queue of webhook requests, each written in the transaction it reports. Those without a signer
-- or an endpoint are alerts for operators, whose URL and secret are configured. Those to endpoints
-- are tests, messages that are sent again, and messages that were given up. Pruned by age.
CREATE TABLE webhook_deliveries (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    signer TEXT REFERENCES signer_contacts ON DELETE CASCADE,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'given_up')),
    tries INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    due_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    resent_at TIMESTAMPTZ,
    endpoint TEXT REFERENCES webhook_endpoints ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_of_alerts_due ON webhook_deliveries (due_at)
    WHERE state = 'pending' AND signer IS NULL AND endpoint IS NULL;
CREATE INDEX webhook_deliveries_of_endpoints_due ON webhook_deliveries (endpoint, due_at)
    WHERE state = 'pending' AND endpoint IS NOT NULL;
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at, id);
CREATE INDEX webhook_deliveries_by_signer ON webhook_deliveries (signer, created_at, id);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (state, created_at, id);
CREATE INDEX webhook_deliveries_of_alerts ON webhook_deliveries (created_at, id)
    WHERE signer IS NULL AND endpoint IS NULL;
CREATE INDEX webhook_deliveries_by_endpoint
    ON webhook_deliveries (endpoint, created_at, id) WHERE endpoint IS NOT NULL;

-- Until when the holder of the advisory lock may act (store/messaging/leader_lease.py), and the
-- progress of its indexer, for the replicas that run none.
CREATE TABLE leadership (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    holder TEXT NOT NULL,
    term BIGINT NOT NULL CHECK (term > 0),
    until TIMESTAMPTZ NOT NULL,
    indexed_slot BIGINT CHECK (indexed_slot >= 0),
    indexer_problem TEXT
);

-- The processes of the service: each writes its row every ten seconds. Pruned by age.
CREATE TABLE instances (
    instance TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    version TEXT NOT NULL,
    ready BOOLEAN NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

-- ---------------------------------------------------------------------------------------------
-- Security

-- Nonces to be signed once. Pruned a day after expiry; until then a replay is recognised as one.
CREATE TABLE nonces (
    nonce TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    issued_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ
);
CREATE INDEX nonces_by_expiry ON nonces (expires_at);

-- Actions of administrators that another administrator has to approve. `request` is canonical JSON:
-- the route, the variables of its path, and the validated body. Pruned by age.
CREATE TABLE approvals (
    id UUID PRIMARY KEY,
    action TEXT NOT NULL,
    summary TEXT NOT NULL,
    request TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    token_id TEXT,
    token_issued_at BIGINT NOT NULL,
    requested_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    expires_at TIMESTAMPTZ NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (
        state IN ('pending', 'executed', 'refused', 'rejected', 'withdrawn')
    ),
    decided_by TEXT,
    decided_at TIMESTAMPTZ,
    reply_status SMALLINT,
    reply_type TEXT,
    reply BYTEA,
    CONSTRAINT decided_by_somebody CHECK (
        (state = 'pending') = (decided_by IS NULL) AND (state = 'pending') = (decided_at IS NULL)
    )
);
CREATE INDEX approvals_by_time ON approvals (requested_at, id);
CREATE INDEX approvals_pending ON approvals (expires_at) WHERE state = 'pending';

-- Replies that have a secret, encrypted (store/security/approvals.py). Pruned after a day.
CREATE TABLE approval_secrets (
    approval TEXT PRIMARY KEY,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Administrators' tokens that were revoked: one by its id, or all of a person that were issued before
-- a time in Unix seconds. Pruned once every such token has expired.
CREATE TABLE revoked_tokens (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id TEXT,
    person TEXT,
    issued_before BIGINT,
    revoked_by TEXT NOT NULL,
    revoked_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT one_token_or_a_person CHECK (
        (token_id IS NULL) <> (person IS NULL) AND (person IS NULL) = (issued_before IS NULL)
    )
);
CREATE INDEX revoked_tokens_by_time ON revoked_tokens (revoked_at);

-- The response to the first request with a key, written in the transaction of that request's
-- effects. `owner` is whose key it is: an owner, `admin:` and an owner, or `request:` and the
-- request's fingerprint (http/operations/idempotency.py). Pruned by age.
CREATE TABLE idempotency_keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    status SMALLINT NOT NULL,
    content_type TEXT NOT NULL,
    content BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- An owner's TOTP secret, encrypted (store/security/encryption.py), the last time step used, and
-- the number of wrong codes in a row. One that was never enabled is pruned by age; the others stay
-- until their owner disables them.
CREATE TABLE twofa (
    owner TEXT PRIMARY KEY,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    enabled_at TIMESTAMPTZ,
    last_step BIGINT NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until TIMESTAMPTZ,
    used_steps BIGINT[] NOT NULL DEFAULT '{}'
);
CREATE INDEX twofa_waiting ON twofa (created_at) WHERE enabled_at IS NULL;

-- The codes for a lost device, as SHA-256 salted with the owner (http/auth/totp.py).
CREATE TABLE twofa_recovery_codes (
    owner TEXT NOT NULL REFERENCES twofa ON DELETE CASCADE,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    used_at TIMESTAMPTZ,
    PRIMARY KEY (owner, hash)
);

-- Who did what. `hash` is the SHA-256 of the previous hash and the row, see
-- store/security/audit_log.py. audit_head holds the last hash, so that removing the newest rows is
-- detected too. `details` is JSON, not JSONB, since its text is hashed. Kept forever.
CREATE TABLE audit_logs (
    id BIGINT PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    owner TEXT,
    outcome TEXT NOT NULL,
    details JSON NOT NULL,
    hash BYTEA NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX audit_logs_by_owner ON audit_logs (owner, id DESC);
CREATE INDEX audit_logs_by_action ON audit_logs (action, id DESC);

CREATE TABLE audit_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    id BIGINT NOT NULL CHECK (id >= 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32)
);
INSERT INTO audit_head (id, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- The newest head that the service has signed, with a key that the database does not hold: see
-- store/security/audit_heads.py.
CREATE TABLE audit_signed_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    id BIGINT NOT NULL CHECK (id > 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    signed_at TIMESTAMPTZ NOT NULL,
    key BYTEA NOT NULL CHECK (length(key) = 32),
    signature BYTEA NOT NULL CHECK (length(signature) = 64)
);

-- ---------------------------------------------------------------------------------------------
-- Reconciliation and alerts

-- Differences between a vault's row and the chain. Pruned by age.
CREATE TABLE reconciliation_logs (
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
CREATE INDEX reconciliation_logs_by_age ON reconciliation_logs USING brin (created_at)
    WITH (pages_per_range = 16);
CREATE INDEX reconciliation_logs_by_owner ON reconciliation_logs (owner, field, id DESC);

-- The position of the pass over all vaults: every owner up to `after_owner` was compared since
-- `started_at`. A restart continues from it.
CREATE TABLE reconciliation_pass (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    after_owner TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    listed_at TIMESTAMPTZ
);
INSERT INTO reconciliation_pass (after_owner, started_at, finished_at)
    VALUES ('', 'epoch', 'epoch');

-- Alerts for operators: at most one unresolved for each kind and subject, see
-- store/alerts/alerts.py and docs/alerts.md. Resolved ones are pruned by age. A silenced one sends no
-- webhook until then, and nor does the next one of its subject; a higher severity ends the silence.
CREATE TABLE alerts (
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
    resolved_at TIMESTAMPTZ,
    silenced_until TIMESTAMPTZ,
    silenced_by TEXT,
    silence_reason TEXT
);
CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX alerts_by_subject ON alerts (kind, subject);
CREATE INDEX alerts_newest ON alerts (kind, subject, id DESC);
CREATE INDEX alerts_by_resolution ON alerts (resolved_at);
CREATE INDEX alerts_by_owner ON alerts (owner, id DESC);
CREATE INDEX alerts_by_severity ON alerts (severity, id);
CREATE INDEX alerts_unresolved ON alerts (id) WHERE resolved_at IS NULL;
CREATE INDEX alerts_acknowledged ON alerts (id)
    WHERE resolved_at IS NULL AND acknowledged_at IS NOT NULL;

-- The last row of each table that the monitor has examined. Earlier rows raise no alerts. The row
-- 'alerts' is the lock under which alerts are raised and resolved.
CREATE TABLE alert_positions (
    source TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO alert_positions (source, position)
    VALUES ('alerts', 0), ('transactions', 0), ('reconciliation_logs', 0),
        ('movements', 0);

-- The row that the readiness probe of every replica writes, to find out whether writes succeed.
CREATE TABLE write_probe (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    written_at TIMESTAMPTZ NOT NULL
);

INSERT INTO write_probe (written_at)
    VALUES ('epoch');

-- The hash of the genesis block of the chain that this database belongs to. One row, written by the
-- first start: of two services on different chains one fails.
CREATE TABLE chain_genesis (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    hash TEXT NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Which server's database this is, as seen by the first start. One row. Restored from a backup, or on
-- a server that was promoted, the database has another identity: some of what was told to clients
-- may not be in it.
CREATE TABLE database_identity (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    identity TEXT NOT NULL,
    noticed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The level of the log that an administrator has set for all processes, until it ends. One row at
-- most.
CREATE TABLE log_level (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    level TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    until TIMESTAMPTZ NOT NULL,
    set_by TEXT NOT NULL
);

-- ---------------------------------------------------------------------------------------------
-- Proofs of reserves (docs/proofs.md)

-- The secret of each vault: it places the vault among the leaves of every tree, and gives its salts.
CREATE TABLE proof_keys (
    owner TEXT COLLATE "C" PRIMARY KEY,
    key BYTEA NOT NULL CHECK (length(key) = 32)
);

CREATE UNIQUE INDEX proof_keys_by_key ON proof_keys (key) INCLUDE (owner);

-- The log: each signed entry, with the upper nodes of its tree. Kept for ever. `first_keys` are
-- how the key of the first leaf of each chunk begins. See store/proofs/entries.py.
CREATE TABLE proof_entries (
    number BIGINT PRIMARY KEY CHECK (number > 0),
    slot BIGINT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    key BYTEA NOT NULL CHECK (length(key) = 32),
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    memo TEXT,
    vaults BIGINT NOT NULL,
    first_keys BYTEA NOT NULL,
    nodes BYTEA NOT NULL,
    file UUID NOT NULL
);
ALTER TABLE proof_entries
    ALTER COLUMN first_keys SET STORAGE EXTERNAL,
    ALTER COLUMN nodes SET STORAGE EXTERNAL;

-- The files of reserves of the newest entries, compressed. A file whose entry was not made in the end
-- is pruned after a day.
CREATE TABLE proof_reserves (
    file UUID NOT NULL,
    part INTEGER NOT NULL,
    lines BYTEA NOT NULL,
    written_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (file, part)
);
ALTER TABLE proof_reserves ALTER COLUMN lines SET STORAGE EXTERNAL;

-- Whether an administrator has asked for an entry that is not made yet.
CREATE TABLE proof_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    requested BOOLEAN NOT NULL DEFAULT FALSE
);
INSERT INTO proof_head DEFAULT VALUES;
