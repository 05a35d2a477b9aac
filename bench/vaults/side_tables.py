"""Rows of the tables beside the books, in proportion to the history."""

from __future__ import annotations

import psycopg

from bench.vaults.books import Books

SHARE = 20
"""One message, submission, nonce or audit entry for so many lines."""
ALERTED = 100
"""One vault of so many has an open alert of a low balance."""

OUTBOX = """
INSERT INTO outbox (position, topic, seq, owner, slot, signature, commitment, data, created_at)
SELECT row_number() OVER (ORDER BY id), 'balance_update', row_number() OVER (ORDER BY id), owner,
       slot, signature, commitment,
       jsonb_build_object('owner', owner, 'vault', vault, 'total', amount, 'slot', slot),
       now() - (max(id) OVER () - id) * INTERVAL '1 day' / (%(lines)s / %(share)s)
FROM transactions
WHERE id > (SELECT max(id) FROM transactions) - %(lines)s / %(share)s
"""
OUTBOX_HEAD = "UPDATE outbox_head SET position = (SELECT max(position) FROM outbox)"
OUTBOX_TOPICS = (
    "INSERT INTO outbox_topics (topic, seq) SELECT topic, max(seq) FROM outbox GROUP BY 1"
)
SUBMISSIONS = """
INSERT INTO submissions (
    message_hash, kind, owner, state, signature, message, wire, last_valid_block_height, amount,
    slot, created_at, updated_at, signed_at
)
SELECT sha256(signature::BYTEA), kind, owner, 'finalized', signature,
       decode(repeat('00', 400), 'hex'), decode(repeat('00', 600), 'hex'), slot, amount,
       slot, block_time, block_time, block_time
FROM transactions
WHERE id %% %(share)s = 0
"""
NONCES = """
INSERT INTO nonces (nonce, owner, issued_at, expires_at, used_at)
SELECT md5(signature), owner, now() - INTERVAL '1 hour', now() + INTERVAL '10 minutes', now()
FROM transactions
WHERE id %% %(share)s = 1
"""
AUDIT = """
INSERT INTO audit_logs (id, at, actor, action, owner, outcome, details, hash)
SELECT row_number() OVER (ORDER BY id), block_time, owner,
       (ARRAY['deposit', 'withdraw', 'delegate'])[1 + id %% 3], owner, 'accepted', '{}',
       sha256(signature::BYTEA)
FROM transactions
WHERE id %% %(share)s = 2
"""
AUDIT_HEAD = """
UPDATE audit_head
SET (id, hash) = (SELECT id, hash FROM audit_logs ORDER BY id DESC LIMIT 1)
"""
DIFFERENCES = """
INSERT INTO reconciliation_logs (
    vault, owner, field, expected, actual, difference, chain_slot, healed, cause, created_at
)
SELECT vault, owner, 'total', total, total + 1, -1, slot, TRUE, 'lag',
       now() - place * INTERVAL '80 days' / %(vaults)s
FROM (SELECT *, row_number() OVER (ORDER BY owner) AS place FROM vaults) AS numbered
WHERE place %% 100 = 0
ORDER BY place DESC
"""
ALERTS = """
INSERT INTO alerts (kind, subject, owner, severity, summary, details)
SELECT 'low_balance', owner, owner, 'info', 'The vault holds little', '{}'
FROM vaults
WHERE NOT closed
ORDER BY total, owner
LIMIT %(vaults)s / %(alerted)s
"""
SIGNERS = """
INSERT INTO signer_contacts (signer, url, secret)
SELECT owner, 'https://signer.example/hook', '\\x00'
FROM vaults
ORDER BY owner
LIMIT 1000
"""
DELIVERIES = """
INSERT INTO webhook_deliveries (signer, event, body, state, tries, created_at)
SELECT signer, 'proposal.created', '{}', 'delivered', 1, now() - n * INTERVAL '25 days' / %(vaults)s
FROM (SELECT signer, row_number() OVER () AS place FROM signer_contacts) AS contact
JOIN generate_series(1, %(vaults)s / 10) AS n ON contact.place = n %% 1000 + 1
"""
POLICIES = """
INSERT INTO yield_policies (owner, yield_program, auto_compound, min_amount)
SELECT owner, %(pool)s, TRUE, 1000
FROM vaults
WHERE slot %% 10 = 0
"""
EXAMINED = """
UPDATE alert_positions
SET position = CASE source
    WHEN 'transactions' THEN (SELECT max(id) FROM transactions)
    WHEN 'reconciliation_logs' THEN (SELECT max(id) FROM reconciliation_logs)
    ELSE 0
END
"""


def fill_side_tables(connection: psycopg.Connection, planned: Books) -> None:
    """Fill the tables from the vaults and the history that are there."""
    params = {
        "vaults": planned.vaults,
        "lines": planned.lines,
        "share": SHARE,
        "alerted": ALERTED,
        "pool": str(planned.programs.yield_pool),
    }
    for query in (
        OUTBOX,
        OUTBOX_HEAD,
        OUTBOX_TOPICS,
        SUBMISSIONS,
        NONCES,
        AUDIT,
        AUDIT_HEAD,
        DIFFERENCES,
        ALERTS,
        SIGNERS,
        DELIVERIES,
        POLICIES,
        EXAMINED,
    ):
        connection.execute(query.encode(), params)
