-- approvals of administrators' actions, tokens that were revoked, and what was transferred lately
-- expansion

-- `request` is canonical JSON: the route, the variables of its path, and the validated body.
CREATE TABLE IF NOT EXISTS approvals (
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
CREATE INDEX IF NOT EXISTS approvals_by_time ON approvals (requested_at, id);
CREATE INDEX IF NOT EXISTS approvals_pending ON approvals (expires_at) WHERE state = 'pending';

-- Replies that have a secret, encrypted.
CREATE TABLE IF NOT EXISTS approval_secrets (
    approval TEXT PRIMARY KEY,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- One token by its id, or all tokens of a person that were issued before a time in Unix seconds.
CREATE TABLE IF NOT EXISTS revoked_tokens (
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
CREATE INDEX IF NOT EXISTS revoked_tokens_by_time ON revoked_tokens (revoked_at);

CREATE INDEX IF NOT EXISTS submissions_transfers ON submissions (created_at)
    WHERE kind = 'transfer_collateral';
