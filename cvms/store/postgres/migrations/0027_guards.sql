-- fields of vaults that were reserved before, and events that raise alerts

-- Zero in every account until a program with these fields writes it.
UPDATE vaults
SET state = state || '{
    "transfer_allowance": 0, "transferred_in_window": 0, "transfer_window_start": 0,
    "requested_total": 0, "exit_at": 0, "delegate_timelocks": 0
}'
WHERE NOT closed
  AND NOT state ? 'exit_at';

CREATE INDEX IF NOT EXISTS chain_events_of_alerts ON chain_events (name, slot)
    WHERE name IN (
        'GovernanceProposedEvent', 'GovernanceAcceptedEvent', 'WithdrawalsPausedEvent',
        'TransferLimitsSetEvent', 'GuardChangeRequestedEvent'
    );
CREATE INDEX IF NOT EXISTS vaults_exits ON vaults (owner) WHERE NOT closed AND state ->> 'exit_at' <> '0';
