-- the used steps of second factors, one by one, and a row to find out whether writes succeed

ALTER TABLE twofa ADD COLUMN IF NOT EXISTS used_steps BIGINT[] NOT NULL DEFAULT '{}';
UPDATE twofa SET used_steps = ARRAY[last_step] WHERE enabled_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS write_probe (
    id BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (id),
    written_at TIMESTAMPTZ NOT NULL
);
INSERT INTO write_probe (written_at)
    VALUES ('epoch') ON CONFLICT DO NOTHING;
