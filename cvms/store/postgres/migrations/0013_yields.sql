-- what yield protocols pay, and whose yield the service compounds

CREATE TABLE IF NOT EXISTS protocol_apy (
    protocol TEXT NOT NULL,
    address TEXT NOT NULL,
    source_slot BIGINT NOT NULL,
    chain_time BIGINT NOT NULL,
    read_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    mint TEXT,
    supply_apr NUMERIC,
    supply_apy NUMERIC,
    borrow_apr NUMERIC,
    utilization NUMERIC,
    supplied NUMERIC,
    borrowed NUMERIC,
    updated_slot NUMERIC,
    updated_time NUMERIC,
    reason TEXT,
    detail TEXT,
    PRIMARY KEY (protocol, address, source_slot),
    CONSTRAINT rate_or_reason CHECK ((reason IS NULL) = (supply_apy IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS protocol_apy_newest ON protocol_apy (protocol, address, read_at DESC);
CREATE INDEX IF NOT EXISTS protocol_apy_by_age ON protocol_apy (read_at);

CREATE TABLE IF NOT EXISTS yield_policies (
    owner TEXT NOT NULL,
    yield_program TEXT NOT NULL,
    auto_compound BOOLEAN NOT NULL,
    min_amount BIGINT NOT NULL CHECK (min_amount > 0),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, yield_program)
);
CREATE INDEX IF NOT EXISTS yield_policies_on ON yield_policies (yield_program, owner)
    WHERE auto_compound;
