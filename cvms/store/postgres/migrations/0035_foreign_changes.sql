-- indexes of what changes on the chain without this service
-- expansion

CREATE INDEX IF NOT EXISTS chain_events_of_rules ON chain_events (name, slot)
    WHERE name IN (
        'AuthorizedProgramAddedEvent', 'AuthorizedProgramRemovedEvent', 'YieldProgramAddedEvent',
        'YieldProgramRemovedEvent', 'FreezeFlagSetEvent', 'CpiEnforcedSetEvent',
        'RiskLevelSetEvent', 'UpdateUsdtMintEvent'
    );
CREATE INDEX IF NOT EXISTS submissions_landed ON submissions (landed_signature)
    WHERE landed_signature IS NOT NULL;
