-- webhooks of integrators, which receive the events of one vault or of all

-- `position` is that in the outbox up to which everything is delivered or, for some vaults, held
-- (webhook_held_vaults). `failing_since`: since when nothing was delivered although it was tried.
CREATE TABLE IF NOT EXISTS webhook_endpoints (
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
CREATE INDEX IF NOT EXISTS webhook_endpoints_by_owner ON webhook_endpoints (owner);

-- The secrets that sign an endpoint's messages, encrypted. An older one also signs until it expires.
CREATE TABLE IF NOT EXISTS webhook_secrets (
    id TEXT PRIMARY KEY DEFAULT gen_random_uuid()::TEXT,
    endpoint TEXT NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    expires_at TIMESTAMPTZ
);
CREATE INDEX IF NOT EXISTS webhook_secrets_by_endpoint ON webhook_secrets (endpoint);

-- The vaults whose events an endpoint gets later, from `position` on, in order.
CREATE TABLE IF NOT EXISTS webhook_held_vaults (
    endpoint TEXT NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    owner TEXT NOT NULL,
    position BIGINT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    due_at TIMESTAMPTZ NOT NULL,
    last_error TEXT,
    PRIMARY KEY (endpoint, owner)
);
CREATE INDEX IF NOT EXISTS webhook_held_vaults_due ON webhook_held_vaults (endpoint, due_at);

-- Messages to endpoints that are sent one by one: tests, those sent again, and those given up.
ALTER TABLE webhook_deliveries
    ADD COLUMN IF NOT EXISTS endpoint TEXT REFERENCES webhook_endpoints ON DELETE CASCADE;
DROP INDEX IF EXISTS webhook_deliveries_of_alerts_due;
CREATE INDEX webhook_deliveries_of_alerts_due ON webhook_deliveries (due_at)
    WHERE state = 'pending' AND signer IS NULL AND endpoint IS NULL;
DROP INDEX IF EXISTS webhook_deliveries_of_alerts;
CREATE INDEX webhook_deliveries_of_alerts ON webhook_deliveries (created_at, id)
    WHERE signer IS NULL AND endpoint IS NULL;
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_endpoint
    ON webhook_deliveries (endpoint, created_at, id) WHERE endpoint IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhook_deliveries_of_endpoints_due ON webhook_deliveries (endpoint, due_at)
    WHERE state = 'pending' AND endpoint IS NOT NULL;

-- A vault's events, without the messages that no endpoint gets. `position > 0` is true for all: it
-- keeps this index from queries that do not name it, which have better ones.
CREATE INDEX IF NOT EXISTS outbox_by_owner ON outbox (owner, position)
    WHERE position > 0 AND topic NOT IN ('vault_balance_update', 'vault_row_written');
