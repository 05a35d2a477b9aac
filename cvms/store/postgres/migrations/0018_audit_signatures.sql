-- the signed head of the audit trail, deliveries sent again, and whose an idempotency key is

CREATE TABLE IF NOT EXISTS audit_signed_head (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    id BIGINT NOT NULL CHECK (id > 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    signed_at TIMESTAMPTZ NOT NULL,
    key BYTEA NOT NULL CHECK (length(key) = 32),
    signature BYTEA NOT NULL CHECK (length(signature) = 64)
);

ALTER TABLE webhook_deliveries ADD COLUMN IF NOT EXISTS resent_at TIMESTAMPTZ;
-- Errors named the host, which is not for everybody who may read them now.
UPDATE webhook_deliveries
SET last_error = regexp_replace(
    regexp_replace(last_error, ' at [^ ]+$', ''), '^[^ ]+ resolves', 'the host resolves'
)
WHERE last_error IS NOT NULL;

-- Replies to administrators and to requests without a proof were stored under the owner. They are
-- found under their new holders too, whichever of these made the request, until they are pruned.
INSERT INTO idempotency_keys (owner, key, fingerprint, status, content_type, content, created_at)
SELECT holder, key, fingerprint, status, content_type, content, created_at
FROM idempotency_keys,
    LATERAL (VALUES ('admin:' || owner), ('request:' || encode(fingerprint, 'hex'))) AS new (holder)
WHERE owner NOT LIKE '%:%'
ON CONFLICT DO NOTHING;
