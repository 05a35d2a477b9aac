-- whose idempotency keys they are

-- Replies to administrators and to requests without a proof were stored under the owner. They are
-- found under their new holders too, whichever of these made the request, until they are pruned.
INSERT INTO idempotency_keys (owner, key, fingerprint, status, content_type, content, created_at)
SELECT holder, key, fingerprint, status, content_type, content, created_at
FROM idempotency_keys,
    LATERAL (VALUES ('admin:' || owner), ('request:' || encode(fingerprint, 'hex'))) AS new (holder)
ON CONFLICT DO NOTHING;
