-- which events count, and what the history holds beyond the accounts

CREATE TABLE IF NOT EXISTS account_offsets (
    owner TEXT PRIMARY KEY,
    deposited NUMERIC NOT NULL,
    withdrawn NUMERIC NOT NULL
);

CREATE TABLE IF NOT EXISTS vault_mints (
    vault TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    ours BOOLEAN NOT NULL
);
