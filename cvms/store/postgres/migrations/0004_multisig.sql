-- withdrawals that several must sign, and how the signers are told

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

CREATE TABLE IF NOT EXISTS signer_contacts (
    signer TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

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
