-- vaults, history, events, outbox, nonces, audit, submissions, reconciliation

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

CREATE TABLE IF NOT EXISTS event_totals (
    kind TEXT PRIMARY KEY,
    count BIGINT NOT NULL CHECK (count >= 0),
    amount BIGINT NOT NULL CHECK (amount >= 0)
);

CREATE TABLE IF NOT EXISTS indexer_cursor (
    program TEXT PRIMARY KEY,
    slot BIGINT NOT NULL CHECK (slot >= 0),
    signature TEXT NOT NULL,
    previous_signature TEXT,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

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
CREATE INDEX IF NOT EXISTS outbox_by_age ON outbox USING brin (created_at)
    WITH (pages_per_range = 16);

CREATE TABLE IF NOT EXISTS nonces (
    nonce TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    issued_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ
);
CREATE INDEX IF NOT EXISTS nonces_by_expiry ON nonces (expires_at);

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
