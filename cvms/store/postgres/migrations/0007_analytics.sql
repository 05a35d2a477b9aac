-- what analytics answer from, written in the transaction that applies the events

CREATE TABLE IF NOT EXISTS flows (
    bucket TEXT NOT NULL CHECK (bucket IN ('hour', 'day')),
    start TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL,
    count BIGINT NOT NULL,
    amount NUMERIC NOT NULL,
    PRIMARY KEY (bucket, start, kind)
);

CREATE TABLE IF NOT EXISTS tvl_hours (
    hour TIMESTAMPTZ PRIMARY KEY,
    tvl NUMERIC NOT NULL
);

CREATE TABLE IF NOT EXISTS vault_sizes (
    digits SMALLINT PRIMARY KEY,
    vaults BIGINT NOT NULL,
    total NUMERIC NOT NULL,
    available NUMERIC NOT NULL,
    locked NUMERIC NOT NULL,
    timelocked NUMERIC NOT NULL,
    yield_deposited NUMERIC NOT NULL
);

-- Fill them from the recorded history.
INSERT INTO flows (bucket, start, kind, count, amount)
SELECT bucket, date_trunc(bucket, at, 'UTC'), kind, count(*), sum(amount)
FROM (
    SELECT kind, amount, coalesce(max(block_time) OVER (ORDER BY id), now()) AS newest,
           block_time
    FROM transactions
) AS line
CROSS JOIN LATERAL (VALUES (coalesce(block_time, newest))) AS timed (at)
CROSS JOIN (VALUES ('hour'), ('day')) AS buckets (bucket)
GROUP BY 1, 2, 3
ON CONFLICT (bucket, start, kind) DO NOTHING;

INSERT INTO tvl_hours (hour, tvl)
SELECT start, sum(sum(CASE
           WHEN kind IN ('deposit', 'transfer_in', 'yield_compound') THEN amount
           WHEN kind IN ('withdraw', 'emergency_withdraw', 'transfer_out') THEN -amount
           ELSE 0
       END)) OVER (ORDER BY start)
FROM flows
WHERE bucket = 'hour'
GROUP BY start
ON CONFLICT (hour) DO NOTHING;

INSERT INTO vault_sizes (
    digits, vaults, total, available, locked, timelocked, yield_deposited
)
SELECT CASE total WHEN 0 THEN 0 ELSE length(total::TEXT) END, count(*), sum(total),
       sum(available), sum(locked), sum(timelocked), sum(yield_deposited)
FROM vaults
WHERE NOT closed
GROUP BY 1
ON CONFLICT (digits) DO NOTHING;
