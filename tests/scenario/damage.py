"""Damage to each table, as SQL, with the invariant that it breaks."""

from __future__ import annotations

DAMAGE = [
    (
        "V1",
        "chain_events",
        "DELETE FROM chain_events WHERE ctid = (SELECT min(ctid) FROM chain_events)",
    ),
    (
        "V1",
        "chain_events",
        "UPDATE chain_events SET slot = slot + 1 WHERE ctid = (SELECT max(ctid) FROM chain_events)",
    ),
    (
        "V1",
        "chain_events",
        "UPDATE chain_events SET data = data || '{\"amount\": 1}' WHERE name = 'DepositEvent'",
    ),
    (
        "V1",
        "chain_events",
        "UPDATE chain_events SET ordinal = ordinal + 7 WHERE name = 'LockEvent'",
    ),
    (
        "V1",
        "chain_events",
        "UPDATE chain_events SET commitment = 'confirmed' WHERE name = 'LockEvent'",
    ),
    (
        "V1",
        "transactions",
        "DELETE FROM transactions WHERE id = (SELECT min(id) FROM transactions)",
    ),
    (
        "V1",
        "transactions",
        "UPDATE transactions SET amount = amount + 1 WHERE id = (SELECT max(id) FROM transactions)",
    ),
    ("V1", "transactions", "UPDATE transactions SET balance_after = 0 WHERE kind = 'withdraw'"),
    ("V1", "transactions", "UPDATE transactions SET kind = 'unlock' WHERE kind = 'lock'"),
    (
        "V1",
        "transactions",
        "INSERT INTO transactions (owner, vault, kind, amount, balance_after, slot, block_time,"
        " signature, instruction_index, ordinal, commitment)"
        " SELECT owner, vault, kind, amount, balance_after, slot, block_time, signature,"
        " instruction_index, ordinal + 1, commitment FROM transactions LIMIT 1",
    ),
    (
        "V1",  # the same rows, the first of them last
        "transactions",
        "WITH first AS (DELETE FROM transactions WHERE id = (SELECT min(id) FROM transactions)"
        " RETURNING *) INSERT INTO transactions OVERRIDING SYSTEM VALUE SELECT (SELECT max(id) + 1"
        " FROM transactions), owner, vault, kind, amount, balance_after, slot, block_time,"
        " signature, instruction_index, ordinal, commitment FROM first",
    ),
    ("V1", "vault_mints", "UPDATE vault_mints SET ours = NOT ours"),
    ("V1", "vault_mints", "DELETE FROM vault_mints WHERE NOT ours"),
    ("V1", "event_totals", "UPDATE event_totals SET count = count + 1 WHERE kind = 'deposit'"),
    ("V1", "event_totals", "DELETE FROM event_totals WHERE kind = 'lock'"),
    (
        "V1",
        "flows",
        "UPDATE flows SET amount = amount - 1 WHERE kind = 'deposit' AND bucket = 'day'",
    ),
    ("V1", "tvl_hours", "UPDATE tvl_hours SET tvl = tvl + 1"),
    ("V1", "account_offsets", "UPDATE account_offsets SET deposited = deposited + 1"),
    ("V1", "account_offsets", "DELETE FROM account_offsets"),
    ("V2", "vaults", "UPDATE vaults SET total = total + 1, available = available + 1"),
    ("V2", "vaults", "UPDATE vaults SET state = state || '{\"bump\": 0}'"),
    ("V2", "vaults", "UPDATE vaults SET delegates = '{somebody}'"),
    ("V2", "vaults", "UPDATE vaults SET slot = 1"),
    ("V2", "vaults", "DELETE FROM vaults WHERE owner = (SELECT min(owner) FROM vaults)"),
    ("V2", "balance_history", "UPDATE balance_history SET locked = locked + 1"),
    (
        "V2",
        "balance_history",
        "DELETE FROM balance_history AS point WHERE slot = (SELECT max(slot) FROM balance_history)",
    ),
    (
        "V2",
        "reconciliation_logs",
        "INSERT INTO reconciliation_logs (vault, owner, field, difference, chain_slot, healed,"
        " cause) VALUES ('v', 'o', 'total', 1, 1, TRUE, 'none')",
    ),
    ("V2", "vault_sizes", "UPDATE vault_sizes SET vaults = vaults + 1"),
    (
        "V3",
        "vaults",
        "UPDATE vaults SET total = total + 10^9::BIGINT, available = available + 10^9::BIGINT",
    ),
    (
        "V3",
        "vaults",
        "ALTER TABLE vaults DROP CONSTRAINT vault_balances; UPDATE vaults SET locked = locked + 1",
    ),
    ("V4", "indexer_cursor", "UPDATE indexer_cursor SET signature = previous_signature"),
    ("V4", "indexer_cursor", "UPDATE indexer_cursor SET previous_signature = NULL"),
    ("V4", "indexer_cursor", "UPDATE indexer_cursor SET through = through + 10000"),
    ("V4", "indexer_cursor", "DELETE FROM indexer_cursor"),
    ("V4", "applied", "UPDATE applied SET slot = slot + 1"),
    ("V4", "applied", "UPDATE applied SET final = FALSE"),
    ("V4", "applied", "DELETE FROM applied"),
    (
        "V4",
        "applied_before",
        "ALTER TABLE applied_before DROP CONSTRAINT applied_before_place_fkey;"
        " INSERT INTO applied_before (place, kind, key) VALUES (0, 'vault', 'v')",
    ),
    ("V5", "nonces", "UPDATE nonces SET used_at = NULL"),
    (
        "V5",
        "idempotency_keys",
        'UPDATE idempotency_keys SET content = \'{"mode": "submitted", "signature": "x"}\'',
    ),
    ("V6", "submissions", "UPDATE submissions SET state = 'expired' WHERE state = 'finalized'"),
    ("V6", "submissions", "UPDATE submissions SET state = 'confirmed' WHERE state = 'finalized'"),
    ("V6", "submissions", "UPDATE submissions SET state = 'failed' WHERE state = 'finalized'"),
    ("V6", "submissions", "UPDATE submissions SET slot = slot + 1"),
    ("V6", "submissions", "UPDATE submissions SET signature = 'x' || signature"),
    ("V6", "submissions", "UPDATE submissions SET message = message || '\\x00'::BYTEA"),
    ("V7", "outbox", "DELETE FROM outbox WHERE position = 3"),
    ("V7", "outbox", "UPDATE outbox SET seq = seq + 1000 WHERE topic = 'lock_event'"),
    (
        "V7",
        "outbox",
        "UPDATE outbox SET data = data || '{\"amount\": 3}' WHERE topic = 'deposit_event'",
    ),
    ("V7", "outbox", "UPDATE outbox SET slot = slot + 1 WHERE topic = 'deposit_event'"),
    (
        "V7",
        "outbox",
        "UPDATE outbox SET data = data || '{\"available\": 3}'"
        " WHERE topic = 'vault_balance_update'",
    ),
    (
        "V7",
        "outbox",
        "UPDATE outbox SET data = data || '{\"total\": 3}' WHERE topic = 'tvl_update'",
    ),
    (
        "V7",
        "outbox",
        'UPDATE outbox SET data = data || \'{"status": "failed"}\''
        " WHERE topic = 'transaction_update'",
    ),
    ("V7", "outbox", "UPDATE outbox SET type = 'retracted' WHERE topic = 'lock_event'"),
    ("V7", "outbox_head", "UPDATE outbox_head SET position = position + 1"),
    ("V7", "outbox_topics", "UPDATE outbox_topics SET seq = seq + 1 WHERE topic = 'lock_event'"),
    ("V9", "audit_logs", "UPDATE audit_logs SET outcome = 'forged' WHERE id = 2"),
    ("V9", "audit_logs", "DELETE FROM audit_logs WHERE id = 2"),
    ("V9", "audit_head", "DELETE FROM audit_logs WHERE id = (SELECT max(id) FROM audit_logs)"),
]
