-- the level of the log for a time, and the request and the trace of each submission
-- expansion

-- The level that an administrator has set for all processes, until it ends.
CREATE TABLE IF NOT EXISTS log_level (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    level TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    until TIMESTAMPTZ NOT NULL,
    set_by TEXT NOT NULL
);

ALTER TABLE submissions ADD COLUMN IF NOT EXISTS request_id TEXT;
ALTER TABLE submissions ADD COLUMN IF NOT EXISTS traceparent TEXT;
