-- many vaults: sums from an index, alerts of an owner, and earlier vacuums

-- Sums over all vaults read this index alone, which is a tenth of the table.
DROP INDEX IF EXISTS vaults_by_balance;
CREATE INDEX vaults_by_balance ON vaults (total, owner)
    INCLUDE (available, locked, timelocked, yield_deposited) WHERE NOT closed;

CREATE INDEX IF NOT EXISTS alerts_by_owner ON alerts (owner, id DESC);

-- By default a fifth of a table changes before it is vacuumed and analyzed.
ALTER TABLE vaults SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE transactions SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE chain_events SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE balance_history SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
